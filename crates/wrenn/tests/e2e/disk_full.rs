//! A host whose disk fills up under a guest: the guest freezes, callers are told, and it goes on when there is room.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use wrenn_client::Error;

use crate::harness::{Server, TestSandbox, shell};

/// A file system of its own that shares blocks: what stands on it needs no volume.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn new(bytes: u64) -> Self {
        let dir = TempDir::with_prefix("wrenn-e2e-disk-").unwrap();
        let disk = Self { dir };
        File::create(disk.image()).unwrap().set_len(bytes).unwrap();
        std::fs::create_dir(disk.path()).unwrap();
        run("mkfs.xfs", &["-q".as_ref(), disk.image().as_ref()]);
        run(
            "mount",
            &[
                "-o".as_ref(),
                "loop".as_ref(),
                disk.image().as_ref(),
                disk.path().as_ref(),
            ],
        );
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Takes all but `spare` bytes; they come back with the returned file's removal.
    fn fill_but(&self, spare: u64) -> PathBuf {
        let filler = self.path().join("filler");
        let file = File::create(&filler).unwrap();
        let space = rustix::fs::statvfs(self.path()).unwrap();
        let size = (space.f_bavail * space.f_frsize)
            .checked_sub(spare)
            .unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &[self.path().as_ref()]);
    }
}

fn run(program: &str, args: &[&Path]) {
    #[expect(clippy::disallowed_methods, reason = "a test's helper")]
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program}");
}

#[tokio::test]
async fn a_full_disk_freezes_the_guest_until_there_is_room() {
    let disk = SmallDisk::new(3 << 30);
    {
        let server = Server::start_in(&disk.path());
        let client = server.client();
        let sandbox = TestSandbox::create(&client).await;
        let filler = disk.fill_but(40 << 20);

        let mut write =
            shell("dd if=/dev/urandom of=/root/big bs=1M count=120 && sync && echo whole");
        write.timeout_sec = Some(300);
        let (writer, id) = (client.clone(), sandbox.id.clone());
        let writing = tokio::spawn(async move { writer.exec(&id, &write).await });
        let frozen = crate::harness::until("the freeze", Duration::from_secs(120), || async {
            let now = sandbox.now().await;
            now.status_reason.is_some().then_some(now)
        })
        .await;
        assert_eq!(frozen.status, "running");
        assert!(frozen.status_reason.unwrap().contains("disk is full"));

        let Err(Error::Api(refused)) = sandbox.exec(&shell("true")).await else {
            panic!("a frozen guest took a call");
        };
        assert_eq!(refused.status.map(|status| status.as_u16()), Some(507));
        let more = client.create_sandbox(&Default::default()).await;
        assert!(matches!(more, Err(Error::Api(error)) if error.code == "resource_exhausted"));

        std::fs::remove_file(filler).unwrap();
        let written = writing.await.unwrap().unwrap();
        assert!(written.stdout.contains("whole"), "{written:?}");
        assert_eq!(sandbox.now().await.status_reason, None);
        assert_eq!(sandbox.sh("stat -c %s /root/big").await.trim(), "125829120");
        sandbox.delete().await;
    }
}
