//! Files into a stream.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;
use wrenn_sys::extents::Extent;
use wrenn_sys::fiemap::{self, Mapping};

use crate::Error;
use crate::blocks::{Blocks, Piece};
use crate::format::{MAGIC, MAX_HEAD, Meta, Summed, VERSION, kind, piece};
use crate::name::Name;

/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 20;

/// A backup that is being written. It has an end only after [`Writer::finish`].
pub struct Writer<W> {
    to: Summed<W>,
    /// The files that are in it, by device and inode: their numbers.
    files: HashMap<(u64, u64), u64>,
    /// Held, so that their blocks stay theirs.
    held: Vec<File>,
    /// How many files there are.
    count: u64,
    blocks: Blocks,
    buffer: Vec<u8>,
}

impl<W> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("files", &self.count)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins one. `head` is what its reader is told first.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Invalid`] for a head of more than [`MAX_HEAD`] bytes.
    pub fn new(to: W, head: &[u8]) -> Result<Self, Error> {
        if head.len() > MAX_HEAD {
            return Err(Error::Invalid("head"));
        }
        let mut to = Summed::new(to);
        to.put(&MAGIC)?;
        to.put(&VERSION.to_le_bytes())?;
        to.put_u64s([head.len() as u64])?;
        to.put(head)?;
        Ok(Self {
            to,
            files: HashMap::new(),
            held: Vec::new(),
            count: 0,
            blocks: Blocks::default(),
            buffer: vec![0; CHUNK],
        })
    }

    /// A folder, whose permissions and time count. What has none of its own is there all the same where a file is in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that leads elsewhere, [`Error::Write`].
    pub fn folder(&mut self, name: &str, meta: &Metadata) -> Result<(), Error> {
        self.to.put(&[kind::FOLDER])?;
        self.to.put_name(&Name::new(name)?)?;
        self.to.put_meta(meta_of(meta))
    }

    /// A file that nobody writes any more. One that is in it already gets one more name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that leads elsewhere, [`Error::File`], [`Error::Write`].
    pub fn file(&mut self, name: &str, file: File) -> Result<(), Error> {
        let path = Path::new(name);
        let checked = Name::new(name)?;
        let meta = file.metadata().map_err(Error::file(path))?;
        if let Some(number) = self.files.get(&(meta.dev(), meta.ino())) {
            let number = *number;
            self.to.put(&[kind::NAME])?;
            self.to.put_name(&checked)?;
            return self.to.put_u64s([number]);
        }
        let mappings = mappings(&file, meta.len()).map_err(Error::file(path))?;
        let number = self.count;
        let pieces = self.blocks.add(meta.dev(), number, &mappings);
        self.begin_file(&checked, meta_of(&meta), meta.len(), data_of(&pieces))?;
        for piece in pieces {
            match piece {
                Piece::Data(extent) => self.data(path, &file, extent)?,
                Piece::Same { extent, file, from } => {
                    self.to.put(&[piece::SAME])?;
                    self.to.put_u64s([extent.start, extent.len, file, from])?;
                }
            }
        }
        self.to.put(&[piece::END])?;
        self.files.insert((meta.dev(), meta.ino()), number);
        self.held.push(file);
        Ok(())
    }

    /// A file of these contents.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that leads elsewhere, [`Error::Write`].
    pub fn contents(&mut self, name: &str, mode: u32, contents: &[u8]) -> Result<(), Error> {
        let meta = Meta {
            mode,
            written_ns: 0,
        };
        let len = contents.len() as u64;
        self.begin_file(&Name::new(name)?, meta, len, len)?;
        if len > 0 {
            self.to.put(&[piece::DATA])?;
            self.to.put_u64s([0, len])?;
            self.to.put(contents)?;
        }
        self.to.put(&[piece::END])
    }

    /// Ends it; gives how many bytes it has.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(mut self) -> Result<u64, Error> {
        self.to.put(&[kind::END])?;
        let sum = self.to.sum();
        self.to.put(&sum)?;
        self.to.inner.flush().map_err(Error::Write)?;
        Ok(self.to.bytes())
    }

    fn begin_file(&mut self, name: &Name, meta: Meta, len: u64, data: u64) -> Result<(), Error> {
        self.count += 1;
        self.to.put(&[kind::FILE])?;
        self.to.put_name(name)?;
        self.to.put_meta(meta)?;
        self.to.put_u64s([len, data])
    }

    fn data(&mut self, path: &Path, file: &File, extent: Extent) -> Result<(), Error> {
        self.to.put(&[piece::DATA])?;
        self.to.put_u64s([extent.start, extent.len])?;
        let mut at = extent.start;
        while at < extent.end() {
            let chunk = usize::try_from(extent.end() - at).map_or(CHUNK, |rest| rest.min(CHUNK));
            let buffer = &mut self.buffer[..chunk];
            file.read_exact_at(buffer, at).map_err(Error::file(path))?;
            self.to.put(buffer)?;
            at += chunk as u64;
        }
        Ok(())
    }
}

/// Where a file has data, up to its end; all of it where the file system does not tell.
fn mappings(file: &File, len: u64) -> io::Result<Vec<Mapping>> {
    let whole = Mapping {
        extent: Extent { start: 0, len },
        physical: None,
    };
    let mut found = match fiemap::mappings(file) {
        Err(error) if is_untold(&error) => vec![whole],
        found => found?,
    };
    found.retain_mut(|mapping| {
        let extent = &mut mapping.extent;
        extent.len = extent.len.min(len.saturating_sub(extent.start));
        extent.len > 0
    });
    Ok(found)
}

fn is_untold(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL)
    )
}

/// How many bytes of a file stand in the backup.
fn data_of(pieces: &[Piece]) -> u64 {
    let data = pieces.iter().map(|piece| match piece {
        Piece::Data(extent) => extent.len,
        Piece::Same { .. } => 0,
    });
    data.sum()
}

fn meta_of(meta: &Metadata) -> Meta {
    let seconds = meta.mtime().saturating_mul(1_000_000_000);
    Meta {
        mode: meta.mode() & 0o7777,
        written_ns: seconds.saturating_add(meta.mtime_nsec()),
    }
}
