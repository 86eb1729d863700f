//! The images in a data directory's store: kernels, initramfs, templates.

use std::fs;
use std::path::{Path, PathBuf};

use wrenn_model::TemplateName;
use wrenn_sys::durable;

use crate::cache::{Cache, Claim};
use crate::error::{Error, Result};
use crate::folder::Lock;
use crate::kernel::{self, Kernel};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::rootfs::{self, Rootfs};
use crate::template::{self, Template};
use crate::{hash, initramfs};

/// Whether an image that is there already will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// It will: the quick way, without network.
    #[default]
    Present,
    /// It is made anew, with today's packages.
    Nothing,
}

/// The images of one data directory.
///
/// What is in it is read by VMs that run, so nothing is ever written in place: a new image is a new file under the name of
/// the old one, and the old one lives on in the links that sandboxes made.
#[derive(Debug, Clone)]
pub struct Images {
    store: PathBuf,
    cache: Cache,
}

impl Images {
    /// The images below `store`, whose directories are made where they are absent.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::DiskFull`].
    pub fn open(store: impl Into<PathBuf>, cache: Cache) -> Result<Self> {
        let images = Self {
            store: store.into(),
            cache,
        };
        for dir in [images.kernels(), images.initramfs(), images.templates_dir()] {
            fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
        }
        Ok(images)
    }

    /// The kernel of a Debian package, such as [`DEFAULT_KERNEL`](crate::DEFAULT_KERNEL). It comes from the store, else from the
    /// cache, else from the machine's Debian archives; of a package with the source, `linux-source`, it is built.
    ///
    /// # Errors
    /// Any but the errors about templates and recipes.
    pub async fn ensure_kernel(
        &self,
        package: &str,
        reuse: Reuse,
        progress: &dyn Progress,
    ) -> Result<Kernel> {
        let key = kernel::key(package);
        if reuse == Reuse::Present
            && let Some(kernel) = self.stored_kernel(&key)?
        {
            return Ok(kernel);
        }
        let refresh = reuse == Reuse::Nothing;
        let cached = match self.cache.claim("kernels", &key, refresh, progress).await? {
            Claim::Ready(path) => path,
            Claim::Absent(slot) => {
                let built = kernel::build(slot.path(), package, progress).await;
                slot.settle(built).await?
            }
        };
        let id = kernel::about(&cached)?.id;
        let path = self.kernels().join(&id);
        if !path.is_dir() {
            let copy = move |to: &Path| kernel::copy(&cached, to);
            install(&self.kernels(), &id, progress, copy).await?;
        }
        kernel::open(&path)
    }

    /// The initramfs of this kernel and guest agent; its name is its hash.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::DiskFull`].
    pub async fn ensure_initramfs(&self, kernel: &Kernel, envd: &[u8]) -> Result<PathBuf> {
        let modules = kernel.read_modules()?;
        let archive = initramfs::archive(envd, &modules);
        let path = self
            .initramfs()
            .join(format!("{}.cpio", hash::bytes(&archive)));
        if !path.exists() {
            durable::write(&path, &archive, 0o444).map_err(Error::io("write", &path))?;
        }
        Ok(path)
    }

    /// Makes a recipe's template, or finds it made.
    ///
    /// # Errors
    /// Any. The store has the template whole or as it was before.
    pub async fn build_template(
        &self,
        recipe: &Recipe,
        reuse: Reuse,
        progress: &dyn Progress,
    ) -> Result<Template> {
        let make_tree = async |dir: &Path| rootfs::build(dir, recipe, progress).await;
        self.build_from(recipe, make_tree, reuse, progress).await
    }

