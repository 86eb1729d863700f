//! A data directory out of a backup: unpacked aside, its sum compared, made durable, and given its place by renames, of which
//! the last is that of `instance`. Before it there is no installation, and a start in between is refused.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use wrenn_backup::Reader;
use wrenn_disk::Volume;
use wrenn_model::{InstanceId, SandboxId, chain};
use wrenn_sys::durable;

use super::fit::at_home;
use super::target::Target;
use super::{BackupError, DATA, Head, LeftOut, STATE, VERSION, failed};
use crate::host::store_config;
use crate::journal;
use crate::record::Record;

/// Where a backup goes.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The data directory, which has to be empty where there is one.
    pub data: PathBuf,
    /// The folder of a control plane that runs by itself, for a backup that has one; the same goes for it.
    pub state: PathBuf,
    /// It becomes another installation than the one that it was, which may live beside it on one machine.
    pub new_instance: bool,
}

/// What came of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The installation's id.
    pub instance: InstanceId,
    /// When the backup was made, in milliseconds since the epoch.
    pub made_ms: i64,
    /// The sandboxes that are there again.
    pub sandboxes: Vec<SandboxId>,
    /// Those that there were and that the backup does not have.
    pub left_out: Vec<LeftOut>,
    /// Whether there is the folder of a control plane that runs by itself.
    pub state: bool,
    /// How long the backup was.
    pub bytes: u64,
}

/// Makes a data directory out of a backup.
///
/// # Errors
/// Any: there is nothing then that was not there before.
pub async fn restore(
    from: impl Read + Send + 'static,
    plan: &Restore,
) -> Result<Restored, BackupError> {
    let (reader, mut head) = on_a_thread(move || {
        let reader = Reader::open(from)?;
        let head = read_head(reader.head())?;
        Ok((reader, head))
    })
    .await?;
    if plan.new_instance {
        head.instance = InstanceId::random();
    }
    check_nobody(&head.instance, &plan.data).await?;
    let places = Arc::new(Places::take(plan, &head)?);
    let filled = fill(reader, &head, &places).await;
    let bytes = filled.inspect_err(|_| places.abandon())?;
    Ok(Restored {
        instance: head.instance,
        made_ms: head.made_ms,
        sandboxes: head.sandboxes,
        left_out: head.left_out,
        state: head.state,
        bytes,
    })
}

/// Disks and pipes are waited for.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(failed("a thread ended"))?
}

/// Where the trees of a backup go.
#[derive(Debug)]
struct Places {
    data: Target,
    state: Option<Target>,
}

impl Places {
    fn take(plan: &Restore, head: &Head) -> Result<Self, BackupError> {
        let data = Target::take(&plan.data)?;
        let state = head.state.then(|| Target::take(&plan.state)).transpose();
        let state = state.inspect_err(|_| data.abandon())?;
        Ok(Self { data, state })
    }

    fn begin(&self) -> io::Result<()> {
        self.data.begin()?;
        self.state.as_ref().map_or(Ok(()), Target::begin)
    }

    fn tree(&self, tree: &str) -> Option<PathBuf> {
        match tree {
            DATA => Some(self.data.aside()),
            STATE => self.state.as_ref().map(Target::aside),
            _ => None,
        }
    }

    /// All that takes its time comes before the first rename.
    fn publish(&self) -> io::Result<()> {
        self.data.sync()?;
        if let Some(state) = &self.state {
            state.give()?;
            state.sync()?;
            state.publish("", "")?;
        }
        self.data.publish("journal", "instance")
    }

    fn abandon(&self) {
        self.data.abandon();
        if let Some(state) = &self.state {
            state.abandon();
        }
    }
}

fn read_head(bytes: &[u8]) -> Result<Head, BackupError> {
    let invalid = |why: serde_json::Error| BackupError::Head(why.to_string());
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(invalid)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version != u64::from(VERSION) => Err(BackupError::Head(format!(
            "it is of version {version}, and {VERSION} is known"
        ))),
        _ => serde_json::from_value(value).map_err(invalid),
    }
}

