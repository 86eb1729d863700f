//! Layers as persistent snapshots of the device mapper: what a sandbox writes goes to a sparse file of its own, chunk by chunk,
//! everything else is read from the base image. By the kernel's `Documentation/admin-guide/device-mapper/snapshot`.
//!
//! ```text
//!   base image ── loop device, read-only, one for all ──┐
//!                                                        ├─► wrenn-INSTANCE-VM, which the VMM has as its disk
//!   overlay file ── loop device, its own ───────────────┘
//! ```
//!
//! Both loop devices end by themselves with their last user, so that taking the mapped device away takes all of it away, and a
//! process that dies in between leaves at most that one, under a name that says whose it is.

mod bases;
pub mod store;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use wrenn_model::InstanceId;
use wrenn_model::leftover::{Kind, Leftover, Owner};
use wrenn_sys::dm::{DeviceNumber, Mapper, SECTOR, Target};
use wrenn_sys::durable;
use wrenn_sys::loopdev::LoopDevice;

use crate::layer::{Disk, Layer, clone, create_new, open, usage};
use crate::{Error, Grown};
use bases::Bases;
use store::CHUNK;

/// By which the device mapper is told what to do.
const CONTROL: &str = "/dev/mapper/control";
/// How long an overlay is at first, and by how much it grows: it is sparse, and takes what is written.
const STEP: u64 = 1 << 30;
/// How full it may get before it has to grow, in hundredths.
const GROWS_AT: u64 = 75;
/// What has to be left in any case, in bytes: what a fast disk takes between two looks.
const SLACK: u64 = 1 << 30;
/// How long a device may stay busy after its VMM has ended.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// The snapshots of one instance.
#[derive(Debug)]
pub struct DmSnapshot {
    mapper: Mapper,
    bases: Bases,
    /// What the names of its devices begin with.
    prefix: String,
}

/// How much of an overlay is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// So much of so much, in bytes, its own table of chunks included.
    Used {
        /// What is used.
        used: u64,
        /// How long it is.
        total: u64,
    },
    /// It had no room, or its file had none: what was written is lost, and the device gives errors only.
    Invalid,
}

/// A device of this instance that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its name.
    pub name: String,
    /// The virtual machine's id, by which it is named.
    pub vm: String,
}

impl DmSnapshot {
    /// Those of this instance.
    ///
    /// # Errors
    /// The kernel has no device mapper, or this process may not use it.
    pub fn open(instance: &InstanceId) -> Result<Self, Error> {
        let control = Path::new(CONTROL);
        Ok(Self {
            mapper: Mapper::open().map_err(Error::io("open", control))?,
            bases: Bases::default(),
            prefix: format!("wrenn-{instance}-"),
        })
    }

    /// The device that a VMM has as its disk; `None` while the layer has none.
    pub fn device(&self, layer: &Layer) -> Result<Option<DeviceNumber>, Error> {
        let name = self.name(layer)?;
        self.mapper.find(&name).map_err(mapped("find", &name))
    }

    /// Makes the device by its table. What it is made of it holds itself.
    fn map(&self, name: &str, table: &Target) -> Result<DeviceNumber, Error> {
        let number = self.mapper.create(name).map_err(mapped("make", name))?;
        let loaded = self.mapper.load(name, std::slice::from_ref(table));
        match loaded.and_then(|()| self.mapper.resume(name)) {
            Ok(()) => Ok(number),
            Err(error) => {
                // The error that led here is the one to tell.
                drop(self.mapper.remove(name));
                Err(mapped("begin", name)(error))
            }
        }
    }

    /// A VMM that was killed lets go of its disk a moment later. With the device goes what it has of its base.
    fn unmap(&self, name: &str) -> Result<(), Error> {
        let until = Instant::now() + REMOVE_LIMIT;
        while let Err(error) = self.mapper.remove(name) {
            match Errno::from_io_error(&error) {
                Some(Errno::NXIO) => break,
                Some(Errno::BUSY) if Instant::now() < until => std::thread::sleep(POLL),
                _ => return Err(mapped("remove", name)(error)),
            }
        }
        self.bases.give_back(name);
        Ok(())
    }

    /// How much of a layer's overlay is used.
    pub fn fill(&self, layer: &Layer) -> Result<Fill, Error> {
        let name = self.name(layer)?;
        let status = self
            .mapper
            .status(&name)
            .map_err(mapped("look at", &name))?;
        let told = status.first().map_or("", |target| target.params.as_str());
        read_fill(told).ok_or_else(|| {
            let error = io::Error::other(format!("its status is {told:?}"));
            mapped("understand", &name)(error)
        })
    }

