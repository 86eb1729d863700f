//! The sweep: what this instance has in the kernel and on disk that nobody owns any more goes, and nothing else.
//!
//! Every resource has an owner, which unmakes it, and a label, by which it is found when the owner is dead; ARCHITECTURE.md
//! has the table. What stands is listed first and what is known is read afterwards. Since everything is named by what is
//! known before it is made, what was listed and is not known has no owner, also beside operations under way.
//!
//! ```text
//!   files    what lies in the data directory
//!   known    what records and tasks speak of, and whether a resource is spoken of
//!   dead     the same without an agent, from the journal alone
//! ```

mod dead;
mod files;
mod known;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures::{StreamExt, stream};
use serde::Serialize;
use wrenn_model::leftover::{Kind, Leftover, Owner};
use wrenn_model::{ErrorKind, Fault, InstanceId};

use crate::Agent;
use crate::host::vmm_users;
use crate::steps::blocking;
use crate::table::Table;
use wrenn_model::chain;

pub use dead::sweep as sweep_dead;
pub(crate) use known::{Known, Verdict};

/// How many resources of a kind are taken away side by side.
const AT_ONCE: usize = 16;

/// Why nothing could be swept.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", chain(source.as_ref()))]
pub struct SweepError {
    what: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// For `map_err`: what could not be done.
fn cannot<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl Fn(E) -> SweepError {
    move |error| SweepError {
        what,
        source: error.into(),
    }
}

/// What became of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has an owner, or may have.
    Kept,
    /// It has none; nothing was done, since nothing was to be done.
    Garbage,
    /// It had none and is gone.
    Removed,
    /// It has none and would not go, for this reason.
    Failed(String),
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Garbage => "garbage",
            Self::Removed => "removed",
            Self::Failed(_) => "failed",
        }
    }
}

/// A resource that a sweep found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// What it is, such as `cgroup`.
    pub kind: String,
    /// By what it is told from its like.
    pub name: String,
    /// Why it is kept or garbage.
    pub why: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl Agent {
    /// Takes away what nobody owns; with `dry_run` it only says what that is.
    pub(crate) async fn sweep(&self, dry_run: bool) -> Result<Vec<Swept>, Fault> {
        let failed = |error: SweepError| {
            Fault::new(
                ErrorKind::AgentError,
                error.to_string(),
                "see the agent's log, and try again",
            )
        };
        let data = &self.host.data;
        let found = inventory(data.path(), data.instance(), self.began).await;
        let found = found.map_err(failed)?;
        let store = self.host.volume.root().to_owned();
        let spares = blocking(move || files::spare_names(&store)).await;
        let spares =
            spares.map_err(|error| failed(cannot("what stood ready cannot be listed")(error)))?;
        // After the list: what is made in between is not in it.
        let known = Known::of(&self.table, self.whole()).with_spares(spares);
        Ok(run(found, &known, dry_run, Some(&self.table)).await)
    }
}

/// All that an instance has, in the order in which it is taken away. Files that were being made count as left when nobody
/// has touched them since `began`.
pub(crate) async fn inventory(
    data: &Path,
    instance: &InstanceId,
    began: SystemTime,
) -> Result<Vec<Leftover>, SweepError> {
    let network = cannot("what stands of the network cannot be listed");
    let ranges = wrenn_network::recorded(data).map_err(&network)?;
    let mut found = wrenn_network::leftovers(instance, ranges.as_ref())
        .await
        .map_err(&network)?;
    let (data, instance) = (data.to_owned(), instance.clone());
    let rest = tokio::task::spawn_blocking(move || -> Result<Vec<Leftover>, SweepError> {
        let store = data.join("store");
        let store = std::fs::canonicalize(&store).unwrap_or(store);
        let users = ranges.as_ref().map(vmm_users);
        let vms = wrenn_vmm::leftovers(&instance, users, &store);
        let mut found = vms.map_err(cannot("what stands of virtual machines cannot be listed"))?;
        let devices = wrenn_disk::dm::leftovers(&instance);
        found.extend(devices.map_err(cannot("the device mapper's devices cannot be listed"))?);
        let disk = wrenn_disk::leftovers(&data);
        found.extend(disk.map_err(cannot("what stands of the store cannot be listed"))?);
        let files = files::leftovers(&data, &store, began);
        found.extend(files.map_err(cannot("the data directory cannot be listed"))?);
        Ok(found)
    });
    let rest = rest.await.map_err(cannot("what stands cannot be listed"))?;
    found.extend(rest?);
    Ok(found)
}

/// Judges and takes away, one kind after the other.
pub(crate) async fn run(
    mut found: Vec<Leftover>,
    known: &Known,
    dry_run: bool,
    table: Option<&Arc<Table>>,
) -> Vec<Swept> {
    let mut swept = Vec::with_capacity(found.len());
    for kind in Kind::ALL {
        let (of_kind, others) = found.into_iter().partition(|left| left.kind == kind);
        found = others;
        let of_kind: Vec<Leftover> = of_kind;
        let one = |left| take(left, known, dry_run, table);
        let all = stream::iter(of_kind).map(one).buffered(AT_ONCE);
        swept.extend(all.collect::<Vec<_>>().await);
    }
    swept
}

async fn take(left: Leftover, known: &Known, dry_run: bool, table: Option<&Arc<Table>>) -> Swept {
    let (kind, name) = (left.kind.to_string(), left.name.clone());
    let told = |why: &str, outcome| Swept {
        kind: kind.clone(),
        name: name.clone(),
        why: why.to_owned(),
        outcome,
    };
    let why = match known.judge(&left.owner) {
        Verdict::Kept(why) => return told(why, Outcome::Kept),
        Verdict::Garbage(why) if dry_run => return told(why, Outcome::Garbage),
        Verdict::Garbage(why) => why,
    };
    // Nobody makes a sandbox of this id meanwhile.
    let claim = match (&left.owner, table) {
        (Owner::Sandbox(id), Some(table)) => match table.claim(id) {
            Some(claim) => Some(claim),
            None => return told("its sandbox was made just now", Outcome::Kept),
        },
        _ => None,
    };
    let removed = left.remove().await;
    drop(claim);
    match removed {
        Ok(()) => {
            tracing::warn!(kind, name, why, "swept");
            told(why, Outcome::Removed)
        }
        Err(error) => {
            let error = chain(error.as_ref());
            tracing::error!(kind, name, error, "it could not be swept");
            told(why, Outcome::Failed(error))
        }
    }
}
