//! Whether a team may have one sandbox more, or one more that runs. It is looked at in the transaction that writes the sandbox, so that servers
//! which write at the same time never go beyond a limit together.

use sqlx::{PgConnection, SqliteConnection, query, query_scalar};
use wrenn_model::Status;

use crate::db::Columns;
use crate::{Sandbox, StoreError, TeamLimits, team};

/// A limit is on what was made in so many milliseconds. What was made more than so many from now, by a clock that was set back since,
/// counts for nothing.
const MINUTE_MS: i64 = 60_000;

/// What a limit is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// Sandboxes that are pending, run or are paused.
    Sandboxes,
    /// Virtual CPUs of those that are pending, run or resume.
    Vcpus,
    /// MiB of guest memory of the same.
    Memory,
    /// MiB of disk. The host has measured it, and no query looks at it.
    Storage,
    /// Sandboxes made in the last minute.
    Creates,
}

/// What a sandbox that is about to be written is more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// It is made.
    Sandbox,
    /// It was put aside, and will run.
    Running,
}

/// A limit of its team that a sandbox would go beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// What it is on.
    pub what: Limited,
    /// How much there may be.
    pub limit: u32,
    /// How much there is without this sandbox.
    pub used: i64,
    /// Milliseconds after which there is room again, where time alone makes it.
    pub room_after_ms: Option<i64>,
}

/// What came of a sandbox that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// It is written.
    Written,
    /// There is one with this id already, or somebody else has written it since it was read; that one is left as it is.
    Taken,
    /// Its team may not have it. Nothing is written.
    Refused(Exceeded),
}

/// What a team has: sandboxes, and of those that are not put aside vCPUs and memory. An error on its way back counts. A sum of
/// PostgreSQL's is no BIGINT. By name of what is wanted, so that an index leaves out what has stopped, which is most of all: this is asked under
/// the lock of all writers.
pub(crate) const USED: &str = "SELECT \
     CAST(COALESCE(SUM(CASE WHEN status <> 'error' OR transition = 'resuming' THEN 1 ELSE 0 END), 0) AS BIGINT) AS sandboxes, \
     CAST(COALESCE(SUM(CASE WHEN status IN ('pending', 'running') OR transition = 'resuming' THEN vcpus ELSE 0 END), 0) AS BIGINT) \
     AS vcpus, \
     CAST(COALESCE(SUM(CASE WHEN status IN ('pending', 'running') OR transition = 'resuming' THEN memory_mb ELSE 0 END), 0) \
     AS BIGINT) AS memory_mb FROM sandboxes \
     WHERE owner_id = $1 AND status IN ('pending', 'running', 'paused', 'error')";

/// When the sandbox was made before which a team made so many in the last minute.
pub(crate) const NTH_NEWEST: &str = "SELECT created_at FROM sandboxes WHERE owner_id = $1 AND created_at > $2 \
     AND created_at < $3 ORDER BY created_at DESC LIMIT 1 OFFSET $4";

/// A transaction that is about to write a sandbox.
pub(crate) trait Quota {
    /// The limit of its team that this sandbox would go beyond by what it is more of, if there is one. Until the transaction ends, nobody else
    /// writes one of a team that has limits.
    async fn exceeded(&mut self, row: &Sandbox, more: More)
    -> Result<Option<Exceeded>, StoreError>;
}

macro_rules! quota {
    ($($connection:ty),*) => { $(
        impl Quota for $connection {
            async fn exceeded(
                &mut self,
                row: &Sandbox,
                more: More,
            ) -> Result<Option<Exceeded>, StoreError> {
                let owner = row.owner_id.as_str();
                let team = query(team::teams!("WHERE name = $1")).bind(owner);
                let team = team.fetch_optional(&mut *self).await?;
                let limits = match team.as_ref().map(team::read).transpose()? {
                    Some(team) if team.limits != TeamLimits::default() => team.limits,
                    _ => return Ok(None),
                };
                // PostgreSQL locks what is written; SQLite has one writer.
                let lock = query("UPDATE teams SET name = name WHERE name = $1").bind(owner);
                lock.execute(&mut *self).await?;
                let used = query(USED).bind(owner).fetch_one(&mut *self).await?;
                let exceeded = beyond(&limits, &used, row, more)?;
                let made = exceeded.is_none() && more == More::Sandbox;
                let Some(limit) = limits.creates_per_min.filter(|_| made) else {
                    return Ok(exceeded);
                };
                let oldest: Option<i64> = query_scalar(NTH_NEWEST)
                    .bind(owner)
                    .bind(row.created_at_ms - MINUTE_MS)
                    .bind(row.created_at_ms + MINUTE_MS)
                    .bind(i64::from(limit.saturating_sub(1)))
                    .fetch_optional(&mut *self)
                    .await?;
                Ok(too_soon(limit, oldest, row))
            }
        }
    )* };
}
quota!(SqliteConnection, PgConnection);

/// The limit on what there is that this sandbox goes beyond, given what is used.
fn beyond(
    limits: &TeamLimits,
    used: &impl Columns,
    row: &Sandbox,
    more: More,
) -> Result<Option<Exceeded>, StoreError> {
    // What is put aside is counted; an error is not.
    let counted = more == More::Running && row.status != Status::Error;
    let sandboxes = limits.sandboxes.filter(|_| !counted);
    let memory = limits.memory.map(|memory| memory.0);
    for (what, limit, column, more) in [
        (Limited::Sandboxes, sandboxes, "sandboxes", 1),
        (Limited::Vcpus, limits.vcpus, "vcpus", row.vcpus),
        (Limited::Memory, memory, "memory_mb", row.memory.0),
    ] {
        let used = used.number(column)?;
        if let Some(limit) = limit.filter(|limit| used + i64::from(more) > i64::from(*limit)) {
            return Ok(Some(Exceeded {
                what,
                limit,
                used,
                room_after_ms: None,
            }));
        }
    }
    Ok(None)
}

/// The limit on creations, if this one comes too soon: when the oldest of as many as there may be is a minute old, there is
/// room for another.
fn too_soon(limit: u32, oldest: Option<i64>, row: &Sandbox) -> Option<Exceeded> {
    let exceeded = Exceeded {
        what: Limited::Creates,
        limit,
        used: i64::from(limit),
        room_after_ms: oldest.map(|then| then + MINUTE_MS - row.created_at_ms),
    };
    match limit {
        0 => Some(Exceeded {
            room_after_ms: None,
            ..exceeded
        }),
        _ => oldest.map(|_| exceeded),
    }
}
