//! What only Firecracker has: its jail, its page server, pauses that save what is new alone. Wants a host with KVM and a device mapper,
//! and a Firecracker: `make test-kvm-host` runs these where it finds one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use wrenn_client::Client;
use wrenn_client::api::{CreateSandbox, ResumeRequest};

use crate::harness::{Server, SmallDisk, TestSandbox, shell, until};

/// A guest in an emulated host is slow.
const SLOW: Duration = Duration::from_secs(90);
/// What is random in the guest's memory, in MiB: much to bring.
const RANDOM: u32 = 120;
const FILL: &str = "head -c 120M /dev/urandom > /dev/shm/random && md5sum < /dev/shm/random";
pub(crate) const SUM: &str = "md5sum < /dev/shm/random";

/// A process of a sandbox's virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    pid: i32,
    name: String,
}

/// Everything in the control group of a sandbox's virtual machine.
fn members(data: &Path, sandbox: &str) -> Vec<Member> {
    let folder = data.join("store/sandboxes").join(sandbox);
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let vms: Vec<String> = names.filter(|name| name.starts_with("vm-")).collect();
    let pids = std::fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let inside = vms.iter().any(|vm| groups.contains(vm.as_str()));
        inside.then(|| Member {
            pid,
            name: name.trim().to_owned(),
        })
    })
    .collect()
}

/// The process of this name.
pub(crate) fn member(data: &Path, sandbox: &str, name: &str) -> Option<i32> {
    let found = members(data, sandbox);
    found
        .iter()
        .find(|member| member.name.starts_with(name))
        .map(|member| member.pid)
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// A field of `/proc/PID/status`.
fn status(pid: i32, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

/// With 120 MiB of its memory that are its own, paused.
pub(crate) async fn paused_with_much(server: &Server) -> (TestSandbox, String) {
    let request = CreateSandbox {
        memory_mb: Some(512),
        ..CreateSandbox::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    let sum = sandbox.sh(FILL).await;
    let paused = sandbox.pause().await;
    let written = paused.memory_bytes.unwrap();
    assert!(written >= u64::from(RANDOM) << 20, "{written}");
    (sandbox, sum)
}

#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn the_vmm_and_its_page_server_have_nothing() {
    let server = Server::start();
    let (sandbox, sum) = paused_with_much(&server).await;
    sandbox.resume().await;
    let data = server.data();
    println!("{:?}", members(&data, &sandbox.id));
    let vmm = member(&data, &sandbox.id, "firecracker").unwrap();
    let pages = member(&data, &sandbox.id, "wrenn-pages");
    for pid in std::iter::once(vmm).chain(pages) {
        assert_eq!(status(pid, "CapEff"), "0000000000000000", "{pid}");
        assert_eq!(status(pid, "NoNewPrivs"), "1", "{pid}");
        assert_eq!(status(pid, "Seccomp"), "2", "{pid}");
        let uids = status(pid, "Uid");
        assert!(!uids.split_whitespace().any(|uid| uid == "0"), "{uids}");
        let own = |name: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        let ours = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        for name in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            assert_ne!(own(name), ours(name), "{pid} shares its {name} namespace");
        }
    }
    // What it sees is its own.
    let root = std::fs::read_dir(format!("/proc/{vmm}/root")).unwrap();
    let mut seen: Vec<_> = root
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    seen.sort();
    let expected = [
        "captured.memory",
        "captured.state",
        "dev",
        "disk",
        "filter",
        "firecracker",
        "firecracker.pid",
        "log",
        "metrics",
        "pages.sock",
        "run",
        "state",
    ];
    assert_eq!(seen, expected);
    assert_eq!(sandbox.sh(SUM).await, sum);
    sandbox.delete().await;
}

/// What is saved is what was dirtied, whatever of the memory was never brought or only read.
#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn a_pause_writes_what_was_dirtied() {
    let server = Server::start();
    let (sandbox, sum) = paused_with_much(&server).await;
    sandbox.resume().await;
    let idle = sandbox.pause().await.memory_bytes.unwrap();
    sandbox.resume().await;
    let dirtied = 32_u64 << 20;
    sandbox.sh("head -c 32M /dev/urandom > /dev/shm/more").await;
    let written = sandbox.pause().await.memory_bytes.unwrap();
    println!("dirtied {dirtied} and what an idle guest does, {idle}; written {written}");
    assert!(written <= (dirtied + idle) * 13 / 10, "{written}");
    sandbox.resume().await;
    assert_eq!(sandbox.sh(SUM).await, sum);
    sandbox.delete().await;
}

