//! All that belongs in a backup, opened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use serde_json::Value;
use wrenn_backup::Writer;
use wrenn_model::{InstanceId, SandboxId, chain};

use super::fit::Fit;
use super::trees::{self, Item};
use super::{BackupError, DATA, Head, LeftOut, STATE, VERSION, failed};
use crate::journal;
use crate::record::Record;
use crate::time::now_ms;

/// How often a sandbox that is on its way is looked at, and how long after one look comes the next.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// What of the store is no sandbox's.
const IMAGES: [&str; 4] = ["kernels", "initramfs", "templates", "snapshots"];
/// The link by which a generation keeps the VMM's build, and what it is a link to.
const BUILD_LINK: &str = "/vmm-build";
const BUILD_MARK: &str = "build.json";
/// Single files of the data directory.
const FILES: [&str; 2] = ["api-key", "tls/identity.pem"];

/// What a backup will have: opened, so that it stays what it is.
#[derive(Debug)]
pub struct Backup {
    head: Head,
    records: HashMap<String, Value>,
    items: Vec<Item>,
}

impl Backup {
    /// Opens all of a data directory that belongs in a backup, beside the agent that works on it or under its lock. The
    /// store has to be mounted. For threads that may wait.
    ///
    /// # Errors
    /// When something cannot be read, or does not stand still.
    pub fn gather(data: &Path) -> Result<Self, BackupError> {
        let data = fs::canonicalize(data).map_err(failed("there is no data directory"))?;
        check_mounted(&data)?;
        open_many_files().map_err(failed("so many files cannot be opened"))?;
        let instance = fs::read_to_string(data.join("instance"));
        let instance = instance.map_err(failed("the instance id cannot be read"))?;
        let instance: InstanceId = instance
            .trim()
            .parse()
            .map_err(failed("the instance id is none"))?;
        let mut backup = Self {
            head: Head {
                version: VERSION,
                made_ms: now_ms(),
                release: env!("CARGO_PKG_VERSION").to_owned(),
                instance,
                state: false,
                sandboxes: Vec::new(),
                left_out: Vec::new(),
            },
            records: HashMap::new(),
            items: Vec::new(),
        };
        for name in FILES {
            let opened = trees::open_file(&data.join(name), &named(name), &mut backup.items);
            opened.map_err(failed("a file of the data directory cannot be read"))?;
        }
        backup.sandboxes(&data)?;
        let store = data.join("store");
        for folder in IMAGES {
            let name = named_in_store(folder);
            trees::open_each(&store.join(folder), &name, &mut backup.items)?;
        }
        backup.builds(&store)?;
        Ok(backup)
    }

    /// The sandboxes that it will have.
    #[must_use]
    pub fn sandboxes_in_it(&self) -> &[SandboxId] {
        &self.head.sandboxes
    }

    /// Those that it will not have.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.head.left_out
    }

    /// Adds a file of the control plane's that `wrenn up` has in the data directory.
    pub fn add_servers(&mut self, name: &str, file: File) {
        let name = named(&format!("server/{name}"));
        self.items.push(Item::File(name, file));
    }

    /// Adds a file of the folder of a control plane that runs by itself.
    pub fn add_state(&mut self, name: &str, file: File) {
        self.head.state = true;
        self.items.push(Item::File(format!("{STATE}/{name}"), file));
    }

    /// Writes all of it; gives how many bytes that was. For threads that may wait.
    ///
    /// # Errors
    /// [`BackupError::Stream`]: what was written is no backup.
    pub fn write(self, to: impl Write) -> Result<u64, BackupError> {
        let head = serde_json::to_vec(&self.head).map_err(failed("the head cannot be written"))?;
        let mut writer = Writer::new(to, &head)?;
        let instance = format!("{}\n", self.head.instance);
        writer.contents(&named("instance"), 0o644, instance.as_bytes())?;
        let journal = journal::contents(&self.records);
        let journal = journal.map_err(failed("the journal cannot be written"))?;
        writer.contents(&named("journal"), 0o600, &journal)?;
        for item in self.items {
            match item {
                Item::Folder(name, meta) => writer.folder(&name, &meta)?,
                Item::File(name, file) => writer.file(&name, file)?,
            }
        }
        Ok(writer.finish()?)
    }

    fn sandboxes(&mut self, data: &Path) -> Result<(), BackupError> {
        for (id, record) in read_journal(data)? {
            self.sandbox(data, &id, record)?;
        }
        self.head.sandboxes.sort();
        Ok(())
    }

    /// One sandbox by its record, or as it is by now, when it is another since that was read.
    fn sandbox(
        &mut self,
        data: &Path,
        id: &SandboxId,
        mut record: Record,
    ) -> Result<(), BackupError> {
        let folder = data.join("store/sandboxes").join(id.as_str());
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(PAUSE);
                match read_journal(data)?.remove(id) {
                    Some(now) => record = now,
                    None => return Ok(()),
                }
            }
            let fit = match Fit::of(&record) {
                Ok(fit) => fit,
                Err(why) => {
                    self.head.left_out.push(LeftOut {
                        id: id.clone(),
                        status: record.state.status(),
                        why: why.to_owned(),
                    });
                    return Ok(());
                }
            };
            if let Some(mut items) = open_sandbox(&folder, id, &fit)? {
                let value = serde_json::to_value(&fit.record);
                let value = value.map_err(failed("a record cannot be written"))?;
                self.records.insert(id.to_string(), value);
                self.head.sandboxes.push(id.clone());
                self.items.append(&mut items);
                return Ok(());
            }
        }
        Err(BackupError::Restless { what: folder })
    }

    /// The VMM builds that the generations in it keep.
    fn builds(&mut self, store: &Path) -> Result<(), BackupError> {
        let failed = failed("the VMM builds cannot be read");
        let kept: io::Result<HashSet<(u64, u64)>> = self
            .items
            .iter()
            .filter_map(|item| match item {
                Item::File(name, file) if name.ends_with(BUILD_LINK) => Some(identity(file)),
                _ => None,
            })
            .collect();
        let kept = kept.map_err(&failed)?;
        let folder = store.join("vmm-builds");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        for entry in entries.map_err(&failed)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let marker = File::open(entry.path().join(BUILD_MARK));
            let marker = marker.and_then(|marker| identity(&marker));
            if !name.starts_with('.') && marker.is_ok_and(|marker| kept.contains(&marker)) {
                let name = named_in_store(&format!("vmm-builds/{name}"));
                trees::open(&entry.path(), &name, &mut self.items)?;
            }
        }
        Ok(())
    }
}

