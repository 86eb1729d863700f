//! What a volume leaves in the kernel and beside itself: mounts of its directory, loop devices of its image, an image that
//! was being made.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wrenn_model::leftover::{Kind, Leftover, Owner};
use wrenn_sys::durable;
use wrenn_sys::loopdev::LoopDevice;

use crate::volume;

/// What the kernel writes after the name of a file that has none any more.
const DELETED: &str = " (deleted)";

/// All that stands of the volume of the data directory `data`. Whoever removes what is the instance's own has closed the
/// volume, or holds its lock in the place of a process that died.
///
/// # Errors
/// What the kernel said.
pub fn leftovers(data: &Path) -> io::Result<Vec<Leftover>> {
    let root = data.join("store");
    let image = data.join("store.img");
    let mounted = mounted(&root)?;
    let mut found = Vec::new();
    for (device, file) in LoopDevice::all()? {
        let Some(state) = belongs(&file, &image) else {
            continue;
        };
        let node = fs::metadata(device.path())?.rdev();
        let used = mounted == Some(node);
        if used {
            found.push(mount(&root, &state));
        }
        let owner = if used { state.owner() } else { Owner::Nobody };
        let name = format!("{} of {}", device.path().display(), file.display());
        let number = device.number();
        found.push(Leftover::new(
            Kind::LoopDevice,
            name,
            owner,
            move || async move { Ok(detach(number, &file)?) },
        ));
    }
    let aside = image.with_extension("img.new");
    if aside.exists() {
        let name = aside.display().to_string();
        found.push(Leftover::new(
            Kind::Temporary,
            name,
            Owner::Nobody,
            || async move { Ok(durable::remove(&aside)?) },
        ));
    }
    Ok(found)
}

/// What a loop device's file is to the volume.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Image,
    /// Its name was removed: what is mounted is all there is.
    Deleted,
}

impl State {
    fn owner(&self) -> Owner {
        match self {
            Self::Image => Owner::Instance,
            Self::Deleted => Owner::Data,
        }
    }
}

/// The name under which the kernel knows a device's file tells whose it is.
fn belongs(file: &Path, image: &Path) -> Option<State> {
    let file = file.to_str()?;
    let (name, state) = match file.strip_suffix(DELETED) {
        Some(name) => (name, State::Deleted),
        None => (file, State::Image),
    };
    let ours = Path::new(name) == image || Path::new(name) == image.with_extension("img.new");
    ours.then_some(state)
}

/// The device of what stands at the volume's directory itself; of nothing that it is a link to.
fn mounted(root: &Path) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(root) {
        Ok(meta) => Ok(meta.is_dir().then(|| meta.dev())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn mount(root: &Path, state: &State) -> Leftover {
    let name = root.display().to_string();
    let root = root.to_owned();
    Leftover::new(Kind::StoreMount, name, state.owner(), || async move {
        Ok(volume::unmount(&root).await?)
    })
}

/// Detaches the device if it still has this file.
fn detach(number: u32, file: &Path) -> io::Result<()> {
    for (device, now) in LoopDevice::all()? {
        if device.number() == number && now == *file {
            return device.detach();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_name_also_without_it() {
        let image = Path::new("/data/store.img");
        let state = |file: &str| belongs(Path::new(file), image);
        assert_eq!(state("/data/store.img"), Some(State::Image));
        assert_eq!(state("/data/store.img (deleted)"), Some(State::Deleted));
        assert_eq!(state("/data/store.img.new (deleted)"), Some(State::Deleted));
        assert_eq!(state("/other/data/store.img"), None);
        assert_eq!(state("/data/store.img2"), None);
    }
}
