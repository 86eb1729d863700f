//! Slots and networks are made whole or not at all, taken up after a restart, and taken away without a rest.

mod bed;

use std::net::Ipv4Addr;

use bed::{Bed, LONG, connect_as, ip, start_guest};
use wrenn_model::{NetworkPolicy, VmId};
use wrenn_network::{Error, Network, Range, Ranges};
use wrenn_sys::netns;
use wrenn_testkit::leaks::{Scope, Snapshot};
use wrenn_testkit::world::Service;

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_comes_and_goes_without_a_rest() {
    let bed = Bed::make().await;
    let before = Snapshot::take(&bed.scope());
    let plan = bed.plan();
    let mut slot = bed.network.create(&plan, &open()).await.unwrap();
    assert_eq!(slot.plan(), &plan);
    assert!(slot.take_tap().is_some());
    assert!(slot.take_tap().is_none());
    let made = before.new_since(&bed.scope());
    for what in ["namespace", "link", "mount"] {
        assert!(
            made.iter()
                .any(|line| line.starts_with(what) && line.contains(&plan.label)),
            "{what}: {made:?}"
        );
    }
    assert_eq!(
        bed.network.leftovers().await.unwrap(),
        [plan.label.as_str()]
    );
    bed.network.remove(&plan).await.unwrap();
    before.assert_nothing_new(&bed.scope());
    bed.network.remove(&plan).await.unwrap();
    assert!(bed.network.leftovers().await.unwrap().is_empty());
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_cannot_be_made_leaves_nothing() {
    let bed = Bed::make().await;
    let before = Snapshot::take(&bed.scope());
    let plan = bed.plan();
    // Each takes away what a later step needs: the interface's name, its address, the route.
    for (obstacle, cure) in [
        (
            format!("link add {} type veth", plan.veth),
            format!("link delete {}", plan.veth),
        ),
        (
            format!("route add {} dev lo", plan.host_ip),
            format!("route delete {} dev lo", plan.host_ip),
        ),
    ] {
        ip(&obstacle);
        let failed = bed.network.create(&plan, &open()).await;
        assert!(
            matches!(failed, Err(Error::Kernel { .. })),
            "{obstacle}: {failed:?}"
        );
        assert!(!netns::path(&plan.label).exists());
        // The interface without a label under our name was taken for a half-made one.
        if obstacle.starts_with("route") {
            ip(&cure);
        }
        before.assert_nothing_new(&bed.scope());
    }
    let slot = bed.network.create(&plan, &open()).await.unwrap();
    let taken = bed.network.create(&plan, &open()).await;
    assert!(matches!(taken, Err(Error::Kernel { .. })), "{taken:?}");
    assert!(
        netns::open(&slot.plan().label).is_ok(),
        "the slot that stands is left alone"
    );
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_made_slots_are_removed() {
    let bed = Bed::make().await;
    let before = Snapshot::take(&bed.scope());
    let plan = bed.plan();
    netns::create(&plan.label, || Ok(())).await.unwrap();
    assert!(matches!(
        bed.network.adopt(&plan, &open()).await,
        Err(Error::Gone { .. })
    ));
    bed.network.remove(&plan).await.unwrap();
    before.assert_nothing_new(&bed.scope());
    ip(&format!("link add {} type veth", plan.veth));
    assert_eq!(bed.network.leftovers().await.unwrap(), [plan.veth.as_str()]);
    assert!(matches!(
        bed.network.adopt(&plan, &open()).await,
        Err(Error::Gone { .. })
    ));
    bed.network.remove(&plan).await.unwrap();
    before.assert_nothing_new(&bed.scope());
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_vms_interface_of_the_same_short_name_is_left_alone() {
    let bed = Bed::make().await;
    let (first, second) = ("vm-aaaaaaaa0001", "vm-aaaaaaaa0002");
    let plans =
        [(1, first), (2, second)].map(|(index, vm)| bed.network.plan(index, &vm.parse().unwrap()));
    assert_eq!(plans[0].veth, plans[1].veth);
    bed.network.create(&plans[0], &open()).await.unwrap();
    bed.network.create(&plans[1], &open()).await.unwrap_err();
    bed.network.remove(&plans[1]).await.unwrap();
    bed.network.adopt(&plans[0], &open()).await.unwrap();
    assert_eq!(
        bed.network.leftovers().await.unwrap(),
        [plans[0].label.as_str()]
    );
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_takes_up_what_stands() {
    const PORT: u16 = 4204;
    let bed = Bed::make().await;
    let one = bed.inhabited().await;
    let service = Service::tcp_echo_with(one.guest.listen(PORT).unwrap()).unwrap();
    let again = Network::open(bed.config()).await.unwrap();
    assert_eq!(again.ranges(), bed.network.ranges());
    let mut adopted = again.adopt(one.slot.plan(), &open()).await.unwrap();
    assert!(adopted.take_tap().is_none());
    adopted.dialer().connect(PORT).await.unwrap();
    connect_as(0, (one.host_ip(), PORT), LONG).unwrap();
    let gone = again.plan(7, &VmId::random());
    assert!(matches!(
        again.adopt(&gone, &open()).await,
        Err(Error::Gone { .. })
    ));
    drop((service, one));
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_all_but_what_is_kept() {
    let (bed, other) = (Bed::make().await, Bed::make().await);
    let strangers = other.inhabited().await;
    let vms = [(); 3].map(|()| VmId::random());
    for (index, vm) in (1..).zip(&vms) {
        bed.network
            .create(&bed.network.plan(index, vm), &open())
            .await
            .unwrap();
    }
    let swept = bed.network.sweep(&vms[..1]).await.unwrap();
    assert_eq!(swept.len(), 2);
    let kept = bed.network.plan(1, &vms[0]);
    assert_eq!(
        bed.network.leftovers().await.unwrap(),
        [kept.label.as_str()]
    );
    bed.network.adopt(&kept, &open()).await.unwrap();
    other
        .network
        .adopt(strangers.slot.plan(), &open())
        .await
        .unwrap();
    drop(strangers);
    bed.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_used_again_in_a_new_namespace() {
    const PORT: u16 = 4206;
    let bed = Bed::make().await;
    let mut last = None;
    for _ in 0..3 {
        let plan = bed.network.plan(5, &VmId::random());
        let mut slot = bed.network.create(&plan, &open()).await.unwrap();
        let guest = start_guest(&mut slot).await;
        let _service = Service::tcp_echo_with(guest.listen(PORT).unwrap()).unwrap();
        connect_as(0, (plan.host_ip, PORT), LONG).unwrap();
        bed.network.remove(&plan).await.unwrap();
        assert_ne!(last.replace(plan.label.clone()), Some(plan.label));
    }
    bed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_chosen_recorded_and_defended() {
    let bed = Bed::make().await;
    let ranges = *bed.network.ranges();
    let claim = Scope::everything().only(format!("unreachable {}", ranges.veth));
    assert_eq!(Snapshot::take(&claim).lines().count(), 1);
    // Somebody else who wants just these.
    let other = tempfile::tempdir().unwrap();
    let mut config = bed.config();
    config.instance = wrenn_model::InstanceId::random();
    config.state_dir = other.path().to_owned();
    config.ranges = Some(ranges);
    let refused = Network::open(config.clone()).await;
    assert!(
        matches!(&refused, Err(Error::RangeInUse { range, .. }) if *range == ranges.veth),
        "{refused:?}"
    );
    // The LAN that the host is in, and twice the same.
    config.ranges = Some(Ranges {
        veth: Range::new(192, 168),
        reachable: Range::new(10, 99),
    });
    let refused = Network::open(config.clone()).await;
    assert!(
        matches!(refused, Err(Error::RangeInUse { .. })),
        "{refused:?}"
    );
    config.ranges = Some(Ranges {
        veth: Range::new(10, 99),
        reachable: Range::new(10, 99),
    });
    let refused = Network::open(config).await;
    assert!(
        matches!(refused, Err(Error::RangesOverlap(_))),
        "{refused:?}"
    );
    // Slots keep the instance in its ranges; without them it may move.
    let one = bed.inhabited().await;
    let mut moved = bed.config();
    moved.ranges = Some(Ranges {
        veth: Range::new(172, 29),
        reachable: Range::new(172, 28),
    });
    let refused = Network::open(moved.clone()).await;
    assert!(
        matches!(refused, Err(Error::RangesHaveSlots { .. })),
        "{refused:?}"
    );
    bed.network.remove(one.slot.plan()).await.unwrap();
    drop(one);
    let network = Network::open(moved.clone()).await.unwrap();
    assert_eq!(Some(*network.ranges()), moved.ranges);
    assert_eq!(
        network.plan(1, &VmId::random()).host_ip,
        Ipv4Addr::new(172, 28, 0, 1)
    );
    assert_eq!(
        Snapshot::take(&claim).lines().count(),
        0,
        "the old claim is given up"
    );
    moved.ranges = None;
    let network = Network::open(moved).await.unwrap();
    assert_eq!(
        network.ranges().veth,
        Range::new(172, 29),
        "the record says so"
    );
    network.close().await.unwrap();
    network.close().await.unwrap();
    let claim = Scope::everything().only("unreachable 172.2");
    assert_eq!(Snapshot::take(&claim).lines().count(), 0);
}

/// The internet and nothing else.
fn open() -> NetworkPolicy {
    NetworkPolicy::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_is_listed_with_its_owner_and_goes_one_by_one() {
    use wrenn_model::leftover::{Kind, Owner};

    let bed = Bed::make().await;
    let plan = bed.plan();
    bed.network
        .create(&plan, &Default::default())
        .await
        .unwrap();
    let vm = plan.label.rsplit_once("-vm-").unwrap().1;
    let vm = Owner::Vm(format!("vm-{vm}"));
    let half = format!("w{}zzzzzzzz", bed.instance);
    ip(&format!("link add {half} type veth"));
    let metric = u32::from_str_radix(bed.instance.as_str(), 36).unwrap();
    ip(&format!(
        "route add unreachable 198.51.100.0/24 proto 119 metric {metric}"
    ));
    let recorded = wrenn_network::recorded(bed.state.path()).unwrap();
    assert_eq!(recorded.as_ref(), Some(bed.network.ranges()));
    let list = async || {
        wrenn_network::leftovers(&bed.instance, recorded.as_ref())
            .await
            .unwrap()
    };
    let of = |kind: Kind, owner: Owner| (kind, owner);
    let mut seen: Vec<_> = list()
        .await
        .into_iter()
        .map(|left| (left.kind, format!("{:?}", left.owner)))
        .collect();
    seen.sort();
    let mut expected: Vec<_> = [
        of(Kind::Namespace, vm.clone()),
        of(Kind::Link, vm),
        of(Kind::Link, Owner::Vm("vm-zzzzzzzz".to_owned())),
        of(Kind::Table, Owner::Instance),
        of(Kind::Route, Owner::Instance),
        of(Kind::Route, Owner::Instance),
        of(Kind::Route, Owner::Nobody),
    ]
    .map(|(kind, owner)| (kind, format!("{owner:?}")))
    .into();
    expected.sort();
    assert_eq!(seen, expected);
    for left in list().await {
        left.remove().await.unwrap();
    }
    assert!(list().await.is_empty());
    bed.close().await;
}
