//! What joining leaves on the disk: `tls/identity.pem` in the data directory, root's alone. Key and certificates are one file,
//! so that one rename replaces them together.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use wrenn_pki::Identity;
use wrenn_sys::durable;

use super::TlsError;

const FOLDER: &str = "tls";
const NAME: &str = "identity.pem";

/// The file with this host's identity, which may not be there.
#[derive(Debug, Clone)]
pub struct IdentityFile {
    path: PathBuf,
}

/// Tells one writing of the file from the next: device, inode, seconds and nanoseconds.
pub(super) type Stamp = (u64, u64, i64, i64);

impl IdentityFile {
    /// The one of this data directory.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self {
            path: data.join(FOLDER).join(NAME),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity in it.
    ///
    /// # Errors
    /// [`TlsError::NotJoined`], [`TlsError::Unreadable`] and [`TlsError::Damaged`].
    pub fn read(&self) -> Result<Identity, TlsError> {
        let path = self.path.clone();
        match fs::read_to_string(&self.path) {
            Ok(text) => {
                Identity::from_pem(&text).map_err(|source| TlsError::Damaged { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(TlsError::NotJoined { path })
            }
            Err(source) => Err(TlsError::Unreadable { path, source }),
        }
    }

    /// Writes an identity in the place of what was there, durably; makes the folders where they are missing (0700).
    ///
    /// # Errors
    /// When the file system refuses; what was there is there still.
    pub fn write(&self, identity: &Identity) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
            if let Some(data) = folder.parent() {
                durable::sync_dir(data)?;
            }
        }
        durable::write(&self.path, identity.to_pem().as_bytes(), 0o600)
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        let meta = fs::metadata(&self.path).ok()?;
        Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
    }
}
