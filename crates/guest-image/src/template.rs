//! A template: a disk image in a folder of its own, with what is known about it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wrenn_model::TemplateName;
use wrenn_sys::reflink;

use crate::error::{Error, Result};
use crate::folder::Pinned;
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::rootfs::Rootfs;
use crate::{ext4, hash};

/// Raised when an image is made differently from the same recipe.
pub(crate) const FORMAT: u32 = 1;

/// The files of a template's folder.
const DISK: &str = "disk.ext4";
const ABOUT: &str = "template.json";
const PACKAGES: &str = "packages.txt";

/// A base template in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: TemplateName,
    /// The disk: a raw ext4 file system, mode 0444. Sandboxes link it, and nobody ever writes it.
    pub image: PathBuf,
    /// The hash of the disk's contents.
    pub image_id: String,
    /// The key of what it was made from.
    pub recipe_key: String,
    /// Bytes of the disk that a guest sees.
    pub virtual_size: u64,
    /// Bytes that it takes on the host.
    pub allocated: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// What is written beside a disk.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    image_id: String,
    recipe_key: String,
    created_unix_ms: u64,
}

/// Makes the folder of a recipe's template in `dir`, out of the tree that `make_tree` makes in the directory given to it.
pub(crate) async fn build(
    dir: &Path,
    recipe: &Recipe,
    make_tree: impl AsyncFnOnce(&Path) -> Result<Rootfs>,
    progress: &dyn Progress,
) -> Result<()> {
    let key = recipe.key(FORMAT)?;
    let scratch = dir.join("scratch");
    fs::create_dir(&scratch).map_err(Error::io("make", &scratch))?;
    let rootfs = make_tree(&scratch).await?;
    progress.step("making the disk image");
    let disk = dir.join(DISK);
    ext4::build(&rootfs.tree, &disk, recipe.size_gib << 30, &key).await?;
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || {
        describe(&dir, key, &rootfs.packages)?;
        fs::remove_dir_all(&scratch).map_err(Error::io("remove", &scratch))
    })
    .await?
}

fn describe(dir: &Path, recipe_key: String, packages: &[u8]) -> Result<()> {
    let disk = dir.join(DISK);
    let file = File::open(&disk).map_err(Error::io("read", &disk))?;
    let image_id = hash::sparse(&file).map_err(Error::io("read", &disk))?;
    file.set_permissions(Permissions::from_mode(0o444))
        .map_err(Error::io("protect", &disk))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let about = About {
        image_id,
        recipe_key,
        created_unix_ms: u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
    };
    let about = serde_json::to_vec_pretty(&about)
        .map_err(|error| Error::io("describe", &disk)(error.into()))?;
    for (name, contents) in [(ABOUT, about.as_slice()), (PACKAGES, packages)] {
        let path = dir.join(name);
        fs::write(&path, contents).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

/// Copies a finished folder: the disk by sharing its blocks where the file system can.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let pinned = Pinned::open(from).map_err(Error::io("read", from))?;
    for (name, mode) in [(DISK, 0o444), (ABOUT, 0o644), (PACKAGES, 0o644)] {
        let path = to.join(name);
        reflink::clone_or_copy(&pinned.path().join(name), &path, mode)
            .map_err(Error::io("copy to", &path))?;
    }
    Ok(())
}

impl Template {
    /// The template in a finished folder.
    pub(crate) fn open(name: TemplateName, dir: &Path) -> Result<Self> {
        let absent = |path: &Path, error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NoTemplate(name.clone()),
            _ => Error::io("read", path)(error),
        };
        let path = dir.join(ABOUT);
        let text = fs::read(&path).map_err(|error| absent(&path, error))?;
        let about: About = serde_json::from_slice(&text)
            .map_err(|error| Error::io("understand", &path)(error.into()))?;
        let image = dir.join(DISK);
        let meta = fs::metadata(&image).map_err(|error| absent(&image, error))?;
        Ok(Self {
            name,
            image,
            image_id: about.image_id,
            recipe_key: about.recipe_key,
            virtual_size: meta.len(),
            allocated: meta.blocks() * 512,
            created_unix_ms: about.created_unix_ms,
        })
    }
}
