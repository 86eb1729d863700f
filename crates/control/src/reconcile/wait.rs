//! Rows that say that something is under way of which the agent shows nothing yet.
//!
//! Where several servers share the database, the one that wrote such a row may be about to ask the agent. Only when the row has
//! stood so for a while, by this server's own clock, has its writer died in between.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wrenn_hostagent_api as rpc;
use wrenn_model::{SandboxId, Transition};
use wrenn_store::Sandbox;

/// Since when each of them is known here, in which version.
#[derive(Debug)]
pub(crate) struct Waits {
    /// How long they are left alone; not at all where no other server works on the database.
    patience: Duration,
    since: Mutex<HashMap<SandboxId, (i64, Instant)>>,
}

impl Waits {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: Mutex::default(),
        }
    }

    /// Whether this row is to be left alone.
    pub(crate) fn on(&self, row: &Sandbox, seen: Option<&rpc::Sandbox>) -> bool {
        if self.patience.is_zero() || !is_unheard(row, seen) {
            return false;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, begun) = since
            .entry(row.id.clone())
            .or_insert((row.version, Instant::now()));
        if *version != row.version {
            (*version, *begun) = (row.version, Instant::now());
        }
        begun.elapsed() < self.patience
    }

    /// Forgets all but these.
    pub(crate) fn keep(&self, rows: &[Sandbox]) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_empty() {
            return;
        }
        let under_way = rows.iter().filter(|row| row.transition.is_some());
        let versions: HashMap<_, _> = under_way.map(|row| (&row.id, row.version)).collect();
        since.retain(|id, (version, _)| versions.get(id) == Some(version));
    }
}

/// Whether the agent shows nothing of what the row says is under way.
fn is_unheard(row: &Sandbox, seen: Option<&rpc::Sandbox>) -> bool {
    match row.transition {
        Some(Transition::Starting) => seen.is_none(),
        Some(
            Transition::Pausing
            | Transition::Resuming
            | Transition::Snapshotting
            | Transition::Forking,
        ) => seen
            .is_some_and(|seen| seen.transition.is_empty() && seen.status == row.status.as_str()),
        // Whoever comes first destroys it: twice is as once.
        Some(Transition::Stopping) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use wrenn_model::Status;

    use super::*;
    use crate::reconcile::rules::adopted;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn seen(status: &str, transition: &str) -> rpc::Sandbox {
        rpc::Sandbox {
            status: status.into(),
            transition: transition.into(),
            template: "minimal".into(),
            ..Default::default()
        }
    }

    fn row(status: Status, transition: Option<Transition>) -> Sandbox {
        let known = adopted(&SandboxId::random(), &seen("running", ""), 1).unwrap();
        Sandbox {
            status,
            transition,
            ..known
        }
    }

    #[test]
    fn what_the_agent_shows_needs_no_patience() {
        use Status::{Error, Paused, Pending, Running};
        let (starting, stopping) = (Some(Transition::Starting), Some(Transition::Stopping));
        let (pausing, resuming) = (Some(Transition::Pausing), Some(Transition::Resuming));
        let (snapshotting, forking) = (Some(Transition::Snapshotting), Some(Transition::Forking));
        for (status, transition, agent, unheard) in [
            (Pending, starting, None, true),
            (Pending, starting, Some(("pending", "starting")), false),
            (Pending, starting, Some(("running", "")), false),
            (Pending, stopping, None, false),
            (Running, None, None, false),
            (Running, None, Some(("running", "")), false),
            (Running, pausing, Some(("running", "")), true),
            (Running, pausing, Some(("running", "pausing")), false),
            (Running, pausing, Some(("paused", "")), false),
            (Running, pausing, None, false),
            (Paused, resuming, Some(("paused", "")), true),
            (Paused, resuming, Some(("running", "")), false),
            (Running, snapshotting, Some(("running", "")), true),
            (
                Running,
                snapshotting,
                Some(("running", "snapshotting")),
                false,
            ),
            (Paused, forking, Some(("paused", "")), true),
            (Running, forking, Some(("running", "forking")), false),
            (Error, resuming, Some(("error", "")), true),
        ] {
            let agent = agent.map(|(status, transition)| seen(status, transition));
            let row = row(status, transition);
            assert_eq!(
                is_unheard(&row, agent.as_ref()),
                unheard,
                "{row:?} {agent:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_begins_anew_with_each_version_and_ends() {
        let waits = Waits::new(PATIENCE);
        let mut row = row(Status::Pending, Some(Transition::Starting));
        assert!(waits.on(&row, None));
        tokio::time::advance(PATIENCE).await;
        assert!(!waits.on(&row, None));
        row.version += 1;
        assert!(waits.on(&row, None));
        tokio::time::advance(PATIENCE / 2).await;
        waits.keep(std::slice::from_ref(&row));
        tokio::time::advance(PATIENCE / 2).await;
        assert!(!waits.on(&row, None));
        waits.keep(&[]);
        assert!(waits.on(&row, None));
        assert!(!Waits::new(Duration::ZERO).on(&row, None));
    }
}
