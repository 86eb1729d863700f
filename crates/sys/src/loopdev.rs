#![allow(
    unsafe_code,
    reason = "the loop driver is spoken to by ioctl, for which there is no safe interface"
)]
//! Loop devices: a file as a block device.
//!
//! A device is attached with *autoclear*: it ends by itself when its last user, a mount or an open descriptor, has gone.
//! So a process that dies between attaching and mounting leaves nothing behind.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The logical block size of the devices, in bytes: that of the largest sectors, so that direct I/O works over any disk.
pub const BLOCK_SIZE: u32 = 4096;

/// How often another process may snatch the free device that the kernel named, before it is an error.
const ATTEMPTS: u32 = 64;

/// An attached loop device, held open: it stands at least as long as this value.
#[derive(Debug)]
pub struct LoopDevice {
    number: u32,
    device: File,
}

impl LoopDevice {
    /// Attaches `backing` (open for reading and writing) to a free device: direct I/O, autoclear, blocks of [`BLOCK_SIZE`].
    ///
    /// # Errors
    /// What the kernel said; `EBUSY` when there is no free device: others took each first, or their nodes are missing in `/dev`.
    pub fn attach(backing: &File) -> io::Result<Self> {
        Self::configured(&raw::Config::new(backing.as_raw_fd(), raw::DIRECT))
    }

    /// Attaches `backing`, which is open for reading, to a free device that nobody can write: autoclear, blocks of
    /// [`BLOCK_SIZE`], and through the host's page cache, so that what all read of it comes from the disk once.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_read_only(backing: &File) -> io::Result<Self> {
        Self::configured(&raw::Config::new(backing.as_raw_fd(), raw::READ_ONLY))
    }

    fn configured(config: &raw::Config) -> io::Result<Self> {
        let control = open("/dev/loop-control".as_ref())?;
        for _ in 0..ATTEMPTS {
            let number = raw::get_free(&control)?;
            let attached = open(&path(number))
                .and_then(|device| raw::configure(&device, config).map(|()| device));
            match attached {
                Ok(device) => return Ok(Self { number, device }),
                Err(error) if is_taken(&error) || is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::BUSY.into())
    }

    /// The device that `backing` is attached to, if there is one. Files are compared by identity, not by name, so that a
    /// device is found whatever mount namespace it was attached from.
    ///
    /// # Errors
    /// The list of devices cannot be read.
    pub fn find(backing: &File) -> io::Result<Option<Self>> {
        Ok(Self::find_all(backing)?.into_iter().next())
    }

    /// All devices that `backing` is attached to. More than one is somebody's mistake, to be found and ended.
    ///
    /// # Errors
    /// The list of devices cannot be read.
    pub fn find_all(backing: &File) -> io::Result<Vec<Self>> {
        let wanted = Identity::of(backing)?;
        let mut all = Vec::new();
        for entry in fs::read_dir("/sys/block")? {
            let entry = entry?;
            let Some(number) = number(&entry.file_name().to_string_lossy()) else {
                continue;
            };
            if !entry.path().join("loop").exists() {
                continue;
            }
            let status = open(&path(number)).and_then(|device| Ok((raw::status(&device)?, device)));
            match status {
                Ok((found, device)) if found == wanted => all.push(Self { number, device }),
                Ok(_) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Every device that has a file, with the name by which the kernel knows the file. A device that ends meanwhile is left
    /// out, and so is one that somebody else has to himself.
    ///
    /// # Errors
    /// The list of devices cannot be read.
    pub fn all() -> io::Result<Vec<(Self, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/block")? {
            let entry = entry?;
            let file = fs::read_to_string(entry.path().join("loop/backing_file"));
            if let Some(number) = number(&entry.file_name().to_string_lossy())
                && let Ok(file) = file
                && let Ok(device) = open(&path(number))
            {
                found.push((Self { number, device }, file.trim_end_matches('\n').into()));
            }
        }
        Ok(found)
    }

    /// The device of this number, which somebody holds.
    ///
    /// # Errors
    /// There is none.
    pub fn of_number(number: u32) -> io::Result<Self> {
        let device = open(&path(number))?;
        Ok(Self { number, device })
    }

    /// Its number: that of `/dev/loop7` is 7.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The path of the device's node.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        path(self.number)
    }

    /// Makes the device as large as its backing file is now.
    pub fn set_capacity(&self) -> io::Result<()> {
        raw::set_capacity(&self.device)
    }

    /// The device's size in bytes.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.number_in("size")? * 512)
    }

    /// Whether the device reads and writes its file past the host's page cache.
    pub fn direct_io(&self) -> io::Result<bool> {
        Ok(self.number_in("loop/dio")? == 1)
    }

    /// Detaches the device: at once, or as soon as its last other user has gone.
    pub fn detach(self) -> io::Result<()> {
        raw::clear(&self.device)
    }

    fn number_in(&self, name: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.attribute(name))?;
        text.trim().parse().map_err(io::Error::other)
    }

    fn attribute(&self, name: &str) -> PathBuf {
        Path::new("/sys/block")
            .join(format!("loop{}", self.number))
            .join(name)
    }
}

/// Which file this is: file system and inode, as the loop driver tells them.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let major = u64::from(rustix::fs::major(meta.dev()));
        let minor = u64::from(rustix::fs::minor(meta.dev()));
        Ok(Self {
            // The kernel's own packing of the two numbers, which is not that of libc.
            device: (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12),
            inode: meta.ino(),
        })
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn path(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// The number in a name like `loop7`.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("loop")?.parse().ok()
}

/// Whether the error says that somebody else has just taken the device.
fn is_taken(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BUSY)
}

/// Whether the error says that the device is ending, or has ended since it was named.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NXIO | Errno::NOENT | Errno::NODEV)
    )
}

