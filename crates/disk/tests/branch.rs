//! Branches and checkpoints of layers, and what changed between them, on a real XFS in a mount namespace of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a test runs programs plainly and stops at the first surprise"
)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;

use rustix::fs::FallocateFlags;
use wrenn_disk::{Disk, Error, Layer, Qcow2, changed};
use wrenn_sys::extents::Extent;
use wrenn_testkit::xfs::on_xfs;

const MIB: u64 = 1 << 20;

fn layer(dir: &Path, name: &str) -> Layer {
    Layer {
        overlay: dir.join(name),
        base: dir.join("base"),
        virtual_size: 8 << 30,
    }
}

fn written(dir: &Path) -> Layer {
    let layer = layer(dir, "overlay");
    File::create(&layer.base).unwrap().set_len(MIB).unwrap();
    Qcow2.create(&layer, 4242).unwrap();
    let overlay = OpenOptions::new().write(true).open(&layer.overlay).unwrap();
    overlay.write_all_at(&vec![7; 4 << 20], 8 * MIB).unwrap();
    layer
}

fn extent(start: u64, len: u64) -> Extent {
    Extent { start, len }
}

#[test]
fn a_checkpoint_holds_what_waits_in_the_cache_and_is_the_caller_s() {
    on_xfs(512 * MIB, |dir| {
        let layer = written(dir);
        let to = dir.join("checkpoint");
        let checkpoint = Qcow2.checkpoint(&layer, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), fs::read(&layer.overlay).unwrap());
        let meta = checkpoint.metadata().unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o600));
        // All of it stands where the layer's own blocks do.
        let overlay = File::open(&layer.overlay).unwrap();
        assert_eq!(changed(&checkpoint, Some(&overlay)).unwrap(), []);
        let again = Qcow2.checkpoint(&layer, &to).unwrap_err();
        assert!(matches!(again, Error::Exists { .. }), "{again}");
    });
}

#[test]
fn a_branch_belongs_to_its_vmm_and_leaves_its_origin_alone() {
    on_xfs(512 * MIB, |dir| {
        let from = dir.join("checkpoint");
        Qcow2.checkpoint(&written(dir), &from).unwrap();
        let before = fs::read(&from).unwrap();
        let branch = layer(dir, "branch");
        Qcow2.branch(&from, &branch, 4243).unwrap();
        let meta = branch.overlay.metadata().unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (4243, 0o600));
        let file = OpenOptions::new()
            .write(true)
            .open(&branch.overlay)
            .unwrap();
        file.write_all_at(&[9; 4096], 8 * MIB).unwrap();
        assert_eq!(fs::read(&from).unwrap(), before);
        let again = Qcow2.branch(&from, &branch, 4243).unwrap_err();
        assert!(matches!(again, Error::Exists { .. }), "{again}");
    });
}

#[test]
fn a_link_in_the_place_of_a_layer_is_not_followed() {
    on_xfs(512 * MIB, |dir| {
        let layer = written(dir);
        let secret = dir.join("secret");
        fs::rename(&layer.overlay, &secret).unwrap();
        symlink(&secret, &layer.overlay).unwrap();
        let to = dir.join("checkpoint");
        let refused = Qcow2.checkpoint(&layer, &to).unwrap_err();
        assert!(matches!(refused, Error::Io { .. }), "{refused}");
        assert!(!to.exists());
    });
}

#[test]
fn what_was_written_since_a_branch_is_told_and_nothing_else() {
    on_xfs(512 * MIB, |dir| {
        let from = dir.join("checkpoint");
        let before = Qcow2.checkpoint(&written(dir), &from).unwrap();
        let all = changed(&before, None).unwrap();
        assert!(all.contains(&extent(8 * MIB, 4 * MIB)), "{all:?}");

        let branch = layer(dir, "branch");
        Qcow2.branch(&from, &branch, 0).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(&branch.overlay)
            .unwrap();
        file.write_all_at(&[9; 8192], 8 * MIB + 4096).unwrap();
        // The very same bytes again are a write too.
        file.write_all_at(&[7; 4096], 9 * MIB).unwrap();
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, punch, 10 * MIB, MIB).unwrap();
        // Room that nobody wrote, behind the old end, and a write in it.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 16 * MIB, MIB).unwrap();
        file.write_all_at(&[1; 4096], 16 * MIB + (64 << 10))
            .unwrap();
        drop(file);

        let now = Qcow2.checkpoint(&branch, &dir.join("next")).unwrap();
        let told = changed(&now, Some(&before)).unwrap();
        let expected = [
            extent(8 * MIB + 4096, 8192),
            extent(9 * MIB, 4096),
            extent(10 * MIB, MIB),
            extent(16 * MIB + (64 << 10), 4096),
        ];
        assert_eq!(told, expected);
    });
}

#[test]
fn a_layer_that_became_shorter_tells_nothing_behind_its_end() {
    on_xfs(512 * MIB, |dir| {
        let from = dir.join("checkpoint");
        let before = Qcow2.checkpoint(&written(dir), &from).unwrap();
        let branch = layer(dir, "branch");
        Qcow2.branch(&from, &branch, 0).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(&branch.overlay)
            .unwrap();
        // Its last block is cut in two.
        file.set_len(9 * MIB + 100).unwrap();
        let now = Qcow2.checkpoint(&branch, &dir.join("next")).unwrap();
        let told = changed(&now, Some(&before)).unwrap();
        assert!(
            told.iter()
                .all(|e| e.start >= 9 * MIB && e.end() <= 9 * MIB + 100),
            "{told:?}"
        );
    });
}