/// What a sandbox's folder has that its pause needs; nothing when that was replaced meanwhile.
fn open_sandbox(
    folder: &Path,
    id: &SandboxId,
    fit: &Fit,
) -> Result<Option<Vec<Item>>, BackupError> {
    let failed = failed("a sandbox's folder cannot be read");
    let name = named_in_store(&format!("sandboxes/{id}"));
    let (generations, inner) = (folder.join("generations"), format!("{name}/generations"));
    let mut items = Vec::new();
    for (path, name) in [(folder, &name), (&generations, &inner)] {
        match fs::metadata(path) {
            Ok(meta) => items.push(Item::Folder(name.clone(), meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
    }
    let base = folder.join("base.ext4");
    let has_base = trees::open_file(&base, &format!("{name}/base.ext4"), &mut items);
    let generation = fit.generation.to_string();
    let at = generations.join(&generation);
    if !has_base.map_err(&failed)?
        || !trees::open(&at, &format!("{inner}/{generation}"), &mut items)?
    {
        return Ok(None);
    }
    let mark = format!("{generation}.damaged");
    let marked = trees::open_file(
        &generations.join(&mark),
        &format!("{inner}/{mark}"),
        &mut items,
    );
    marked.map_err(&failed)?;
    Ok(Some(items))
}

/// The records of a data directory, whoever writes them.
fn read_journal(data: &Path) -> Result<BTreeMap<SandboxId, Record>, BackupError> {
    let sandboxes = data.join("store/sandboxes");
    let replay = journal::read(&data.join("journal"), &sandboxes);
    let replay = replay.map_err(failed("the journal cannot be read"))?;
    let record = |(id, value): (String, Value)| {
        let unreadable = |why: String| BackupError::Unreadable {
            id: id.clone(),
            why,
        };
        let record = Record::read(&value).map_err(|error| unreadable(chain(&error)))?;
        let id = id
            .parse()
            .map_err(|_| unreadable("it is no id".to_owned()))?;
        Ok((id, record))
    };
    replay.records.into_iter().map(record).collect()
}

/// Whether the store is there: where it is an image, an empty folder stands in its place without it.
fn check_mounted(data: &Path) -> Result<(), BackupError> {
    let device = |path: PathBuf| fs::metadata(path).map(|meta| meta.dev());
    let is_image = data.join("store.img").exists();
    let mounted = match (device(data.join("store")), device(data.to_owned())) {
        (Ok(store), Ok(data)) => !is_image || store != data,
        _ => false,
    };
    if mounted {
        return Ok(());
    }
    Err(BackupError::NotMounted {
        path: data.to_owned(),
    })
}

/// All files of a backup are open at once.
fn open_many_files() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(rustix::process::setrlimit(Resource::Nofile, raised)?)
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino()))
}

fn named(path: &str) -> String {
    format!("{DATA}/{path}")
}

fn named_in_store(path: &str) -> String {
    named(&format!("store/{path}"))
}
