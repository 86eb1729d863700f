#![allow(
    unsafe_code,
    reason = "the device mapper is spoken to by ioctl, for which there is no safe interface"
)]
//! Device-mapper devices: block devices that are made of others by a table of targets.
//!
//! A device is known by its name. It is made empty, is given a table, and has it from its next resume on; by the kernel's
//! `linux/dm-ioctl.h` and `Documentation/admin-guide/device-mapper`. There is no udev in between: the device's node is the
//! one that the kernel makes, `/dev/dm-N`.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The unit of all places and lengths in tables, in bytes.
pub const SECTOR: u64 = 512;

/// The longest name of a device, in bytes.
pub const MAX_NAME: usize = 127;

const CONTROL: &str = "/dev/mapper/control";

/// The driver, to make devices with.
#[derive(Debug)]
pub struct Mapper {
    control: File,
}

/// A part of a device: what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it begins and how long it is, in sectors.
    pub start: u64,
    /// Its length, in sectors.
    pub len: u64,
    /// Its type: `linear`, `snapshot`, …
    pub kind: String,
    /// What its type wants to know; of a status, what it tells.
    pub params: String,
}

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// The driver's.
    pub major: u32,
    /// Among the driver's.
    pub minor: u32,
}

/// A device as it is in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
}

impl DeviceNumber {
    /// The node that the kernel makes of a device-mapper device.
    #[must_use]
    pub fn mapped_path(self) -> PathBuf {
        PathBuf::from(format!("/dev/dm-{}", self.minor))
    }

    /// By the kernel's packing for what leaves it, `huge_encode_dev`.
    fn unpack(packed: u64) -> Self {
        let low = |number: u64| u32::try_from(number & 0xffff_ffff).unwrap_or(u32::MAX);
        Self {
            major: low((packed >> 8) & 0xfff),
            minor: low((packed & 0xff) | ((packed >> 12) & 0xfff_ff00)),
        }
    }
}

impl Mapper {
    /// Opens the driver.
    ///
    /// # Errors
    /// `NotFound` where the kernel has none; other errors when it may not be opened.
    pub fn open() -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
        let mapper = Self { control };
        // One of another major version would understand nothing of what follows.
        mapper.call(raw::VERSION, &Request::of(""))?;
        Ok(mapper)
    }

    /// Makes a device without a table.
    ///
    /// # Errors
    /// `EBUSY` where there is one of this name.
    pub fn create(&self, name: &str) -> io::Result<DeviceNumber> {
        let made = self.call(raw::DEV_CREATE, &Request::of(name))?;
        Ok(DeviceNumber::unpack(made.header().dev))
    }

    /// Gives it a table, which it has from its next resume on.
    pub fn load(&self, name: &str, table: &[Target]) -> io::Result<()> {
        let request = Request::of(name).with(table)?;
        self.call(raw::TABLE_LOAD, &request).map(drop)
    }

    /// Lets requests through, by the table that was loaded last.
    pub fn resume(&self, name: &str) -> io::Result<()> {
        self.call(raw::DEV_SUSPEND, &Request::of(name)).map(drop)
    }

    /// Lets no request through until the next resume. Those that are under way have ended when this returns, and what waited in
    /// the device's page cache stands below it.
    pub fn suspend(&self, name: &str) -> io::Result<()> {
        let request = Request::of(name).flagged(raw::SUSPEND_FLAG);
        self.call(raw::DEV_SUSPEND, &request).map(drop)
    }

    /// Whether it lets no request through.
    ///
    /// # Errors
    /// `ENXIO` where there is none of this name.
    pub fn is_suspended(&self, name: &str) -> io::Result<bool> {
        let told = self.call(raw::DEV_STATUS, &Request::of(name))?;
        Ok(told.header().flags & raw::SUSPEND_FLAG != 0)
    }

    /// Its number; `None` where there is none of this name.
    pub fn find(&self, name: &str) -> io::Result<Option<DeviceNumber>> {
        match self.call(raw::DEV_STATUS, &Request::of(name)) {
            Ok(found) => Ok(Some(DeviceNumber::unpack(found.header().dev))),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What each of its targets tells of itself.
    pub fn status(&self, name: &str) -> io::Result<Vec<Target>> {
        let told = self.call(raw::TABLE_STATUS, &Request::of(name))?;
        told.targets()
    }

    /// The table that it has.
    pub fn table(&self, name: &str) -> io::Result<Vec<Target>> {
        let request = Request::of(name).flagged(raw::STATUS_TABLE_FLAG);
        self.call(raw::TABLE_STATUS, &request)?.targets()
    }

    /// Takes it away.
    ///
    /// # Errors
    /// `EBUSY` while anybody has it open; `ENXIO` where there is none of this name.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.call(raw::DEV_REMOVE, &Request::of(name)).map(drop)
    }

    /// Every device.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        self.call(raw::LIST_DEVICES, &Request::of(""))?.names()
    }

    /// Asks again with a larger buffer as long as the answer is cut off.
    fn call(&self, command: u32, request: &Request) -> io::Result<Answer> {
        let mut room = raw::ROOM;
        loop {
            let mut buffer = request.buffer(room);
            raw::call(&self.control, command, &mut buffer)?;
            let answer = Answer { buffer };
            if answer.header().flags & raw::BUFFER_FULL_FLAG == 0 {
                return Ok(answer);
            }
            room *= 2;
        }
    }
}

