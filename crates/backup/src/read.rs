//! A stream into files.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps};
use wrenn_sys::extents::Extent;
use wrenn_sys::reflink;

use crate::Error;
use crate::format::{MAGIC, MAX_HEAD, Meta, Summed, VERSION, kind, piece};
use crate::name::Name;

/// How much is written at a time, in bytes.
const CHUNK: usize = 1 << 20;

/// A backup that is being read.
pub struct Reader<R> {
    from: Summed<BufReader<R>>,
    head: Vec<u8>,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// What came out of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Names of files.
    pub files: u64,
    /// Bytes that the backup had.
    pub bytes: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the head of one.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Version`], and what can be wrong with a head.
    pub fn open(from: R) -> Result<Self, Error> {
        let mut from = Summed::new(BufReader::with_capacity(CHUNK, from));
        let magic = from.take_array().map_err(|error| match error {
            Error::Truncated => Error::Foreign,
            other => other,
        })?;
        if magic != MAGIC {
            return Err(Error::Foreign);
        }
        match u32::from_le_bytes(from.take_array()?) {
            VERSION => {}
            other => return Err(Error::Version(other)),
        }
        let length = usize::try_from(from.take_u64()?).unwrap_or(usize::MAX);
        if length > MAX_HEAD {
            return Err(Error::Invalid("head"));
        }
        let mut head = vec![0; length];
        from.take(&mut head)?;
        Ok(Self { from, head })
    }

    /// What its writer says first. Whether it is what was written shows only in the end.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Makes all files, each below the folder of its tree, and compares the sum. Before a file's data is written `room` is
    /// told how many bytes that will be. Nothing is synced.
    ///
    /// # Errors
    /// Any: what was made by then is to be thrown away.
    pub fn unpack(
        mut self,
        tree: &dyn Fn(&str) -> Option<PathBuf>,
        room: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Unpacked, Error> {
        let mut made = Made::default();
        let mut names = 0;
        loop {
            let kind = self.from.take_u8()?;
            if kind == kind::END {
                break;
            }
            let name = self.from.take_name()?;
            let path = place(&name, tree)?;
            match kind {
                kind::FOLDER => made.folder(path, self.from.take_meta()?)?,
                kind::FILE => self.file(path, &mut made, room)?,
                kind::NAME => {
                    let other = made.file(self.from.take_u64()?)?;
                    make_parent(&path)?;
                    fs::hard_link(other, &path).map_err(Error::file(&path))?;
                }
                _ => return Err(Error::Invalid("kind of an entry")),
            }
            names += u64::from(kind != kind::FOLDER);
        }
        let sum = self.from.sum();
        if self.from.take_array()? != sum {
            return Err(Error::Sum);
        }
        if !self.from.is_at_end()? {
            return Err(Error::Trailing);
        }
        made.settle_folders()?;
        Ok(Unpacked {
            files: names,
            bytes: self.from.bytes(),
        })
    }

    fn file(
        &mut self,
        path: PathBuf,
        made: &mut Made,
        room: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<(), Error> {
        let meta = self.from.take_meta()?;
        let (len, data) = (self.from.take_u64()?, self.from.take_u64()?);
        let failed = || Error::file(&path);
        room(data).map_err(failed())?;
        make_parent(&path)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(failed())?;
        file.set_len(len).map_err(failed())?;
        // It may be a source of its own pieces.
        made.files.push(path.clone());
        let mut written = 0_u64;
        loop {
            let kind = self.from.take_u8()?;
            if kind == piece::END {
                break;
            }
            let extent = Extent {
                start: self.from.take_u64()?,
                len: self.from.take_u64()?,
            };
            let end = extent.start.checked_add(extent.len);
            if extent.len == 0 || end.is_none_or(|end| end > len) {
                return Err(Error::Invalid("piece of a file"));
            }
            match kind {
                piece::DATA => {
                    self.data(&path, &file, extent)?;
                    written = written.saturating_add(extent.len);
                }
                piece::SAME => {
                    let other = made.file(self.from.take_u64()?)?;
                    let from = self.from.take_u64()?;
                    share(other, from, &file, extent).map_err(failed())?;
                }
                _ => return Err(Error::Invalid("kind of a piece")),
            }
        }
        if written != data {
            return Err(Error::Invalid("size of a file"));
        }
        settle(&file, meta).map_err(failed())
    }

    fn data(&mut self, path: &Path, file: &File, extent: Extent) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK];
        let mut at = extent.start;
        while at < extent.end() {
            let chunk = usize::try_from(extent.end() - at).map_or(CHUNK, |rest| rest.min(CHUNK));
            let chunk = &mut buffer[..chunk];
            self.from.take(chunk)?;
            file.write_all_at(chunk, at).map_err(Error::file(path))?;
            at += chunk.len() as u64;
        }
        Ok(())
    }
}

/// What was made so far.
#[derive(Default)]
struct Made {
    /// By their numbers.
    files: Vec<PathBuf>,
    folders: Vec<(PathBuf, Meta)>,
}

impl Made {
    fn file(&self, number: u64) -> Result<&Path, Error> {
        let index = usize::try_from(number).ok();
        let file = index.and_then(|index| self.files.get(index));
        file.map(PathBuf::as_path)
            .ok_or(Error::Invalid("number of a file"))
    }

    fn folder(&mut self, path: PathBuf, meta: Meta) -> Result<(), Error> {
        make_folder(&path)?;
        self.folders.push((path, meta));
        Ok(())
    }

    /// What is made in a folder changes its time, and may not be allowed by its mode: these come last.
    fn settle_folders(&self) -> Result<(), Error> {
        for (path, meta) in self.folders.iter().rev() {
            let folder = File::open(path).map_err(Error::file(path))?;
            settle(&folder, *meta).map_err(Error::file(path))?;
        }
        Ok(())
    }
}

fn place(name: &Name, tree: &dyn Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Error> {
    let (root, path) = name.split();
    let root = tree(root).ok_or(Error::Invalid("name of a file"))?;
    Ok(root.join(path))
}

fn make_parent(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), make_folder)
}

fn make_folder(path: &Path) -> Result<(), Error> {
    let mut folders = DirBuilder::new();
    let made = folders.recursive(true).mode(0o700).create(path);
    made.map_err(Error::file(path))
}

fn settle(file: &File, meta: Meta) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(meta.mode))?;
    if meta.written_ns == 0 {
        return Ok(());
    }
    let written = Timespec {
        tv_sec: meta.written_ns.div_euclid(1_000_000_000),
        tv_nsec: meta.written_ns.rem_euclid(1_000_000_000),
    };
    let times = Timestamps {
        last_access: written,
        last_modification: written,
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Gives a piece of a file the bytes that another one has at `from`: the same blocks where the file system can do that.
fn share(other: &Path, from: u64, file: &File, extent: Extent) -> io::Result<()> {
    let other = File::open(other)?;
    if reflink::clone_range(&other, from, file, extent).is_ok() {
        return Ok(());
    }
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < extent.len {
        let chunk = usize::try_from(extent.len - done).map_or(CHUNK, |rest| rest.min(CHUNK));
        let chunk = &mut buffer[..chunk];
        other.read_exact_at(chunk, from.saturating_add(done))?;
        file.write_all_at(chunk, extent.start + done)?;
        done += chunk.len() as u64;
    }
    Ok(())
}
