//! One sandbox: written when it is asked for, changed when something has happened to it, read by its id.

use std::collections::BTreeMap;

use sqlx::query;
use wrenn_model::{MiB, NetworkPolicy, OnTimeout, SandboxId, Status, TemplateName, Transition};

use crate::db::{Columns, on};
use crate::write::What;
use crate::{Admitted, Store, StoreError};

/// The text that finds sandboxes, with these words about which. The columns have names, so that a server goes on beside a
/// newer one that has added a column: PostgreSQL refuses a prepared query whose columns have changed.
macro_rules! sandboxes {
    ($which:literal) => {
        concat!(
            "SELECT id, owner_id, template, vcpus, memory_mb, timeout_sec, hostname, metadata, status, transition, \
             status_reason, guest_ip, host_ip, isolation, vmm, created_at, started_at, last_active_at, last_updated, \
             version, on_timeout, auto_resume, paused_at, lost_since, network, parent_id FROM sandboxes ",
            $which
        )
    };
}
pub(crate) use sandboxes;

/// What is known of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is: the name of the team of the key that it was made with. Where the store knows no such team, as of what
    /// was adopted into a new database, or it is empty, it is the operator's to see alone.
    pub owner_id: String,
    /// What it was made from.
    pub template: TemplateName,
    /// The sandbox that it is a fork of, which may be forgotten by now. Not changed after [`Store::insert`].
    pub parent_id: Option<SandboxId>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory.
    pub memory: MiB,
    /// Seconds without activity after which `on_timeout` happens.
    pub timeout_sec: u32,
    /// What happens then.
    pub on_timeout: OnTimeout,
    /// A call into the paused sandbox resumes it first.
    pub auto_resume: bool,
    /// The guest's host name.
    pub hostname: String,
    /// Where its packets may go.
    pub network: NetworkPolicy,
    /// The caller's own labels. Not changed after [`Store::insert`].
    pub metadata: BTreeMap<String, String>,
    /// How it is; while a transition is under way, how it was before.
    pub status: Status,
    /// What is under way.
    pub transition: Option<Transition>,
    /// Why it is so; empty when there is nothing to say.
    pub status_reason: String,
    /// Its address as it sees itself; empty when it has none.
    pub guest_ip: String,
    /// Its address as the agent sees it; empty when it has none.
    pub host_ip: String,
    /// `kvm` or `emulated`; empty before it runs.
    pub isolation: String,
    /// `qemu` or `firecracker`; empty before it runs.
    pub vmm: String,
    /// When it was asked for, in milliseconds since the epoch.
    pub created_at_ms: i64,
    /// When it first answered.
    pub started_at_ms: Option<i64>,
    /// When it was last used, as far as is stored: the agent knows better.
    pub last_active_at_ms: Option<i64>,
    /// When its newest generation was made; `None` when it has none.
    pub paused_at_ms: Option<i64>,
    /// Since when work was lost, where its last resume went back to an earlier pause.
    pub lost_since_ms: Option<i64>,
    /// When this row was last changed.
    pub last_updated_ms: i64,
    /// Counts the writes.
    pub version: i64,
}

