//! A machine's memory: a private view of its image, of which every page that was written is its own; and what the guest
//! keeps in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wrenn_envd_api::Secret;

const PAGE: usize = 4096;
/// Where the guest keeps what it knows: a length of eight bytes, then as many bytes of JSON.
const HOME: u64 = 16;

/// An image, and what was written over it.
#[derive(Debug)]
pub(super) struct Memory {
    image: File,
    written: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl Memory {
    pub(super) fn open(image: &Path) -> io::Result<Self> {
        Ok(Self {
            image: File::open(image)?,
            written: BTreeMap::new(),
        })
    }

    fn page(&self, number: u64) -> io::Result<Box<[u8; PAGE]>> {
        if let Some(page) = self.written.get(&number) {
            return Ok(page.clone());
        }
        let mut page = Box::new([0; PAGE]);
        self.image
            .read_exact_at(page.as_mut_slice(), number * PAGE as u64)?;
        Ok(page)
    }

    /// Bytes from the beginning of a page on.
    fn read(&self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length + PAGE);
        for number in (from..).take(length.div_ceil(PAGE)) {
            bytes.extend_from_slice(self.page(number)?.as_slice());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn write(&mut self, from: u64, bytes: &[u8]) -> io::Result<()> {
        for (number, chunk) in (from..).zip(bytes.chunks(PAGE)) {
            let mut page = self.page(number)?;
            page[..chunk.len()].copy_from_slice(chunk);
            self.written.insert(number, page);
        }
        Ok(())
    }

    /// Writes every page that was written into a file, one after the other: where each stands there, where it belongs,
    /// how long it is.
    pub(super) fn dump(&self, path: &Path) -> io::Result<Vec<(u64, u64, u64)>> {
        let mut file = File::create(path)?;
        let mut pieces = Vec::with_capacity(self.written.len());
        let page = PAGE as u64;
        for (at, (number, bytes)) in (0..).zip(&self.written) {
            file.write_all(bytes.as_slice())?;
            pieces.push((at * page, number * page, page));
        }
        Ok(pieces)
    }
}

/// What the guest says of its counting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Another one after each boot, the same after a resume.
    pub boot: String,
    /// How often it has counted since it booted.
    pub count: u64,
    /// The longest time between two of them since somebody asked, in milliseconds, while it did not stand still.
    pub gap_ms: u64,
    /// How often it was made to stand still.
    pub freezes: u64,
}

/// What the guest keeps in its memory.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) boot: String,
    pub(super) count: u64,
    pub(super) freezes: u64,
    pub(super) kept: String,
    pub(super) token: Option<Secret>,
    pub(super) key: Option<Secret>,
}

/// A guest: what it keeps, and that it counts.
#[derive(Debug)]
pub(super) struct Guest {
    memory: Memory,
    pub(super) contents: Contents,
    pub(super) frozen: bool,
    counted: Instant,
    gap: Duration,
}

impl Guest {
    /// One that boots.
    pub(super) fn boot(memory: Memory, boot: String) -> Self {
        let contents = Contents {
            boot,
            count: 0,
            freezes: 0,
            kept: String::new(),
            token: None,
            key: None,
        };
        Self::new(memory, contents, false)
    }

    /// The one that is in the memory; it stands still.
    pub(super) fn restore(memory: Memory) -> io::Result<Self> {
        let length: [u8; 8] = memory.page(HOME)?[..8].try_into().unwrap_or_default();
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 || length > 1 << 20 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "there is no guest in the memory",
            ));
        }
        let contents = serde_json::from_slice(&memory.read(HOME, 8 + length)?[8..])?;
        Ok(Self::new(memory, contents, true))
    }

    fn new(memory: Memory, contents: Contents, frozen: bool) -> Self {
        Self {
            memory,
            contents,
            frozen,
            counted: Instant::now(),
            gap: Duration::ZERO,
        }
    }

    /// Counts once, unless it stands still.
    pub(super) fn tick(&mut self) {
        if !self.frozen {
            self.gap = self.gap.max(self.counted.elapsed());
            self.counted = Instant::now();
            self.contents.count += 1;
        }
    }

    pub(super) fn freeze(&mut self) {
        if !self.frozen {
            self.tick();
            self.contents.freezes += 1;
            self.frozen = true;
        }
    }

    pub(super) fn thaw(&mut self) {
        if self.frozen {
            self.counted = Instant::now();
            self.frozen = false;
        }
    }

    /// How it has counted, since somebody asked.
    pub(super) fn told(&mut self) -> Count {
        self.tick();
        Count {
            boot: self.contents.boot.clone(),
            count: self.contents.count,
            gap_ms: u64::try_from(std::mem::take(&mut self.gap).as_millis()).unwrap_or(u64::MAX),
            freezes: self.contents.freezes,
        }
    }

    /// Puts all that it keeps into its memory and writes that down, as [`Memory::dump`].
    pub(super) fn capture(&mut self, path: &Path) -> io::Result<Vec<(u64, u64, u64)>> {
        let text = serde_json::to_vec(&self.contents)?;
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text);
        self.memory.write(HOME, &bytes)?;
        self.memory.dump(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_comes_back_from_its_image_and_its_pages() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(1 << 20).unwrap();
        let mut guest = Guest::boot(Memory::open(&image).unwrap(), "b1".into());
        guest.tick();
        guest.contents.kept = "x".repeat(3 * PAGE);
        guest.contents.key = Some("secret".into());
        guest.freeze();
        let count = guest.told();
        let pages = dir.path().join("pages");
        let pieces = guest.capture(&pages).unwrap();
        assert!(pieces.len() > 3);

        let (from, to) = (
            File::open(&pages).unwrap(),
            File::options().write(true).open(&image),
        );
        let to = to.unwrap();
        for (at, goes, length) in pieces {
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            from.read_exact_at(&mut bytes, at).unwrap();
            to.write_all_at(&bytes, goes).unwrap();
        }
        let mut again = Guest::restore(Memory::open(&image).unwrap()).unwrap();
        assert_eq!(again.contents.kept.len(), 3 * PAGE);
        assert!(again.contents.key.as_ref().unwrap().matches(b"secret"));
        again.tick();
        assert_eq!((again.told().count, again.told().freezes), (count.count, 1));
        again.thaw();
        assert!(again.told().count > count.count);
    }

    #[test]
    fn an_empty_memory_has_no_guest() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(1 << 20).unwrap();
        assert!(Guest::restore(Memory::open(&image).unwrap()).is_err());
    }
}
