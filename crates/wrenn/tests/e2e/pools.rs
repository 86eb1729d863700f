//! What stands ready: a sandbox that was taken is like one that booted, and nobody's but its owner's.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use wrenn_client::api::{CreateSandbox, Network, Pool, WarmPool};

use wrenn_testkit::world::{INTERNET, Service};

use crate::harness::{MEMORY, Server, TestSandbox, kill_machine, stop_machine, until};
use crate::network_policy::reached;
use crate::ready_slots::machine_of;

/// How long it may take until enough stand ready; each is made of a boot image, which is made of a boot.
pub(crate) const FILL_LIMIT: Duration = Duration::from_secs(90);
/// How soon somebody is told who asked for too many: what there is room for is made before.
const REFUSED_LIMIT: Duration = Duration::from_secs(60);

/// A server that has so many stand ready.
pub(crate) async fn with_pool(counts: &str) -> Server {
    let size = format!("minimal:1:{MEMORY}={counts}");
    let server = Server::start_with_env(&[
        ("WRENN_BOOT_IMAGES_MB", PathBuf::from("2048")),
        ("WRENN_POOL", PathBuf::from(size)),
    ]);
    full(&server).await;
    server
}

pub(crate) async fn pool(server: &Server) -> Pool {
    let pools = server.client().pools().await.unwrap().pools;
    let ours = pools.into_iter().find(|pool| pool.configured);
    ours.expect("the pool is configured")
}

/// Waits until as many stand ready as are to.
pub(crate) async fn full(server: &Server) -> Pool {
    until("a full pool", FILL_LIMIT, || async {
        let pools = server.client().pools().await.ok()?.pools;
        let pool = pools.into_iter().find(|pool| pool.configured)?;
        let whole = pool.ready == pool.wanted && pool.started == pool.wanted_started;
        whole.then_some(pool)
    })
    .await
}

/// Where the world outside answers.
const PORT: u16 = 7071;

