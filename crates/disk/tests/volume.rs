//! The volume on real file systems, each test in a mount namespace of its own.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test runs programs plainly and stops at the first surprise"
)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use wrenn_disk::{Error, Grown, Volume, VolumeConfig, create_overlay, usage};
use wrenn_sys::loopdev::LoopDevice;
use wrenn_sys::reflink;

const MIB: u64 = 1 << 20;

const CONFIG: VolumeConfig = VolumeConfig {
    initial: 320 * MIB,
    step: 64 * MIB,
    headroom: 128 * MIB,
};

/// A host's disk with the data directories on it. It goes with the mount namespace.
struct Host {
    dir: PathBuf,
}

impl Host {
    fn new(dir: &Path, mkfs: &[&str], size: u64) -> Self {
        let image = dir.join("host.img");
        let disk = dir.join("disk");
        fs::create_dir(&disk).unwrap();
        File::create(&image).unwrap().set_len(size).unwrap();
        run(mkfs[0], &[&mkfs[1..], &[image.to_str().unwrap()]].concat());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&image)
            .unwrap();
        let device = LoopDevice::attach(&file).unwrap();
        let kind = mkfs[0].strip_prefix("mkfs.").unwrap();
        mount(
            Some(&device.path()),
            &disk,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        Self { dir: disk }
    }

    fn ext4(dir: &Path, size: u64) -> Self {
        Self::new(dir, &["mkfs.ext4", "-q", "-m", "0", "-b", "4096"], size)
    }

    fn data(&self, name: &str) -> PathBuf {
        let data = self.dir.join(name);
        fs::create_dir(&data).unwrap();
        data
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

/// Runs a test in a mount namespace that ends with it, and then looks for loop devices that it left.
fn in_private_mounts(test: impl AsyncFnOnce(&Path) + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(&path));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
    let host = dir.path().join("host.img");
    assert!(detached(&host), "a loop device was left");
}

/// Whether a file's loop device has ended, given a moment.
fn detached(path: &Path) -> bool {
    let file = File::open(path).unwrap();
    within_two_seconds(|| LoopDevice::find(&file).unwrap().is_none())
}

fn within_two_seconds(mut holds: impl FnMut() -> bool) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        holds()
    })
}

fn mounted_at(volume: &Volume) -> bool {
    let root = volume.root();
    root.metadata().unwrap().dev() != root.parent().unwrap().metadata().unwrap().dev()
}

fn open_image(data: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(data.join("store.img"))
        .unwrap()
}

/// Whether files in the volume share blocks.
fn shares_blocks(volume: &Volume) -> bool {
    let (from, to) = (volume.root().join("from"), volume.root().join("to"));
    fs::write(&from, vec![1; 1 << 20]).unwrap();
    let cloned = reflink::clone(&File::open(&from).unwrap(), &File::create(&to).unwrap());
    let same = cloned.is_ok() && fs::read(&to).unwrap() == fs::read(&from).unwrap();
    fs::remove_file(from).unwrap();
    fs::remove_file(to).unwrap();
    same
}

#[test]
fn a_disk_without_reflinks_gets_an_image_that_is_allocated_in_full() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        assert!(mounted_at(&volume) && shares_blocks(&volume));
        assert!(usage(&data.join("store.img")).unwrap() >= 320 * MIB);
        let device = LoopDevice::find(&open_image(&data)).unwrap().unwrap();
        assert!(device.direct_io().unwrap());
        drop(device);
        let space = volume.free().unwrap();
        assert!(space.free > 200 * MIB && space.image >= Some(320 * MIB));
        assert_eq!(volume.grow_if_needed().await.unwrap(), Grown::No);
        volume.close().await.unwrap();
        assert!(!mounted_at(&volume));
        assert!(LoopDevice::find(&open_image(&data)).unwrap().is_none());
        assert!(matches!(volume.grow_if_needed().await, Err(Error::Closed)));
    });
}

#[test]
fn a_disk_with_reflinks_needs_no_image() {
    in_private_mounts(async |dir| {
        let mkfs = ["mkfs.xfs", "-q", "-m", "reflink=1", "-s", "size=4096"];
        let data = Host::new(dir, &mkfs, 512 * MIB).data("data");
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        assert!(!mounted_at(&volume) && shares_blocks(&volume));
        assert!(!data.join("store.img").exists());
        assert_eq!(volume.free().unwrap().image, None);
        assert_eq!(volume.grow_if_needed().await.unwrap(), Grown::No);
        let space = volume.free().unwrap();
        let filler = File::create(volume.root().join("filler")).unwrap();
        allocate(&filler, space.free - 100 * MIB);
        let full = volume.grow_if_needed().await.unwrap_err();
        assert!(matches!(full, Error::HostFull { .. }), "{full}");
        volume.close().await.unwrap();
    });
}