/// What is asked.
#[derive(Debug, Default)]
struct Request {
    name: String,
    flags: u32,
    targets: u32,
    data: Vec<u8>,
}

impl Request {
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    fn flagged(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    /// `struct dm_target_spec` for each target, its parameters behind it, each beginning at a multiple of eight bytes.
    fn with(mut self, table: &[Target]) -> io::Result<Self> {
        for target in table {
            let start = self.data.len();
            let mut kind = [0; raw::KIND_LEN];
            let room = kind.get_mut(..target.kind.len().min(raw::KIND_LEN - 1));
            match room {
                Some(room) if room.len() == target.kind.len() => {
                    room.copy_from_slice(target.kind.as_bytes());
                }
                _ => return Err(io::Error::from(Errno::NAMETOOLONG)),
            }
            let len = raw::SPEC_LEN + target.params.len() + 1;
            let next = len.next_multiple_of(8);
            self.data.extend(target.start.to_ne_bytes());
            self.data.extend(target.len.to_ne_bytes());
            self.data.extend(0_i32.to_ne_bytes());
            let offset = u32::try_from(next).map_err(io::Error::other)?;
            self.data.extend(offset.to_ne_bytes());
            self.data.extend(kind);
            self.data.extend(target.params.as_bytes());
            self.data.resize(start + next, 0);
            self.targets += 1;
        }
        Ok(self)
    }

    /// The request with so much room for its answer.
    fn buffer(&self, room: usize) -> Vec<u64> {
        let size = raw::HEADER_LEN + self.data.len().max(room);
        let mut buffer = vec![0_u64; size.div_ceil(8)];
        let header = raw::Header {
            version: raw::PROTOCOL,
            data_size: u32::try_from(buffer.len() * 8).unwrap_or(u32::MAX),
            data_start: u32::try_from(raw::HEADER_LEN).unwrap_or(u32::MAX),
            target_count: self.targets,
            flags: self.flags,
            name: raw::name(&self.name),
            ..raw::EMPTY
        };
        raw::put(&mut buffer, &header, &self.data);
        buffer
    }
}

/// What the kernel said.
#[derive(Debug)]
struct Answer {
    buffer: Vec<u64>,
}

impl Answer {
    fn header(&self) -> raw::Header {
        raw::header(&self.buffer)
    }

