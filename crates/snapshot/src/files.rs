//! The files of a generation, and how they are opened.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Error;

pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const STATE: &str = "state";
pub(crate) const MEMORY: &str = "memory";
pub(crate) const MEMORY_SUMS: &str = "memory.sums";
pub(crate) const LAYER: &str = "layer";
pub(crate) const LAYER_SUMS: &str = "layer.sums";
pub(crate) const BASE: &str = "base";
/// The link that keeps the VMM's build.
pub(crate) const VMM_BUILD: &str = "vmm-build";

/// What its guest knows its host by, where a generation is for other sandboxes than its own.
pub(crate) const KEYS: &str = "keys";

/// What of the memory a guest that is restored touches first, as whoever brought it once noted: of no weight, and no part of what is
/// verified. The one file that is written later.
pub(crate) const TOUCHED: &str = "memory.touched";

/// The largest device state, in bytes.
pub(crate) const MAX_STATE: usize = 16 << 20;

/// The longest keys, in bytes.
pub(crate) const MAX_KEYS: usize = 4096;

/// The mode of every file of a generation: nobody writes it again.
pub(crate) const MODE: u32 = 0o444;

/// Opens a generation's file for reading.
///
/// # Errors
/// [`Error::Missing`] when it is not there.
pub(crate) fn open(dir: &Path, file: &'static str) -> Result<File, Error> {
    let path = dir.join(file);
    File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Missing { file },
        _ => Error::io("open", &path)(error),
    })
}

/// Whether two paths are names of one file.
pub(crate) fn is_same(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    identity(a).is_some_and(|a| identity(b) == Some(a))
}

/// Opens a generation's file for reading and compares its length.
///
/// # Errors
/// [`Error::Missing`], [`Error::Size`].
pub(crate) fn open_sized(dir: &Path, file: &'static str, expected: u64) -> Result<File, Error> {
    let opened = open(dir, file)?;
    let len = opened
        .metadata()
        .map_err(Error::io("read the size of", &dir.join(file)))?
        .len();
    if len == expected {
        Ok(opened)
    } else {
        Err(Error::Size {
            file,
            len,
            expected,
        })
    }
}

/// The blocks of the files below that count. A generation's base image and its VMM's build, which are others', too, do not, and
/// neither do keys and what was touched. What goes while it is counted takes nothing.
pub(crate) fn allocated(dir: &Path, counts: &dyn Fn(&fs::Metadata) -> bool) -> io::Result<u64> {
    let mut sum = 0;
    for entry in there(fs::read_dir(dir))?.into_iter().flatten() {
        let entry = entry?;
        if [BASE, VMM_BUILD, KEYS, TOUCHED]
            .iter()
            .any(|name| entry.file_name() == *name)
        {
            continue;
        }
        let Some(meta) = there(entry.metadata())? else {
            continue;
        };
        sum += if meta.is_dir() {
            allocated(&entry.path(), counts)?
        } else if counts(&meta) {
            meta.blocks() * 512
        } else {
            0
        };
    }
    Ok(sum)
}

fn there<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    }
}
