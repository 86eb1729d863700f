//! The sweep without an agent: whoever holds the data directory's lock stands in for the one that died.

use std::time::SystemTime;

use wrenn_model::chain;
use wrenn_model::leftover::{Kind, Owner};

use super::{Known, Swept, files, inventory, run};
use crate::journal;
use crate::recovery::understood;
use crate::{DataDir, StartError};

/// Sweeps a data directory that nobody serves, by its journal. What its records speak of stays for the next start, and so
/// does a store that is not mounted. With `dry_run` nothing is touched at all.
///
/// # Errors
/// When the journal or what stands cannot be read; nothing was touched then.
pub async fn sweep(data: &DataDir, dry_run: bool) -> Result<Vec<Swept>, StartError> {
    let failed = |error: &(dyn std::error::Error + 'static)| StartError::because(chain(error));
    let replay = journal::read(&data.path().join("journal")).map_err(|error| failed(&error))?;
    let (records, foreign) = understood(&replay);
    let known = Known::from_records(&records, !foreign && replay.damaged == 0);
    let mut found = inventory(data.path(), data.instance(), SystemTime::now()).await?;
    let begun = files::begun(&data.path().join("store/sandboxes"));
    found.extend(begun.map_err(|error| failed(&error))?);
    let socket = data.socket();
    if socket.exists() {
        found.push(files::file(Kind::Socket, socket, Owner::Nobody));
    }
    Ok(run(found, &known, dry_run, None).await)
}
