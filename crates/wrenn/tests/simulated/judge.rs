//! What must hold once nothing goes wrong any more and everything has settled.

use std::collections::{BTreeMap, BTreeSet};

use connectrpc::client::Http2Connection;
use wrenn_control::{Filter, Sandbox};
use wrenn_hostagent_api::{self as rpc, HostAgentServiceClient, protocol};
use wrenn_model::{OnTimeout, SandboxId, Status};
use wrenn_vmm::RunState;

use super::callers::Known;
use super::stage::Stage;

/// What each side says there is.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) rows: BTreeMap<SandboxId, Sandbox>,
    listed: BTreeMap<SandboxId, rpc::Sandbox>,
    folders: BTreeSet<String>,
}

impl Seen {
    /// Asks both; none while one of them does not answer.
    pub(crate) fn look(stage: &mut Stage) -> Option<Self> {
        let rows = stage
            .consult(|control| async move { control.sandboxes().list(&Filter::default()).await })?;
        let socket = stage.agent_socket();
        let listed = stage.ask(async move {
            let address = http::Uri::from_static("http://agent");
            let connection = Http2Connection::builder().lazy_unix(socket, address.clone());
            let agent =
                HostAgentServiceClient::new(connection.shared(1), protocol::client_config(address));
            let answer = agent
                .list_sandboxes(rpc::ListSandboxesRequest::default())
                .await;
            answer.map(|answer| answer.into_owned().sandboxes)
        });
        let folders = std::fs::read_dir(stage.sandboxes()).ok()?;
        Some(Self {
            rows: rows
                .ok()?
                .into_iter()
                .map(|row| (row.id.clone(), row))
                .collect(),
            listed: listed
                .ok()?
                .into_iter()
                .map(|sandbox| (sandbox.sandbox_id.parse().unwrap(), sandbox))
                .collect(),
            folders: folders
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect(),
        })
    }

    /// The sandboxes of such a status, in the order in which their first machines were started.
    pub(crate) fn oldest_first(
        &self,
        stage: &Stage,
        which: impl Fn(Status) -> bool,
    ) -> Vec<SandboxId> {
        let rows = self.rows.values().filter(|row| which(row.status));
        let mut ids: Vec<_> = rows.map(|row| row.id.clone()).collect();
        let state = stage.world.lock();
        ids.sort_by_key(|id| (state.age(id), self.rows[id].created_at_ms));
        ids
    }

    /// Whether store, agent and world speak of the same; what does not fit otherwise.
    pub(crate) fn agree(&self, stage: &Stage) -> Result<(), String> {
        let state = stage.world.lock();
        for (id, row) in &self.rows {
            if let Some(transition) = row.transition {
                return Err(format!("{id} is {} in the store", transition.as_str()));
            }
            let listed = self.listed.get(id);
            let has = listed.map_or("", |listed| &listed.status);
            let fits = match row.status {
                Status::Running | Status::Paused => has == row.status.as_str(),
                Status::Error => has.is_empty() || has == "error",
                Status::Stopped => has.is_empty(),
                Status::Pending => false,
            };
            if !fits {
                return Err(format!(
                    "{id} is {} in the store, and the agent has it {has:?}",
                    row.status
                ));
            }
            let living = state.living(id).count();
            if living != usize::from(row.status == Status::Running) {
                return Err(format!("{id} is {} and has {living} machines", row.status));
            }
            if let Some((machine, _)) = state
                .living(id)
                .find(|(_, machine)| machine.run != RunState::Running)
            {
                return Err(format!("{id} is {} and {machine} stands still", row.status));
            }
        }
        for (id, listed) in &self.listed {
            if !listed.transition.is_empty() {
                return Err(format!("{id} is {} at the agent", listed.transition));
            }
            if !self.rows.contains_key(id) {
                return Err(format!("the store does not know {id}"));
            }
        }
        let listed: BTreeSet<_> = self.listed.keys().map(ToString::to_string).collect();
        if self.folders != listed {
            return Err(format!(
                "there are the folders {:?} of {listed:?}",
                self.folders
            ));
        }
        if let Some((id, machine)) = state.machines.iter().find(|(_, machine)| {
            machine.ended.is_some() || !self.listed.contains_key(&machine.sandbox)
        }) {
            return Err(format!("the machine {id} of {} is left", machine.sandbox));
        }
        if state.slots.len() != state.machines.len() {
            return Err(format!("there are the slots {:?}", state.slots));
        }
        Ok(())
    }

    /// Whether a sandbox is what somebody who was told of it may rely on.
    pub(crate) fn keeps_promise(&self, stage: &Stage, known: &Known) -> Result<(), String> {
        let id = &known.id;
        let row = self.rows.get(id);
        let Some(status) = row.map(|row| row.status) else {
            return Err(format!("{id} was told of, and is in no list"));
        };
        let mut state = stage.world.lock();
        let since = known.runs_since.map(|since| state.now - since);
        let harmed = state.fate(id).harmed;
        let timed_out = known.on_timeout == OnTimeout::Destroy
            && since.is_some_and(|since| since >= known.timeout);
        let kept = match status {
            Status::Running | Status::Paused => !known.gone,
            // One that was resumed, unknown to the store, and then reached its timeout is missed as a pause.
            Status::Error => harmed || timed_out || since.is_none(),
            Status::Stopped => known.to_go || timed_out || since.is_none(),
            Status::Pending => false,
        };
        if kept {
            return Ok(());
        }
        let reason = row.map_or("", |row| &row.status_reason);
        Err(format!(
            "{id} is {status} ({reason}), and that was not told: {known:?}"
        ))
    }
}
