//! Messages that come one after the other, in and out.

use std::sync::Arc;

use connectrpc::{ConnectError, Encodable, InboundStream, Response, ServiceResult, ServiceStream};
use futures::{Stream, StreamExt};
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::oneof::import_snapshot_request::Part as ImportPart;
use wrenn_hostagent_api::__buffa::oneof::write_file_stream_request::Part;
use wrenn_model::TerminalSize;

use crate::exec::{self, Command, Followed};
use crate::handle::Handle;
use crate::messages::{limit, refuse, to_event};
use crate::steps::Guest;
use crate::{Agent, activity};

/// The next message of an upload.
pub(super) async fn next_part(
    requests: &mut InboundStream<rpc::WriteFileStreamRequest>,
) -> Result<Option<Part>, ConnectError> {
    match requests.next().await {
        Some(message) => Ok(message?.to_owned_message().part),
        None => Ok(None),
    }
}

/// The next message of an archive.
pub(super) async fn next_import_part(
    requests: &mut InboundStream<rpc::ImportSnapshotRequest>,
) -> Result<Option<ImportPart>, ConnectError> {
    match requests.next().await {
        Some(message) => Ok(message?.to_owned_message().part),
        None => Ok(None),
    }
}

/// Starts a command, on a terminal where it is to have one, and follows it.
pub(super) async fn follow(
    agent: &Agent,
    request: rpc::ExecStreamRequest,
    terminal: Option<TerminalSize>,
) -> ServiceResult<ServiceStream<impl Encodable<rpc::ExecStreamResponse> + Send + use<>>> {
    let handle = agent.find(&request.sandbox_id).map_err(refuse)?;
    let call = handle.activity().begin();
    let guest = handle.awake().await.map_err(refuse)?;
    let command = Command {
        cmd: request.cmd,
        args: request.args,
        envs: request.envs.into_iter().collect(),
        cwd: request.cwd,
        user: request.user,
        limit: limit(request.timeout_sec),
        terminal,
    };
    let followed = handle
        .call(
            &guest,
            exec::follow(guest.clone(), command, request.stdin, request.detach, None),
        )
        .await
        .map_err(refuse)?;
    Ok(Response::stream(progress(followed, handle, guest, call)))
}

/// What a command does, as messages. The first error is the last of them.
pub(super) fn progress(
    followed: Followed,
    handle: Arc<Handle>,
    guest: Guest,
    call: activity::Call,
) -> impl Stream<Item = Result<rpc::ExecStreamResponse, ConnectError>> + Send {
    let state = Some((followed, handle, guest, call));
    futures::stream::unfold(state, |state| async {
        let (mut followed, handle, guest, call) = state?;
        let next = async { followed.next().await.transpose() };
        match handle.call(&guest, next).await.transpose()? {
            Ok(progress) => Some((
                Ok(to_event(progress)),
                Some((followed, handle, guest, call)),
            )),
            Err(fault) => Some((Err(refuse(fault)), None)),
        }
    })
}
