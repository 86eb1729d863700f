//! Copy-on-write layers: what a sandbox writes to its disk, over a base image that it shares.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use wrenn_sys::dm::DeviceNumber;
use wrenn_sys::{durable, reflink};

use crate::qcow2::{Header, OVERLAY_LEN};
use crate::{Error, Grown};

/// The disk of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The file that takes what the sandbox writes. It belongs to the sandbox's VMM.
    pub overlay: PathBuf,
    /// The image that everything else is read from. Nobody writes it.
    pub base: PathBuf,
    /// The size of the disk that the guest sees, in bytes.
    pub virtual_size: u64,
}

/// A way to keep copy-on-write layers.
pub trait Disk: Send + Sync + Debug {
    /// How the file that takes what a sandbox writes is called.
    fn file_name(&self) -> &'static str;

    /// Makes a layer ready for a VMM, which is given the device that is returned, or the layer's file where there is none.
    ///
    /// # Errors
    /// A layer that was made ready already is refused and left alone; after any other error there is no device.
    fn attach(&self, layer: &Layer) -> Result<Option<DeviceNumber>, Error>;

    /// Lets a layer go on whose checkpoint nobody came to end. One that is not made ready is fine.
    ///
    /// # Errors
    /// What the kernel said.
    fn go_on(&self, layer: &Layer) -> Result<(), Error>;

    /// Undoes that, once its VMM has ended; what the layer holds stays. One that was not made ready is fine.
    ///
    /// # Errors
    /// Somebody still has it open.
    fn detach(&self, layer: &Layer) -> Result<(), Error>;

    /// Sees to it that a layer that is made ready has room for what its guest writes next.
    ///
    /// # Errors
    /// [`Error::Invalidated`] where it is too late.
    fn grow_if_needed(&self, layer: &Layer) -> Result<Grown, Error>;

    /// Makes the layer, empty, to be written by a VMM that runs as `uid`. Its base image is there already.
    ///
    /// # Errors
    /// An overlay that is there already is refused and left alone; after any other error there is none.
    fn create(&self, layer: &Layer, uid: u32) -> Result<(), Error>;

    /// Makes the layer with the contents of `from`, an overlay that nobody writes, to be written by a VMM that runs as
    /// `uid`. The blocks are shared until they are written.
    ///
    /// # Errors
    /// An overlay that is there already is refused and left alone; after any other error there is none.
    fn branch(&self, from: &Path, layer: &Layer, uid: u32) -> Result<(), Error>;

    /// Makes the new file `to`, the caller's alone, with what the layer holds now. Its VMM stands still.
    ///
    /// What was written to the layer is on the file system then; neither file is synced.
    ///
    /// # Errors
    /// A file that is there already is refused and left alone; after any other error there is none.
    fn checkpoint(&self, layer: &Layer, to: &Path) -> Result<File, Error>;

    /// Opens what the layer holds for reading: as long as its VMM stands still that is what its checkpoint holds, but
    /// from the page cache. A VMM that was broken into may change it.
    fn open(&self, layer: &Layer) -> Result<File, Error>;

    /// Removes the layer, not its base image. One that is not there is fine.
    fn remove(&self, layer: &Layer) -> Result<(), Error>;

    /// How many bytes of the host's disk the layer takes, its base image not counted.
    fn usage(&self, layer: &Layer) -> io::Result<u64>;
}

/// Layers as qcow2 files over raw images.
#[derive(Debug, Clone, Copy, Default)]
pub struct Qcow2;

impl Disk for Qcow2 {
    fn file_name(&self) -> &'static str {
        "disk.qcow2"
    }

    fn attach(&self, _layer: &Layer) -> Result<Option<DeviceNumber>, Error> {
        Ok(None)
    }

    fn go_on(&self, _layer: &Layer) -> Result<(), Error> {
        Ok(())
    }

    fn detach(&self, _layer: &Layer) -> Result<(), Error> {
        Ok(())
    }

    /// Its file grows by itself, and its VMM stops a guest for which the file system has no room.
    fn grow_if_needed(&self, _layer: &Layer) -> Result<Grown, Error> {
        Ok(Grown::No)
    }

    fn create(&self, layer: &Layer, uid: u32) -> Result<(), Error> {
        create_overlay(&layer.overlay, &layer.base, layer.virtual_size, uid)
    }

    fn branch(&self, from: &Path, layer: &Layer, uid: u32) -> Result<(), Error> {
        clone(from, &layer.overlay, Some(uid)).map(drop)
    }

    fn checkpoint(&self, layer: &Layer, to: &Path) -> Result<File, Error> {
        clone(&layer.overlay, to, None)
    }

    fn open(&self, layer: &Layer) -> Result<File, Error> {
        open(&layer.overlay)
    }

    fn remove(&self, layer: &Layer) -> Result<(), Error> {
        durable::remove(&layer.overlay).map_err(Error::io("remove", &layer.overlay))
    }

    fn usage(&self, layer: &Layer) -> io::Result<u64> {
        usage(&layer.overlay)
    }
}

