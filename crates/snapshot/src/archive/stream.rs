//! Streams that sum what goes through them.

use std::io::{self, Read, Write};

use super::Invalid;

/// A reader that sums what is read.
pub(super) struct Summed<T> {
    inner: T,
    sum: blake3::Hasher,
}

impl<T> Summed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            sum: blake3::Hasher::new(),
        }
    }
}

impl Summed<&mut dyn Read> {
    /// The next bytes, as many as the array has.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes).map_err(Invalid::read)?;
        Ok(bytes)
    }

    /// The next `len` bytes. What is allocated follows what is read.
    pub(super) fn bytes(
        &mut self,
        part: &'static str,
        len: u64,
        max: u64,
    ) -> Result<Vec<u8>, Invalid> {
        if len > max {
            return Err(Invalid::TooLong { part, len });
        }
        let mut bytes = Vec::new();
        self.by_ref()
            .take(len)
            .read_to_end(&mut bytes)
            .map_err(Invalid::read)?;
        if bytes.len() as u64 == len {
            Ok(bytes)
        } else {
            Err(Invalid::Truncated)
        }
    }

    /// Reads the sum that the stream ends with, and sees that it ends.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        let mut told = [0; blake3::OUT_LEN];
        self.inner.read_exact(&mut told).map_err(Invalid::read)?;
        if self.sum.finalize() != told {
            return Err(Invalid::Sum);
        }
        match self.inner.read_exact(&mut [0]) {
            Ok(()) => Err(Invalid::Trailing),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(Invalid::Read(error)),
        }
    }
}

impl Summed<&mut dyn Write> {
    /// Writes the sum, and what is buffered.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        let sum = self.sum.finalize();
        self.inner
            .write_all(sum.as_bytes())
            .and_then(|()| self.inner.flush())
            .map_err(Invalid::Write)
    }
}

impl Read for Summed<&mut dyn Read> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }
}

impl Write for Summed<&mut dyn Write> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