/// The driver's requests and structures, by the kernel's `linux/loop.h`.
mod raw {
    use super::*;
    use std::ffi::{c_int, c_ulong};

    const LOOP_CLR_FD: c_ulong = 0x4C01;
    const LOOP_GET_STATUS64: c_ulong = 0x4C05;
    const LOOP_SET_CAPACITY: c_ulong = 0x4C07;
    const LOOP_CONFIGURE: c_ulong = 0x4C0A;
    const LOOP_CTL_GET_FREE: c_ulong = 0x4C82;

    const LO_FLAGS_READ_ONLY: u32 = 1;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    const LO_FLAGS_DIRECT_IO: u32 = 16;

    /// How a device is attached.
    pub(super) const DIRECT: u32 = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    pub(super) const READ_ONLY: u32 = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY;

    /// `struct loop_info64`; the fields that stay zero (offset, size limit, encryption) are not named.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Info {
        device: u64,
        inode: u64,
        _rdevice: u64,
        _offset: u64,
        _size_limit: u64,
        _number: u32,
        _encryption: [u32; 2],
        flags: u32,
        _names_and_key: [u8; 64 + 64 + 32],
        _init: [u64; 2],
    }

    const EMPTY: Info = Info {
        device: 0,
        inode: 0,
        _rdevice: 0,
        _offset: 0,
        _size_limit: 0,
        _number: 0,
        _encryption: [0; 2],
        flags: 0,
        _names_and_key: [0; 160],
        _init: [0; 2],
    };

    /// `struct loop_config`.
    #[repr(C)]
    pub(super) struct Config {
        backing: u32,
        block_size: u32,
        info: Info,
        _reserved: [u64; 8],
    }

    const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);

    impl Config {
        pub(super) fn new(backing: RawFd, flags: u32) -> Self {
            Self {
                backing: backing.unsigned_abs(),
                block_size: BLOCK_SIZE,
                info: Info { flags, ..EMPTY },
                _reserved: [0; 8],
            }
        }
    }

    pub(super) fn get_free(control: &File) -> io::Result<u32> {
        // SAFETY: the request takes no argument.
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
        Ok(number.unsigned_abs())
    }

    pub(super) fn configure(device: &File, config: &Config) -> io::Result<()> {
        // SAFETY: the request reads a `struct loop_config`, which `Config` is, during the call only.
        check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config) })?;
        Ok(())
    }

    pub(super) fn status(device: &File) -> io::Result<Identity> {
        let mut info = EMPTY;
        // SAFETY: the request writes a `struct loop_info64`, which `Info` is and for which all bit patterns are valid.
        check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) })?;
        Ok(Identity {
            device: info.device,
            inode: info.inode,
        })
    }

    pub(super) fn set_capacity(device: &File) -> io::Result<()> {
        // SAFETY: the request ignores its argument.
        check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_CAPACITY, 0) })?;
        Ok(())
    }

    pub(super) fn clear(device: &File) -> io::Result<()> {
        // SAFETY: the request ignores its argument.
        check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD, 0) })?;
        Ok(())
    }

    fn check(result: c_int) -> io::Result<c_int> {
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn backing(len: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        file
    }

    #[test]
    fn what_is_written_to_the_device_stands_in_the_file() {
        let file = backing(1 << 20);
        let device = LoopDevice::attach(&file).unwrap();
        assert_eq!(device.size().unwrap(), 1 << 20);
        let node = open(&device.path()).unwrap();
        node.write_all_at(&[7; 4096], 8192).unwrap();
        node.sync_all().unwrap();
        let mut read = [0; 4096];
        file.read_exact_at(&mut read, 8192).unwrap();
        assert_eq!(read, [7; 4096]);
    }

    #[test]
    fn nobody_writes_to_a_device_that_is_attached_for_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let device = LoopDevice::attach_read_only(&File::open(&path).unwrap()).unwrap();
        assert!(!device.direct_io().unwrap());
        let mut read = [0; 4096];
        let node = File::open(device.path()).unwrap();
        node.read_exact_at(&mut read, 8192).unwrap();
        assert_eq!(read, [7; 4096]);
        let written = open(&device.path()).and_then(|node| node.write_all_at(&[1; 4096], 0));
        written.unwrap_err();
    }

    #[test]
    fn a_device_follows_its_file() {
        let file = backing(1 << 20);
        let device = LoopDevice::attach(&file).unwrap();
        file.set_len(3 << 20).unwrap();
        device.set_capacity().unwrap();
        assert_eq!(device.size().unwrap(), 3 << 20);
    }

    #[test]
    fn a_device_is_found_by_its_file_and_ends_with_its_last_user() {
        let (file, other) = (backing(1 << 20), backing(1 << 20));
        let device = LoopDevice::attach(&file).unwrap();
        let found = LoopDevice::find(&file).unwrap().unwrap();
        assert_eq!(found.path(), device.path());
        assert!(LoopDevice::find(&other).unwrap().is_none());
        drop(device);
        assert!(LoopDevice::find(&file).unwrap().is_some());
        drop(found);
        wait_until_gone(&file);
    }

    #[test]
    fn detaching_ends_the_device() {
        let file = backing(1 << 20);
        LoopDevice::attach(&file).unwrap().detach().unwrap();
        wait_until_gone(&file);
    }

    #[test]
    fn many_attach_at_once() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| {
                    let file = backing(1 << 20);
                    let device = LoopDevice::attach(&file).unwrap();
                    let found = LoopDevice::find(&file).unwrap().unwrap();
                    assert_eq!(found.path(), device.path());
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }

    /// The kernel ends a device a moment after its last user.
    fn wait_until_gone(file: &File) {
        for _ in 0..200 {
            if LoopDevice::find(file).unwrap().is_none() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the loop device is still there");
    }
}
