//! Templates: the base ones that there always are, and snapshots, which are a sandbox's shape, owner and files.

use std::sync::Arc;

use connectrpc::ConnectError;
use wrenn_hostagent_api as rpc;
use wrenn_model::ErrorKind;

use super::pause::{UnderWay, invalid_state, steps};
use super::{State, lock, now_ms, refusal, refuse};

const SNAPSHOT: &str = "snapshot";
/// What each takes of the disk.
const BYTES: u64 = 1 << 20;
/// For how long a running source stands still.
const FROZEN_MICROS: u64 = 21_500;

/// The base templates that it begins with.
pub(super) fn base() -> impl Iterator<Item = (String, rpc::Template)> {
    ["minimal", "python"].into_iter().map(|name| {
        let template = rpc::Template {
            name: name.to_owned(),
            size_bytes: BYTES,
            created_at_unix_ms: 1_772_366_400_000,
            r#type: "base".into(),
            ..Default::default()
        };
        (name.to_owned(), template)
    })
}

/// Whether it has the memory of a sandbox in it.
pub(super) fn is_snapshot(template: &rpc::Template) -> bool {
    template.r#type == SNAPSHOT
}

/// Makes a snapshot; its source goes on as it was.
pub(super) async fn create(
    state: &Arc<State>,
    request: rpc::CreateSnapshotRequest,
) -> Result<rpc::CreateSnapshotResponse, ConnectError> {
    let knobs = state.knobs();
    let _turn = state.turn.lock().await;
    let id = request.sandbox_id.as_str();
    let source = state.get(id)?;
    if !matches!(source.status.as_str(), "running" | "paused") {
        return Err(invalid_state(&source));
    }
    free(state, &request, &source.owner_id)?;
    let under_way = UnderWay::begin(state, id, "snapshotting")?;
    tokio::time::sleep(knobs.snapshot_takes).await;
    if let Some(fault) = knobs.snapshot_fails {
        return Err(refuse(&fault));
    }
    let source = under_way.end(|_| {})?;
    let template = rpc::Template {
        name: request.name.clone(),
        size_bytes: BYTES,
        created_at_unix_ms: now_ms() - knobs.behind_ms,
        r#type: SNAPSHOT.to_owned(),
        vcpus: source.vcpus,
        memory_mb: source.memory_mb,
        owner_id: source.owner_id,
        ..Default::default()
    };
    lock(&state.templates).insert(request.name.clone(), template.clone());
    state.copy_files(id, &files_of(&request.name));
    Ok(rpc::CreateSnapshotResponse {
        name: request.name,
        size_bytes: template.size_bytes,
        template: template.into(),
        steps: steps(&["freeze", "memory", "disk", "publish"]),
        frozen_micros: frozen(&source.status),
        ..Default::default()
    })
}

/// Whether a snapshot may have this name.
fn free(
    state: &State,
    request: &rpc::CreateSnapshotRequest,
    owner: &str,
) -> Result<(), ConnectError> {
    let templates = lock(&state.templates);
    let Some(taken) = templates.get(&request.name) else {
        return Ok(());
    };
    if request.overwrite && is_snapshot(taken) && taken.owner_id == owner {
        return Ok(());
    }
    Err(refusal(ErrorKind::AlreadyExists, "the name is taken"))
}

/// Removes a name; of a snapshot alone, where `snapshot` says so.
pub(super) fn delete(state: &State, name: &str, snapshot: bool) -> Result<(), ConnectError> {
    state.knobs();
    let mut templates = lock(&state.templates);
    let there = templates.get(name);
    if there.is_none_or(|there| snapshot && !is_snapshot(there)) {
        return Err(refusal(ErrorKind::NotFound, "there is no such template"));
    }
    templates.remove(name);
    Ok(())
}

/// Where the files of what is made from a snapshot are kept. No sandbox has such an id.
pub(super) fn files_of(template: &str) -> String {
    format!("template {template}")
}

/// For how long a source of this status stood still.
pub(super) fn frozen(status: &str) -> u64 {
    if status == "running" {
        FROZEN_MICROS
    } else {
        0
    }
}
