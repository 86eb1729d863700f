//! How a backup is written down: a head, entries, a sum.

use std::io::{self, Read, Write};

use crate::Error;
use crate::name::Name;

/// What it begins with.
pub(crate) const MAGIC: [u8; 8] = *b"WRENNBAK";
/// The version that is written and read.
pub(crate) const VERSION: u32 = 1;
/// The longest head, in bytes.
pub const MAX_HEAD: usize = 16 << 20;

/// What comes next.
pub(crate) mod kind {
    /// Nothing: the sum follows.
    pub(crate) const END: u8 = 0;
    /// A folder.
    pub(crate) const FOLDER: u8 = 1;
    /// A file, and then its pieces.
    pub(crate) const FILE: u8 = 2;
    /// One more name of a file.
    pub(crate) const NAME: u8 = 3;
}

/// What comes next of a file.
pub(crate) mod piece {
    /// Nothing.
    pub(crate) const END: u8 = 0;
    /// Bytes that stand here.
    pub(crate) const DATA: u8 = 1;
    /// Bytes that it shares with a file that came before, or with itself.
    pub(crate) const SAME: u8 = 2;
}

/// What a folder or a file is beside its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The permission bits.
    pub(crate) mode: u32,
    /// When it was written last, in nanoseconds since 1970; 0 where nobody cares.
    pub(crate) written_ns: i64,
}

/// Writes, and sums what was written.
pub(crate) struct Summed<T> {
    pub(crate) inner: T,
    sum: blake3::Hasher,
    bytes: u64,
}

impl<T> Summed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner,
            sum: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    /// The sum of all that passed.
    pub(crate) fn sum(&self) -> [u8; blake3::OUT_LEN] {
        *self.sum.finalize().as_bytes()
    }

    /// How many bytes passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Summed<W> {
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.inner.write_all(bytes).map_err(Error::Write)?;
        self.pass(bytes);
        Ok(())
    }

    pub(crate) fn put_u64s<const N: usize>(&mut self, numbers: [u64; N]) -> Result<(), Error> {
        numbers
            .iter()
            .try_for_each(|number| self.put(&number.to_le_bytes()))
    }

    pub(crate) fn put_name(&mut self, name: &Name) -> Result<(), Error> {
        let bytes = name.as_str().as_bytes();
        let length = u16::try_from(bytes.len()).map_err(|_| Error::Invalid("name of a file"))?;
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    pub(crate) fn put_meta(&mut self, meta: Meta) -> Result<(), Error> {
        self.put(&meta.mode.to_le_bytes())?;
        self.put(&meta.written_ns.to_le_bytes())
    }
}

impl<R: Read> Summed<R> {
    /// Fills all of it.
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.inner.read_exact(bytes).map_err(Error::read)?;
        self.pass(bytes);
        Ok(())
    }

    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn take_u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.take_array()?))
    }

    pub(crate) fn take_u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.take_array()?))
    }

    pub(crate) fn take_name(&mut self) -> Result<Name, Error> {
        let length = u16::from_le_bytes(self.take_array()?);
        let mut bytes = vec![0; usize::from(length)];
        self.take(&mut bytes)?;
        let name = str::from_utf8(&bytes).map_err(|_| Error::Invalid("name of a file"))?;
        Name::new(name)
    }

    pub(crate) fn take_meta(&mut self) -> Result<Meta, Error> {
        let mode = u32::from_le_bytes(self.take_array()?);
        let written_ns = i64::from_le_bytes(self.take_array()?);
        if mode > 0o7777 {
            return Err(Error::Invalid("mode of a file"));
        }
        Ok(Meta { mode, written_ns })
    }

    /// Whether nothing more comes.
    pub(crate) fn is_at_end(&mut self) -> Result<bool, Error> {
        let mut one = [0];
        loop {
            match self.inner.read(&mut one) {
                Ok(read) => return Ok(read == 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }
}
