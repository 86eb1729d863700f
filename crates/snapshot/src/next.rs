//! The next generation: captured into `next/`, synced, and published by one rename.

use std::fs::{File, OpenOptions, Permissions, hard_link, rename};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use wrenn_disk::{Disk, Layer};
use wrenn_memory::packed::BuildId;
use wrenn_sys::durable;
use wrenn_sys::extents::Piece;

use crate::layout::Layout;
use crate::manifest::{self, Base, Contents, Facts, Image, State};
use crate::sums::{Root, Table, read_blocks, table_len};
use crate::{Error, Generation, GenerationId, Generations, Manifest, files};

/// A generation that is being made. Dropping it leaves `next/` for [`Generations::abandon`] or the next
/// [`Generations::begin`].
#[derive(Debug)]
pub struct Next {
    pub(crate) dir: PathBuf,
    generations: Generations,
    id: GenerationId,
    pub(crate) state: Option<State>,
    pub(crate) memory: Option<Captured>,
    pub(crate) layer: Option<CapturedLayer>,
    pub(crate) base: Option<Base>,
    /// The other files that were written.
    others: Vec<File>,
    /// Whether nothing was written since the last sync.
    synced: bool,
}

/// How much a generation wrote to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of data.
    pub bytes: u64,
}

/// An image with its sums, as it will be published.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) file: File,
    pub(crate) root: Root,
    pub(crate) written: u64,
    pub(crate) parent: Option<GenerationId>,
}

/// The disk's layer, as it will be published.
#[derive(Debug)]
pub(crate) struct CapturedLayer {
    pub(crate) image: Captured,
    pub(crate) virtual_size: u64,
}

impl Next {
    pub(crate) fn new(dir: PathBuf, generations: Generations, id: GenerationId) -> Self {
        Self {
            dir,
            generations,
            id,
            state: None,
            memory: None,
            layer: None,
            base: None,
            others: Vec::new(),
            synced: false,
        }
    }

    /// Which one it will be.
    #[must_use]
    pub fn id(&self) -> GenerationId {
        self.id
    }

    /// Where the link belongs that keeps the VMM's build.
    #[must_use]
    pub fn build_link(&self) -> PathBuf {
        self.dir.join(files::VMM_BUILD)
    }

    /// Keeps the device state.
    ///
    /// # Errors
    /// [`Error::StateTooLong`] for one that is longer than any is.
    pub fn put_state(&mut self, state: &[u8]) -> Result<(), Error> {
        if state.len() > files::MAX_STATE {
            return Err(Error::StateTooLong(state.len()));
        }
        let file = self.write_new(files::STATE, state)?;
        self.keep(file);
        self.state = Some(State {
            len: state.len() as u64,
            sum: blake3::hash(state).to_hex().to_string(),
        });
        Ok(())
    }

    /// Keeps what the guest knows its host by, for those who go on from this generation with nothing else of its sandbox.
    /// Only root reads it.
    pub fn put_keys(&mut self, keys: &[u8]) -> Result<(), Error> {
        let file = self.write_new(files::KEYS, keys)?;
        let path = self.dir.join(files::KEYS);
        file.set_permissions(Permissions::from_mode(0o400))
            .map_err(Error::io("change the mode of", &path))?;
        self.keep(file);
        Ok(())
    }

    /// Keeps the memory: the image `mapped`, which the VM maps privately, with the pieces of `source` over it, the pages
    /// that the VM has written since it started. `parent` is the generation whose image that is; none after a cold boot,
    /// when the image is one of holes.
    ///
    /// # Errors
    /// [`Error::Unrelated`] when `mapped` is not what it is said to be.
    pub fn capture_memory(
        &mut self,
        mapped: &Path,
        parent: Option<&Generation>,
        source: &File,
        pieces: &[Piece],
    ) -> Result<Written, Error> {
        check_origin(mapped, parent)?;
        let file = wrenn_memory::branch(mapped, &self.dir.join(files::MEMORY))?;
        let table = files::MEMORY_SUMS;
        let before = parent.map(|parent| (parent, &parent.manifest().memory));
        let mut sums = self.branch_sums(table, before, &file)?;
        let mut summed = Ok(());
        let overlaid = wrenn_memory::overlay(&file, source, pieces, &mut |at, bytes| {
            if summed.is_ok() {
                summed = sums.take(at, bytes).map(drop);
            }
        })?;
        let finished = summed.and_then(|()| sums.finish());
        let (sums, root) = finished.map_err(Error::io("write", &self.dir.join(table)))?;
        self.keep(sums);
        self.memory = Some(Captured {
            file,
            root,
            written: overlaid.written,
            parent: self.heir_of(parent),
        });
        Ok(Written {
            bytes: overlaid.written,
        })
    }