impl Store {
    /// Writes a new sandbox, whatever its team may have. `false` when there is one with this id already; that one is left as
    /// it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert(&self, row: &Sandbox) -> Result<bool, StoreError> {
        Ok(self.write(What::Insert, row).await? == Admitted::Written)
    }

    /// Writes a new sandbox, unless its team would go beyond one of its limits.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn admit(&self, row: &Sandbox) -> Result<Admitted, StoreError> {
        self.write(What::Admit, row).await
    }

    /// The sandbox with this id.
    ///
    /// # Errors
    /// When the database refuses, or the row makes no sense.
    pub async fn get(&self, id: &SandboxId) -> Result<Option<Sandbox>, StoreError> {
        on!(&self.readers, db => {
            let row = query(sandboxes!("WHERE id = $1"))
                .bind(id.as_str())
                .fetch_optional(db)
                .await?;
            row.as_ref().map(read).transpose()
        })
    }

    /// Writes what has changed, unless somebody else has written since `row` was read: then it is `false`, and
    /// nothing has changed. The row's version counts on when it is `true`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn update(&self, row: &mut Sandbox) -> Result<bool, StoreError> {
        let done = self.write(What::Update, row).await? == Admitted::Written;
        row.version += i64::from(done);
        Ok(done)
    }

    /// Like [`Self::update`], of one that was put aside and will run again, unless its team would go beyond one of its limits.
    /// [`Admitted::Taken`] is that somebody else has written.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn wake(&self, row: &mut Sandbox) -> Result<Admitted, StoreError> {
        let done = self.write(What::Wake, row).await?;
        row.version += i64::from(done == Admitted::Written);
        Ok(done)
    }

    /// Forgets a sandbox, unless somebody else has written since `row` was read.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove(&self, row: &Sandbox) -> Result<bool, StoreError> {
        Ok(self.write(What::Remove, row).await? == Admitted::Written)
    }
}

/// PostgreSQL has no NUL in its texts, and a reason may quote what a guest said.
pub(crate) fn reason_text(reason: &str) -> String {
    reason.replace('\0', "")
}

/// How a row, of a sandbox or of an event, says that it is, and what is under way.
pub(crate) fn read_state(
    row: &impl Columns,
    broken: impl Fn(&'static str) -> StoreError,
) -> Result<(Status, Option<Transition>), StoreError> {
    let status = Status::from_name(&row.text("status")?).ok_or_else(|| broken("status"))?;
    let transition = match row.text("transition")?.as_str() {
        "" => None,
        name => Some(Transition::from_name(name).ok_or_else(|| broken("transition"))?),
    };
    Ok((status, transition))
}

/// A row as the type that has no room for nonsense.
pub(crate) fn read(row: &impl Columns) -> Result<Sandbox, StoreError> {
    let id = row.text("id")?;
    let broken = |what| StoreError::Row {
        id: id.clone(),
        what,
    };
    let number = |column: &'static str| -> Result<u32, StoreError> {
        u32::try_from(row.number(column)?).map_err(|_| broken(column))
    };
    let (status, transition) = read_state(row, broken)?;
    let parent_id = match row.text("parent_id")?.as_str() {
        "" => None,
        parent => Some(parent.parse().map_err(|_| broken("parent_id"))?),
    };
    Ok(Sandbox {
        parent_id,
        owner_id: row.text("owner_id")?,
        template: row
            .text("template")?
            .parse()
            .map_err(|_| broken("template"))?,
        vcpus: number("vcpus")?,
        memory: MiB(number("memory_mb")?),
        timeout_sec: number("timeout_sec")?,
        on_timeout: OnTimeout::from_name(&row.text("on_timeout")?)
            .ok_or_else(|| broken("on_timeout"))?,
        auto_resume: row.number("auto_resume")? != 0,
        hostname: row.text("hostname")?,
        network: serde_json::from_str(&row.text("network")?).map_err(|_| broken("network"))?,
        metadata: serde_json::from_str(&row.text("metadata")?).map_err(|_| broken("metadata"))?,
        status,
        transition,
        status_reason: row.text("status_reason")?,
        guest_ip: row.text("guest_ip")?,
        host_ip: row.text("host_ip")?,
        isolation: row.text("isolation")?,
        vmm: row.text("vmm")?,
        created_at_ms: row.number("created_at")?,
        started_at_ms: row.time("started_at")?,
        last_active_at_ms: row.time("last_active_at")?,
        paused_at_ms: row.time("paused_at")?,
        lost_since_ms: row.time("lost_since")?,
        last_updated_ms: row.number("last_updated")?,
        version: row.number("version")?,
        id: id.parse().map_err(|_| broken("id"))?,
    })
}