/// Makes an empty qcow2 overlay over the raw image `base`: mode 0600, owned by `uid`, a disk of `virtual_size` bytes.
///
/// Nothing is copied and no program is run. The file is not synced: it becomes durable with the guest's first flush.
///
/// # Errors
/// A size or path that the format does not take, a base that is larger than the disk, a file that is there already
/// (it is left alone), no room. After an error there is no new file.
pub fn create_overlay(
    overlay: &Path,
    base: &Path,
    virtual_size: u64,
    uid: u32,
) -> Result<(), Error> {
    let header = Header {
        virtual_size,
        backing: base.to_owned(),
    };
    let pieces = header.build()?;
    let base_size = std::fs::metadata(base)
        .map_err(Error::io("read the size of", base))?
        .len();
    if base_size > virtual_size {
        return Err(Error::BaseTooLarge {
            base: base_size,
            virtual_size,
        });
    }
    let file = create_new(overlay)?;
    // The length first: XFS allocates ahead where a write makes a file longer.
    let written = file
        .set_len(OVERLAY_LEN)
        .and_then(|()| {
            pieces
                .iter()
                .try_for_each(|piece| file.write_all_at(&piece.bytes, piece.offset))
        })
        .and_then(|()| fchown(&file, Some(uid), None));
    written.map_err(|error| {
        // The error that led here is the one to tell.
        drop(std::fs::remove_file(overlay));
        Error::io("write", overlay)(error)
    })
}

/// Opens a file for reading. A VMM may have put anything in the place of one that is its own.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .map_err(Error::io("open", path))
}

/// Makes the new file `to` share all its blocks with `from`: mode 0600, owned by `uid` or else by the caller.
pub(crate) fn clone(from: &Path, to: &Path, uid: Option<u32>) -> Result<File, Error> {
    let source = open(from)?;
    let target = create_new(to)?;
    let cloned = reflink::clone(&source, &target).and_then(|()| fchown(&target, uid, None));
    match cloned {
        Ok(()) => Ok(target),
        Err(error) => {
            // The error that led here is the one to tell.
            drop(std::fs::remove_file(to));
            Err(Error::io("clone", from)(error))
        }
    }
}

/// How many bytes of the host's disk a file takes. Blocks that it shares with others count in full.
pub fn usage(path: &Path) -> io::Result<u64> {
    Ok(std::fs::symlink_metadata(path)?.blocks() * 512)
}

pub(crate) fn create_new(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists {
                path: path.to_owned(),
            },
            _ => Error::io("make", path)(error),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn layer(dir: &Path) -> Layer {
        let base = dir.join("base.raw");
        File::create(&base).unwrap().set_len(1 << 30).unwrap();
        Layer {
            overlay: dir.join("overlay.qcow2"),
            base,
            virtual_size: 8 << 30,
        }
    }

    #[test]
    fn a_new_layer_is_small_and_its_owner_s_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layer = layer(dir.path());
        Qcow2.create(&layer, 4242).unwrap();
        let meta = layer.overlay.metadata().unwrap();
        assert_eq!(
            (meta.uid(), meta.permissions().mode() & 0o777),
            (4242, 0o600)
        );
        assert!(Qcow2.usage(&layer).unwrap() <= 16 << 10);
        Qcow2.remove(&layer).unwrap();
        Qcow2.remove(&layer).unwrap();
        assert!(!layer.overlay.exists() && layer.base.exists());
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layer = layer(dir.path());
        std::fs::write(&layer.overlay, "precious").unwrap();
        let error = Qcow2.create(&layer, 0).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        assert_eq!(std::fs::read(&layer.overlay).unwrap(), b"precious");
    }

    #[test]
    fn a_base_that_is_larger_or_absent_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut layer = layer(dir.path());
        layer.virtual_size = 1 << 20;
        let error = Qcow2.create(&layer, 0).unwrap_err();
        assert!(matches!(error, Error::BaseTooLarge { .. }), "{error}");
        layer.base = dir.path().join("absent");
        let error = Qcow2.create(&layer, 0).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(!layer.overlay.exists());
    }
}
