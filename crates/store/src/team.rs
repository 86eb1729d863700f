//! Teams: whose sandboxes are, and what each may have.

use sqlx::query;
use wrenn_model::{MiB, TeamName};

use crate::db::{Begin as _, Columns, on};
use crate::{Store, StoreError};

/// The text that finds teams, with these words about which.
macro_rules! teams {
    ($which:literal) => {
        concat!(
            "SELECT name, max_sandboxes, max_vcpus, max_memory_mb, max_storage_mb, creates_per_min, created_at FROM teams ",
            $which
        )
    };
}
pub(crate) use teams;

/// What a team may have. What is `None` has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TeamLimits {
    /// Sandboxes that are pending, run or are paused.
    pub sandboxes: Option<u32>,
    /// Virtual CPUs of those that are pending or run.
    pub vcpus: Option<u32>,
    /// Guest memory of the same.
    pub memory: Option<MiB>,
    /// Disk of all of them. It is the host that knows how much that is: no query looks at it.
    pub storage: Option<MiB>,
    /// Sandboxes made in any minute.
    pub creates_per_min: Option<u32>,
}

/// What is known of a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Its name.
    pub name: TeamName,
    /// What it may have.
    pub limits: TeamLimits,
    /// When it was made, in milliseconds since the epoch; 0 for the one that there always is.
    pub created_at_ms: i64,
}

impl Store {
    /// Every team, by name.
    ///
    /// # Errors
    /// When the database refuses, or a row makes no sense.
    pub async fn teams(&self) -> Result<Vec<Team>, StoreError> {
        on!(&self.readers, db => {
            let rows = query(teams!("ORDER BY name")).fetch_all(db).await?;
            rows.iter().map(read).collect()
        })
    }

    /// The team of this name.
    ///
    /// # Errors
    /// When the database refuses, or the row makes no sense.
    pub async fn team(&self, name: &TeamName) -> Result<Option<Team>, StoreError> {
        on!(&self.readers, db => {
            let row = query(teams!("WHERE name = $1"))
                .bind(name.as_str())
                .fetch_optional(db)
                .await?;
            row.as_ref().map(read).transpose()
        })
    }

    /// Gives a team these limits, and makes it where there is none. Answers with it.
    ///
    /// # Errors
    /// When the database refuses, or the row makes no sense.
    pub async fn put_team(
        &self,
        name: &TeamName,
        limits: &TeamLimits,
        now_ms: i64,
    ) -> Result<Team, StoreError> {
        on!(&self.writer, db => {
            let mut tx = db.transaction().await?;
            query(
                "INSERT INTO teams (name, max_sandboxes, max_vcpus, max_memory_mb, max_storage_mb, creates_per_min, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET max_sandboxes = $2, \
                 max_vcpus = $3, max_memory_mb = $4, max_storage_mb = $5, creates_per_min = $6",
            )
            .bind(name.as_str())
            .bind(limits.sandboxes.map(i64::from))
            .bind(limits.vcpus.map(i64::from))
            .bind(limits.memory.map(|memory| i64::from(memory.0)))
            .bind(limits.storage.map(|storage| i64::from(storage.0)))
            .bind(limits.creates_per_min.map(i64::from))
            .bind(now_ms)
            .execute(&mut *tx)
            .await?;
            let row = query(teams!("WHERE name = $1"))
                .bind(name.as_str())
                .fetch_one(&mut *tx)
                .await?;
            tx.commit().await?;
            read(&row)
        })
    }
}

pub(crate) fn read(row: &impl Columns) -> Result<Team, StoreError> {
    let name = row.text("name")?;
    let broken = |what| StoreError::Row {
        id: name.clone(),
        what,
    };
    let limit = |column: &'static str| -> Result<Option<u32>, StoreError> {
        let number = row.time(column)?.map(u32::try_from).transpose();
        number.map_err(|_| broken(column))
    };
    Ok(Team {
        limits: TeamLimits {
            sandboxes: limit("max_sandboxes")?,
            vcpus: limit("max_vcpus")?,
            memory: limit("max_memory_mb")?.map(MiB),
            storage: limit("max_storage_mb")?.map(MiB),
            creates_per_min: limit("creates_per_min")?,
        },
        created_at_ms: row.number("created_at")?,
        name: name.parse().map_err(|_| broken("name"))?,
    })
}
