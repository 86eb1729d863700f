//! What a team may have, as far as no query of the store's keeps it; and how it is told that it may not have more.

use std::time::Duration;

use wrenn_model::{ErrorKind, Fault, Status, TeamName, Transition};
use wrenn_store::{Exceeded, Limited, Sandbox, TeamLimits};

use super::Sandboxes;
use crate::fault::store_fault;

/// Between two looks whether a pause has ended.
const SOON: Duration = Duration::from_millis(50);

impl Sandboxes {
    /// Refuses what takes more of the disk for the team of this sandbox, which is new, or of which something is made, when that
    /// takes all that it may. What is there is measured, and no promise: it writes on.
    pub(super) async fn room_on_disk(&self, row: &Sandbox) -> Result<(), Fault> {
        let Ok(owner) = row.owner_id.parse() else {
            return Ok(());
        };
        let limits = self.limits_of(&owner).await?;
        let Some(limit) = limits.storage else {
            return Ok(());
        };
        let used = self.core.agent.storage(&owner).await?;
        if used < limit.bytes() {
            return Ok(());
        }
        let exceeded = Exceeded {
            what: Limited::Storage,
            limit: limit.0,
            used: i64::try_from(used.div_ceil(1 << 20)).unwrap_or(i64::MAX),
            room_after_ms: None,
        };
        Err(beyond(row, exceeded))
    }

    /// A call is about to have the agent resume this sandbox. Where its team may have only so much that runs, it is resumed
    /// first, and written: what the agent does by itself is counted when it is done.
    pub(super) async fn woken(&self, row: Sandbox) -> Result<Sandbox, Fault> {
        let pausing = |row: &Sandbox| row.transition == Some(Transition::Pausing);
        let busy = |row: &Sandbox| {
            let copied = [Transition::Snapshotting, Transition::Forking];
            pausing(row)
                || row
                    .transition
                    .is_some_and(|under_way| copied.contains(&under_way))
        };
        if row.status != Status::Paused && !(row.auto_resume && pausing(&row)) {
            return Ok(row);
        }
        let limits = match row.owner_id.parse() {
            Ok(owner) => self.limits_of(&owner).await?,
            Err(_) => TeamLimits::default(),
        };
        if limits.vcpus.is_none() && limits.memory.is_none() && limits.sandboxes.is_none() {
            return Ok(row);
        }
        let mut row = row;
        while busy(&row) {
            // The agent would wait for that, too.
            tokio::time::sleep(SOON).await;
            row = self.callable(&row.id).await?;
        }
        if row.status != Status::Paused {
            return Ok(row);
        }
        match self.resume(&row.id, false).await {
            Ok(resumed) => Ok(resumed.sandbox),
            // Somebody else has woken it, or is about to: that is counted already.
            Err(fault) => {
                let row = self.callable(&row.id).await?;
                let awake =
                    row.status == Status::Running || row.transition == Some(Transition::Resuming);
                awake.then_some(row).ok_or(fault)
            }
        }
    }

    /// What a team may have; a team that nobody knows has no limits.
    async fn limits_of(&self, team: &TeamName) -> Result<TeamLimits, Fault> {
        let team = self.core.store.team(team).await;
        let team = team.map_err(|error| store_fault(&error))?;
        Ok(team.map(|team| team.limits).unwrap_or_default())
    }
}

/// Its team may not have it.
pub(super) fn beyond(row: &Sandbox, exceeded: Exceeded) -> Fault {
    let Exceeded { limit, used, .. } = exceeded;
    let (there, asked) = match exceeded.what {
        Limited::Sandboxes => (format!("has {used} sandboxes"), "one more".to_owned()),
        Limited::Vcpus => (format!("uses {used} vCPUs"), format!("{} more", row.vcpus)),
        Limited::Memory => (
            format!("uses {used} MiB of memory"),
            format!("{} MiB more", row.memory.0),
        ),
        Limited::Storage => (format!("takes {used} MiB of disk"), "more of it".to_owned()),
        Limited::Creates => (
            format!("has made {used} sandboxes within a minute"),
            "one more".to_owned(),
        ),
    };
    let message = format!(
        "the team {} {there} and may not have {asked}: its limit is {limit}",
        row.owner_id
    );
    let remedy = match exceeded.what {
        Limited::Creates => "try again after as many seconds as Retry-After says",
        Limited::Sandboxes => "destroy sandboxes, or have the limit raised with `wrenn team set`",
        Limited::Storage => {
            "destroy sandboxes, delete snapshots, or have the limit raised with `wrenn team set`"
        }
        Limited::Vcpus | Limited::Memory => {
            "pause or destroy sandboxes, or have the limit raised with `wrenn team set`"
        }
    };
    // Whole seconds, the last one begun.
    let seconds = exceeded.room_after_ms.map(|ms| (ms + 999) / 1000);
    let seconds = seconds.map(|seconds| u32::try_from(seconds).unwrap_or(1).max(1));
    Fault::new(ErrorKind::QuotaExhausted, message, remedy).retry_after(seconds)
}
