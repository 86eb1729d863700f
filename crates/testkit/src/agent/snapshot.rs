//! Generations as the fake keeps them: a sandbox's description is all there is of one.

use buffa::Message as _;
use connectrpc::{ConnectError, InboundStream, ServiceStream};
use futures::{StreamExt as _, stream};
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::view::oneof::import_snapshot_request::Part;
use wrenn_model::ErrorKind;

use super::{State, lock, now_ms, refusal};

/// Says that all is well, or what was told to be damaged.
pub(super) fn verify(state: &State, id: &str) -> Result<rpc::VerifySnapshotResponse, ConnectError> {
    let damage = state.knobs().damage.unwrap_or_default();
    let sandbox = paused(state, id)?;
    Ok(rpc::VerifySnapshotResponse {
        intact: damage.is_empty(),
        damage,
        bytes_read: u64::from(sandbox.memory_mb) << 20,
        generation: format!("gen-{}", sandbox.paused_at_unix_ms),
        ..Default::default()
    })
}

/// The generation in pieces of a few bytes.
pub(super) fn export(
    state: &State,
    id: &str,
) -> Result<ServiceStream<rpc::ExportSnapshotResponse>, ConnectError> {
    let knobs = state.knobs();
    let sandbox = paused(state, id)?;
    let pieces: Vec<_> = sandbox
        .encode_to_vec()
        .chunks(16)
        .map(|chunk| {
            Ok(rpc::ExportSnapshotResponse {
                chunk: chunk.to_vec(),
                ..Default::default()
            })
        })
        .collect();
    // Damage shows when the bytes are read, and so in the middle.
    let broken = knobs
        .damage
        .map(|damage| Err(refusal(ErrorKind::AgentError, &damage)));
    let sound = if broken.is_some() { 1 } else { pieces.len() };
    let stream = stream::iter(pieces.into_iter().take(sound)).chain(stream::iter(broken));
    Ok(Box::pin(stream))
}

/// A new, paused sandbox, once everything has come.
pub(super) async fn import(
    state: &State,
    mut requests: InboundStream<rpc::ImportSnapshotRequest>,
) -> Result<rpc::ImportSnapshotResponse, ConnectError> {
    state.knobs();
    let mut meta = None;
    let mut content = Vec::new();
    while let Some(message) = requests.next().await {
        let message = message?;
        match (&message.view().part, &meta) {
            (Some(Part::Meta(given)), None) => {
                meta = Some((given.sandbox_id.to_owned(), given.owner_id.to_owned()));
            }
            (Some(Part::Chunk(chunk)), Some(_)) => content.extend_from_slice(chunk),
            (Some(Part::Complete(true)), Some((id, owner_id))) => {
                let wrong = |_| refusal(ErrorKind::InvalidRequest, "this is no snapshot");
                let sandbox = rpc::Sandbox {
                    sandbox_id: id.clone(),
                    owner_id: owner_id.clone(),
                    created_at_unix_ms: now_ms(),
                    ..rpc::Sandbox::decode_from_slice(&content).map_err(wrong)?
                };
                lock(&state.sandboxes).insert(id.clone(), sandbox.clone());
                return Ok(rpc::ImportSnapshotResponse {
                    sandbox: sandbox.into(),
                    ..Default::default()
                });
            }
            _ => {
                return Err(refusal(
                    ErrorKind::InvalidRequest,
                    "this part is out of order",
                ));
            }
        }
    }
    Err(refusal(ErrorKind::InvalidRequest, "the import broke off"))
}

fn paused(state: &State, id: &str) -> Result<rpc::Sandbox, ConnectError> {
    let sandbox = state.get(id)?;
    if sandbox.paused_at_unix_ms == 0 {
        return Err(refusal(ErrorKind::InvalidState, "it was never paused"));
    }
    Ok(sandbox)
}
