//! A file system of a test's own, to be filled.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Nearly all can be taken at once; where that ends, only trying tells.
const FILE_SYSTEM_KEEPS: u64 = 2 << 20;

/// A file system of its own that shares blocks: what stands on it needs no volume.
pub(crate) struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    pub(crate) fn new(bytes: u64) -> Self {
        Self::made_with(bytes, &[])
    }

    /// One for files by the ten thousand at the most.
    pub(crate) fn with_few_inodes(bytes: u64) -> Self {
        Self::made_with(bytes, &["-i", "size=2048,maxpct=1"])
    }

    fn made_with(bytes: u64, options: &[&str]) -> Self {
        let dir = TempDir::with_prefix("wrenn-e2e-disk-").unwrap();
        let disk = Self { dir };
        File::create(disk.image()).unwrap().set_len(bytes).unwrap();
        std::fs::create_dir(disk.path()).unwrap();
        let image = disk.image();
        let mut arguments = vec![Path::new("-q")];
        arguments.extend(options.iter().map(Path::new));
        arguments.push(&image);
        run("mkfs.xfs", &arguments);
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

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Takes all but `spare` bytes; they come back with the returned file's removal.
    pub(crate) fn fill_but(&self, spare: u64) -> PathBuf {
        let filler = self.path().join("filler");
        let file = File::create(&filler).unwrap();
        let space = rustix::fs::statvfs(self.path()).unwrap();
        let size = (space.f_bavail * space.f_frsize)
            .checked_sub(spare)
            .unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
        filler
    }

    /// Takes all, to the last block.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.fill_but(FILE_SYSTEM_KEEPS);
        let mut file = File::options().append(true).open(&filler).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.path();
        if std::thread::panicking() {
            // What a test that failed left open goes with the world.
            return run("umount", &["-l".as_ref(), path.as_ref()]);
        }
        run("umount", &[&path]);
    }
}

fn run(program: &str, args: &[&Path]) {
    #[expect(clippy::disallowed_methods, reason = "a test's helper")]
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program}");
}
