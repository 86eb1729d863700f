//! Layers as snapshots of the device mapper, on a kernel that has it: `make test-kvm-host`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use wrenn_disk::dm::{DmSnapshot, Fill, store};
use wrenn_disk::{Disk, Error, Grown, Layer};
use wrenn_model::InstanceId;
use wrenn_sys::dm::Mapper;
use wrenn_sys::loopdev::LoopDevice;
use wrenn_testkit::xfs::on_xfs;

const MIB: u64 = 1 << 20;

fn snapshots() -> DmSnapshot {
    DmSnapshot::open(&InstanceId::random()).unwrap()
}

/// A base image of so many bytes in which each block has a number.
fn base(dir: &Path, len: u64) -> PathBuf {
    let path = dir.join("base");
    let file = File::create(&path).unwrap();
    file.set_len(len).unwrap();
    for block in 0..(len / MIB) {
        let byte = u8::try_from(block % 251 + 1).unwrap();
        file.write_all_at(&vec![byte; 64 << 10], block * MIB)
            .unwrap();
    }
    file.sync_all().unwrap();
    path
}

fn layer(dir: &Path, base: &Path, vm: &str) -> Layer {
    let folder = dir.join(vm);
    fs::create_dir(&folder).unwrap();
    Layer {
        overlay: folder.join("overlay"),
        base: base.to_owned(),
        virtual_size: base.metadata().unwrap().len(),
    }
}

/// Makes a layer, and it ready for a VMM.
fn begin(snapshots: &DmSnapshot, layer: &Layer) {
    snapshots.create(layer, 0).unwrap();
    let number = snapshots.attach(layer).unwrap();
    assert_eq!(number, snapshots.device(layer).unwrap());
}

fn device(snapshots: &DmSnapshot, layer: &Layer) -> File {
    let number = snapshots.device(layer).unwrap().unwrap();
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(number.mapped_path());
    device.unwrap()
}

fn bytes(file: &File, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes
}

/// How many loop devices the image has.
fn loops_of(image: &Path) -> usize {
    LoopDevice::find_all(&File::open(image).unwrap())
        .unwrap()
        .len()
}

/// Has this thread see a `/dev` with no loop device.
fn cover_dev() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    let tmpfs = Some("tmpfs");
    mount(tmpfs, "/dev", tmpfs, MsFlags::empty(), None::<&str>).unwrap();
    node("loop-control", SFlag::S_IFCHR, 10, 237);
}

/// Numbers are those of the kernel's `admin-guide/devices.txt`.
fn node(name: &str, kind: SFlag, major: u32, minor: u32) {
    let device = makedev(major.into(), minor.into());
    mknod(
        &Path::new("/dev").join(name),
        kind,
        Mode::S_IRUSR | Mode::S_IWUSR,
        device,
    )
    .unwrap();
}

fn wait_until(what: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < until, "it did not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_layer_reads_as_its_base_and_what_is_written_is_its_own() {
    on_xfs(512 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 64 * MIB));
        let (one, other) = (layer(dir, &base, "vm-1"), layer(dir, &base, "vm-2"));
        for layer in [&one, &other] {
            begin(&snapshots, layer);
        }
        assert_eq!(loops_of(&base), 1);
        let before = fs::read(&base).unwrap();
        let disk = device(&snapshots, &one);
        disk.write_all_at(&[9; 8192], 5 * MIB + 4096).unwrap();
        disk.sync_all().unwrap();
        let mut wanted = before.clone();
        let at = usize::try_from(5 * MIB + 4096).unwrap();
        wanted[at..at + 8192].fill(9);
        assert!(bytes(&disk, 0, wanted.len()) == wanted);
        let untouched = device(&snapshots, &other);
        assert!(bytes(&untouched, 0, before.len()) == before);
        assert!(fs::read(&base).unwrap() == before);
        // The overlay is sparse, and root's.
        let meta = one.overlay.metadata().unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o600));
        assert!(snapshots.usage(&one).unwrap() < MIB);
        drop((disk, untouched));
        for layer in [&one, &other] {
            snapshots.remove(layer).unwrap();
            snapshots.remove(layer).unwrap();
            assert!(!layer.overlay.exists());
        }
        assert_eq!(snapshots.mapped().unwrap(), []);
        wait_until(|| loops_of(&base) == 0);
    });
}

#[test]
fn what_is_there_already_is_left_alone_and_a_failure_leaves_nothing() {
    on_xfs(512 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 16 * MIB));
        let layer = layer(dir, &base, "vm-1");
        begin(&snapshots, &layer);
        let again = snapshots.create(&layer, 0).unwrap_err();
        assert!(matches!(again, Error::Exists { .. }), "{again}");
        snapshots.attach(&layer).unwrap_err();
        assert!(snapshots.device(&layer).unwrap().is_some());
        snapshots.detach(&layer).unwrap();
        let wrong = Layer {
            virtual_size: 32 * MIB,
            ..layer.clone()
        };
        let refused = snapshots.attach(&wrong).unwrap_err();
        assert!(matches!(refused, Error::BaseSize { .. }), "{refused}");
        assert_eq!(snapshots.mapped().unwrap(), []);
        snapshots.remove(&layer).unwrap();
        wait_until(|| loops_of(&base) == 0);
    });
}