/// A page server that ends, or stands still, takes everything along that waits for it; nobody else notices, and the pause is as it was.
#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn a_guest_whose_memory_is_not_brought_is_ended_and_can_be_resumed() {
    let server = Server::start();
    let other = TestSandbox::create(&server.client()).await;
    let (sandbox, sum) = paused_with_much(&server).await;
    let data = server.data();
    for (fault, resumed) in [
        (Signal::KILL, false),
        (Signal::KILL, true),
        (Signal::STOP, true),
    ] {
        let resuming = async {
            let request = ResumeRequest::default();
            server.client().resume(&sandbox.id, &request).await
        };
        let striking = until("a page server at work", SLOW, || async {
            let pages = member(&data, &sandbox.id, "wrenn-pages")?;
            // It has taken something over already.
            let vmm = member(&data, &sandbox.id, "firecracker")?;
            let resident: u64 = status(vmm, "VmRSS")
                .split_whitespace()
                .next()?
                .parse()
                .ok()?;
            (resident > 20 << 10).then(|| signal(pages, fault))
        });
        if resumed {
            resuming.await.unwrap();
            striking.await;
        } else {
            let (resumed, ()) = tokio::join!(resuming, striking);
            resumed.unwrap_err();
        }
        let now = until("its end", SLOW, || async {
            let now = sandbox.now().await;
            (now.transition.is_none() && now.status != "running").then_some(now)
        });
        let now = now.await;
        println!("{fault:?}: {} {:?}", now.status, now.status_reason);
        assert_eq!(now.status, if resumed { "error" } else { "paused" });
        assert_eq!(member(&data, &sandbox.id, "firecracker"), None);
        sandbox.resume().await;
        assert_eq!(sandbox.sh(SUM).await, sum, "after {fault:?}");
        sandbox.pause().await;
    }
    assert_eq!(other.sh("echo there").await, "there\n");
    sandbox.delete().await;
    other.delete().await;
}

/// While its memory is still being brought the agent dies: another takes both processes up.
#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn memory_goes_on_coming_when_the_agent_has_died() {
    let mut server = Server::start();
    let (sandbox, sum) = paused_with_much(&server).await;
    sandbox.resume().await;
    server.kill();
    server.resume();
    let client = server.client();
    let again = TestSandbox::of(&client, client.sandbox(&sandbox.id).await.unwrap());
    assert_eq!(again.status, "running");
    assert_eq!(again.sh(SUM).await, sum);
    again.pause().await;
    again.resume().await;
    assert_eq!(again.sh(SUM).await, sum);
    // And of a page server that ends while nobody is there to see it.
    let vmm = member(&server.data(), &again.id, "firecracker").unwrap();
    server.kill();
    signal(vmm, Signal::KILL);
    server.resume();
    let client = server.client();
    let lost = TestSandbox::of(&client, client.sandbox(&again.id).await.unwrap());
    let lost_now = lost.becomes("error", SLOW).await;
    println!(
        "killed while the agent was away: {:?}",
        lost_now.status_reason
    );
    lost.resume().await;
    assert_eq!(lost.sh(SUM).await, sum);
    lost.delete().await;
}

/// What QEMU has made is QEMU's.
#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn a_generation_of_another_vmm_is_refused_with_the_reason() {
    let mut server = Server::start_with_env(&[("WRENN_VMM", "qemu-kvm".into())]);
    let client = server.client();
    let sandbox = TestSandbox::create_with(&client, CreateSandbox::default()).await;
    sandbox.sh("echo kept > /root/kept").await;
    sandbox.pause().await;
    // Where there are sandboxes, what is chosen by itself stays.
    let restarted = restart(&mut server, "auto");
    let sandbox = TestSandbox::of(&restarted, restarted.sandbox(&sandbox.id).await.unwrap());
    sandbox.resume().await;
    sandbox.pause().await;
    let client = restart(&mut server, "firecracker");
    for cold in [false, true] {
        let request = ResumeRequest { cold };
        let refused = client.resume(&sandbox.id, &request).await.unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("made by qemu"), "{said}");
    }
    assert_eq!(client.sandbox(&sandbox.id).await.unwrap().status, "paused");
    let client = restart(&mut server, "qemu");
    let back = TestSandbox::of(&client, client.sandbox(&sandbox.id).await.unwrap());
    back.resume().await;
    assert_eq!(back.sh("cat /root/kept").await, "kept\n");
    back.delete().await;
}

/// The same installation with another choice.
fn restart(server: &mut Server, vmm: &str) -> Client {
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    server.set_env("WRENN_VMM", vmm);
    server.resume();
    server.client()
}

