//! Reading all of a generation, and holding every block against its sum.

use std::fs::File;
use std::io;

use crate::manifest::Image;
use crate::sums::{BLOCK, Root, Table, block_sums, read_blocks};
use crate::{Error, Generation, files};

/// What a verification read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of data.
    pub bytes: u64,
}

/// The root of the sums of an image that nobody writes: what [`Next::link_base`](crate::Next::link_base) takes. It
/// reads all of the image's data.
pub fn base_root(image: &File) -> io::Result<Root> {
    let mut root = Root::default();
    let extents = wrenn_disk::changed(image, None)?;
    let len = image.metadata()?.len();
    read_blocks(image, len, &extents, |at, bytes| {
        root.add(at, bytes);
        Ok::<_, io::Error>(())
    })?;
    Ok(root)
}

impl Generation {
    /// [Checks](Self::check) the generation, then reads all of its data and holds it against the sums. Damage that it
    /// finds is written down beside the generation.
    ///
    /// `stop` is asked every MiB whether to go on; nothing is written down when it says so.
    ///
    /// # Errors
    /// The damage that was found first; [`Error::Stopped`]; [`Error::Removed`] where it went while it was read.
    pub fn verify(&self, stop: &dyn Fn() -> bool) -> Result<Verified, Error> {
        self.remember(self.check().and_then(|()| self.verify_data(stop)))
    }

    fn verify_data(&self, stop: &dyn Fn() -> bool) -> Result<Verified, Error> {
        let memory = &self.manifest().memory;
        let bytes = self.verify_image(files::MEMORY, files::MEMORY_SUMS, memory, stop)?
            + self.verify_disk(stop)?;
        Ok(Verified { bytes })
    }

    /// All of the layer and of the base image below it; how many bytes that was.
    pub(crate) fn verify_disk(&self, stop: &dyn Fn() -> bool) -> Result<u64, Error> {
        let layer = &self.manifest().layer.image;
        let bytes = self.verify_image(files::LAYER, files::LAYER_SUMS, layer, stop)?;
        Ok(bytes + self.verify_base(stop)?)
    }

    fn verify_image(
        &self,
        file: &'static str,
        table: &'static str,
        saved: &Image,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, Error> {
        let mut sums = Table::read(files::open(self.dir(), table)?, saved.layout.len);
        let mut root = Root::default();
        // Where the first block stands that is not what the table says.
        let mut different = None;
        let bytes = self.read(file, stop, &mut |at, bytes| {
            root.add(at, bytes);
            for (index, sum) in block_sums(at, bytes) {
                if sums.get(index)? != sum {
                    different.get_or_insert(index * BLOCK as u64);
                }
            }
            Ok(())
        })?;
        let told = sums.count_root();
        let told = told.map_err(Error::io("read", &self.dir().join(table)))?;
        match (root == saved.root, different) {
            (true, None) if told == saved.root => Ok(bytes),
            // All blocks together are what was saved, so it is the table that is not.
            (true, _) => Err(Error::Sums { file }),
            (false, Some(offset)) => Err(Error::Data { file, offset }),
            (false, None) => Err(Error::Root { file }),
        }
    }

    fn verify_base(&self, stop: &dyn Fn() -> bool) -> Result<u64, Error> {
        let Some(expected) = self.manifest().base.root else {
            return Ok(0);
        };
        let mut root = Root::default();
        let bytes = self.read(files::BASE, stop, &mut |at, bytes| {
            root.add(at, bytes);
            Ok(())
        })?;
        if root == expected {
            Ok(bytes)
        } else {
            Err(Error::Root { file: files::BASE })
        }
    }

    /// Reads all data of a file, and says how much that was.
    fn read(
        &self,
        file: &'static str,
        stop: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<u64, Error> {
        let path = self.dir().join(file);
        let failed = |error| Error::io("read", &path)(error);
        let image = files::open(self.dir(), file)?;
        let extents = wrenn_disk::changed(&image, None).map_err(failed)?;
        let len = image.metadata().map_err(failed)?.len();
        let mut read = 0;
        read_blocks(&image, len, &extents, |at, bytes| {
            if stop() {
                return Err(Halt::Stopped);
            }
            read += bytes.len() as u64;
            Ok(seen(at, bytes)?)
        })
        .map_err(|halt| match halt {
            Halt::Stopped => Error::Stopped,
            Halt::Failed(error) => failed(error),
        })?;
        Ok(read)
    }
}

/// Why a file was not read to its end.
enum Halt {
    Stopped,
    Failed(io::Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}