/// Refuses to make a second installation of one name on this machine: each would take the other's for its own.
async fn check_nobody(instance: &InstanceId, data: &Path) -> Result<(), BackupError> {
    let unknown = "what stands on this machine cannot be listed";
    let network = wrenn_network::leftovers(instance, None).await;
    let mut found = network.map_err(failed(unknown))?;
    let (name, sandboxes) = (instance.clone(), data.join("store/sandboxes"));
    let machines =
        tokio::task::spawn_blocking(move || wrenn_vmm::leftovers(&name, None, &sandboxes));
    let machines = machines.await.map_err(failed(unknown))?;
    found.extend(machines.map_err(failed(unknown))?);
    match found.first() {
        None => Ok(()),
        Some(one) => Err(BackupError::Standing {
            instance: instance.clone(),
            found: format!("{} {}", one.kind, one.name),
        }),
    }
}

/// Unpacks, and publishes what came of it. Gives how long the backup was.
async fn fill(
    reader: Reader<impl Read + Send + 'static>,
    head: &Head,
    places: &Arc<Places>,
) -> Result<u64, BackupError> {
    clear(&places.data.aside()).await?;
    let begun = places.clone();
    on_a_thread(move || {
        let unusable = failed("the folder to restore to cannot be used");
        begun.begin().map_err(unusable)
    })
    .await?;
    let volume = Volume::open(&places.data.aside(), store_config()).await;
    let volume = Arc::new(volume.map_err(failed("the store cannot be made"))?);
    let (instance, unpacked) = (head.instance.clone(), places.clone());
    let store = volume.clone();
    let bytes = on_a_thread(move || unpack(reader, &instance, &unpacked, &store)).await;
    let closed = volume.close().await;
    let bytes = bytes?;
    closed.map_err(failed("the store cannot be unmounted"))?;
    let published = places.clone();
    on_a_thread(move || {
        let published = published.publish();
        published.map_err(failed("what was restored cannot be put in its place"))
    })
    .await?;
    Ok(bytes)
}

/// What a restore that was cut off left mounted.
async fn clear(aside: &Path) -> Result<(), BackupError> {
    let stays = "what an earlier restore left cannot be removed";
    for left in wrenn_disk::leftovers(aside).map_err(failed(stays))? {
        left.remove().await.map_err(failed(stays))?;
    }
    Ok(())
}

fn unpack(
    reader: Reader<impl Read>,
    instance: &InstanceId,
    places: &Places,
    volume: &Volume,
) -> Result<u64, BackupError> {
    let runtime = tokio::runtime::Handle::current();
    let mut room = |bytes| match runtime.block_on(volume.make_room(bytes)) {
        Ok(_) => Ok(()),
        Err(error @ wrenn_disk::Error::HostFull { .. }) => {
            Err(io::Error::new(io::ErrorKind::StorageFull, error))
        }
        Err(error) => Err(io::Error::other(error)),
    };
    let unpacked = reader.unpack(&|tree| places.tree(tree), &mut room)?;
    let aside = places.data.aside();
    bring_home(&aside, places.data.path())?;
    let text = format!("{instance}\n");
    let written = durable::write(&aside.join("instance"), text.as_bytes(), 0o644)
        .and_then(|()| File::open(volume.root()))
        .and_then(|store| Ok(rustix::fs::syncfs(store)?));
    written.map_err(failed("what was restored cannot be written"))?;
    Ok(unpacked.bytes)
}

/// Writes the journal anew, with the paths that things will have.
fn bring_home(aside: &Path, data: &Path) -> Result<(), BackupError> {
    let path = aside.join("journal");
    let replay = journal::read(&path, &aside.join("store/sandboxes"));
    let replay = replay.map_err(failed("its journal cannot be read"))?;
    if replay.damaged > 0 {
        return Err(BackupError::Head("its journal is damaged".to_owned()));
    }
    let mut records = HashMap::new();
    for (id, value) in replay.records {
        let record = Record::read(&value).map_err(|error| BackupError::Unreadable {
            id: id.clone(),
            why: chain(&error),
        })?;
        let record = at_home(record, data.join("store/sandboxes").join(&id));
        let value = serde_json::to_value(record);
        records.insert(id, value.map_err(failed("a record cannot be written"))?);
    }
    let unwritten = "the journal cannot be written";
    let contents = journal::contents(&records).map_err(failed(unwritten))?;
    durable::write(&path, &contents, 0o600).map_err(failed(unwritten))
}