    /// Every device of this instance: also those of a process that died.
    pub fn mapped(&self) -> Result<Vec<Mapped>, Error> {
        let all = self.mapper.list().map_err(mapped("list", &self.prefix))?;
        let own = all.into_iter().filter_map(|listed| {
            let vm = listed.name.strip_prefix(&self.prefix)?.to_owned();
            Some(Mapped {
                name: listed.name,
                vm,
            })
        });
        Ok(own.collect())
    }

    /// Takes away a device that nobody owns any more.
    ///
    /// # Errors
    /// As [`Self::detach`].
    pub fn remove_mapped(&self, mapped: &Mapped) -> Result<(), Error> {
        self.unmap(&mapped.name)
    }

    /// A virtual machine's overlay stands in its folder, which has its id for a name.
    fn name(&self, layer: &Layer) -> Result<String, Error> {
        let folder = layer.overlay.parent().and_then(Path::file_name);
        let vm = folder.and_then(|name| name.to_str());
        let named = vm.filter(|vm| {
            let fits = self.prefix.len() + vm.len() <= wrenn_sys::dm::MAX_NAME;
            fits && vm
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
        let vm = named.ok_or_else(|| {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            Error::io("name a device after", &layer.overlay)(error)
        })?;
        Ok(format!("{}{vm}", self.prefix))
    }
}

impl Disk for DmSnapshot {
    fn file_name(&self) -> &'static str {
        "disk.cow"
    }

    fn attach(&self, layer: &Layer) -> Result<Option<DeviceNumber>, Error> {
        let name = self.name(layer)?;
        let base = File::open(&layer.base).map_err(Error::io("open", &layer.base))?;
        let size = base
            .metadata()
            .map_err(Error::io("read the size of", &layer.base))?;
        if size.len() != layer.virtual_size || size.len() % CHUNK != 0 {
            return Err(Error::BaseSize {
                base: size.len(),
                virtual_size: layer.virtual_size,
            });
        }
        let overlay = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&layer.overlay);
        let overlay = overlay.map_err(Error::io("open", &layer.overlay))?;
        let cow = LoopDevice::attach(&overlay).map_err(Error::attaching(&layer.overlay))?;
        let origin = self.bases.lend(&layer.base, &base, &name)?;
        let table = Target {
            start: 0,
            len: layer.virtual_size / SECTOR,
            kind: "snapshot".to_owned(),
            params: format!(
                "{} {} P {}",
                origin.display(),
                cow.path().display(),
                CHUNK / SECTOR
            ),
        };
        let made = self.map(&name, &table);
        if made.is_err() {
            self.bases.give_back(&name);
        }
        made.map(Some)
    }