#[test]
fn a_process_that_died_finds_its_volume_mounted() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let first = Volume::open(&data, CONFIG).await.unwrap();
        fs::write(first.root().join("kept"), "kept").unwrap();
        drop(first);
        let second = Volume::open(&data, CONFIG).await.unwrap();
        assert_eq!(fs::read(second.root().join("kept")).unwrap(), b"kept");
        second.close().await.unwrap();
        // One unmount was enough: nothing was mounted twice.
        assert!(!mounted_at(&second));
    });
}

/// By hand and lazily, while files are open in it; and its loop device detached, which waits for its last user.
#[test]
fn a_volume_that_was_unmounted_is_mounted_again_and_loses_nothing() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        let path = volume.root().join("open");
        let mut open = File::create(&path).unwrap();
        std::io::Write::write_all(&mut open, b"before ").unwrap();
        let device = LoopDevice::find(&open_image(&data)).unwrap().unwrap();
        run("losetup", &["-d", device.path().to_str().unwrap()]);
        drop(device);
        run("umount", &["-l", volume.root().to_str().unwrap()]);
        assert!(!mounted_at(&volume) && !path.exists());
        volume.grow_if_needed().await.unwrap();
        assert!(mounted_at(&volume));
        std::io::Write::write_all(&mut open, b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before after");
        // Also when nobody kept it busy: the device stands as long as the volume does.
        drop(open);
        run("umount", &[volume.root().to_str().unwrap()]);
        volume.grow_if_needed().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before after");
        volume.close().await.unwrap();
    });
}

#[test]
fn a_closed_volume_opens_again_with_its_files() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let first = Volume::open(&data, CONFIG).await.unwrap();
        fs::write(first.root().join("kept"), "kept").unwrap();
        first.close().await.unwrap();
        first.close().await.unwrap();
        let second = Volume::open(&data, CONFIG).await.unwrap();
        assert_eq!(fs::read(second.root().join("kept")).unwrap(), b"kept");
        second.close().await.unwrap();
    });
}

#[test]
fn a_volume_in_use_does_not_close() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        let used = File::create(volume.root().join("used")).unwrap();
        let busy = volume.close().await.unwrap_err();
        assert!(matches!(busy, Error::Busy { .. }), "{busy}");
        assert!(mounted_at(&volume));
        drop(used);
        volume.close().await.unwrap();
    });
}

#[test]
fn an_overlay_on_the_volume_takes_three_blocks() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        let (base, overlay) = (volume.root().join("base"), volume.root().join("overlay"));
        File::create(&base).unwrap().set_len(8 << 30).unwrap();
        create_overlay(&overlay, &base, 8 << 30, 4242).unwrap();
        assert_eq!(usage(&overlay).unwrap(), 12 << 10);
        volume.close().await.unwrap();
    });
}

#[test]
fn two_volumes_stand_side_by_side() {
    in_private_mounts(async |dir| {
        let host = Host::ext4(dir, 1 << 30);
        let (a, b) = (host.data("a"), host.data("b"));
        let (a, b) = tokio::join!(Volume::open(&a, CONFIG), Volume::open(&b, CONFIG));
        let (a, b) = (a.unwrap(), b.unwrap());
        fs::write(a.root().join("mine"), "a").unwrap();
        assert!(!b.root().join("mine").exists());
        a.close().await.unwrap();
        assert!(!mounted_at(&a) && mounted_at(&b));
        b.close().await.unwrap();
    });
}

#[test]
fn an_image_half_made_is_made_again() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        // Allocated, no file system yet.
        let half = File::create(data.join("store.img.new")).unwrap();
        allocate(&half, 640 * MIB);
        drop(half);
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        assert!(shares_blocks(&volume) && !data.join("store.img.new").exists());
        volume.close().await.unwrap();
    });
}

#[test]
fn a_device_that_was_attached_but_not_mounted_is_taken_over() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let made = Volume::open(&data, CONFIG).await.unwrap();
        made.close().await.unwrap();
        let stale = LoopDevice::attach(&open_image(&data)).unwrap();
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        let device = fs::metadata(stale.path()).unwrap().rdev();
        assert_eq!(volume.root().metadata().unwrap().dev(), device);
        drop(stale);
        volume.close().await.unwrap();
    });
}

#[test]
fn a_volume_grows_while_it_is_written() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 2 << 30).data("data");
        let config = VolumeConfig {
            headroom: 512 * MIB,
            ..CONFIG
        };
        let volume = Volume::open(&data, config).await.unwrap();
        let before = volume.free().unwrap();
        let Grown::By(by) = volume.grow_if_needed().await.unwrap() else {
            panic!("it did not grow");
        };
        let after = volume.free().unwrap();
        assert!(by.is_multiple_of(64 * MIB), "{by}");
        assert!(after.free >= config.headroom, "{after:?}");
        assert_eq!(after.image.unwrap() - before.image.unwrap(), by);
        assert_eq!(volume.grow_if_needed().await.unwrap(), Grown::No);
        allocate(
            &File::create(volume.root().join("large")).unwrap(),
            480 * MIB,
        );
        volume.close().await.unwrap();
    });
}

