//! Generations by name that are no sandbox's: snapshots, which people make and name, and boot images, which the agent makes
//! for itself.
//!
//! The highest generation under a name is the one that the name stands for: making another is one rename, and whoever began
//! from the former one has names of its files of its own.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::{Fault, chain};
use wrenn_snapshot::{Generation, GenerationId, Generations};
use wrenn_sys::durable;
use wrenn_sys::process::FileId;

use crate::Host;
use crate::failure::{Failed, internal};
use crate::record::{Keys, Seed};
use crate::steps::blocking;

/// What the name of a folder begins with that is being removed.
const DYING: &str = ".dying-";

/// A folder of generations by name.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    folder: PathBuf,
    /// Under these names somebody makes or removes something.
    claimed: Arc<Mutex<HashSet<String>>>,
}

/// The right to make or remove what stands under a name. It goes with the value.
#[derive(Debug)]
pub(crate) struct Claimed {
    library: Library,
    name: String,
}

impl Library {
    /// That in this folder, which need not be there yet.
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            claimed: Arc::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What stands under a name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Generation>, wrenn_snapshot::Error> {
        self.generations(name).current()
    }

    pub(crate) fn generations(&self, name: &str) -> Generations {
        Generations::of(&self.folder.join(name))
    }

    /// All names under which something stands, or stood, or will.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let listed = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed?.collect::<io::Result<Vec<_>>>()?,
        };
        let names = listed.into_iter().map(|entry| entry.file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    /// The name under which this memory image stands.
    pub(crate) fn name_of(&self, memory: FileId) -> io::Result<Option<String>> {
        let has_it = |name: &String| {
            let all = self.generations(name);
            let newest = all.current().ok().flatten();
            let file = newest.and_then(|one| one.memory().metadata().ok());
            file.is_some_and(|file| FileId::from(&file) == memory)
        };
        Ok(self.names()?.into_iter().find(has_it))
    }

    /// Claims a name; `None` while somebody else has claimed it.
    pub(crate) fn claim(&self, name: &str) -> Option<Claimed> {
        self.lock().insert(name.to_owned()).then(|| Claimed {
            library: self.clone(),
            name: name.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claimed {
    /// The generations under the name, in a folder that is there.
    pub(crate) fn make(&self) -> io::Result<Generations> {
        let folder = self.path();
        if !folder.is_dir() {
            std::fs::create_dir_all(&folder)?;
            durable::sync_dir(&self.library.folder)?;
        }
        Ok(self.library.generations(&self.name))
    }

    /// Removes what a new generation took the place of; without one, what was begun, and the name where nothing stands under it.
    fn settle(&self, published: Option<GenerationId>) -> Result<(), String> {
        let generations = self.library.generations(&self.name);
        let told = |error: wrenn_snapshot::Error| chain(&error);
        match published {
            Some(id) => generations.remove_older(id).map_err(told),
            None => {
                generations.abandon().map_err(told)?;
                match generations.current() {
                    Ok(None) => self.remove().map_err(|error| error.to_string()),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Takes the name away from all that stands under it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let dying = self.library.folder.join(format!("{DYING}{}", self.name));
        durable::remove(&dying)?;
        match std::fs::rename(self.path(), &dying) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        durable::sync_dir(&self.library.folder)?;
        durable::remove(&dying)
    }

    fn path(&self) -> PathBuf {
        self.library.folder.join(&self.name)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.library.lock().remove(&self.name);
    }
}

/// The generations that another is to be added to.
pub(crate) async fn begin(claimed: Claimed) -> Result<(Claimed, Generations), Fault> {
    let begun = blocking(move || {
        let generations = claimed.make()?;
        Ok((claimed, generations))
    });
    begun.await.map_err(|error| Failed::from(error).fault())
}

/// Tidies up after that: what another took the place of goes, or what came to nothing.
pub(crate) async fn settle(claimed: Claimed, published: Option<GenerationId>) {
    let settled = tokio::task::spawn_blocking(move || claimed.settle(published));
    match settled.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error, "something was left over"),
        Err(error) => tracing::warn!(%error, "something was left over"),
    }
}

impl Host {
    /// Second names for the files of the newest of some generations; `None` where there is none.
    pub(crate) async fn lend(&self, generations: Generations) -> Result<Option<Lent>, Fault> {
        let folder = self.lent();
        let lent = tokio::task::spawn_blocking(move || Lent::of(&generations, folder));
        let lent = lent.await.map_err(internal)?;
        lent.map_err(|error| Failed::from(error).fault())
    }
}

/// A generation's files by names that are there for one sandbox to come. Whatever it does not take goes with the value.
#[derive(Debug)]
pub(crate) struct Lent {
    folder: PathBuf,
    pub(crate) generation: Generation,
    keys: Option<Keys>,
}

impl Lent {
    /// Gives the files of the newest of some generations second names below `folder`, which is made.
    ///
    /// # Errors
    /// `None` where there is no generation.
    pub(crate) fn of(
        generations: &Generations,
        folder: PathBuf,
    ) -> Result<Option<Self>, wrenn_snapshot::Error> {
        loop {
            let Some(generation) = generations.current()? else {
                return Ok(None);
            };
            match Self::name(&generation, folder.clone()) {
                // A newer one took its place.
                Err(wrenn_snapshot::Error::Removed(_)) => {}
                named => return named.map(Some),
            }
        }
    }

    fn name(generation: &Generation, folder: PathBuf) -> Result<Self, wrenn_snapshot::Error> {
        let keys = generation.keys()?;
        let failed = |source| wrenn_snapshot::Error::Io {
            doing: "make",
            path: folder.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let named = generation.link_into(&Generations::of(&folder));
        let keys = keys.and_then(|keys| serde_json::from_slice(&keys).ok());
        match named {
            Ok(generation) => Ok(Self {
                folder,
                generation,
                keys,
            }),
            Err(error) => {
                // The error that led here is the one to tell; a leftover goes at the next start.
                drop(durable::remove(&folder));
                Err(error)
            }
        }
    }

    /// As a record has it.
    pub(crate) fn seed(&self) -> Seed {
        Seed {
            from: self.folder.clone(),
            generation: self.generation.id(),
            keys: self.keys.clone(),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A dozen links. Whoever took it has renamed it.
        if let Err(error) = durable::remove(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "what was lent stays until the next start");
        }
    }
}
