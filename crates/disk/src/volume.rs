//! The volume: the file system under `<data>/store`, on which files can share blocks.
//!
//! Where the data directory's own file system can do that, the volume is a plain directory. Elsewhere it is an XFS image
//! beside it, `<data>/store.img`, mounted by a loop device. The image is allocated in full and grows in steps, so that a
//! full host disk is an error when it grows and never one under a guest.
//!
//! ```text
//! make:  store.img.new allocated ─► mkfs ─► renamed to store.img
//! open:  loop device found or attached ─► mounted if it is not ─► growth finished that a crash broke off
//! grow:  image allocated ─► its length set ─► the device's ─► the file system's
//! close: unmounted ─► the loop device ends by itself
//! ```
//!
//! Each arrow may be the last thing that happened before a crash; the next [`Volume::open`] goes on from there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use tokio::sync::Mutex;
use wrenn_sys::loopdev::LoopDevice;
use wrenn_sys::program::Program;
use wrenn_sys::reflink;

use crate::Error;
use crate::image::Image;

/// The smallest image that mkfs.xfs takes is 300 MB.
const MIN_INITIAL: u64 = 320 << 20;
/// A smaller step may be too little for the file system to use.
const MIN_STEP: u64 = 64 << 20;
/// Sizes are whole mebibytes.
const GRAIN: u64 = 1 << 20;
/// How long a volume may stay busy, and then its loop device stay, before closing is an error.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// How large a volume is made and when it grows. Only a volume that is an image grows.
#[derive(Debug, Clone, Copy)]
pub struct VolumeConfig {
    /// The size of a new image, in bytes; at least 320 MiB is taken.
    pub initial: u64,
    /// By how much the image grows at a time, in bytes; at least 64 MiB is taken.
    pub step: u64,
    /// How many bytes should be free in the volume.
    pub headroom: u64,
}

/// How much room there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// The size of the file system that the volume is, or stands on.
    pub total: u64,
    /// What the image takes of the host's disk; none when the volume is a plain directory.
    pub image: Option<u64>,
}

/// What [`Volume::grow_if_needed`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grown {
    /// There was room enough.
    No,
    /// The image grew by so many bytes.
    By(u64),
}

/// An open volume. One process at a time opens it: whoever holds the data directory's lock.
#[derive(Debug)]
pub struct Volume {
    root: PathBuf,
    config: VolumeConfig,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Directory,
    /// None when closed.
    Image(Mutex<Option<Mounted>>),
}

/// An image with the device that it is mounted through. The device is held, so that its number cannot become another's.
#[derive(Debug)]
struct Mounted {
    image: Image,
    device: LoopDevice,
}

impl Volume {
    /// Opens the volume of the data directory `data`, which is there, and makes it when it is not. Opening one that is
    /// mounted already, after a restart, mounts nothing.
    ///
    /// # Errors
    /// No room for the image, files in the way of the mount, a program that failed, or what the kernel said.
    pub async fn open(data: &Path, config: VolumeConfig) -> Result<Self, Error> {
        let data = fs::canonicalize(data).map_err(Error::io("find", data))?;
        let root = data.join("store");
        fs::create_dir_all(&root).map_err(Error::io("make", &root))?;
        let kind = match Self::image(&data, &root, config).await? {
            Some(image) => Kind::Image(Mutex::new(Some(Mounted::mount(image, &root).await?))),
            None => Kind::Directory,
        };
        // Others may pass to files whose names they know; what is there is not theirs to list.
        fs::set_permissions(&root, Permissions::from_mode(0o711))
            .map_err(Error::io("set the mode of", &root))?;
        Ok(Self { root, config, kind })
    }

    /// The image to mount, made if need be; none when the directory does without.
    async fn image(data: &Path, root: &Path, config: VolumeConfig) -> Result<Option<Image>, Error> {
        let path = data.join("store.img");
        if let Some(image) = Image::open(&path)? {
            return Ok(Some(image));
        }
        let mut entries = fs::read_dir(root).map_err(Error::io("list", root))?;
        let occupied = entries.next().is_some();
        match reflink::supports_reflink(root) {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            // What stands in a full file system was put there when it could be tried.
            Err(error) if occupied && error.kind() == io::ErrorKind::StorageFull => {
                return Ok(None);
            }
            Err(error) => return Err(Error::io("write in", root)(error)),
        }
        if occupied {
            return Err(Error::Occupied {
                root: root.to_owned(),
            });
        }
        let size = whole(config.initial.max(MIN_INITIAL));
        tracing::info!(path = %path.display(), size, "making the store's volume");
        Ok(Some(Image::make(&path, size).await?))
    }

