//! The disk below an installation: no inodes, no room at a start, and a store that somebody unmounts.

use std::path::Path;
use std::time::Duration;

use rustix::mount::UnmountFlags;
use wrenn_client::{Client, Error};
use wrenn_testkit::leaks::Snapshot;

use crate::harness::{Server, SmallDisk, TestSandbox, scope, until};
use crate::start::{refused, up};

/// What a file system that is full still has for what is small, in bytes: a journal of its own does not fit.
const SPARE: u64 = 1 << 20;

/// Refused for want of room, and nothing is left of it.
async fn assert_no_room(server: &Server, client: &Client) {
    let before = Snapshot::take(&scope(server));
    let refused = client
        .create_sandbox(&Default::default())
        .await
        .unwrap_err();
    let Error::Api(refused) = refused else {
        panic!("{refused}");
    };
    let status = refused.status.map(|status| status.as_u16());
    assert_eq!(
        (refused.code.as_str(), status),
        ("resource_exhausted", Some(507)),
        "{refused}"
    );
    before.assert_nothing_new(&scope(server));
}

/// Takes every inode of a file system; they come back with the folder's removal.
fn take_inodes(disk: &Path) -> std::path::PathBuf {
    let taken = disk.join("taken");
    std::fs::create_dir(&taken).unwrap();
    let full = (0_u64..).find_map(|n| std::fs::File::create(taken.join(n.to_string())).err());
    assert_eq!(full.unwrap().kind(), std::io::ErrorKind::StorageFull);
    taken
}

#[tokio::test]
async fn without_inodes_what_runs_runs_on_and_nothing_new_begins() {
    let disk = SmallDisk::with_few_inodes(3 << 30);
    let mut server = Server::start_in(&disk.path());
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let taken = take_inodes(&disk.path());
    assert_eq!(
        sandbox
            .sh("echo more > /root/more && sync && cat /root/more")
            .await,
        "more\n"
    );
    assert_no_room(&server, &client).await;

    // A start needs some. It says so, and what runs runs on.
    server.kill();
    let said = refused(up(&server.data(), "127.0.0.1:0"));
    assert!(
        said.contains("No space left on device") && said.contains("df -i"),
        "{said}"
    );
    std::fs::remove_dir_all(taken).unwrap();
    server.resume();
    let client = server.client();
    let sandbox = TestSandbox::of(&client, (*sandbox).clone());
    assert_eq!(sandbox.sh("cat /root/more").await, "more\n");
    sandbox.delete().await;
    TestSandbox::create(&client).await.delete().await;
}

#[tokio::test]
async fn a_wrenn_that_starts_on_a_full_disk_looks_after_what_runs() {
    let disk = SmallDisk::new(3 << 30);
    let mut server = Server::start_in(&disk.path());
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox.sh("echo mine > /run/mine").await;
    let filler = disk.fill_but(SPARE);
    server.kill();
    server.resume();
    let client = server.client();
    let sandbox = TestSandbox::of(&client, (*sandbox).clone());
    assert_eq!(sandbox.sh("cat /run/mine").await, "mine\n");
    assert_no_room(&server, &client).await;
    sandbox.delete().await;
    std::fs::remove_file(filler).unwrap();
    TestSandbox::create(&client).await.delete().await;
}

#[tokio::test]
async fn a_store_that_somebody_unmounts_is_mounted_again() {
    let server = Server::start();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let store = server.data().join("store");
    if !server.data().join("store.img").exists() {
        eprintln!("skipped: the disk of this machine shares blocks, there is nothing to unmount");
        sandbox.delete().await;
        return;
    }
    rustix::mount::unmount(&store, UnmountFlags::DETACH).unwrap();
    until("the store's mount", Duration::from_secs(20), || async {
        let told = server.log().contains("the store is not mounted any more");
        (told && store.join("sandboxes").join(&sandbox.id).exists()).then_some(())
    })
    .await;
    // Each of them would otherwise write beside the store, or not find what it needs.
    let second = TestSandbox::create(&client).await;
    assert_eq!(
        sandbox
            .sh("echo on > /root/on && sync && cat /root/on")
            .await,
        "on\n"
    );
    for sandbox in [sandbox, second] {
        sandbox.pause().await;
        sandbox.resume().await;
        sandbox.delete().await;
    }
}