    async fn build_from(
        &self,
        recipe: &Recipe,
        make_tree: impl AsyncFnOnce(&Path) -> Result<Rootfs>,
        reuse: Reuse,
        progress: &dyn Progress,
    ) -> Result<Template> {
        let key = recipe.key(template::FORMAT)?;
        if reuse == Reuse::Present
            && let Ok(present) = self.template(&recipe.name)
            && present.recipe_key == key
        {
            return Ok(present);
        }
        let refresh = reuse == Reuse::Nothing;
        let cached = match self
            .cache
            .claim("templates", &key, refresh, progress)
            .await?
        {
            Claim::Ready(path) => path,
            Claim::Absent(slot) => {
                let built = template::build(slot.path(), recipe, make_tree, progress).await;
                slot.settle(built).await?
            }
        };
        progress.step("storing the template");
        let copy = move |to: &Path| template::copy(&cached, to);
        install(&self.templates_dir(), recipe.name.as_str(), progress, copy).await?;
        self.template(&recipe.name)
    }

    /// All templates, by name.
    ///
    /// # Errors
    /// [`Error::Io`]; a template that is removed meanwhile is left out.
    pub fn templates(&self) -> Result<Vec<Template>> {
        let dir = self.templates_dir();
        let mut templates = Vec::new();
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let entry = entry.map_err(Error::io("read", &dir))?;
            // What is no template's name is the lock or a folder that is being made.
            let Some(name) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            match self.template(&name) {
                Ok(template) => templates.push(template),
                Err(Error::NoTemplate(_)) => {}
                Err(error) => return Err(error),
            }
        }
        templates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(templates)
    }

    /// One template.
    ///
    /// # Errors
    /// [`Error::NoTemplate`], [`Error::Io`].
    pub fn template(&self, name: &TemplateName) -> Result<Template> {
        Template::open(name.clone(), &self.templates_dir().join(name.as_str()))
    }

    /// Removes a template's name. Its disk lives on in the sandboxes that link it.
    ///
    /// # Errors
    /// [`Error::NoTemplate`], [`Error::Io`].
    pub async fn delete_template(
        &self,
        name: &TemplateName,
        progress: &dyn Progress,
    ) -> Result<()> {
        let parent = self.templates_dir();
        let lock = Lock::acquire(&parent, progress)
            .await
            .map_err(Error::io("lock", &parent))?;
        let path = self.template(name)?.image;
        let name = name.clone();
        tokio::task::spawn_blocking(move || lock.remove(name.as_str()))
            .await?
            .map_err(Error::io("remove", &path))
    }

    fn kernels(&self) -> PathBuf {
        self.store.join("kernels")
    }

    fn initramfs(&self) -> PathBuf {
        self.store.join("initramfs")
    }

    fn templates_dir(&self) -> PathBuf {
        self.store.join("templates")
    }

    /// The newest kernel in the store that was made from this key.
    fn stored_kernel(&self, key: &str) -> Result<Option<Kernel>> {
        let dir = self.kernels();
        let mut newest = None;
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let entry = entry.map_err(Error::io("read", &dir))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kernel::about(&entry.path())?.key == key {
                let made = entry.metadata().and_then(|meta| meta.modified());
                let made = made.map_err(Error::io("read", &dir))?;
                newest = newest.max(Some((made, entry.path())));
            }
        }
        newest.map(|(_, path)| kernel::open(&path)).transpose()
    }
}

/// Fills a folder aside and puts it in place by one rename, on a thread that may block.
async fn install(
    parent: &Path,
    name: &str,
    progress: &dyn Progress,
    fill: impl FnOnce(&Path) -> Result<()> + Send + 'static,
) -> Result<()> {
    let lock = Lock::acquire(parent, progress)
        .await
        .map_err(Error::io("lock", parent))?;
    let (parent, name) = (parent.to_owned(), name.to_owned());
    tokio::task::spawn_blocking(move || {
        let staged = lock.stage().map_err(Error::io("write in", &parent))?;
        let filled = fill(staged.path());
        staged.settle(&name, filled).map(drop)
    })
    .await?
}

#[cfg(test)]
mod tests;