#[test]
fn a_growth_that_a_crash_broke_off_is_finished() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 2 << 30).data("data");
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        let image = open_image(&data);
        let mut total = volume.free().unwrap().total;
        let mut volume = volume;
        // Blocks allocated; the length set too; the device's length set too. Each mounted still, and after a reboot.
        for phase in 0..3 {
            for reboot in [false, true] {
                let len = image.metadata().unwrap().len() + 64 * MIB;
                run(
                    "fallocate",
                    &[
                        "--keep-size",
                        "--length",
                        &len.to_string(),
                        data.join("store.img").to_str().unwrap(),
                    ],
                );
                if phase > 0 {
                    image.set_len(len).unwrap();
                }
                if phase > 1 {
                    let device = LoopDevice::find(&image).unwrap().unwrap();
                    device.set_capacity().unwrap();
                }
                if reboot {
                    volume.close().await.unwrap();
                }
                drop(volume);
                volume = Volume::open(&data, CONFIG).await.unwrap();
                let grown = volume.free().unwrap().total;
                assert_eq!(grown > total, phase > 0, "phase {phase}, reboot {reboot}");
                total = grown;
            }
        }
        volume.close().await.unwrap();
    });
}

#[test]
fn blocks_that_were_trimmed_away_are_allocated_again() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        let image = data.join("store.img");
        run("fstrim", &[volume.root().to_str().unwrap()]);
        // The file system does not wait for its last discards.
        assert!(within_two_seconds(|| usage(&image).unwrap() < 320 * MIB));
        volume.grow_if_needed().await.unwrap();
        assert!(usage(&image).unwrap() >= 320 * MIB);
        volume.close().await.unwrap();
    });
}

#[test]
fn a_full_host_is_an_error_at_growth_and_nowhere_else() {
    in_private_mounts(async |dir| {
        let host = Host::ext4(dir, 512 * MIB);
        let data = host.data("data");
        let config = VolumeConfig {
            headroom: 400 * MIB,
            ..CONFIG
        };
        let volume = Volume::open(&data, config).await.unwrap();
        let before = volume.free().unwrap();
        for _ in 0..2 {
            let full = volume.grow_if_needed().await.unwrap_err();
            assert!(matches!(full, Error::HostFull { .. }), "{full}");
            let after = volume.free().unwrap();
            assert_eq!((after.total, after.image), (before.total, before.image));
        }
        // Not a byte is free on the host, and all that the volume has is still writable.
        let filler = host.dir.join("filler");
        fill(&filler);
        let inside = volume.root().join("inside");
        let mut file = File::create(&inside).unwrap();
        let len = before.free - 32 * MIB;
        std::io::copy(
            &mut std::io::Read::take(std::io::repeat(0x77), len),
            &mut file,
        )
        .unwrap();
        file.sync_all().unwrap();
        drop(file);
        assert!(usage(&inside).unwrap() >= len);
        volume.close().await.unwrap();
    });
}

#[test]
fn a_host_without_room_for_the_image_keeps_nothing_of_it() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 256 * MIB).data("data");
        let full = Volume::open(&data, CONFIG).await.unwrap_err();
        assert!(matches!(full, Error::HostFull { .. }), "{full}");
        let left: Vec<_> = fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["store"]);
    });
}

#[test]
fn files_are_not_hidden_by_a_mount() {
    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        fs::create_dir(data.join("store")).unwrap();
        fs::write(data.join("store/precious"), "").unwrap();
        let occupied = Volume::open(&data, CONFIG).await.unwrap_err();
        assert!(matches!(occupied, Error::Occupied { .. }), "{occupied}");
        assert!(!data.join("store.img").exists());
    });
}

fn allocate(file: &File, len: u64) {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len).unwrap();
}

/// Takes all that the file system still has.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
}

/// The volume opens by the device that it is mounted through, whatever else was attached to its image.
#[test]
fn a_stray_device_of_the_image_is_told_and_detached() {
    use wrenn_model::leftover::{Kind, Owner};

    in_private_mounts(async |dir| {
        let data = Host::ext4(dir, 1 << 30).data("data");
        drop(Volume::open(&data, CONFIG).await.unwrap());
        let image = data.join("store.img");
        run("losetup", &["--find", image.to_str().unwrap()]);
        let volume = Volume::open(&data, CONFIG).await.unwrap();
        assert!(mounted_at(&volume));
        let all = || LoopDevice::find_all(&open_image(&data)).unwrap().len();
        assert_eq!(all(), 2);
        for left in wrenn_disk::leftovers(&data).unwrap() {
            match left.owner {
                Owner::Nobody => {
                    assert_eq!(left.kind, Kind::LoopDevice);
                    left.remove().await.unwrap();
                }
                ref own => assert_eq!(*own, Owner::Instance, "{left:?}"),
            }
        }
        assert!(within_two_seconds(|| all() == 1));
        // A dead agent's are its own too, and go by the same list.
        drop(volume);
        for left in wrenn_disk::leftovers(&data).unwrap() {
            left.remove().await.unwrap();
        }
        assert!(within_two_seconds(|| all() == 0));
        assert!(wrenn_disk::leftovers(&data).unwrap().is_empty());
    });
}