/// The host's Firecracker is replaced. What the former one has saved is its own: that is kept for it, and without it nothing else tries.
#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn an_upgrade_leaves_what_was_saved_to_the_build_that_saved_it() {
    let mut server = Server::start();
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox.sh("echo kept > /root/kept").await;
    sandbox.sh("echo kept > /dev/shm/kept").await;
    sandbox.pause().await;

    // Another build by a byte that nobody reads.
    let upgrade = tempfile::tempdir().unwrap();
    let former = std::env::var("WRENN_FIRECRACKER").unwrap_or("/usr/local/bin/firecracker".into());
    let former = Path::new(&former);
    let newer = upgrade.path().join("firecracker");
    std::fs::copy(
        former.with_file_name("jailer"),
        upgrade.path().join("jailer"),
    )
    .unwrap();
    std::fs::copy(former, &newer).unwrap();
    let mut file = OpenOptions::new().append(true).open(&newer).unwrap();
    file.write_all(b"\n").unwrap();
    drop(file);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    server.set_env("WRENN_FIRECRACKER", newer.to_str().unwrap());
    server.resume();

    let len = |path: &Path| path.metadata().unwrap().len();
    let data = server.data();
    let runs = |id: &str| {
        let vmm = member(&data, id, "firecracker").unwrap();
        len(Path::new(&format!("/proc/{vmm}/exe")))
    };
    let client = server.client();
    let other = TestSandbox::create(&client).await;
    assert_eq!(runs(&other.id), len(&newer));
    other.delete().await;
    let sandbox = TestSandbox::of(&client, client.sandbox(&sandbox.id).await.unwrap());
    sandbox.resume().await;
    assert_eq!(runs(&sandbox.id), len(former));
    assert_eq!(sandbox.sh("cat /dev/shm/kept").await, "kept\n");
    sandbox.pause().await;

    let builds = std::fs::read_dir(data.join("store/vmm-builds")).unwrap();
    let builds: Vec<_> = builds.map(|build| build.unwrap().path()).collect();
    let of_former = |build: &&PathBuf| {
        let program = build.join("bin/firecracker");
        program.exists() && len(&program) == len(former)
    };
    std::fs::remove_dir_all(builds.iter().find(of_former).unwrap()).unwrap();
    let refused = client.resume(&sandbox.id, &ResumeRequest::default()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("by VMM build"), "{refused}");
    assert_eq!(sandbox.now().await.status, "paused");
    let cold = client
        .resume(&sandbox.id, &ResumeRequest { cold: true })
        .await;
    cold.unwrap();
    assert_eq!(sandbox.sh("cat /root/kept").await, "kept\n");
    assert_eq!(runs(&sandbox.id), len(&newer));
    sandbox.delete().await;
}

/// A guest that ends itself does so here, too: one that powers itself off, one that resets itself, one whose kernel gives up.
#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn a_guest_that_ends_itself_is_told() {
    let server = Server::start();
    for (how, expected) in [
        ("echo o > /proc/sysrq-trigger", "stopped"),
        ("echo b > /proc/sysrq-trigger", "stopped"),
        ("echo c > /proc/sysrq-trigger", "error"),
    ] {
        let sandbox = TestSandbox::create(&server.client()).await;
        // Nobody answers any more.
        sandbox.begin(&format!("sleep 1; {how}")).await;
        let now = sandbox.becomes(expected, SLOW).await;
        println!("{how}: {} {:?}", now.status, now.status_reason);
    }
}

/// A device that finds no room is lost for good: its guest stands still before that, and goes on when there is room.
#[tokio::test]
#[ignore = "wants Firecracker: make test-kvm-host"]
async fn a_guest_stands_still_before_its_disk_has_no_room() {
    let disk = SmallDisk::new(3 << 30);
    let server = Server::start_in(&disk.path());
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    // Less than what is held back for guests, and what this one writes.
    let filler = disk.fill_but(330 << 20);
    let mut write = shell("dd if=/dev/urandom of=/root/big bs=1M count=160 && sync && echo whole");
    write.timeout_sec = Some(300);
    let (writer, id) = (client.clone(), sandbox.id.clone());
    let writing = tokio::spawn(async move { writer.exec(&id, &write).await });
    let frozen = until("the freeze", SLOW, || async {
        let now = sandbox.now().await;
        now.status_reason.is_some().then_some(now)
    });
    let frozen = frozen.await;
    assert_eq!(frozen.status, "running");
    assert!(frozen.status_reason.unwrap().contains("disk is full"));
    std::fs::remove_file(filler).unwrap();
    let written = writing.await.unwrap().unwrap();
    assert!(written.stdout.contains("whole"), "{written:?}");
    assert_eq!(sandbox.now().await.status_reason, None);
    let sum = sandbox.sh("md5sum < /root/big").await;
    sandbox.pause().await;
    sandbox.resume().await;
    sandbox.sh("echo 3 > /proc/sys/vm/drop_caches").await;
    assert_eq!(sandbox.sh("md5sum < /root/big").await, sum);
    sandbox.delete().await;
}