/// As in a container that was given few of them: what the kernel has no node for here can't be had.
#[test]
fn loop_devices_that_are_used_up_are_told_and_nothing_is_kept() {
    on_xfs(512 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 16 * MIB));
        let layer = layer(dir, &base, "vm-1");
        snapshots.create(&layer, 0).unwrap();
        let used_up = |path: &Path| match snapshots.attach(&layer).unwrap_err() {
            Error::NoLoopDevice { path: missing } => assert_eq!(missing, path),
            other => panic!("{other}"),
        };
        std::thread::scope(|scope| {
            // The mounts go with the thread's mount namespace.
            let without = scope.spawn(|| {
                let next = LoopDevice::attach(
                    &File::options().read(true).write(true).open(&base).unwrap(),
                );
                let next = next.unwrap().number();
                wait_until(|| loops_of(&base) == 0);
                cover_dev();
                used_up(&layer.overlay);
                // The overlay gets one, and there is no other.
                node(&format!("loop{next}"), SFlag::S_IFBLK, 7, next);
                used_up(&layer.base);
            });
            without.join().unwrap();
        });
        assert_eq!(snapshots.mapped().unwrap(), []);
        wait_until(|| loops_of(&base) == 0 && loops_of(&layer.overlay) == 0);
        snapshots.attach(&layer).unwrap();
        snapshots.detach(&layer).unwrap();
        snapshots.remove(&layer).unwrap();
        wait_until(|| loops_of(&base) == 0);
    });
}

#[test]
fn a_checkpoint_has_all_that_waits_in_the_page_cache() {
    on_xfs(1024 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 64 * MIB));
        let source = layer(dir, &base, "vm-1");
        begin(&snapshots, &source);
        let disk = device(&snapshots, &source);
        // A thousand blocks that nobody has synced.
        for block in 0..1000 {
            disk.write_all_at(&[7; 4096], block * 5 * 4096).unwrap();
        }
        let kept = dir.join("checkpoint");
        let checkpoint = snapshots.checkpoint(&source, &kept).unwrap();
        assert_eq!(checkpoint.metadata().unwrap().mode() & 0o777, 0o600);
        // What is written later is not in it.
        disk.write_all_at(&[8; 4096], 0).unwrap();
        disk.sync_all().unwrap();
        let branch = layer(dir, &base, "vm-2");
        snapshots.branch(&kept, &branch, 0).unwrap();
        snapshots.attach(&branch).unwrap();
        let branched = device(&snapshots, &branch);
        let missing =
            (0..1000).filter(|block| bytes(&branched, block * 5 * 4096, 4096) != [7; 4096]);
        assert_eq!(missing.count(), 0);
        // And the branch's own writes are nobody else's.
        branched.write_all_at(&[6; 4096], 4096).unwrap();
        branched.sync_all().unwrap();
        assert_eq!(
            bytes(&disk, 4096, 1),
            bytes(&File::open(&base).unwrap(), 4096, 1)
        );
        let again = snapshots.checkpoint(&source, &kept).unwrap_err();
        assert!(matches!(again, Error::Exists { .. }), "{again}");
        // The source goes on, also after a checkpoint that failed.
        disk.write_all_at(&[5; 4096], 0).unwrap();
        disk.sync_all().unwrap();
        drop((disk, branched));
        snapshots.remove(&branch).unwrap();
        snapshots.remove(&source).unwrap();
    });
}

#[test]
fn a_flattened_layer_reads_as_the_disk_did_and_takes_what_that_holds() {
    on_xfs(1024 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 64 * MIB));
        let source = layer(dir, &base, "vm-1");
        begin(&snapshots, &source);
        let disk = device(&snapshots, &source);
        for block in 0..600 {
            disk.write_all_at(&[7; 4096], block * 11 * 4096).unwrap();
        }
        // Zeros over what the base has.
        disk.write_all_at(&vec![0; 64 << 10], 3 * MIB).unwrap();
        let kept = dir.join("checkpoint");
        snapshots.checkpoint(&source, &kept).unwrap();
        let flat = store::flatten(&kept, &base, &dir.join("flat")).unwrap();
        let len = usize::try_from(64 * MIB).unwrap();
        assert!(bytes(&flat, 0, len) == bytes(&disk, 0, len));
        // The file system rounds up.
        flat.sync_all().unwrap();
        let allocated = flat.metadata().unwrap().blocks() * 512;
        let held = (600 * 4096) + 64 * (64 << 10);
        assert!(allocated < 2 * held, "{allocated} for {held}");
        drop(disk);
        snapshots.remove(&source).unwrap();
    });
}

