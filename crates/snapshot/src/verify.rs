//! Reading all of a generation, and holding every block against its sum.

use std::fs::File;
use std::io;

use crate::manifest::Image;
use crate::sums::{Root, Table, read_blocks, sums};
use crate::{Error, Generation, files};

/// What a verification read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Bytes of data.
    pub bytes: u64,
}

/// The root of the sums of an image that nobody writes: what [`Next::expect_base`](crate::Next::expect_base) takes. It
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
    /// finds is written down beside the generation, as [`mark_damaged`](Self::mark_damaged) does.
    ///
    /// `stop` is asked every MiB whether to go on; nothing is written down when it says so.
    ///
    /// # Errors
    /// The damage that was found first; [`Error::Stopped`].
    pub fn verify(&self, stop: &dyn Fn() -> bool) -> Result<Verified, Error> {
        let verified = self.check().and_then(|()| self.verify_data(stop));
        if let Err(error) = &verified
            && error.is_damage()
            && !matches!(error, Error::Damaged(_))
        {
            self.mark_damaged(error)
                .map_err(Error::io("mark as damaged", self.dir()))?;
        }
        verified
    }

    fn verify_data(&self, stop: &dyn Fn() -> bool) -> Result<Verified, Error> {
        let memory = &self.manifest().memory;
        let bytes = self.verify_image(files::MEMORY, files::MEMORY_SUMS, memory, stop)?;
        let disk = self.verify_disk(stop)?;
        Ok(Verified {
            bytes: bytes + disk,
        })
    }

    /// All of the layer and of the base image below it; how many bytes that was.
    pub(crate) fn verify_disk(&self, stop: &dyn Fn() -> bool) -> Result<u64, Error> {
        let manifest = self.manifest();
        let layer = &manifest.layer.image;
        let mut bytes = self.verify_image(files::LAYER, files::LAYER_SUMS, layer, stop)?;
        if let Some(expected) = manifest.base.root {
            let mut read = Reading::new(None, stop);
            let file = files::open(self.dir(), files::BASE)?;
            read.all(self, files::BASE, &file)?;
            if read.root != expected {
                return Err(Error::Root { file: files::BASE });
            }
            bytes += read.bytes;
        }
        Ok(bytes)
    }

    fn verify_image(
        &self,
        file: &'static str,
        table: &'static str,
        saved: &Image,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, Error> {
        let image = files::open(self.dir(), file)?;
        let sums = Table::read(files::open(self.dir(), table)?, saved.layout.len);
        let mut read = Reading::new(Some(sums), stop);
        read.all(self, file, &image)?;
        let told = match &mut read.table {
            Some(table) => table.count_root(),
            None => Ok(saved.root),
        };
        let told = told.map_err(Error::io("read", &self.dir().join(table)))?;
        match (read.root == saved.root, read.different) {
            (true, None) if told == saved.root => Ok(read.bytes),
            // All blocks together are what was saved, so it is the table that is not.
            (true, _) => Err(Error::Sums { file }),
            (false, Some(offset)) => Err(Error::Data { file, offset }),
            (false, None) => Err(Error::Root { file }),
        }
    }
}

/// A walk over the data of a file.
struct Reading<'a> {
    table: Option<Table>,
    stop: &'a dyn Fn() -> bool,
    /// What the blocks sum to.
    root: Root,
    /// Where the first block stands that is not what the table says.
    different: Option<u64>,
    bytes: u64,
}

impl<'a> Reading<'a> {
    fn new(table: Option<Table>, stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            table,
            stop,
            root: Root::default(),
            different: None,
            bytes: 0,
        }
    }

    fn all(&mut self, of: &Generation, name: &'static str, file: &File) -> Result<(), Error> {
        let path = of.dir().join(name);
        let failed = |error| Error::io("read", &path)(error);
        let extents = wrenn_disk::changed(file, None).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut stopped = false;
        read_blocks(file, len, &extents, |at, bytes| {
            stopped = (self.stop)();
            if stopped {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.run(at, bytes)
        })
        .map_err(|error| {
            if stopped {
                Error::Stopped
            } else {
                failed(error)
            }
        })
    }

    fn run(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.root.add(at, bytes);
        self.bytes += bytes.len() as u64;
        if let Some(table) = &mut self.table {
            for (index, sum) in sums(at, bytes) {
                if table.get(index)? != sum && self.different.is_none() {
                    self.different = Some(index * crate::sums::BLOCK as u64);
                }
            }
        }
        Ok(())
    }
}
