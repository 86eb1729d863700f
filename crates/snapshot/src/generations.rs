//! The generations of one sandbox: which are there, which is current, and the next one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use wrenn_sys::durable;

use crate::generation::Place;
use crate::{Error, Generation, GenerationId, Manifest, Next, files};

/// The folder of the generations, in that of the sandbox.
const GENERATIONS: &str = "generations";
/// The folder of the one that is being made.
const NEXT: &str = "next";
/// What the name of a generation that is being removed begins with.
const DYING: &str = ".dying-";
/// What the name of the mark of a damaged generation ends with.
const DAMAGED: &str = ".damaged";

/// The generations of one sandbox, in its folder.
///
/// ```text
/// <folder>/next/                       the one that is being made
/// <folder>/generations/g-00000007/     one that is whole
/// <folder>/generations/g-00000007.damaged   what was found to be wrong with it
/// ```
#[derive(Debug, Clone)]
pub struct Generations {
    folder: PathBuf,
}

impl Generations {
    /// Those in a sandbox's folder. None of it needs to be there yet but the folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The highest one, its manifest read and held against its own sum.
    ///
    /// # Errors
    /// A highest one that is damaged is an error, and no older one is taken in its place: that would be a silent loss.
    pub fn current(&self) -> Result<Option<Generation>, Error> {
        let highest = self.ids()?.into_iter().max();
        highest.map(|id| self.open(id)).transpose()
    }

    /// One by its id, its manifest read and held against its own sum.
    ///
    /// # Errors
    /// [`Error::Removed`] for one that is not there; what is wrong with its manifest.
    pub fn open(&self, id: GenerationId) -> Result<Generation, Error> {
        let place = self.place(id);
        Generation::open(place.clone()).map_err(|error| {
            if place.dir.exists() {
                error
            } else {
                Error::Removed(id)
            }
        })
    }

    /// Looks at one by its id. Damage that is found, by the look or on the way to it, is written down beside the generation:
    /// every later [`check`](Generation::check) says so.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and of the look; [`Error::Removed`] where it went while it was looked at.
    pub fn examine<T>(
        &self,
        id: GenerationId,
        look: impl FnOnce(&Generation) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let found = self.open(id).and_then(|generation| look(&generation));
        self.place(id).remember(found)
    }

    /// The memory image of one, whether there is one or not.
    #[must_use]
    pub fn memory(&self, id: GenerationId) -> PathBuf {
        self.dir(id).join(files::MEMORY)
    }

    /// Begins the next one, in a new folder that only root can enter. What was left of another one is removed.
    pub fn begin(&self) -> Result<Next, Error> {
        let first = !self.folder.join(GENERATIONS).exists();
        let dir = self.stage()?;
        if first {
            durable::sync_dir(&self.folder).map_err(Error::io("sync", &self.folder))?;
        }
        let highest = self.ids()?.into_iter().max();
        let id = highest.map_or(GenerationId::FIRST, GenerationId::next);
        // The mark of an older one of this name says nothing about this one.
        let mark = self.mark(id);
        durable::remove(&mark).map_err(Error::io("remove", &mark))?;
        Ok(Next::new(dir, self.clone(), id))
    }

    /// An empty folder to make one in, beside a folder for it to stand in.
    pub(crate) fn stage(&self) -> Result<PathBuf, Error> {
        self.abandon()?;
        let folder = self.folder.join(GENERATIONS);
        match make_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("make", &folder)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let dir = self.folder.join(NEXT);
        make_dir(&dir).map_err(Error::io("make", &dir))?;
        Ok(dir)
    }

    /// Removes what was begun and not published. Nothing there is fine.
    pub fn abandon(&self) -> Result<(), Error> {
        let next = self.folder.join(NEXT);
        durable::remove(&next).map_err(Error::io("remove", &next))
    }

    /// Removes those before one, their marks, and what an earlier removal left. What is newer than the one that is gone on
    /// from is not done with: nobody could read it.
    pub fn remove_older(&self, id: GenerationId) -> Result<(), Error> {
        for other in self.ids()? {
            if other < id {
                self.kill(other)?;
            }
        }
        for name in self.names()? {
            let mark = name.strip_suffix(DAMAGED).and_then(|id| id.parse().ok());
            if name.starts_with(DYING) || mark.is_some_and(|of: GenerationId| of < id) {
                let path = self.folder.join(GENERATIONS).join(name);
                durable::remove(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Takes a generation's name away, so that no half of it ever counts as a whole one.
    fn kill(&self, id: GenerationId) -> Result<(), Error> {
        let dying = self.folder.join(GENERATIONS).join(format!("{DYING}{id}"));
        durable::remove(&dying).map_err(Error::io("remove", &dying))?;
        fs::rename(self.dir(id), &dying).map_err(Error::io("rename", &dying))
    }

    /// The generation that was just published.
    pub(crate) fn published(&self, manifest: Manifest) -> Generation {
        Generation::new(self.place(manifest.id), manifest)
    }

    /// Where a generation stands.
    pub(crate) fn dir(&self, id: GenerationId) -> PathBuf {
        self.folder.join(GENERATIONS).join(id.to_string())
    }

    pub(crate) fn place(&self, id: GenerationId) -> Place {
        Place {
            id,
            dir: self.dir(id),
            mark: self.mark(id),
        }
    }

    /// Where it is written that a generation is damaged.
    fn mark(&self, id: GenerationId) -> PathBuf {
        self.folder.join(GENERATIONS).join(format!("{id}{DAMAGED}"))
    }

    /// What all of it takes on the disk, in bytes. Blocks that files share are counted in each.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn allocated(&self) -> io::Result<u64> {
        files::allocated(&self.folder.join(GENERATIONS), &|_| true)
    }

    /// The same of what has no name elsewhere, so that it is only here for these.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn allocated_here_alone(&self) -> io::Result<u64> {
        files::allocated(&self.folder.join(GENERATIONS), &|meta| meta.nlink() == 1)
    }

    fn ids(&self) -> Result<Vec<GenerationId>, Error> {
        let names = self.names()?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let dir = self.folder.join(GENERATIONS);
        let listed = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = listed.map_err(Error::io("list", &dir))?;
        let names = entries.into_iter().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}
