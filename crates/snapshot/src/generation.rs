//! A published generation: where its files are, and whether they are what was saved.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use wrenn_model::SandboxSpec;
use wrenn_sys::durable;

use crate::layout::Layout;
use crate::manifest::{self, Image};
use crate::{Error, GenerationId, Generations, Manifest, files, sums};

/// How much of the mark of a damaged generation is read, in bytes.
const MAX_MARK: u64 = 4096;

/// A published generation. Nothing in it is ever written that it could be judged by.
#[derive(Debug, Clone)]
pub struct Generation {
    place: Place,
    manifest: Manifest,
}

/// Where a generation stands, whatever it is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) id: GenerationId,
    pub(crate) dir: PathBuf,
    /// What was found to be wrong with it.
    pub(crate) mark: PathBuf,
}

impl Place {
    /// Writes down beside the generation that it is damaged, if that is what was found. What is missing of one that is gone
    /// is no damage: the next pause, or a destroy, takes it away in one rename.
    pub(crate) fn remember<T>(&self, found: Result<T, Error>) -> Result<T, Error> {
        let Err(error) = &found else {
            return found;
        };
        if !error.is_damage() {
            return found;
        }
        if !self.dir.exists() {
            return Err(Error::Removed(self.id));
        }
        // Where that fails, it is found again.
        if let Err(unmarked) = self.mark_damaged(error) {
            let generation = self.dir.display();
            tracing::warn!(error = %unmarked, %generation, "a damaged one could not be marked");
        }
        found
    }

    fn mark_damaged(&self, found: &Error) -> io::Result<()> {
        if matches!(found, Error::Damaged(_)) {
            return Ok(());
        }
        let why = wrenn_model::chain(found);
        durable::write(&self.mark, why.as_bytes(), 0o444)
    }
}

impl Generation {
    pub(crate) fn open(place: Place) -> Result<Self, Error> {
        let manifest = Manifest::read(&place.dir)?;
        if manifest.id != place.id {
            return Err(manifest::Invalid::Other(manifest.id).into());
        }
        Ok(Self::new(place, manifest))
    }

    pub(crate) fn new(place: Place, manifest: Manifest) -> Self {
        Self { place, manifest }
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> GenerationId {
        self.manifest.id
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The device state's file.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir().join(files::STATE)
    }

    /// The memory image: each page at its guest offset.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.dir().join(files::MEMORY)
    }

    /// The table of the memory's sums, see [`crate::PageSums`].
    #[must_use]
    pub fn memory_sums(&self) -> PathBuf {
        self.dir().join(files::MEMORY_SUMS)
    }

    /// The file for what of the memory is touched first, which all names of this generation share. It may not be there.
    #[must_use]
    pub fn touched(&self) -> PathBuf {
        self.dir().join(files::TOUCHED)
    }

    /// The disk's layer.
    #[must_use]
    pub fn layer(&self) -> PathBuf {
        self.dir().join(files::LAYER)
    }

