//! Pause, resume, and the waking of a sandbox that is called.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use connectrpc::ConnectError;
use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault};

use super::{State, lock, now_ms, process, refusal, refuse};

/// What a pause has written: what it says of memory and disk.
const WRITTEN: (u64, u64) = (17 << 20, 3 << 20);

/// Pauses a sandbox, once; a paused one stays as it is.
pub(super) async fn pause(
    state: &Arc<State>,
    id: &str,
) -> Result<rpc::PauseSandboxResponse, ConnectError> {
    let knobs = state.knobs();
    let _turn = state.turn.lock().await;
    let sandbox = state.get(id)?;
    if sandbox.status == "paused" {
        return Ok(rpc::PauseSandboxResponse {
            sandbox: sandbox.into(),
            ..Default::default()
        });
    }
    if sandbox.status != "running" {
        return Err(invalid_state(&sandbox));
    }
    let under_way = UnderWay::begin(state, id, "pausing")?;
    process::cut(state, id);
    tokio::time::sleep(knobs.pause_takes).await;
    if let Some(fault) = knobs.pause_fails {
        return Err(refuse(&fault));
    }
    let sandbox = under_way.end(|sandbox| {
        sandbox.status = "paused".into();
        sandbox.status_reason.clear();
        sandbox.host_ip.clear();
        sandbox.paused_at_unix_ms = now_ms();
    })?;
    Ok(rpc::PauseSandboxResponse {
        sandbox: sandbox.into(),
        steps: steps(&["sync", "capture", "publish"]),
        memory_bytes: Some(WRITTEN.0),
        disk_bytes: Some(WRITTEN.1),
        ..Default::default()
    })
}

/// Resumes a sandbox, once; a running one stays as it is.
pub(super) async fn resume(
    state: &Arc<State>,
    id: &str,
    cold: bool,
) -> Result<rpc::ResumeSandboxResponse, ConnectError> {
    let knobs = state.knobs();
    let _turn = state.turn.lock().await;
    let sandbox = state.get(id)?;
    let failed = sandbox.status == "error";
    match sandbox.status.as_str() {
        "running" => return Ok(resumed(sandbox, Vec::new())),
        "paused" => {}
        "error" if sandbox.paused_at_unix_ms > 0 => {}
        _ => return Err(invalid_state(&sandbox)),
    }
    let under_way = UnderWay::begin(state, id, "resuming")?;
    tokio::time::sleep(knobs.resume_takes).await;
    if let Some(fault) = knobs.resume_fails.filter(|_| !cold) {
        return Err(refuse(&fault));
    }
    if cold || failed {
        process::kill(state, id);
    }
    let sandbox = under_way.end(|sandbox| {
        sandbox.status = "running".into();
        sandbox.status_reason.clear();
        sandbox.host_ip = "10.11.0.99".into();
        sandbox.last_active_at_unix_ms = now_ms();
        if failed {
            sandbox.lost_since_unix_ms = sandbox.paused_at_unix_ms;
        }
    })?;
    state.resumes.fetch_add(1, Ordering::SeqCst);
    let names: &[&str] = if cold {
        &["network", "boot"]
    } else {
        &["network", "load", "introduce"]
    };
    Ok(resumed(sandbox, steps(names)))
}

impl State {
    /// The sandbox runs: it did, or it resumes by itself and has. Counts as use.
    pub(super) async fn awake(self: &Arc<Self>, id: &str) -> Result<(), ConnectError> {
        let sandbox = self.get(id)?;
        if sandbox.status == "paused" && sandbox.auto_resume {
            resume(self, id, false).await?;
        }
        self.running(id)
    }

    pub(super) fn get(&self, id: &str) -> Result<rpc::Sandbox, ConnectError> {
        let found = lock(&self.sandboxes).get(id).cloned();
        found.ok_or_else(|| refuse(&Fault::no_sandbox(id)))
    }
}

fn resumed(sandbox: rpc::Sandbox, steps: Vec<rpc::StepTime>) -> rpc::ResumeSandboxResponse {
    rpc::ResumeSandboxResponse {
        sandbox_id: sandbox.sandbox_id.clone(),
        status: sandbox.status.clone(),
        host_ip: sandbox.host_ip.clone(),
        sandbox: sandbox.into(),
        steps,
        ..Default::default()
    }
}

pub(super) fn steps(names: &[&str]) -> Vec<rpc::StepTime> {
    let one = |(name, micros): (&&str, u64)| rpc::StepTime {
        step: (*name).to_owned(),
        micros,
        ..Default::default()
    };
    names.iter().zip((1500..).step_by(1000)).map(one).collect()
}

pub(super) fn invalid_state(sandbox: &rpc::Sandbox) -> ConnectError {
    refusal(
        ErrorKind::InvalidState,
        &format!("the sandbox is {}", sandbox.status),
    )
}

/// A transition; dropped before its end, the sandbox is as it was.
pub(super) struct UnderWay<'a> {
    state: &'a State,
    id: String,
}

impl<'a> UnderWay<'a> {
    pub(super) fn begin(
        state: &'a State,
        id: &str,
        transition: &str,
    ) -> Result<Self, ConnectError> {
        let mut sandboxes = lock(&state.sandboxes);
        let sandbox = sandboxes
            .get_mut(id)
            .ok_or_else(|| refuse(&Fault::no_sandbox(id)))?;
        transition.clone_into(&mut sandbox.transition);
        state.changed(id);
        Ok(Self {
            state,
            id: id.to_owned(),
        })
    }

    /// What has become of it, unless it was destroyed in between.
    pub(super) fn end(
        &self,
        change: impl FnOnce(&mut rpc::Sandbox),
    ) -> Result<rpc::Sandbox, ConnectError> {
        let mut sandboxes = lock(&self.state.sandboxes);
        let sandbox = sandboxes
            .get_mut(&self.id)
            .ok_or_else(|| refusal(ErrorKind::Conflict, "it was destroyed meanwhile"))?;
        change(sandbox);
        sandbox.transition.clear();
        Ok(sandbox.clone())
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(sandbox) = lock(&self.state.sandboxes).get_mut(&self.id) {
            sandbox.transition.clear();
        }
        self.state.changed(&self.id);
    }
}
