//! The kernel ends a VMM for want of memory: the sandbox says so, its neighbours run on, and its pause is there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Server, TestSandbox, Witness, until};

/// How much more than it has a VM may get.
const SLACK: u64 = 16 << 20;
/// Takes more, all at once.
const GREED: &str = "head -c 100000000 /dev/zero > /run/greed";

/// Where the kernel counts the memory of a sandbox's VM, and how its files are called: usage and limit.
fn group(data: &Path, sandbox: &str) -> (PathBuf, [&'static str; 2]) {
    let instance = std::fs::read_to_string(data.join("instance")).unwrap();
    let folder = data.join("store/sandboxes").join(sandbox);
    let names = std::fs::read_dir(folder).unwrap().flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let vm = names.find(|name| name.starts_with("vm-")).unwrap();
    let below = format!("wrenn-{}/{vm}", instance.trim());
    let one = Path::new("/sys/fs/cgroup/memory").join(&below);
    if one.exists() {
        return (one, ["memory.usage_in_bytes", "memory.limit_in_bytes"]);
    }
    (
        Path::new("/sys/fs/cgroup").join(below),
        ["memory.current", "memory.max"],
    )
}

/// Lets a VM have hardly more memory than it has now.
fn tighten(data: &Path, sandbox: &str) {
    let (group, [usage, limit]) = group(data, sandbox);
    let used = std::fs::read_to_string(group.join(usage)).unwrap();
    let limit_now = used.trim().parse::<u64>().unwrap() + SLACK;
    std::fs::write(group.join(limit), limit_now.to_string()).unwrap();
}

async fn ended_for_want_of_memory(sandbox: &TestSandbox) {
    let lost = sandbox.becomes("error", Duration::from_secs(60)).await;
    let why = lost.status_reason.unwrap();
    assert!(why.contains("out-of-memory"), "{why}");
}

#[tokio::test]
async fn a_vm_that_the_kernel_ends_for_want_of_memory_says_so_and_goes_back_to_its_pause() {
    let mut server = Server::start();
    let client = server.client();
    let neighbour = TestSandbox::create(&client).await;
    let witness = Witness::leave(&neighbour).await;
    let greedy = TestSandbox::create(&client).await;
    greedy.sh("echo mine > /run/mine").await;
    greedy.pause().await;
    greedy.resume().await;

    tighten(&server.data(), &greedy.id);
    drop(greedy.exec(&crate::harness::shell(GREED)).await);
    ended_for_want_of_memory(&greedy).await;
    let counted = witness.check(&neighbour).await;
    assert!(greedy.resume().await.sandbox.lost_since.is_some());
    assert_eq!(greedy.sh("cat /run/mine").await, "mine\n");

    // The same while nobody watches.
    tighten(&server.data(), &greedy.id);
    greedy.begin(&format!("sleep 2; {GREED}")).await;
    let (group, _) = group(&server.data(), &greedy.id);
    server.kill();
    until("the end of the VMM", Duration::from_secs(60), || async {
        let left = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
        left.is_empty().then_some(())
    })
    .await;
    server.resume();
    let client = server.client();
    let [neighbour, greedy] =
        [neighbour, greedy].map(|sandbox| TestSandbox::of(&client, (*sandbox).clone()));
    ended_for_want_of_memory(&greedy).await;
    witness.counts_beyond(&neighbour, counted).await;
    for sandbox in [neighbour, greedy] {
        sandbox.delete().await;
    }
}
