//! The sweep without an agent: whoever holds the data directory's lock stands in for the one that died.

use std::time::SystemTime;

use wrenn_model::leftover::{Kind, Owner};

use super::{Known, SweepError, Swept, cannot, files, inventory, run};
use crate::DataDir;
use crate::journal;
use crate::recovery::understood;

/// Sweeps a data directory that nobody serves, by its journal. What its records speak of stays for the next start, and so
/// does what lies in a store that is not mounted. With `dry_run` nothing is touched at all.
///
/// # Errors
/// When the journal or what stands cannot be read; nothing was touched then.
pub async fn sweep(data: &DataDir, dry_run: bool) -> Result<Vec<Swept>, SweepError> {
    let (path, sandboxes) = (
        data.path().join("journal"),
        data.path().join("store/sandboxes"),
    );
    let replay = journal::read(&path, &sandboxes).map_err(cannot("the journal cannot be read"))?;
    let (records, foreign) = understood(&replay);
    let known = Known::from_records(&records, !foreign && replay.damaged == 0);
    let mut found = inventory(data.path(), data.instance(), SystemTime::now()).await?;
    let begun = files::begun(&sandboxes);
    found.extend(begun.map_err(cannot("the store cannot be listed"))?);
    let socket = data.socket();
    if socket.exists() {
        found.push(files::file(Kind::Socket, socket, Owner::Nobody));
    }
    Ok(run(found, &known, dry_run, None).await)
}