/// The folders of what stands ready.
pub(crate) fn spares(server: &Server) -> HashSet<String> {
    let folder = server.data().join("store/spares");
    let names = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

/// All that a caller can see of a guest that is not to be another in each.
const SEEN: &str = "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; id; pwd; umask; ulimit -a; env | grep -v SANDBOX_ID | sort; \
    wc -c < /etc/machine-id; cat /proc/cmdline | tr ' ' '\\n' | grep -v khz; cut -d' ' -f2-4 /proc/mounts; ls -a / /root /tmp /run /dev/shm /dev; \
    ip -o addr | cut -d' ' -f2-7; ip route; nproc; grep MemTotal /proc/meminfo; date +%Y-%m-%dT%H; \
    wc -c < /proc/sys/kernel/random/boot_id; cat /proc/1/comm; ls /proc/self/fd | wc -l; cat /proc/self/oom_score_adj";

#[tokio::test]
async fn one_that_was_taken_is_like_one_that_booted() {
    let server = with_pool("1").await;
    let client = server.client();
    let request = |cold| CreateSandbox {
        cold,
        hostname: Some("spring".to_owned()),
        envs: [("GREETING".to_owned(), "hello".to_owned())].into(),
        network: Some(Network {
            internet: false,
            ..Network::default()
        }),
        ..CreateSandbox::default()
    };
    let taken = TestSandbox::create_with(&client, request(false)).await;
    let after_one = pool(&server).await;
    assert_eq!((after_one.hits, after_one.misses), (1, 0));
    let booted = TestSandbox::create_with(&client, request(true)).await;
    let after_both = pool(&server).await;
    assert_eq!(
        (after_both.hits, after_both.misses),
        (1, 0),
        "the other did not boot"
    );
    let (here, there) = (taken.sh(SEEN).await, booted.sh(SEEN).await);
    let differ: Vec<_> = here
        .lines()
        .zip(there.lines())
        .filter(|(a, b)| a != b)
        .collect();
    assert!(
        differ.is_empty() && here.lines().count() == there.lines().count(),
        "{differ:#?}"
    );
    // What has to be another in each.
    let own = "cat /etc/machine-id /proc/sys/kernel/random/boot_id; head -c 8 /dev/urandom | od -An -tx8; echo $WRENN_SANDBOX_ID";
    let (here, there) = (taken.sh(own).await, booted.sh(own).await);
    for (here, there) in here.lines().zip(there.lines()) {
        assert_ne!(here, there);
    }
    let told = (taken.now().await, booted.now().await);
    let (a, b) = (told.0.clone(), told.1.clone());
    let same = wrenn_client::api::Sandbox {
        id: a.id.clone(),
        host_ip: a.host_ip.clone(),
        created_at: a.created_at,
        started_at: a.started_at,
        last_active_at: a.last_active_at,
        expires_at: a.expires_at,
        last_updated: a.last_updated,
        ..b
    };
    assert_eq!(a, same);
    let off: i64 = taken.sh("date +%s").await.trim().parse().unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(now.as_secs().abs_diff(off.try_into().unwrap()) <= 2);
    // It is a sandbox like any other from here on.
    taken.sh("echo kept > /dev/shm/kept").await;
    taken.pause().await;
    taken.resume().await;
    assert_eq!(
        taken.sh("cat /dev/shm/kept; hostname").await,
        "kept\nspring\n"
    );
}

#[tokio::test]
async fn many_at_once_have_one_each_and_one_boot_serves_all() {
    let server = with_pool("2+1").await;
    let client = server.client();
    let six = join_all((0..6).map(|_| TestSandbox::create(&client))).await;
    let own =
        "cat /etc/machine-id /proc/sys/kernel/random/boot_id; head -c 8 /dev/urandom | od -An -tx8";
    let told = join_all(six.iter().map(|one| one.sh(own))).await;
    let seen: HashSet<_> = told.iter().flat_map(|told| told.lines()).collect();
    assert_eq!(seen.len(), 18, "something repeats: {told:?}");
    let images = server.data().join("store/boot-images");
    assert_eq!(images.read_dir().unwrap().count(), 1);
    let pool = full(&server).await;
    assert!(pool.hits >= 3, "{pool:?}");
    for one in six {
        one.delete().await;
    }
}

#[tokio::test]
async fn the_first_of_a_shape_boot_once_for_all_of_them() {
    let server = Server::start_with_env(&[
        ("WRENN_BOOT_IMAGES_MB", PathBuf::from("2048")),
        ("WRENN_POOL", PathBuf::from("minimal:1:128=0")),
    ]);
    let client = server.client();
    let four = join_all((0..4).map(|_| TestSandbox::create(&client))).await;
    let log = server.log();
    let of_ours = format!("MiB({MEMORY})");
    let made = log
        .lines()
        .filter(|line| line.contains("a boot image was made") && line.contains(&of_ours));
    assert_eq!(made.count(), 1, "{log}");
    for one in four {
        // It is told to have come up before it was made.
        let up: f64 = one
            .sh("cut -d' ' -f1 /proc/uptime")
            .await
            .trim()
            .parse()
            .unwrap();
        assert!(up > 0.0);
        one.delete().await;
    }
}

/// What is only started has a network as well, and only what its policy says.
#[tokio::test]
async fn whatever_it_was_it_reaches_what_it_may_and_nothing_else() {
    let _answers = Service::tcp_echo(PORT).unwrap();
    for counts in ["1", "0+1"] {
        let server = with_pool(counts).await;
        let client = server.client();
        let usual = TestSandbox::create(&client).await;
        assert_eq!(pool(&server).await.hits, 1, "{counts}");
        assert!(
            reached(&usual, PORT).await.contains(&INTERNET),
            "{counts}: it has no network"
        );
        usual.delete().await;
        full(&server).await;
        let closed = CreateSandbox {
            network: Some(Network {
                internet: false,
                ..Network::default()
            }),
            ..CreateSandbox::default()
        };
        let closed = TestSandbox::create_with(&client, closed).await;
        assert_eq!(pool(&server).await.hits, 2, "{counts}");
        let got = reached(&closed, PORT).await;
        assert!(
            got.is_empty(),
            "{counts}: it has more than its policy: {got:?}"
        );
    }
}

/// Waits until others stand ready instead of these.
async fn replaced(server: &Server, before: &HashSet<String>) {
    until("others", FILL_LIMIT, || async {
        let after = spares(server);
        (after.is_disjoint(before) && after.len() == before.len()).then_some(())
    })
    .await;
    full(server).await;
}

#[tokio::test]
async fn what_hangs_is_not_handed_out() {
    let server = with_pool("1+1").await;
    let before = spares(&server);
    assert_eq!(before.len(), 2);
    for name in &before {
        stop_machine(name);
    }
    let sandbox = TestSandbox::create(&server.client()).await;
    assert_eq!(sandbox.sh("echo here").await, "here\n");
    replaced(&server, &before).await;
}

#[tokio::test]
async fn what_has_died_is_not_handed_out_and_is_found_by_itself() {
    let server = with_pool("1+1").await;
    let before = spares(&server);
    for name in &before {
        kill_machine(name);
    }
    let sandbox = TestSandbox::create(&server.client()).await;
    assert_eq!(sandbox.sh("echo here").await, "here\n");
    replaced(&server, &before).await;
    let asked = pool(&server).await;
    let before = spares(&server);
    for name in &before {
        kill_machine(name);
    }
    replaced(&server, &before).await;
    let after = pool(&server).await;
    assert_eq!((after.hits, after.misses), (asked.hits, asked.misses));
}

#[tokio::test]
async fn an_agent_that_starts_anew_makes_others_and_its_sandboxes_run_on() {
    let mut server = with_pool("1").await;
    let id = TestSandbox::create(&server.client()).await.id.clone();
    full(&server).await;
    let before = spares(&server);
    server.kill();
    server.resume();
    let client = server.client();
    let sandbox = TestSandbox::of(&client, client.sandbox(&id).await.unwrap());
    assert_eq!(sandbox.sh("echo here").await, "here\n");
    full(&server).await;
    let after = spares(&server);
    assert!(
        after.is_disjoint(&before) && after.len() == 1,
        "{before:?} {after:?}"
    );
}

#[tokio::test]
async fn a_template_that_is_gone_has_nothing_ready() {
    let server = with_pool("1").await;
    let client = server.client();
    client.delete_template("minimal").await.unwrap();
    let refused = client
        .create_sandbox(&CreateSandbox {
            memory_mb: Some(MEMORY),
            ..CreateSandbox::default()
        })
        .await;
    assert_eq!(refused.unwrap_err().api().unwrap().code, "not_found");
    until("an empty pool", FILL_LIMIT, || async {
        spares(&server).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_stands_ready_gives_its_place_to_who_needs_it() {
    let size = format!("minimal:1:{MEMORY}=3");
    let room = (MEMORY + 400) * 3;
    let server = Server::start_with_env(&[
        ("WRENN_BOOT_IMAGES_MB", PathBuf::from("2048")),
        ("WRENN_POOL", PathBuf::from(size)),
        ("WRENN_MEMORY_MB", PathBuf::from(room.to_string())),
    ]);
    until("something ready", FILL_LIMIT, || async {
        (pool(&server).await.ready >= 2).then_some(())
    })
    .await;
    // Of another shape, so that nothing of the pool is taken for it.
    let request = CreateSandbox {
        cold: true,
        ..CreateSandbox::default()
    };
    let mut sandboxes = Vec::new();
    for _ in 0..3 {
        sandboxes.push(TestSandbox::create_with(&server.client(), request.clone()).await);
    }
    for one in &sandboxes {
        assert_eq!(one.sh("echo here").await, "here\n");
    }
    // They have all that there is.
    assert_eq!(spares(&server), HashSet::new());
}

/// Nothing stands ready in front of it, also when it was used lately.
#[tokio::test]
async fn what_was_asked_for_alone_stands_by_and_is_taken() {
    let server = with_pool("1").await;
    let client = server.client();
    let only_started = WarmPool {
        template: "minimal".to_owned(),
        vcpus: Some(1),
        memory_mb: Some(MEMORY),
        count: 0,
        started: Some(1),
    };
    let warmed = client.warm_pool(&only_started).await.unwrap();
    assert_eq!((warmed.wanted, warmed.wanted_started), (0, 1));
    for hits in 1..=2 {
        let before = until("a VMM that stands by alone", FILL_LIMIT, || async {
            let pool = pool(&server).await;
            (pool.ready == 0 && pool.started == 1).then_some(pool)
        })
        .await;
        assert_eq!(before.hits, hits - 1);
        let sandbox = TestSandbox::create(&client).await;
        assert_eq!(sandbox.sh("echo here").await, "here\n");
        assert_eq!(pool(&server).await.hits, hits);
        sandbox.delete().await;
    }
}

#[tokio::test]
async fn more_than_there_is_room_for_is_refused_soon_and_changes_nothing() {
    let size = format!("minimal:1:{MEMORY}=1");
    let room = (MEMORY + 400) * 2;
    let server = Server::start_with_env(&[
        ("WRENN_BOOT_IMAGES_MB", PathBuf::from("2048")),
        ("WRENN_POOL", PathBuf::from(size)),
        ("WRENN_MEMORY_MB", PathBuf::from(room.to_string())),
    ]);
    full(&server).await;
    let many = WarmPool {
        template: "minimal".to_owned(),
        vcpus: Some(1),
        memory_mb: Some(MEMORY),
        count: 50,
        started: None,
    };
    let begun = Instant::now();
    let refused = server.client().warm_pool(&many).await.unwrap_err();
    assert!(begun.elapsed() < REFUSED_LIMIT, "{:?}", begun.elapsed());
    let refused = refused.api().unwrap();
    assert_eq!(refused.code, "resource_exhausted");
    assert!(refused.message.contains("no memory left"), "{refused:?}");
    assert_eq!(pool(&server).await.wanted, 1);
    // What was made beyond that goes again.
    full(&server).await;
}

/// However it fails: the creation goes on from the boot image, and nothing is left of what stood ready.
#[tokio::test]
async fn what_fails_while_it_is_handed_out_is_no_reason_to_refuse() {
    let mut server = with_pool("1").await;
    for failpoint in [
        "take.policy=error*1",
        "take.take=error*1",
        "take.guest=killvm*1",
    ] {
        server.terminate();
        server.resume_with(failpoint);
        full(&server).await;
        let before = spares(&server);
        let sandbox = TestSandbox::create(&server.client()).await;
        assert_eq!(sandbox.sh("echo here").await, "here\n", "{failpoint}");
        let log = server.log();
        assert!(
            log.contains("what stood ready was no use"),
            "{failpoint}: {log}"
        );
        full(&server).await;
        assert!(spares(&server).is_disjoint(&before), "{failpoint}");
        sandbox.pause().await;
        sandbox.resume().await;
        assert_eq!(sandbox.sh("echo here").await, "here\n", "{failpoint}");
        sandbox.delete().await;
    }
}

/// What is made to stand ready is in nobody's way.
#[tokio::test]
async fn it_is_made_behind_everybody_else_and_is_like_them_once_it_is_taken() {
    let server = with_pool("1+1").await;
    let before = spares(&server);
    let shares: Vec<_> = before.iter().map(|vm| cpu_share(vm)).collect();
    let booted = CreateSandbox {
        cold: true,
        ..CreateSandbox::default()
    };
    let client = server.client();
    let booted = TestSandbox::create_with(&client, booted).await;
    let usual = cpu_share(&machine_of(&server, &booted));
    assert!(
        shares.iter().all(|share| share * 10 < usual),
        "{shares:?} beside {usual}"
    );
    let taken = TestSandbox::create(&client).await;
    let vm = machine_of(&server, &taken);
    assert!(before.contains(&vm));
    assert_eq!(cpu_share(&vm), usual);
}

/// What a virtual machine's cgroup gets of the processors beside others.
fn cpu_share(vm: &str) -> u32 {
    let files = [
        "/sys/fs/cgroup/cpu/*/VM/cpu.shares",
        "/sys/fs/cgroup/*/VM/cpu.weight",
    ];
    let found = files.iter().find_map(|file| {
        let (above, below) = file.split_once("/*/").unwrap();
        let mut groups = std::fs::read_dir(above).ok()?;
        groups.find_map(|group| {
            let file = group.ok()?.path().join(below.replace("VM", vm));
            std::fs::read_to_string(file).ok()?.trim().parse().ok()
        })
    });
    found.expect("it has a cgroup")
}