    /// Keeps the disk's layer, whose VM stands still. `parent` is the generation that the layer is a branch of; none when
    /// it began empty.
    pub fn capture_disk(
        &mut self,
        disk: &dyn Disk,
        layer: &Layer,
        parent: Option<&Generation>,
    ) -> Result<Written, Error> {
        let path = self.dir.join(files::LAYER);
        let file = disk.checkpoint(layer, &path)?;
        file.set_permissions(Permissions::from_mode(files::MODE))
            .map_err(Error::io("change the mode of", &path))?;
        let before = parent.map(|parent| (parent, &parent.manifest().layer.image));
        let mut sums = self.branch_sums(files::LAYER_SUMS, before, &file)?;
        let kept = parent
            .map(|parent| files::open(parent.dir(), files::LAYER))
            .transpose()?;
        // The checkpoint's own pages would have to come from the disk. Should a VMM change the layer in between, it spoils
        // its own sums, and a verification finds it.
        let cached = disk.open(layer)?;
        let summed = sum_changes(&mut sums, &file, &cached, kept.as_ref());
        let (written, (sums, root)) = summed
            .and_then(|written| Ok((written, sums.finish()?)))
            .map_err(Error::io("sum", &path))?;
        self.keep(sums);
        self.layer = Some(CapturedLayer {
            image: Captured {
                file,
                root,
                written,
                parent: self.heir_of(parent),
            },
            virtual_size: layer.virtual_size,
        });
        Ok(Written { bytes: written })
    }

    /// Keeps the image under the layer, by a hard link. Its blocks sum to `root` (see [`crate::base_root`]): what an earlier
    /// generation says of its own image, so that no later sum passes its damage on.
    pub fn link_base(&mut self, base: &Path, root: Root) -> Result<(), Error> {
        let path = self.dir.join(files::BASE);
        hard_link(base, &path).map_err(Error::io("link", base))?;
        let meta = path
            .metadata()
            .map_err(Error::io("read the size of", &path))?;
        self.base = Some(Base {
            len: meta.len(),
            root: Some(root),
        });
        self.synced = false;
        Ok(())
    }

    /// Makes all files and their names durable.
    pub fn sync(&mut self) -> Result<(), Error> {
        let memory = self.memory.iter().map(|memory| &memory.file);
        let layer = self.layer.iter().map(|layer| &layer.image.file);
        let files: Vec<&File> = memory.chain(layer).chain(&self.others).collect();
        // Side by side, so that they share the waits for the file system's log.
        let synced = thread::scope(|scope| {
            let syncs: Vec<_> = files
                .iter()
                .map(|file| scope.spawn(|| file.sync_all()))
                .collect();
            syncs.into_iter().try_for_each(|sync| {
                sync.join()
                    .unwrap_or_else(|_| Err(io::Error::other("a thread ended")))
            })
        });
        synced
            .and_then(|()| durable::sync_dir(&self.dir))
            .map_err(Error::io("sync", &self.dir))?;
        self.synced = true;
        Ok(())
    }

    /// Makes it a generation: its manifest is written, and one rename publishes it. What was not synced yet is.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when a part of it was not captured. After any error it is not published.
    pub fn publish(mut self, facts: Facts) -> Result<Generation, Error> {
        if !self.synced {
            self.sync()?;
        }
        let manifest = Manifest::new(facts, self.contents()?);
        self.publish_as(manifest)
    }

