//! The host is started anew: what ran is gone with all that the kernel had of it, what was paused is not.
//!
//! The test plays it in mounts of its own: everything of the installation is taken out of the kernel, and the next start
//! sees another boot id.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use wrenn_client::api::CreateSandbox;

use crate::harness::{MEMORY, Server, TestSandbox, until};
use crate::pause_faults::settles;

/// Takes from the kernel what an installation has there, and what a restart would take too.
const TAKE_AWAY: &str = r#"
set -eu
id=$(cat "$1/instance")
groups() { find /sys/fs/cgroup -depth -type d -path "*/wrenn-$id*"; }
for i in $(seq 200); do
    groups | while read -r group; do
        while read -r pid; do kill -KILL "$pid" 2>/dev/null || :; done < "$group/cgroup.procs" || :
        rmdir "$group" 2>/dev/null || :
    done
    [ -n "$(groups)" ] || break
    sleep 0.05
done
for link in $(ip -o link | sed -nE "s/^[0-9]+: (w$id[^@:]*).*/\1/p"); do ip link delete "$link"; done
for name in $(ip netns | sed -nE "s/^(wrenn-$id-[^ ]*).*/\1/p"); do ip netns delete "$name"; done
nft delete table ip "wrenn-$id"
ip route | sed -nE 's/^(unreachable .* metric '"$((36#$id))"') *$/\1/p' | while read -r route; do ip route delete $route; done
if mountpoint -q "$1/store"; then umount "$1/store"; fi
cat /proc/sys/kernel/random/uuid > "$1.boot"
mount --bind "$1.boot" /proc/sys/kernel/random/boot_id
"#;

/// Gives this thread, and what it starts, mounts of its own. KVM is not tried there: the verdict about it would be of a boot
/// that nobody else has.
fn own_mounts(dir: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    // The stores of other tests came along: they could not be given back while they are mounted here too.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let roots = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for store in roots.filter(|root| root.ends_with("/store")) {
        umount2(store, MntFlags::MNT_DETACH).unwrap();
    }
    let kvm = Path::new("/dev/kvm");
    if kvm.exists() {
        let file = dir.join("kvm");
        std::fs::write(&file, "").unwrap();
        mount(
            Some(&file),
            kvm,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, kvm, None::<&str>, read_only, None::<&str>).unwrap();
    }
}

/// The host goes down under everything, and comes up again.
fn reboot(server: &mut Server) {
    server.kill();
    #[expect(clippy::disallowed_methods, reason = "a test's helper")]
    let taken = Command::new("bash")
        .args(["-c", TAKE_AWAY, "reboot"])
        .arg(server.data())
        .status();
    assert!(taken.unwrap().success());
    server.resume();
}

#[tokio::test]
async fn a_restart_of_the_host_takes_what_ran_and_nothing_that_was_saved() {
    let dir = TempDir::new().unwrap();
    own_mounts(dir.path());
    let mut server = Server::start();
    let client = server.client();
    let plain = TestSandbox::create(&client).await;
    plain.sh("echo kept > /root/file; sync").await;
    let saved = TestSandbox::create(&client).await;
    saved.sh("echo mine > /run/mine").await;
    let saved_at = saved.pause().await.sandbox.paused_at;
    saved.resume().await;
    saved.sh("echo later > /run/mine").await;
    let paused = TestSandbox::create(&client).await;
    paused.sh("echo mine > /run/mine").await;
    let paused_at = paused.pause().await.sandbox.paused_at;
    let half = tokio::spawn(async move {
        let request = CreateSandbox {
            memory_mb: Some(MEMORY),
            ..CreateSandbox::default()
        };
        client.create_sandbox(&request).await
    });
    tokio::time::sleep(Duration::from_millis(400)).await;

    reboot(&mut server);
    drop(half.await.unwrap());
    let client = server.client();
    let again = |sandbox: &TestSandbox| TestSandbox::of(&client, (**sandbox).clone());
    let [plain, saved, paused] = [&plain, &saved, &paused].map(again);

    let lost = settles(&plain, &["error"]).await;
    let why = lost.status_reason.unwrap();
    assert!(why.contains("the host was restarted"), "{why}");
    let folder = server.data().join("store/sandboxes").join(&plain.id);
    let kept = std::fs::read_dir(&folder).unwrap().flatten();
    assert!(
        kept.into_iter()
            .any(|entry| entry.path().join("disk.qcow2").exists()),
        "its disk is kept"
    );

    let fell_back = settles(&saved, &["paused"]).await;
    assert_eq!(
        (fell_back.paused_at, fell_back.lost_since),
        (saved_at, saved_at)
    );
    assert_eq!(saved.resume().await.sandbox.lost_since, saved_at);
    assert_eq!(saved.sh("cat /run/mine").await, "mine\n");

    let slept_on = settles(&paused, &["paused"]).await;
    assert_eq!((slept_on.paused_at, slept_on.lost_since), (paused_at, None));
    paused.resume().await;
    assert_eq!(paused.sh("cat /run/mine").await, "mine\n");

    until(
        "the end of what was half made",
        Duration::from_secs(30),
        || async {
            let all = client.sandboxes().await.unwrap();
            let others = all.iter().filter(|sandbox| {
                ![&plain.id, &saved.id, &paused.id].contains(&&sandbox.id)
                    && sandbox.status != "stopped"
            });
            (others.count() == 0).then_some(())
        },
    )
    .await;
    for sandbox in [plain, saved, paused] {
        sandbox.delete().await;
    }
}