/// As when the agent dies in a pause.
#[test]
fn a_layer_whose_checkpoint_nobody_ended_goes_on() {
    on_xfs(512 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 16 * MIB));
        let layer = layer(dir, &base, "vm-1");
        // None that is there is fine.
        snapshots.go_on(&layer).unwrap();
        begin(&snapshots, &layer);
        let mapped = snapshots.mapped().unwrap().remove(0);
        let mapper = Mapper::open().unwrap();
        mapper.suspend(&mapped.name).unwrap();
        let disk = device(&snapshots, &layer);
        let writer = std::thread::spawn(move || {
            disk.write_all_at(&[4; 4096], 0).unwrap();
            disk.sync_all().unwrap();
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!writer.is_finished(), "it was not suspended");
        snapshots.go_on(&layer).unwrap();
        writer.join().unwrap();
        // And of one that goes on already nothing changes.
        snapshots.go_on(&layer).unwrap();
        snapshots.remove(&layer).unwrap();
    });
}

#[test]
fn a_device_that_is_busy_is_removed_as_soon_as_it_is_let_go() {
    on_xfs(512 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 16 * MIB));
        let layer = layer(dir, &base, "vm-1");
        begin(&snapshots, &layer);
        let held = device(&snapshots, &layer);
        let began = Instant::now();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            drop(held);
        });
        snapshots.remove(&layer).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(500));
        holder.join().unwrap();
        assert!(snapshots.device(&layer).unwrap().is_none());
    });
}

#[test]
fn another_process_finds_what_a_dead_one_left() {
    on_xfs(512 * MIB, |dir| {
        let instance = InstanceId::random();
        let base = base(dir, 16 * MIB);
        let (one, other) = (layer(dir, &base, "vm-1"), layer(dir, &base, "vm-2"));
        let dead = DmSnapshot::open(&instance).unwrap();
        begin(&dead, &one);
        drop(dead);
        let next = DmSnapshot::open(&instance).unwrap();
        // Its base has the one device that it had.
        begin(&next, &other);
        assert_eq!(loops_of(&base), 1);
        // Others' are not told.
        let stranger = snapshots();
        assert_eq!(stranger.mapped().unwrap(), []);
        let mut mapped = next.mapped().unwrap();
        mapped.sort_by(|a, b| a.vm.cmp(&b.vm));
        let vms: Vec<_> = mapped.iter().map(|mapped| mapped.vm.as_str()).collect();
        assert_eq!(vms, ["vm-1", "vm-2"]);
        for mapped in &mapped {
            next.remove_mapped(mapped).unwrap();
        }
        assert_eq!(next.mapped().unwrap(), []);
        wait_until(|| loops_of(&base) == 0 && loops_of(&one.overlay) == 0);
    });
}

/// The disk is larger than the overlay is at first: it grows under its guest, and nothing is lost.
#[test]
fn an_overlay_grows_before_it_is_full() {
    on_xfs(3072 * MIB, |dir| {
        let snapshots = snapshots();
        let base = dir.join("base");
        File::create(&base).unwrap().set_len(2048 * MIB).unwrap();
        let layer = layer(dir, &base, "vm-1");
        begin(&snapshots, &layer);
        // What is left is never less than what is written between two looks.
        let grown = snapshots.grow_if_needed(&layer).unwrap();
        assert!(matches!(grown, Grown::By(_)), "{grown:?}");
        let disk = device(&snapshots, &layer);
        let piece = vec![3; 4 << 20];
        for at in (0..1200 * MIB).step_by(4 << 20) {
            disk.write_all_at(&piece, at).unwrap();
            disk.sync_data().unwrap();
            snapshots.grow_if_needed(&layer).unwrap();
        }
        let Fill::Used { used, total } = snapshots.fill(&layer).unwrap() else {
            panic!("it is invalid");
        };
        assert!(used > 1200 * MIB && total > 1024 * MIB, "{used} of {total}");
        assert_eq!(bytes(&disk, 1196 * MIB, 4096), [3; 4096]);
        drop(disk);
        snapshots.remove(&layer).unwrap();
    });
}

#[test]
fn an_overlay_without_room_is_told_to_be_invalid() {
    on_xfs(512 * MIB, |dir| {
        let (snapshots, base) = (snapshots(), base(dir, 64 * MIB));
        let layer = layer(dir, &base, "vm-1");
        begin(&snapshots, &layer);
        snapshots.detach(&layer).unwrap();
        let overlay = OpenOptions::new().write(true).open(&layer.overlay).unwrap();
        overlay.set_len(8 * MIB).unwrap();
        snapshots.attach(&layer).unwrap();
        let disk = device(&snapshots, &layer);
        disk.write_all_at(&vec![1; 16 << 20], 0).unwrap();
        disk.sync_all().unwrap_err();
        assert_eq!(snapshots.fill(&layer).unwrap(), Fill::Invalid);
        let late = snapshots.grow_if_needed(&layer).unwrap_err();
        assert!(matches!(late, Error::Invalidated { .. }), "{late}");
        drop(disk);
        snapshots.remove(&layer).unwrap();
    });
}
