//! The file that holds the volume's file system where the host's own has no reflinks: preallocated, so that a full host
//! disk is an error when the file grows and never one under a guest.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use wrenn_sys::durable;
use wrenn_sys::program::Program;

use crate::Error;

/// An image file, open.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    path: PathBuf,
    file: Arc<File>,
}

impl Image {
    /// Makes an image of `size` bytes with an empty XFS in it, aside first, so that there is never half of one.
    pub(crate) async fn make(path: &Path, size: u64) -> Result<Self, Error> {
        let aside = path.with_extension("img.new");
        let made = Self::make_aside(&aside, size).await.and_then(|image| {
            durable::publish(&aside, path).map_err(Error::io("publish", path))?;
            Ok(Self {
                path: path.to_owned(),
                ..image
            })
        });
        if made.is_err() {
            // The error that led here is the one to tell.
            drop(durable::remove(&aside));
        }
        made
    }

    async fn make_aside(aside: &Path, size: u64) -> Result<Self, Error> {
        durable::remove(aside).map_err(Error::io("remove", aside))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(aside)
            .map_err(Error::io("make", aside))?;
        let image = Self {
            path: aside.to_owned(),
            file: Arc::new(file),
        };
        image.allocate(size).await?;
        // -K: discarding would give back what was just allocated. Sectors of 4096 bytes, as the loop device has.
        Program::new("mkfs.xfs")
            .args(["-q", "-K", "-m", "reflink=1", "-s", "size=4096"])
            .arg(aside)
            .run()
            .await?;
        image.sync()?;
        Ok(image)
    }

    /// Opens an image that is there; none when it is not.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        match opened {
            Ok(file) => Ok(Some(Self {
                path: path.to_owned(),
                file: Arc::new(file),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", path)(error)),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The image's length, in bytes.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        Ok(self.metadata()?.len())
    }

    /// Whether a part of the image lost its blocks: it was trimmed, or copied as a sparse file.
    pub(crate) fn has_holes(&self) -> Result<bool, Error> {
        let meta = self.metadata()?;
        Ok(meta.blocks() * 512 < meta.len())
    }

    /// Gives every byte up to `size` a block on the host's disk, and the image at least that length.
    ///
    /// # Errors
    /// [`Error::HostFull`], and then nothing has changed.
    pub(crate) async fn allocate(&self, size: u64) -> Result<(), Error> {
        let image = self.clone();
        tokio::task::spawn_blocking(move || image.allocate_now(size))
            .await
            .unwrap_or_else(|lost| Err(Error::io("allocate", &self.path)(lost.into())))
    }

    fn allocate_now(&self, size: u64) -> Result<(), Error> {
        let meta = self.metadata()?;
        let missing = size.saturating_sub(meta.blocks() * 512);
        let free = self.host_free()?;
        if missing > free {
            return Err(Error::HostFull {
                needed: missing,
                free,
            });
        }
        // The length changes last and at once: a crash in between leaves the image as it was.
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => {
                // Gives back what was allocated behind the end.
                self.set_len(meta.len())?;
                return Err(Error::HostFull {
                    needed: missing,
                    free: self.host_free()?,
                });
            }
            Err(error) => return Err(Error::io("allocate", &self.path)(error.into())),
        }
        if size > meta.len() {
            self.set_len(size)?;
        }
        self.sync()
    }

    fn host_free(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstatvfs(&self.file)
            .map_err(|error| Error::io("read the free space around", &self.path)(error.into()))?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.file
            .set_len(len)
            .map_err(Error::io("resize", &self.path))
    }

    fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))
    }

    fn metadata(&self) -> Result<std::fs::Metadata, Error> {
        self.file
            .metadata()
            .map_err(Error::io("read the size of", &self.path))
    }
}