    /// The same with this manifest, whose files are in the folder.
    pub(crate) fn publish_as(mut self, manifest: Manifest) -> Result<Generation, Error> {
        if !self.synced {
            self.sync()?;
        }
        // A copy has it from the other.
        if !self.dir.join(files::TOUCHED).exists() {
            self.write_new(files::TOUCHED, &[])?;
        }
        let file = self.write_new(files::MANIFEST, &manifest.to_bytes()?)?;
        file.sync_all()
            .and_then(|()| durable::sync_dir(&self.dir))
            .map_err(Error::io("sync", &self.dir))?;
        let published = self.generations.dir(self.id);
        rename(&self.dir, &published).map_err(Error::io("publish", &published))?;
        let parent = published.parent().unwrap_or(&published);
        if let Err(error) = durable::sync_dir(parent) {
            // The caller is told that nothing was published, so nothing may be.
            if let Err(error) = rename(&published, &self.dir) {
                tracing::error!(%error, generation = %self.id, "could not take back a generation");
            }
            return Err(Error::io("sync", parent)(error));
        }
        Ok(self.generations.published(manifest))
    }

    /// What the files are, when all of them are there and none is written any more.
    fn contents(&self) -> Result<Contents, Error> {
        let missing = Error::Incomplete;
        let memory = self.memory.as_ref().ok_or(missing("memory"))?;
        let layer = self.layer.as_ref().ok_or(missing("disk layer"))?;
        Ok(Contents {
            id: self.id,
            build: random_build().map_err(Error::io("name", &self.dir))?,
            parent: layer.image.parent.or(memory.parent),
            state: self.state.clone().ok_or(missing("device state"))?,
            memory: memory.describe().map_err(Error::io("map", &self.dir))?,
            layer: manifest::Layer {
                image: layer
                    .image
                    .describe()
                    .map_err(Error::io("map", &self.dir))?,
                virtual_size: layer.virtual_size,
            },
            base: self.base.clone().ok_or(missing("base image"))?,
        })
    }

    /// The table of sums of `image`, begun as that of the parent's image.
    fn branch_sums(
        &self,
        table: &'static str,
        parent: Option<(&Generation, &Image)>,
        image: &File,
    ) -> Result<Table, Error> {
        let path = self.dir.join(table);
        let failed = |error| Error::io("make", &path)(error);
        let len = image.metadata().map_err(failed)?.len();
        let Some((parent, before)) = parent else {
            return Table::create(&path, len).map_err(failed);
        };
        let before_len = before.layout.len;
        let from = files::open_sized(parent.dir(), table, table_len(before_len))?;
        Table::branch(from, before_len, before.root, &path, len).map_err(failed)
    }

    /// The parent's name, where it is one of the same sandbox.
    fn heir_of(&self, parent: Option<&Generation>) -> Option<GenerationId> {
        let ours = |parent: &&Generation| parent.dir() == self.generations.dir(parent.id());
        parent.filter(ours).map(Generation::id)
    }

    /// Remembers a file that was written, for the next sync.
    pub(crate) fn keep(&mut self, file: File) {
        self.others.push(file);
        self.synced = false;
    }

    fn write_new(&self, name: &str, contents: &[u8]) -> Result<File, Error> {
        let path = self.dir.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(files::MODE)
            .open(&path)
            .and_then(|mut file| file.write_all(contents).map(|()| file))
            .map_err(Error::io("write", &path))
    }
}

impl Captured {
    fn describe(&self) -> io::Result<Image> {
        Ok(Image {
            layout: Layout::of(&self.file)?,
            root: self.root,
            written: self.written,
        })
    }
}

/// What binds the files of one generation, in 32 hexadecimal digits.
fn random_build() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let build = BuildId::new(bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok(build.to_string())
}

/// Whether the image that a VM maps is that of the generation it came from, or one of holes.
fn check_origin(mapped: &Path, parent: Option<&Generation>) -> Result<(), Error> {
    let meta = mapped.metadata().map_err(Error::io("open", mapped))?;
    let related = match parent {
        Some(parent) => files::is_same(mapped, &parent.memory()),
        None => meta.blocks() == 0,
    };
    if related {
        Ok(())
    } else {
        Err(Error::Unrelated {
            image: mapped.to_owned(),
        })
    }
}

/// Brings the sums of a layer up to date with what it does not share with the one `before`, and says how many bytes of it
/// are data. `cached` holds what `now` does.
fn sum_changes(
    sums: &mut Table,
    now: &File,
    cached: &File,
    before: Option<&File>,
) -> io::Result<u64> {
    let pieces = wrenn_disk::changed(now, before)?;
    let len = now.metadata()?.len();
    let mut written = 0;
    read_blocks(cached, len, &pieces, |at, bytes| {
        written += sums.take(at, bytes)?;
        Ok::<_, io::Error>(())
    })?;
    Ok(written)
}
