//! Forks: running sandboxes with what their source has.

use std::sync::Arc;

use connectrpc::ConnectError;
use wrenn_hostagent_api as rpc;
use wrenn_model::{ErrorKind, Fault};

use super::pause::{UnderWay, invalid_state, steps};
use super::template::frozen;
use super::{State, Unwind, detail, lock, now_ms, refuse, run};

/// Makes children, each of which comes to be or fails by itself; their source goes on as it was.
pub(super) async fn fork(
    state: &Arc<State>,
    request: rpc::ForkRequest,
) -> Result<rpc::ForkResponse, ConnectError> {
    let knobs = state.knobs();
    let _turn = state.turn.lock().await;
    let id = request.sandbox_id.as_str();
    let source = state.get(id)?;
    if !matches!(source.status.as_str(), "running" | "paused") {
        return Err(invalid_state(&source));
    }
    let under_way = UnderWay::begin(state, id, "forking")?;
    let mut children = Vec::new();
    for child in &request.children {
        children.push(begin(state, &source, child));
    }
    tokio::time::sleep(knobs.fork_takes).await;
    if let Some(fault) = knobs.fork_fails {
        return Err(refuse(&fault));
    }
    under_way.end(|_| {})?;
    let mut results = Vec::new();
    for (number, (child, unwind)) in request.children.iter().zip(children).enumerate() {
        let failed = knobs.fork_child_fails.get(&number).cloned();
        let came_to = match failed {
            Some(fault) => Err(fault),
            None => end(state, id, &child.sandbox_id, unwind),
        };
        results.push(result(&child.sandbox_id, came_to));
    }
    Ok(rpc::ForkResponse {
        results,
        steps: steps(&["freeze", "memory", "disk"]),
        frozen_micros: frozen(&source.status),
        ..Default::default()
    })
}

/// A child at its beginning; one that is there already stays as it is.
fn begin<'a>(state: &'a State, source: &rpc::Sandbox, child: &rpc::ForkChild) -> Unwind<'a> {
    let mut unwind = Unwind {
        state,
        id: child.sandbox_id.clone(),
        armed: true,
    };
    let mut sandboxes = lock(&state.sandboxes);
    if sandboxes.contains_key(&child.sandbox_id) {
        unwind.armed = false;
        return unwind;
    }
    let made = rpc::Sandbox {
        sandbox_id: child.sandbox_id.clone(),
        parent_id: source.sandbox_id.clone(),
        status: "pending".into(),
        transition: "starting".into(),
        metadata: child.metadata.clone(),
        timeout_sec: child.timeout_sec,
        created_at_unix_ms: now_ms(),
        paused_at_unix_ms: 0,
        lost_since_unix_ms: 0,
        ..source.clone()
    };
    sandboxes.insert(child.sandbox_id.clone(), made);
    state.changed(&child.sandbox_id);
    unwind
}

/// A child that runs, unless it was destroyed in between.
fn end(
    state: &State,
    source: &str,
    child: &str,
    mut unwind: Unwind<'_>,
) -> Result<rpc::Sandbox, Fault> {
    let running = run(state, child).ok_or_else(|| {
        Fault::new(
            ErrorKind::Conflict,
            "it was destroyed while it was made",
            "make another",
        )
    });
    unwind.armed = false;
    state.copy_files(source, child);
    running
}

fn result(child: &str, came_to: Result<rpc::Sandbox, Fault>) -> rpc::ForkResult {
    let mut result = rpc::ForkResult {
        sandbox_id: child.to_owned(),
        ..Default::default()
    };
    match came_to {
        Ok(sandbox) => result.sandbox = sandbox.into(),
        Err(fault) => {
            let failure = rpc::ForkFailure {
                detail: detail(&fault).into(),
                message: fault.message,
                ..Default::default()
            };
            result.failure = failure.into();
        }
    }
    result
}
