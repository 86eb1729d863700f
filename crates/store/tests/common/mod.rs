//! A database for a test: SQLite, or PostgreSQL where the environment says so (`wrenn_testkit::database`).

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeMap;

use wrenn_model::{MiB, NetworkPolicy, OnTimeout, SandboxId, Status, Transition};
use wrenn_store::{DatabaseUrl, Sandbox, Store, StoredKey};

/// A new database, and the folder of its file if it is one.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: DatabaseUrl,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = wrenn_testkit::database::new(folder.path());
        Self {
            url: url.parse().unwrap(),
            folder,
        }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }

    /// Does this in it, past the store.
    pub(crate) async fn execute(&self, steps: &[&str]) {
        wrenn_testkit::database::execute(&self.url.reveal(), steps).await;
    }
}

pub(crate) fn sandbox(created_at_ms: i64, metadata: &[(&str, &str)]) -> Sandbox {
    Sandbox {
        id: SandboxId::random(),
        owner_id: String::new(),
        template: "minimal".parse().unwrap(),
        parent_id: None,
        vcpus: 2,
        memory: MiB(512),
        timeout_sec: 300,
        on_timeout: OnTimeout::Pause,
        auto_resume: true,
        hostname: "box".into(),
        network: NetworkPolicy {
            internet: false,
            ..Default::default()
        },
        metadata: metadata
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        status: Status::Pending,
        transition: Some(Transition::Starting),
        status_reason: String::new(),
        guest_ip: String::new(),
        host_ip: String::new(),
        isolation: String::new(),
        vmm: String::new(),
        created_at_ms,
        started_at_ms: None,
        last_active_at_ms: None,
        paused_at_ms: None,
        lost_since_ms: None,
        last_updated_ms: created_at_ms,
        version: 1,
    }
}

pub(crate) fn key(id: &str, team: &str, created_at_ms: i64) -> StoredKey {
    StoredKey {
        id: id.parse().unwrap(),
        name: "a name".into(),
        team: team.parse().unwrap(),
        scopes: "read,templates".parse().unwrap(),
        created_at_ms,
        expires_at_ms: Some(99),
        last_used_at_ms: None,
        revoked_at_ms: None,
    }
}