    /// Where the volume's files are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How much room there is.
    pub fn free(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.root)?;
        let image = match self.kind {
            Kind::Directory => None,
            Kind::Image(_) => Some(crate::usage(&self.root.with_extension("img"))?),
        };
        Ok(Space {
            free: stat.f_bavail * stat.f_frsize,
            total: stat.f_blocks * stat.f_frsize,
            image,
        })
    }

    /// How many bytes can be written until the host is full, beside the configured headroom: those that are free here, and
    /// those by which an image can still grow.
    pub fn room(&self) -> io::Result<u64> {
        Ok(self.whole_room()?.saturating_sub(self.config.headroom))
    }

    /// The same with the headroom, which is there for what goes on by itself.
    pub fn whole_room(&self) -> io::Result<u64> {
        let mut free = self.free()?.free;
        if matches!(self.kind, Kind::Image(_)) {
            let around = rustix::fs::statvfs(self.root.with_extension("img"))?;
            free = free.saturating_add(around.f_bavail * around.f_frsize);
        }
        Ok(free)
    }

    /// Makes sure that the volume is mounted and that the configured headroom is free, by growing the image in whole steps.
    /// Guests may go on writing.
    ///
    /// # Errors
    /// [`Error::HostFull`] when the host's disk, or the plain directory's file system, has not enough room. The volume
    /// is as good as before; whoever made room calls again.
    pub async fn grow_if_needed(&self) -> Result<Grown, Error> {
        self.make_room(0).await
    }

    /// The same for somebody who is about to write so many bytes: they should be free beside the headroom.
    ///
    /// # Errors
    /// As [`Self::grow_if_needed`].
    pub async fn make_room(&self, bytes: u64) -> Result<Grown, Error> {
        let needed = self.config.headroom.saturating_add(bytes);
        match &self.kind {
            Kind::Directory => match self.missing(needed)? {
                0 => Ok(Grown::No),
                missing => Err(Error::HostFull {
                    needed,
                    free: needed - missing,
                }),
            },
            Kind::Image(mounted) => {
                let mounted = mounted.lock().await;
                self.grow(mounted.as_ref().ok_or(Error::Closed)?, needed)
                    .await
            }
        }
    }

    async fn grow(&self, mounted: &Mounted, needed: u64) -> Result<Grown, Error> {
        // Somebody else may have unmounted it. What has files open goes on with them; the rest of us would write beside it.
        if !mounted.is_mounted(&self.root)? {
            tracing::error!(root = %self.root.display(), "the store is not mounted any more; it is mounted again");
            mounted.mount_at(&self.root)?;
        }
        if mounted.image.has_holes()? {
            mounted.refill().await?;
        }
        if self.missing(needed)? == 0 {
            return Ok(Grown::No);
        }
        // An earlier growth may have been broken off when its blocks were allocated already.
        mounted.fit(&self.root).await?;
        let before = mounted.image.size()?;
        // The file system keeps a little of what it is given for itself.
        while let missing @ 1.. = self.missing(needed)? {
            let step = whole(self.config.step.max(MIN_STEP));
            let size = mounted.image.size()? + missing.next_multiple_of(step);
            mounted.image.allocate(size).await?;
            mounted.fit(&self.root).await?;
        }
        match mounted.image.size()? - before {
            0 => Ok(Grown::No),
            by => {
                tracing::info!(by, "the store's volume grew");
                Ok(Grown::By(by))
            }
        }
    }

    /// How many bytes of what should be free are not.
    fn missing(&self, needed: u64) -> Result<u64, Error> {
        let space = self
            .free()
            .map_err(Error::io("read the free space of", &self.root))?;
        Ok(needed.saturating_sub(space.free))
    }

    /// Unmounts the volume and waits until its loop device has ended. Nothing may be open in it any more.
    ///
    /// # Errors
    /// [`Error::Busy`], and the volume stays open; [`Error::Held`], and it is closed here but not everywhere.
    pub async fn close(&self) -> Result<(), Error> {
        let Kind::Image(mounted) = &self.kind else {
            return Ok(());
        };
        let mut mounted = mounted.lock().await;
        if mounted.is_none() {
            return Ok(());
        }
        unmount(&self.root).await?;
        let Some(Mounted { image, device }) = mounted.take() else {
            return Ok(());
        };
        drop(device);
        wait_until_detached(&image, &self.root).await
    }
}

