//! The loop devices of base images: one for each image, however many layers stand on it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wrenn_sys::loopdev::LoopDevice;
use wrenn_sys::process::FileId;

use crate::Error;

/// The devices that this process has lent to layers.
#[derive(Debug, Default)]
pub(super) struct Bases(Mutex<HashMap<FileId, Base>>);

#[derive(Debug)]
struct Base {
    /// Held, so that its number stays its own.
    device: LoopDevice,
    users: HashSet<String>,
}

impl Bases {
    /// The node of the device that this image is attached to, which stands until `user` gives it back. One of a process before is
    /// found again.
    pub(super) fn lend(&self, path: &Path, image: &File, user: &str) -> Result<PathBuf, Error> {
        let meta = image.metadata().map_err(Error::io("look at", path))?;
        let id = FileId::from(&meta);
        let mut bases = self.lock();
        if let Some(base) = bases.get_mut(&id) {
            base.users.insert(user.to_owned());
            return Ok(base.device.path());
        }
        let found = LoopDevice::find(image).map_err(Error::io("find the device of", path))?;
        let device = match found {
            Some(device) => device,
            None => LoopDevice::attach_read_only(image).map_err(Error::attaching(path))?,
        };
        let node = device.path();
        let users = HashSet::from([user.to_owned()]);
        bases.insert(id, Base { device, users });
        Ok(node)
    }

    /// The last one to give it back lets it end.
    pub(super) fn give_back(&self, user: &str) {
        self.lock().retain(|_, base| {
            base.users.remove(user);
            !base.users.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Base>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