    /// The image under the disk's layer.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.dir().join(files::BASE)
    }

    /// The link that keeps the VMM's build, if whoever saved it made one.
    #[must_use]
    pub fn build_link(&self) -> PathBuf {
        self.dir().join(files::VMM_BUILD)
    }

    /// What its guest knows its host by, where that was kept with it.
    pub fn keys(&self) -> Result<Option<Vec<u8>>, Error> {
        let path = self.dir().join(files::KEYS);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let mut keys = Vec::new();
        file.take(files::MAX_KEYS as u64)
            .read_to_end(&mut keys)
            .map_err(Error::io("read", &path))?;
        Ok(Some(keys))
    }

    /// Bytes that it takes on the disk. Blocks that it shares with others are counted.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn allocated(&self) -> io::Result<u64> {
        files::allocated(self.dir(), &|_| true)
    }

    /// Names all of it a second time, in the folder of other generations, where it is the one of the same id: whatever becomes of
    /// the first names, what the second ones name stays, and what was found to be wrong with it by then. Keys stay behind. Nothing
    /// is synced.
    ///
    /// # Errors
    /// [`Error::Removed`] when it went meanwhile. What is half made is for [`Generations::abandon`].
    pub fn link_into(&self, other: &Generations) -> Result<Generation, Error> {
        let named = self.name_again(other);
        named.map_err(|error| self.unless_removed(error))
    }

    fn name_again(&self, other: &Generations) -> Result<Generation, Error> {
        let dir = other.stage()?;
        self.name_files(&dir, &[files::KEYS])?;
        self.mark_in(other)?;
        let whole = other.dir(self.id());
        fs::rename(&dir, &whole).map_err(Error::io("publish", &whole))?;
        other.open(self.id())
    }

    /// Makes the newest of other generations of it, by other names of its files: another sandbox's, or nobody's, made at
    /// `created_ms`, milliseconds since 1970. It is durable then.
    ///
    /// # Errors
    /// [`Error::Removed`] when it went meanwhile. What is half made is for [`Generations::abandon`].
    pub fn copy_into(
        &self,
        other: &Generations,
        spec: SandboxSpec,
        keys: &[u8],
        created_ms: i64,
    ) -> Result<Self, Error> {
        let copied = self.begin_again(other, spec, keys, created_ms);
        copied.map_err(|error| self.unless_removed(error))
    }

    fn begin_again(
        &self,
        other: &Generations,
        spec: SandboxSpec,
        keys: &[u8],
        created_ms: i64,
    ) -> Result<Self, Error> {
        let mut next = other.begin()?;
        self.name_files(&next.dir, &[files::KEYS, files::MANIFEST])?;
        next.put_keys(keys)?;
        let manifest = self
            .manifest
            .clone()
            .of_another(next.id(), spec, created_ms);
        next.publish_as(manifest)
    }

    /// What was found to be wrong with it is so under its other name.
    fn mark_in(&self, other: &Generations) -> Result<(), Error> {
        let mark = other.place(self.id()).mark;
        match fs::hard_link(&self.place.mark, &mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            linked => linked.map_err(Error::io("link", &mark)),
        }
    }

    /// Gives each of its files a second name, but for some.
    fn name_files(&self, dir: &Path, but: &[&str]) -> Result<(), Error> {
        for entry in fs::read_dir(self.dir()).map_err(Error::io("list", self.dir()))? {
            let entry = entry.map_err(Error::io("list", self.dir()))?;
            if !but.iter().any(|name| entry.file_name() == *name) {
                let from = entry.path();
                fs::hard_link(&from, dir.join(entry.file_name()))
                    .map_err(Error::io("link", &from))?;
            }
        }
        Ok(())
    }

    fn unless_removed(&self, error: Error) -> Error {
        match error {
            Error::Io { .. } if !self.dir().exists() => Error::Removed(self.id()),
            other => other,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.place.dir
    }

    pub(crate) fn remember<T>(&self, found: Result<T, Error>) -> Result<T, Error> {
        self.place.remember(found)
    }

    /// Holds against the manifest all that can be seen without reading pages: the manifest itself, the device state, the
    /// length of every file, and where memory and layer have data. For the moment before a VMM starts.
    ///
    /// # Errors
    /// What is damaged first, or [`Error::Damaged`] when it was found to be so before.
    pub fn check(&self) -> Result<(), Error> {
        let damage = self.damage();
        if let Some(why) = damage.map_err(Error::io("read", &self.place.mark))? {
            return Err(Error::Damaged(why));
        }
        if Manifest::read(self.dir())? != self.manifest {
            return Err(manifest::Invalid::Changed.into());
        }
        self.read_state()?;
        self.check_image(files::MEMORY, files::MEMORY_SUMS, &self.manifest.memory)?;
        self.check_layer()
    }

    /// The same for somebody who uses the disk alone. Where the generation was found to be damaged, all of the disk's data
    /// is read: it may be the memory that is not as it was.
    ///
    /// # Errors
    /// What of the disk is damaged.
    pub fn check_disk(&self) -> Result<(), Error> {
        if Manifest::read(self.dir())? != self.manifest {
            return Err(manifest::Invalid::Changed.into());
        }
        self.check_layer()?;
        let damage = self.damage();
        let damage = damage.map_err(Error::io("read", &self.place.mark))?;
        match damage {
            Some(_) => self.verify_disk(&|| false).map(drop),
            None => Ok(()),
        }
    }

    /// Sees to it that `name` is a name of the image under the layer, and of no other: a VM that is given it has the disk that
    /// was checked. True when it was another's, or nobody's.
    pub fn name_base(&self, name: &Path) -> Result<bool, Error> {
        let base = self.base();
        if files::is_same(&base, name) {
            return Ok(false);
        }
        durable::link(&base, name).map_err(Error::io("link", &base))?;
        Ok(true)
    }

    fn check_layer(&self) -> Result<(), Error> {
        let manifest = &self.manifest;
        self.check_image(files::LAYER, files::LAYER_SUMS, &manifest.layer.image)?;
        files::open_sized(self.dir(), files::BASE, manifest.base.len).map(drop)
    }

    fn check_image(
        &self,
        file: &'static str,
        table: &'static str,
        image: &Image,
    ) -> Result<(), Error> {
        let opened = files::open_sized(self.dir(), file, image.layout.len)?;
        let layout = Layout::of(&opened).map_err(Error::io("map", &self.dir().join(file)))?;
        if layout != image.layout {
            return Err(Error::Extents { file });
        }
        files::open_sized(self.dir(), table, sums::table_len(image.layout.len)).map(drop)
    }

    /// The device state, held against its sum.
    pub(crate) fn read_state(&self) -> Result<Vec<u8>, Error> {
        let saved = &self.manifest.state;
        let file = files::open_sized(self.dir(), files::STATE, saved.len)?;
        let mut state = Vec::new();
        file.take(files::MAX_STATE as u64)
            .read_to_end(&mut state)
            .map_err(Error::io("read", &self.state()))?;
        if blake3::hash(&state).to_hex().as_str() == saved.sum {
            Ok(state)
        } else {
            Err(Error::State)
        }
    }

    /// What was found to be wrong with it before, if anything.
    pub fn damage(&self) -> io::Result<Option<String>> {
        let file = match File::open(&self.place.mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut why = Vec::new();
        file.take(MAX_MARK).read_to_end(&mut why)?;
        Ok(Some(String::from_utf8_lossy(&why).into_owned()))
    }
}