    /// A suspended device would hold up whoever has it open, also on its way to its end.
    fn go_on(&self, layer: &Layer) -> Result<(), Error> {
        let name = self.name(layer)?;
        match self.mapper.resume(&name) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::NXIO) => {
                Err(mapped("resume", &name)(error))
            }
            _ => Ok(()),
        }
    }

    /// With the device goes what it has of its base. A VMM that was killed lets go of it a moment later.
    fn detach(&self, layer: &Layer) -> Result<(), Error> {
        self.unmap(&self.name(layer)?)
    }

    /// Lets the overlay grow where more than three quarters of it are used, or less than a GiB is left, and the disk may become
    /// larger than it is. Its guest may go on writing.
    fn grow_if_needed(&self, layer: &Layer) -> Result<Grown, Error> {
        let Fill::Used { used, total } = self.fill(layer)? else {
            return Err(Error::Invalidated {
                overlay: layer.overlay.clone(),
            });
        };
        let most = store::most(layer.virtual_size);
        let has_room = used * 100 < total * GROWS_AT && total - used.min(total) >= SLACK;
        if has_room || total >= most {
            return Ok(Grown::No);
        }
        let len = (total + STEP).min(most);
        let grown = || -> io::Result<()> {
            let overlay = OpenOptions::new().write(true).open(&layer.overlay)?;
            overlay.set_len(len)?;
            let device = LoopDevice::find(&overlay)?;
            device
                .ok_or_else(|| Errno::NODEV.into())
                .and_then(|device| device.set_capacity())
        };
        grown().map_err(Error::io("grow", &layer.overlay))?;
        Ok(Grown::By(len - total))
    }

    /// The overlay is root's: what its VMM has is the device.
    fn create(&self, layer: &Layer, _: u32) -> Result<(), Error> {
        let overlay = create_new(&layer.overlay)?;
        let len = store::most(layer.virtual_size).min(STEP);
        let made = overlay
            .set_len(len)
            .map_err(Error::io("write", &layer.overlay));
        undone(&layer.overlay, made)
    }

    fn branch(&self, from: &Path, layer: &Layer, _: u32) -> Result<(), Error> {
        clone(from, &layer.overlay, None).map(drop)
    }

    /// Without the first of these steps a copy lacks nearly all that waits in the device's page cache, and passes every check.
    fn checkpoint(&self, layer: &Layer, to: &Path) -> Result<File, Error> {
        let name = self.name(layer)?;
        let number = self
            .device(layer)?
            .ok_or_else(|| mapped("find", &name)(Errno::NXIO.into()))?;
        let node = number.mapped_path();
        let device = File::open(&node).map_err(Error::io("open", &node))?;
        device.sync_all().map_err(Error::io("sync", &node))?;
        // Held open, it could not be removed.
        drop(device);
        self.mapper
            .suspend(&name)
            .map_err(mapped("suspend", &name))?;
        let cloned = clone(&layer.overlay, to, None);
        let resumed = self.mapper.resume(&name).map_err(mapped("resume", &name));
        match (cloned, resumed) {
            (Ok(file), Ok(())) => Ok(file),
            (Ok(_), Err(error)) => {
                drop(fs::remove_file(to));
                Err(error)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn open(&self, layer: &Layer) -> Result<File, Error> {
        open(&layer.overlay)
    }

    fn remove(&self, layer: &Layer) -> Result<(), Error> {
        self.detach(layer)?;
        durable::remove(&layer.overlay).map_err(Error::io("remove", &layer.overlay))
    }

    fn usage(&self, layer: &Layer) -> io::Result<u64> {
        usage(&layer.overlay)
    }
}

/// The devices of an instance that stand, whoever made them. Where the kernel has no device mapper there are none.
///
/// # Errors
/// What the kernel said.
pub fn leftovers(instance: &InstanceId) -> Result<Vec<Leftover>, Error> {
    if !Path::new(CONTROL).exists() {
        return Ok(Vec::new());
    }
    let snapshots = Arc::new(DmSnapshot::open(instance)?);
    let mapped = snapshots.mapped()?.into_iter();
    let leftovers = mapped.map(|mapped| {
        let (name, owner) = (mapped.name.clone(), Owner::Vm(mapped.vm.clone()));
        let snapshots = Arc::clone(&snapshots);
        let remove = move || async move {
            let removed = tokio::task::spawn_blocking(move || snapshots.remove_mapped(&mapped));
            Ok(removed.await??)
        };
        Leftover::new(Kind::Device, name, owner, remove)
    });
    Ok(leftovers.collect())
}

/// After a failure there is no overlay.
fn undone(overlay: &Path, made: Result<(), Error>) -> Result<(), Error> {
    made.inspect_err(|_| {
        // The error that led here is the one to tell.
        drop(fs::remove_file(overlay));
    })
}

fn mapped(doing: &'static str, name: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = PathBuf::from("/dev/mapper").join(name);
    move |source| Error::Io {
        doing,
        path,
        source,
    }
}

/// `used/total metadata`, in sectors, or a word.
fn read_fill(status: &str) -> Option<Fill> {
    match status {
        "Invalid" | "Overflow" => return Some(Fill::Invalid),
        _ => {}
    }
    let (used, rest) = status.split_once('/')?;
    let (total, _) = rest.split_once(' ')?;
    Some(Fill::Used {
        used: used.parse::<u64>().ok()? * SECTOR,
        total: total.parse::<u64>().ok()? * SECTOR,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_the_kernel_writes_it() {
        let used = |used, total| Some(Fill::Used { used, total });
        assert_eq!(read_fill("16/32768 16"), used(8192, 16 << 20));
        assert_eq!(read_fill("Invalid"), Some(Fill::Invalid));
        assert_eq!(read_fill("Overflow"), Some(Fill::Invalid));
        for text in ["", "Unknown", "16", "16/x 1", "a/b c"] {
            assert_eq!(read_fill(text), None, "{text:?}");
        }
    }
}
