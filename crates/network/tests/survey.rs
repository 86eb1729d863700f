//! What is seen of a host before anything is made on it, other firewalls above all. Wants root and `nft`.
#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

use wrenn_model::InstanceId;
use wrenn_network::{Dropper, Ranges, Survey, interfaces};
use wrenn_sys::program::Program;

/// Docker's and ufw's way, firewalld's way, one that lets everything through, one that rejects a part, and one that knows of
/// us. The last table is an instance's own.
const FIREWALLS: &str = "\
    add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; \
    add table inet firewalld; \
    add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }; \
    add rule inet firewalld filter_FORWARD ct state established accept; \
    add rule inet firewalld filter_FORWARD counter reject with icmpx admin-prohibited; \
    add table ip open; add chain ip open forward { type filter hook forward priority 0; policy accept; }; \
    add table ip partly; add chain ip partly forward { type filter hook forward priority 0; policy accept; }; \
    add rule ip partly forward tcp dport 25 drop; \
    add table ip input; add chain ip input input { type filter hook input priority 0; policy drop; }; \
    add table ip6 six; add chain ip6 six forward { type filter hook forward priority 0; policy drop; }; \
    add table ip knowing; add chain ip knowing forward { type filter hook forward priority 0; policy drop; }; \
    add chain ip knowing users; add rule ip knowing forward jump users; \
    add rule ip knowing users iifname \"wabc123*\" accept; \
    add table ip wrenn-abc123; \
    add chain ip wrenn-abc123 forward { type filter hook forward priority 0; policy drop; }";

/// In a network namespace of its own, with one thread.
fn alone<T: Send + 'static>(body: impl Future<Output = T> + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(body)
    });
    thread.join().unwrap()
}

#[test]
fn firewalls_that_drop_what_is_forwarded_are_seen() {
    let (known, unknown) = alone(async {
        let dir = tempfile::tempdir().unwrap();
        Program::new("nft").arg(FIREWALLS).run().await.unwrap();
        let instance: InstanceId = "abc123".parse().unwrap();
        assert_eq!(interfaces(&instance), "wabc123");
        let known = Survey::take(Some(&instance), dir.path()).await.unwrap();
        (known, Survey::take(None, dir.path()).await.unwrap())
    });
    let dropper = |family, table: &str, chain: &str| Dropper {
        family,
        table: table.into(),
        chain: chain.into(),
    };
    let mut expected = vec![
        dropper("ip", "filter", "FORWARD"),
        dropper("inet", "firewalld", "filter_FORWARD"),
    ];
    let sorted = |survey: &Survey| {
        let mut droppers = survey.droppers.as_ref().unwrap().clone();
        droppers.sort_by_key(|dropper| dropper.table != "filter");
        droppers
    };
    assert_eq!(sorted(&known), expected);
    assert_eq!(known.instances, ["abc123"]);
    expected.push(dropper("ip", "knowing", "forward"));
    assert_eq!(
        sorted(&unknown),
        expected,
        "its interfaces have no name yet"
    );
}

#[test]
fn an_empty_host_has_addresses_and_no_way_out() {
    let survey = alone(async {
        let dir = tempfile::tempdir().unwrap();
        Survey::take(None, dir.path()).await.unwrap()
    });
    assert!(survey.uplinks.is_empty());
    assert_eq!(survey.ranges.unwrap(), Ranges::default());
    assert_eq!(survey.droppers.unwrap(), []);
}