    /// What stands behind the header.
    fn data(&self) -> Vec<u8> {
        let header = self.header();
        let bytes: Vec<u8> = self
            .buffer
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let range = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let data = bytes.get(range(header.data_start)..range(header.data_size));
        data.map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// The targets of a table or a status. The kernel counts where the next begins from the first one's beginning.
    fn targets(&self) -> io::Result<Vec<Target>> {
        let data = self.data();
        let mut targets = Vec::new();
        let mut at = 0;
        for _ in 0..self.header().target_count {
            let spec = data
                .get(at..)
                .and_then(|rest| rest.split_at_checked(raw::SPEC_LEN));
            let (spec, rest) = spec.ok_or_else(cut_off)?;
            targets.push(Target {
                start: number(spec, 0),
                len: number(spec, 8),
                kind: text(&spec[raw::SPEC_LEN - raw::KIND_LEN..]),
                params: text(rest),
            });
            at = usize::try_from(number(spec, 16) >> 32).map_err(io::Error::other)?;
        }
        Ok(targets)
    }

    /// `struct dm_name_list`, one behind the other: the device, where the next begins, its name.
    fn names(&self) -> io::Result<Vec<Listed>> {
        let data = self.data();
        let mut names = Vec::new();
        // Where there is no device at all, there is nothing.
        if data.is_empty() {
            return Ok(names);
        }
        let mut at = 0;
        loop {
            let entry = data.get(at..).and_then(|rest| rest.split_at_checked(12));
            let (entry, rest) = entry.ok_or_else(cut_off)?;
            let dev = number(entry, 0);
            // Or one without a number.
            if dev != 0 {
                names.push(Listed {
                    name: text(rest),
                    number: DeviceNumber::unpack(dev),
                });
            }
            let next: [u8; 4] = entry[8..12].try_into().map_err(io::Error::other)?;
            match usize::try_from(u32::from_ne_bytes(next)).map_err(io::Error::other)? {
                0 => return Ok(names),
                next => at += next,
            }
        }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the device mapper's answer is cut off",
    )
}

/// Eight bytes of it from this place on.
fn number(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes
        .get(at..at + 8)
        .and_then(|eight| eight.try_into().ok());
    eight.map_or(0, u64::from_ne_bytes)
}

/// Up to its first zero.
fn text(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The driver's requests and structures.
mod raw {
    use super::{File, MAX_NAME, io};
    use std::os::fd::AsRawFd;

    pub(super) const VERSION: u32 = 0;
    pub(super) const LIST_DEVICES: u32 = 2;
    pub(super) const DEV_CREATE: u32 = 3;
    pub(super) const DEV_REMOVE: u32 = 4;
    pub(super) const DEV_SUSPEND: u32 = 6;
    pub(super) const DEV_STATUS: u32 = 7;
    pub(super) const TABLE_LOAD: u32 = 9;
    pub(super) const TABLE_STATUS: u32 = 12;

    pub(super) const SUSPEND_FLAG: u32 = 1 << 1;
    pub(super) const STATUS_TABLE_FLAG: u32 = 1 << 4;
    pub(super) const BUFFER_FULL_FLAG: u32 = 1 << 8;

    /// The oldest protocol that has all of these.
    pub(super) const PROTOCOL: [u32; 3] = [4, 0, 0];
    /// Room for an answer, at first.
    pub(super) const ROOM: usize = 4096;
    /// Of `struct dm_target_spec`, and of the type's name at its end.
    pub(super) const SPEC_LEN: usize = 40;
    pub(super) const KIND_LEN: usize = 16;
    pub(super) const HEADER_LEN: usize = size_of::<Header>();

    /// `struct dm_ioctl`.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Header {
        pub(super) version: [u32; 3],
        pub(super) data_size: u32,
        pub(super) data_start: u32,
        pub(super) target_count: u32,
        pub(super) open_count: i32,
        pub(super) flags: u32,
        pub(super) event: u32,
        pub(super) padding: u32,
        pub(super) dev: u64,
        pub(super) name: [u8; MAX_NAME + 1],
        pub(super) uuid: [u8; 129],
        pub(super) rest: [u8; 7],
    }

    const _: () = assert!(HEADER_LEN == 312 && align_of::<Header>() == 8);

    pub(super) const EMPTY: Header = Header {
        version: [0; 3],
        data_size: 0,
        data_start: 0,
        target_count: 0,
        open_count: 0,
        flags: 0,
        event: 0,
        padding: 0,
        dev: 0,
        name: [0; MAX_NAME + 1],
        uuid: [0; 129],
        rest: [0; 7],
    };

    /// A name as the kernel wants it. What is too long is cut: no device has it.
    pub(super) fn name(text: &str) -> [u8; MAX_NAME + 1] {
        let mut name = [0; MAX_NAME + 1];
        for (to, from) in name[..MAX_NAME].iter_mut().zip(text.bytes()) {
            *to = from;
        }
        name
    }

    /// Writes a header and what stands behind it to the beginning of a buffer that is long enough for both.
    pub(super) fn put(buffer: &mut [u64], header: &Header, data: &[u8]) {
        assert!(buffer.len() * 8 >= HEADER_LEN + data.len());
        let start = buffer.as_mut_ptr().cast::<u8>();
        // SAFETY: the buffer is long enough, by the assertion, aligned for a header, and shares nothing with the two.
        unsafe {
            start.cast::<Header>().write(*header);
            std::ptr::copy_nonoverlapping(data.as_ptr(), start.add(HEADER_LEN), data.len());
        }
    }

    pub(super) fn header(buffer: &[u64]) -> Header {
        assert!(buffer.len() * 8 >= HEADER_LEN);
        // SAFETY: the buffer is long enough and aligned for a header, for which all bit patterns are valid.
        unsafe { buffer.as_ptr().cast::<Header>().read() }
    }

    /// Asks; the answer stands where the request stood.
    pub(super) fn call(control: &File, command: u32, buffer: &mut [u64]) -> io::Result<()> {
        let request = nix::request_code_readwrite!(0xfd, command, HEADER_LEN);
        // SAFETY: the request reads and writes a `struct dm_ioctl` and as many bytes as that says in `data_size`, which is the
        // length of the buffer.
        let told = unsafe { libc::ioctl(control.as_raw_fd(), request, buffer.as_mut_ptr()) };
        match told {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(start: u64, kind: &str, params: &str) -> Target {
        Target {
            start,
            len: 8,
            kind: kind.to_owned(),
            params: params.to_owned(),
        }
    }

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let table = [
            target(0, "linear", "7:0 0"),
            target(8, "snapshot", "7:1 7:2 P 8"),
            target(16, "zero", ""),
        ];
        let request = Request::of("x").with(&table).unwrap();
        // A status counts from the beginning of all, a table from the beginning of each.
        let mut buffer = request.buffer(0);
        let mut at = 0;
        for _ in &table {
            let word = raw::HEADER_LEN / 8 + at / 8 + 2;
            let next = usize::try_from(buffer[word] >> 32).unwrap();
            at += next;
            buffer[word] = u64::try_from(at).unwrap() << 32;
        }
        let answer = Answer { buffer };
        assert_eq!(answer.targets().unwrap(), table);
    }

    #[test]
    fn what_the_kernel_would_cut_is_refused() {
        let long = [target(0, "a-type-with-16-c", "")];
        assert!(Request::of("x").with(&long).is_err());
        assert!(
            Request::of("x")
                .with(&[target(0, "fifteen-letters", "")])
                .is_ok()
        );
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        let request = Request::of("x").with(&[target(0, "zero", "")]).unwrap();
        let mut buffer = request.buffer(0);
        let mut header = raw::header(&buffer);
        header.target_count = 2;
        raw::put(&mut buffer, &header, &[]);
        assert!(Answer { buffer }.targets().is_err());
    }

    #[test]
    fn a_device_s_number_is_unpacked_as_the_kernel_packs_it() {
        let number = DeviceNumber::unpack(0x0010_fd34);
        assert_eq!((number.major, number.minor), (0xfd, 0x134));
        assert_eq!(number.mapped_path(), PathBuf::from("/dev/dm-308"));
    }
}
