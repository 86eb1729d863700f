//! How much a pause writes: the blocks of its files that are not those of the pause before.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The files of a pause that are written anew, or are clones of the last pause's and written where the guest has written.
/// The disk's layer is no more than cloned.
const FILES: [&str; 5] = ["memory", "memory.sums", "layer.sums", "state", "manifest"];

/// The last pause of a sandbox, held so that its blocks are no one else's.
pub(super) struct LastPause {
    generations: PathBuf,
    files: HashMap<&'static str, File>,
}

impl LastPause {
    /// What there is of it in the data directory.
    pub(super) fn of(data: &Path, sandbox: &str) -> Result<Self> {
        let folder = data.join("store/sandboxes").join(sandbox);
        let generations = folder.join("generations");
        Ok(Self {
            files: match newest(&generations)? {
                Some(generation) => open(&generation)?,
                None => HashMap::new(),
            },
            generations,
        })
    }

    /// How many bytes the pause after it takes that it does not share.
    pub(super) fn written_since(&self) -> Result<u64> {
        let generation = newest(&self.generations)?.context("there is no pause")?;
        let mut written = 0;
        for (name, now) in open(&generation)? {
            let changed = wrenn_disk::changed(&now, self.files.get(name))?;
            written += changed.iter().map(|piece| piece.len).sum::<u64>();
        }
        Ok(written)
    }
}

fn open(generation: &Path) -> Result<HashMap<&'static str, File>> {
    FILES
        .into_iter()
        .map(|name| {
            let file = File::open(generation.join(name));
            Ok((name, file.with_context(|| format!("the pause's {name}"))?))
        })
        .collect()
}

/// The folder with the highest name; older ones may still be there.
fn newest(generations: &Path) -> Result<Option<PathBuf>> {
    let entries = match std::fs::read_dir(generations) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        let pause = entry.file_name().as_encoded_bytes().starts_with(b"g-");
        if pause && entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders.into_iter().max())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(data: &Path, name: &str, bytes: usize) {
        let folder = data.join("store/sandboxes/sb-1/generations").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for file in FILES {
            std::fs::write(folder.join(file), vec![1; bytes]).unwrap();
        }
    }

    #[test]
    fn what_is_not_shared_was_written() {
        let data = tempfile::tempdir().unwrap();
        let none = LastPause::of(data.path(), "sb-1").unwrap();
        assert!(none.written_since().is_err());
        pause(data.path(), "g-00000009", 4096);
        assert_eq!(none.written_since().unwrap(), 5 * 4096);
        let ninth = LastPause::of(data.path(), "sb-1").unwrap();
        assert_eq!(ninth.written_since().unwrap(), 0);
        pause(data.path(), "g-00000010", 8192);
        assert_eq!(ninth.written_since().unwrap(), 5 * 8192);
    }
}
