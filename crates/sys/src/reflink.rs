#![allow(
    unsafe_code,
    reason = "a piece of a file is cloned by ioctl, for which there is no safe interface"
)]
//! Files that share blocks: a clone costs a millisecond whatever its size, and only what is written afterwards takes room.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::SeekFrom as Extent;
use rustix::io::Errno;

use crate::extents::Extent as Piece;

/// Makes `to` a clone of the whole of `from` (FICLONE). Both stand on one file system; what `to` held is replaced.
///
/// # Errors
/// `EOPNOTSUPP` where the file system cannot share blocks, `EXDEV` across file systems, `ENOSPC`.
pub fn clone(from: &File, to: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

/// Makes a piece of `to` a clone of as many bytes of `from`, at the offset `at` (FICLONERANGE). Offsets and lengths are whole
/// blocks, but for a piece that ends with `from`.
///
/// # Errors
/// As [`clone`]; `EINVAL` for pieces that are no whole blocks, or lie behind the end of `from`.
pub fn clone_range(from: &File, at: u64, to: &File, piece: Piece) -> io::Result<()> {
    raw::clone_range(from, at, to, piece)
}

/// Makes the new file `to` with the contents of `from`: a clone where that is possible, else a copy that keeps holes.
///
/// `mode` is the new file's permission bits. The new file is not synced.
///
/// # Errors
/// A `to` that exists already is refused and left alone. After any other error there is no `to`.
pub fn clone_or_copy(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let source = File::open(from)?;
    let target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    let filled =
        fill(&source, &target).and_then(|()| target.set_permissions(Permissions::from_mode(mode)));
    if filled.is_err() {
        // The error that led here is the one to tell.
        drop(std::fs::remove_file(to));
    }
    filled
}

/// Whether files in this directory can share blocks, found out with two small files that have no name.
///
/// # Errors
/// The directory cannot be written.
pub fn supports_reflink(dir: &Path) -> io::Result<bool> {
    match clone_unnamed(dir) {
        Ok(()) => Ok(true),
        // A file system that has no unnamed files shares no blocks either, and says so in the same words.
        Err(error) if cannot_clone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn clone_unnamed(dir: &Path) -> io::Result<()> {
    let mut source = unnamed(dir)?;
    source.write_all(&[0x57; 4096])?;
    clone(&source, &unnamed(dir)?)
}

fn fill(source: &File, target: &File) -> io::Result<()> {
    match clone(source, target) {
        Err(error) if cannot_clone(&error) => copy_sparse(source, target),
        other => other,
    }
}

/// Whether the error says that cloning is not possible between these files, rather than that it went wrong.
fn cannot_clone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS)
    )
}

/// Copies extent by extent, so that a hole stays a hole.
fn copy_sparse(mut source: &File, mut target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while let Some(start) = next_data(source, at)? {
        let end = rustix::fs::seek(source, Extent::Hole(start))?.min(length);
        source.seek(SeekFrom::Start(start))?;
        target.seek(SeekFrom::Start(start))?;
        let copied = io::copy(&mut source.take(end - start), &mut target)?;
        if copied != end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = end;
    }
    Ok(())
}

/// Where the next data at or after `at` begins; none when only a hole follows.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, Extent::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file without a name: nothing to remove, whatever happens.
fn unnamed(dir: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// The request and its structure, by the kernel's `linux/fs.h`.
mod raw {
    use super::{File, Piece, io};
    use std::ffi::c_ulong;
    use std::mem::size_of;
    use std::os::fd::AsRawFd;

    const FICLONERANGE: c_ulong = 0x4020_940D;

    #[repr(C)]
    struct Request {
        from: i64,
        at: u64,
        len: u64,
        to_at: u64,
    }

    const _: () = assert!(size_of::<Request>() == 32);

    pub(super) fn clone_range(from: &File, at: u64, to: &File, piece: Piece) -> io::Result<()> {
        let request = Request {
            from: i64::from(from.as_raw_fd()),
            at,
            len: piece.len,
            to_at: piece.start,
        };
        // SAFETY: both descriptors are open for the call, and the pointer is to a whole request, which the kernel reads.
        let code = unsafe { libc::ioctl(to.as_raw_fd(), FICLONERANGE, &raw const request) };
        if code == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    /// 64 MiB with data at its start, in the middle, and a hole at its end.
    fn sparse(path: &Path) {
        let file = File::create(path).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"start", 0).unwrap();
        file.write_all_at(b"middle", (32 << 20) + 100).unwrap();
    }

    #[test]
    fn a_copy_has_the_contents_the_mode_and_the_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        sparse(&from);
        let target = File::create(&to).unwrap();
        copy_sparse(&File::open(&from).unwrap(), &target).unwrap();
        assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        assert!(target.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_clone_or_copy_has_the_mode_and_refuses_a_file_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        sparse(&from);
        clone_or_copy(&from, &to, 0o444).unwrap();
        assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        assert_eq!(to.metadata().unwrap().mode() & 0o777, 0o444);
        let error = clone_or_copy(&from, &to, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(to.metadata().unwrap().mode() & 0o777, 0o444);
    }

    #[test]
    fn a_copy_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        // A directory opens for reading, but has no contents to copy.
        clone_or_copy(dir.path(), &to, 0o600).unwrap_err();
        assert!(!to.exists());
    }

    #[test]
    fn the_probe_leaves_nothing_and_needs_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        supports_reflink(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        supports_reflink(&dir.path().join("absent")).unwrap_err();
    }
}