impl Mounted {
    /// Mounts the image at `root` unless it is mounted there.
    async fn mount(image: Image, root: &Path) -> Result<Self, Error> {
        // A device may have stayed: mounted here by the process before this one, or elsewhere, by who outlived it. A
        // second device for the same file would be a second, unknowing writer of the same file system.
        let mut found =
            LoopDevice::find_all(image.file()).map_err(Error::io("look for", &devices()))?;
        // Of several the one that is mounted here already; another one is nobody's.
        if let Some(mounted) = found
            .iter()
            .position(|device| is_mounted(device, root).unwrap_or(false))
        {
            found.swap(0, mounted);
        }
        let device = match found.into_iter().next() {
            Some(device) => device,
            None => LoopDevice::attach(image.file()).map_err(Error::attaching(root))?,
        };
        let mounted = Self { image, device };
        mounted.refill().await?;
        if !mounted.is_mounted(root)? {
            mounted.mount_at(root)?;
        }
        mounted.fit(root).await?;
        Ok(mounted)
    }

    fn mount_at(&self, root: &Path) -> Result<(), Error> {
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
        rustix::mount::mount(self.device.path(), root, "xfs", flags, None)
            .map_err(|error| Error::io("mount", root)(error.into()))
    }

    fn is_mounted(&self, root: &Path) -> Result<bool, Error> {
        is_mounted(&self.device, root)
    }

    /// Allocates again what the image has lost.
    async fn refill(&self) -> Result<(), Error> {
        self.image.allocate(self.image.size()?).await
    }

    /// Makes the device as large as the image, and the file system as large as the device.
    async fn fit(&self, root: &Path) -> Result<(), Error> {
        self.device
            .set_capacity()
            .map_err(Error::io("resize", &self.device.path()))?;
        Program::new("xfs_growfs").arg("-d").arg(root).run().await?;
        Ok(())
    }
}

/// Whether what stands at `root` is the file system on this device.
fn is_mounted(device: &LoopDevice, root: &Path) -> Result<bool, Error> {
    let node = device.path();
    let device = fs::metadata(&node).map_err(Error::io("find", &node))?;
    let directory = fs::metadata(root).map_err(Error::io("find", root))?;
    Ok(directory.dev() == device.rdev())
}

/// Unmounts the volume. A program that is being started has each descriptor of ours for a moment: busy is tried again.
pub(crate) async fn unmount(root: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + CLOSE_LIMIT;
    loop {
        match rustix::mount::unmount(root, UnmountFlags::NOFOLLOW) {
            // Not mounted: somebody else did it.
            Ok(()) | Err(Errno::INVAL) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            Err(Errno::BUSY) => {
                return Err(Error::Busy {
                    root: root.to_owned(),
                });
            }
            Err(error) => return Err(Error::io("unmount", root)(error.into())),
        }
    }
}

/// Waits for the device to end. It does not while another mount namespace still has the file system.
async fn wait_until_detached(image: &Image, root: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + CLOSE_LIMIT;
    loop {
        let found = LoopDevice::find(image.file()).map_err(Error::io("look for", &devices()))?;
        if found.is_none() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Held {
                root: root.to_owned(),
            });
        }
        // Not held while we wait, or it would never end.
        drop(found);
        tokio::time::sleep(POLL).await;
    }
}

fn devices() -> PathBuf {
    PathBuf::from("/dev/loop*")
}

fn whole(size: u64) -> u64 {
    size.next_multiple_of(GRAIN)
}
