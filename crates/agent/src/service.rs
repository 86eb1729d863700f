//! The RPC: requests in, answers and faults out. Everything else is elsewhere.

mod copies;
mod pools;
mod streams;

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use bytes::Bytes;
use connectrpc::{
    CompressionPolicy, ConnectError, ConnectRpcService, Encodable, InboundStream, Limits,
    RequestContext, Response, ServiceRequest, ServiceResult, ServiceStream,
};
use futures::StreamExt;
use tokio::sync::mpsc;
use tracing::Instrument;
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::oneof::import_snapshot_request::Part as ImportPart;
use wrenn_hostagent_api::__buffa::oneof::write_file_stream_request::Part;
use wrenn_hostagent_api::{HostAgentService, HostAgentServiceExt, protocol};
use wrenn_model::RequestId;
use wrenn_traces::carried;

use crate::admission::Asked;
use crate::exec::{self, Command};
use crate::failure::internal;
use crate::messages::{
    check_path, invalid, limit, refuse, terminal_size, to_message, to_policy, to_spec, to_swept,
    to_times,
};
use crate::{Agent, guest, traced};
use streams::{follow, next_import_part, next_part, progress};

/// The largest message: a whole file of the unary calls, with room for its frame.
const LARGEST_MESSAGE: usize = (100 << 20) + (64 << 10);
/// How long a command may run that asks for nothing.
const EXEC_LIMIT: Duration = Duration::from_secs(30);
/// The largest whole file, in bytes; larger ones are streamed.
const LARGEST_FILE: usize = 100 << 20;

/// Connect RPC over HTTP/1.1 and h2c, for callers of our major version.
pub(crate) fn router(agent: Agent) -> axum::Router {
    let service = std::sync::Arc::new(agent).register(connectrpc::Router::new());
    let limits = Limits::default()
        .with_max_message_size(LARGEST_MESSAGE)
        .with_max_request_body_size(usize::MAX);
    let service = ConnectRpcService::new(service)
        .with_limits(limits)
        // It is one machine: compressing would only cost time.
        .with_compression_policy(CompressionPolicy::disabled());
    axum::Router::new()
        .fallback_service(service)
        .layer(axum::middleware::from_fn(traced::call))
        .layer(axum::middleware::from_fn(for_request))
        .layer(axum::middleware::from_fn(check_version))
}

/// What is logged of a call says for which request it is made, where its caller says so.
async fn for_request(request: Request, next: Next) -> axum::response::Response {
    let id = request.headers().get(protocol::REQUEST_ID);
    let id: Option<RequestId> = id.and_then(|id| id.to_str().ok()?.parse().ok());
    match id {
        Some(id) => {
            let span = tracing::info_span!("request", %id);
            next.run(request).instrument(span).await
        }
        None => next.run(request).await,
    }
}

/// A caller of another major version learns why it is not answered, whatever it asked for.
async fn check_version(request: Request, next: Next) -> axum::response::Response {
    match protocol::CURRENT.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(mismatch) => {
            tracing::warn!(%mismatch, remedy = mismatch.remedy(), "a caller is refused");
            ConnectError::from(mismatch)
                .into_http_response(request.headers())
                .map(Body::new)
        }
    }
}

#[expect(refining_impl_trait, reason = "no answer borrows from the agent")]
impl HostAgentService for Agent {
    async fn create_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CreateSandboxRequest>,
    ) -> ServiceResult<impl Encodable<rpc::CreateSandboxResponse> + Send + use<>> {
        let request = request.to_owned_message();
        let (cold, detached) = (request.cold, request.detached);
        let asked = Asked::at_unix_ms(request.asked_unix_ms);
        let spec = to_spec(request)?;
        let handle = if detached {
            // A caller that hangs up does not stop it.
            let agent = self.clone();
            copies::apart(self, async move {
                agent.create(spec, cold, detached, asked).await
            })
            .await?
        } else {
            self.create(spec, cold, detached, asked)
                .await
                .map_err(refuse)?
        };
        let sandbox = to_message(self, &handle);
        let steps = handle.shared.created.get().map(to_times);
        Response::ok(rpc::CreateSandboxResponse {
            sandbox_id: sandbox.sandbox_id.clone(),
            status: sandbox.status.clone(),
            host_ip: sandbox.host_ip.clone(),
            sandbox: sandbox.into(),
            steps: steps.unwrap_or_default(),
            ..Default::default()
        })
    }

    async fn destroy_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DestroySandboxRequest>,
    ) -> ServiceResult<impl Encodable<rpc::DestroySandboxResponse> + Send + use<>> {
        // A caller that hangs up does not stop it.
        let (agent, id) = (self.clone(), request.to_owned_message().sandbox_id);
        let destroyed = self
            .tasks
            .spawn(carried(async move { agent.destroy(&id).await }).in_current_span())
            .await;
        destroyed
            .map_err(|error| ConnectError::internal(error.to_string()))?
            .map_err(refuse)?;
        Response::ok(rpc::DestroySandboxResponse::default())
    }

    async fn pause_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::PauseSandboxRequest>,
    ) -> ServiceResult<impl Encodable<rpc::PauseSandboxResponse> + Send + use<>> {
        let handle = self
            .find(&request.to_owned_message().sandbox_id)
            .map_err(refuse)?;
        let report = handle.pause().await.map_err(refuse)?;
        Response::ok(rpc::PauseSandboxResponse {
            sandbox: to_message(self, &handle).into(),
            memory_bytes: report.as_ref().map(|report| report.memory),
            disk_bytes: report.as_ref().map(|report| report.disk),
            steps: report
                .map(|report| to_times(&report.timings))
                .unwrap_or_default(),
            ..Default::default()
        })
    }

    async fn resume_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ResumeSandboxRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ResumeSandboxResponse> + Send + use<>> {
        let request = request.to_owned_message();
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let timings = handle.resume(request.cold).await.map_err(refuse)?;
        let sandbox = to_message(self, &handle);
        Response::ok(rpc::ResumeSandboxResponse {
            sandbox_id: sandbox.sandbox_id.clone(),
            status: sandbox.status.clone(),
            host_ip: sandbox.host_ip.clone(),
            sandbox: sandbox.into(),
            steps: to_times(&timings),
            ..Default::default()
        })
    }

    async fn set_network(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SetNetworkRequest>,
    ) -> ServiceResult<impl Encodable<rpc::SetNetworkResponse> + Send + use<>> {
        let request = request.to_owned_message();
        let policy = to_policy(request.network.into_option())?;
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        handle.set_network(policy).await.map_err(refuse)?;
        Response::ok(rpc::SetNetworkResponse {
            sandbox: to_message(self, &handle).into(),
            ..Default::default()
        })
    }

    async fn verify_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::VerifySnapshotRequest>,
    ) -> ServiceResult<impl Encodable<rpc::VerifySnapshotResponse> + Send + use<>> {
        let found = self
            .verify(&request.to_owned_message().sandbox_id)
            .await
            .map_err(refuse)?;
        Response::ok(rpc::VerifySnapshotResponse {
            intact: found.damage.is_none(),
            damage: found.damage.unwrap_or_default(),
            bytes_read: found.bytes,
            generation: found.generation,
            ..Default::default()
        })
    }

    async fn export_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExportSnapshotRequest>,
    ) -> ServiceResult<ServiceStream<impl Encodable<rpc::ExportSnapshotResponse> + Send + use<>>>
    {
        let pieces = self
            .export(&request.to_owned_message().sandbox_id)
            .await
            .map_err(refuse)?;
        let messages = tokio_stream::wrappers::ReceiverStream::new(pieces).map(|piece| {
            let chunk = piece.map_err(refuse)?.to_vec();
            Ok(rpc::ExportSnapshotResponse {
                chunk,
                ..Default::default()
            })
        });
        Ok(Response::stream(messages))
    }

    async fn import_snapshot(
        &self,
        _: RequestContext,
        mut requests: InboundStream<rpc::ImportSnapshotRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ImportSnapshotResponse> + Send + use<>> {
        let Some(ImportPart::Meta(meta)) = next_import_part(&mut requests).await? else {
            return Err(invalid(
                "the first message names no sandbox",
                "send `meta` first",
            ));
        };
        let (pieces, body) = mpsc::channel::<std::io::Result<Bytes>>(8);
        let receive = async move {
            loop {
                let piece = match next_import_part(&mut requests).await {
                    Ok(Some(ImportPart::Chunk(chunk))) => Ok(Bytes::from(chunk)),
                    Ok(Some(ImportPart::Complete(true))) => return,
                    _ => Err(std::io::Error::other("the archive broke off")),
                };
                let broken = piece.is_err();
                if pieces.send(piece).await.is_err() || broken {
                    return;
                }
            }
        };
        let agent = self.clone();
        // A caller that hangs up ends the stream, and what was unpacked is removed then.
        let import = async move {
            agent
                .import(&meta.sandbox_id, meta.owner_id.clone(), body)
                .await
        };
        let import = self.tasks.spawn(carried(import).in_current_span());
        let handle = tokio::select! {
            imported = import => imported
                .map_err(|error| ConnectError::internal(error.to_string()))?
                .map_err(refuse)?,
            never = async { receive.await; std::future::pending().await } => never,
        };
        Response::ok(rpc::ImportSnapshotResponse {
            sandbox: to_message(self, &handle).into(),
            ..Default::default()
        })
    }

    async fn list_sandboxes(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ListSandboxesRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ListSandboxesResponse> + Send + use<>> {
        self.check_ready().map_err(refuse)?;
        let wanted = request.to_owned_message().sandbox_ids;
        let ids: Vec<_> = wanted.iter().filter_map(|id| id.parse().ok()).collect();
        // What is no id is nobody's, and does not mean all.
        let sandboxes = match (wanted.is_empty(), ids.is_empty()) {
            (false, true) => Vec::new(),
            _ => self.table.told_of(&ids),
        };
        Response::ok(rpc::ListSandboxesResponse {
            sandboxes: sandboxes
                .iter()
                .map(|handle| to_message(self, handle))
                .collect(),
            ..Default::default()
        })
    }

    async fn watch_sandboxes(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::WatchSandboxesRequest>,
    ) -> ServiceResult<ServiceStream<impl Encodable<rpc::WatchSandboxesResponse> + Send + use<>>>
    {
        self.check_ready().map_err(refuse)?;
        Ok(Response::stream(self.table.news().follow()))
    }

    async fn ping(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::PingRequest>,
    ) -> ServiceResult<impl Encodable<rpc::PingResponse> + Send + use<>> {
        let handle = self
            .find(&request.to_owned_message().sandbox_id)
            .map_err(refuse)?;
        handle.awake().await.map_err(refuse)?;
        handle.activity().touch();
        Response::ok(rpc::PingResponse::default())
    }

    async fn exec(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ExecResponse> + Send + use<>> {
        let request = request.to_owned_message();
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let _call = handle.activity().begin();
        let guest = handle.awake().await.map_err(refuse)?;
        let command = Command {
            cmd: request.cmd,
            args: request.args,
            envs: request.envs.into_iter().collect(),
            cwd: request.cwd,
            user: request.user,
            limit: limit(request.timeout_sec).or(Some(EXEC_LIMIT)),
            terminal: None,
        };
        let collected = handle
            .call(
                &guest,
                exec::collect(guest.clone(), command, request.stdin.map(Bytes::from)),
            )
            .await
            .map_err(refuse)?;
        let whole = |kept: &exec::Kept, name: &str| {
            kept.truncated()
                .then(|| format!("{}.{name}", collected.spool))
        };
        Response::ok(rpc::ExecResponse {
            stdout_file: whole(&collected.stdout, "stdout"),
            stderr_file: whole(&collected.stderr, "stderr"),
            stdout: collected.stdout.into_bytes(),
            stderr: collected.stderr.into_bytes(),
            exit_code: collected.exit_code,
            timed_out: collected.timed_out,
            duration_ms: u64::try_from(collected.took.as_millis()).unwrap_or(u64::MAX),
            ..Default::default()
        })
    }

    async fn exec_stream(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecStreamRequest>,
    ) -> ServiceResult<ServiceStream<impl Encodable<rpc::ExecStreamResponse> + Send + use<>>> {
        follow(self, request.to_owned_message(), None).await
    }

    async fn exec_terminal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecTerminalRequest>,
    ) -> ServiceResult<ServiceStream<impl Encodable<rpc::ExecStreamResponse> + Send + use<>>> {
        let request = request.to_owned_message();
        let size = terminal_size(request.size.as_option())?;
        let command = request.command.into_option().unwrap_or_default();
        follow(self, command, Some(size)).await
    }

    async fn resize_terminal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ResizeTerminalRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ResizeTerminalResponse> + Send + use<>> {
        let request = request.to_owned_message();
        let size = terminal_size(request.size.as_option())?;
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let guest = handle.guest().map_err(refuse)?;
        guest
            .client
            .resize(request.pid, size)
            .await
            .map_err(|error| refuse(guest::fault(&error)))?;
        Response::ok(rpc::ResizeTerminalResponse::default())
    }

    async fn exec_attach(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecAttachRequest>,
    ) -> ServiceResult<ServiceStream<impl Encodable<rpc::ExecStreamResponse> + Send + use<>>> {
        let request = request.to_owned_message();
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let call = handle.activity().begin();
        let guest = handle.awake().await.map_err(refuse)?;
        let followed = handle
            .call(&guest, exec::attach(guest.clone(), request.pid))
            .await
            .map_err(refuse)?;
        Ok(Response::stream(progress(followed, handle, guest, call)))
    }

    async fn send_input(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SendInputRequest>,
    ) -> ServiceResult<impl Encodable<rpc::SendInputResponse> + Send + use<>> {
        let request = request.to_owned_message();
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let _call = handle.activity().begin();
        let guest = handle.guest().map_err(refuse)?;
        guest
            .client
            .send_input(request.pid, Bytes::from(request.data))
            .await
            .map_err(|error| refuse(guest::fault(&error)))?;
        Response::ok(rpc::SendInputResponse::default())
    }

    async fn close_input(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CloseInputRequest>,
    ) -> ServiceResult<impl Encodable<rpc::CloseInputResponse> + Send + use<>> {
        let request = request.to_owned_message();
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let guest = handle.guest().map_err(refuse)?;
        guest
            .client
            .close_stdin(request.pid)
            .await
            .map_err(|error| refuse(guest::fault(&error)))?;
        Response::ok(rpc::CloseInputResponse::default())
    }

    async fn send_signal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SendSignalRequest>,
    ) -> ServiceResult<impl Encodable<rpc::SendSignalResponse> + Send + use<>> {
        let request = request.to_owned_message();
        if !(1..=64).contains(&request.signal) {
            return Err(invalid("no such signal", "give a number between 1 and 64"));
        }
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let guest = handle.guest().map_err(refuse)?;
        guest
            .client
            .signal(request.pid, request.signal)
            .await
            .map_err(|error| refuse(guest::fault(&error)))?;
        Response::ok(rpc::SendSignalResponse::default())
    }

    async fn write_file(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::WriteFileRequest>,
    ) -> ServiceResult<impl Encodable<rpc::WriteFileResponse> + Send + use<>> {
        let request = request.to_owned_message();
        check_path(&request.path)?;
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let _call = handle.activity().begin();
        let guest = handle.awake().await.map_err(refuse)?;
        let body = futures::stream::iter([Ok(Bytes::from(request.content))]);
        handle
            .call(
                &guest,
                guest::write_file(&guest.client, &request.path, &request.user, body),
            )
            .await
            .map_err(refuse)?;
        Response::ok(rpc::WriteFileResponse::default())
    }

    async fn read_file(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ReadFileRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ReadFileResponse> + Send + use<>> {
        let request = request.to_owned_message();
        check_path(&request.path)?;
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let _call = handle.activity().begin();
        let guest = handle.awake().await.map_err(refuse)?;
        let content = handle
            .call(
                &guest,
                guest::read_whole_file(&guest.client, &request.path, &request.user, LARGEST_FILE),
            )
            .await
            .map_err(refuse)?;
        Response::ok(rpc::ReadFileResponse {
            content,
            ..Default::default()
        })
    }

    async fn write_file_stream(
        &self,
        _: RequestContext,
        mut requests: InboundStream<rpc::WriteFileStreamRequest>,
    ) -> ServiceResult<impl Encodable<rpc::WriteFileStreamResponse> + Send + use<>> {
        let Some(Part::Meta(meta)) = next_part(&mut requests).await? else {
            return Err(invalid(
                "the first message names no file",
                "send `meta` first",
            ));
        };
        check_path(&meta.path)?;
        let handle = self.find(&meta.sandbox_id).map_err(refuse)?;
        let _call = handle.activity().begin();
        let guest = handle.awake().await.map_err(refuse)?;
        let (chunks, body) = mpsc::channel::<std::io::Result<Bytes>>(8);
        let receive = async move {
            loop {
                let part = next_part(&mut requests).await;
                let chunk = match part {
                    Ok(Some(Part::Chunk(chunk))) => Ok(Bytes::from(chunk)),
                    Ok(Some(Part::Complete(true))) => return,
                    _ => Err(std::io::Error::other("the upload broke off")),
                };
                let broken = chunk.is_err();
                if chunks.send(chunk).await.is_err() || broken {
                    return;
                }
            }
        };
        let body = tokio_stream::wrappers::ReceiverStream::new(body);
        let write = guest::write_file(&guest.client, &meta.path, &meta.user, body);
        // The guest's answer decides; it may refuse before everything was received.
        let written = async {
            tokio::select! {
                written = write => written,
                never = async { receive.await; std::future::pending().await } => never,
            }
        };
        handle.call(&guest, written).await.map_err(refuse)?;
        Response::ok(rpc::WriteFileStreamResponse::default())
    }

    async fn read_file_stream(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ReadFileStreamRequest>,
    ) -> ServiceResult<ServiceStream<impl Encodable<rpc::ReadFileStreamResponse> + Send + use<>>>
    {
        let request = request.to_owned_message();
        check_path(&request.path)?;
        let handle = self.find(&request.sandbox_id).map_err(refuse)?;
        let call = handle.activity().begin();
        let guest = handle.awake().await.map_err(refuse)?;
        let chunks = handle
            .call(
                &guest,
                guest::read_file(&guest.client, &request.path, &request.user),
            )
            .await
            .map_err(refuse)?;
        let state = Some((chunks, handle, guest, call));
        let messages = futures::stream::unfold(state, |state| async {
            let (mut chunks, handle, guest, call) = state?;
            let next = async { chunks.next().await.map_err(|error| guest::fault(&error)) };
            match handle.call(&guest, next).await.transpose()? {
                Ok(chunk) => {
                    let message = rpc::ReadFileStreamResponse {
                        chunk: chunk.to_vec(),
                        ..Default::default()
                    };
                    Some((Ok(message), Some((chunks, handle, guest, call))))
                }
                Err(fault) => Some((Err(refuse(fault)), None)),
            }
        });
        Ok(Response::stream(messages))
    }

    async fn console(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ConsoleRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ConsoleResponse> + Send + use<>> {
        let handle = self
            .find(&request.to_owned_message().sandbox_id)
            .map_err(refuse)?;
        Response::ok(rpc::ConsoleResponse {
            content: handle.console().await.map_err(refuse)?,
            ..Default::default()
        })
    }

    async fn metrics(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::MetricsRequest>,
    ) -> ServiceResult<impl Encodable<rpc::MetricsResponse> + Send + use<>> {
        let id = request.to_owned_message().sandbox_id;
        Response::ok(self.usage(&id).await.map_err(refuse)?)
    }

    async fn measure_storage(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::MeasureStorageRequest>,
    ) -> ServiceResult<impl Encodable<rpc::MeasureStorageResponse> + Send + use<>> {
        let owner = request.to_owned_message().owner_id;
        Response::ok(rpc::MeasureStorageResponse {
            bytes: self.storage(&owner).await.map_err(refuse)?,
            ..Default::default()
        })
    }

    async fn host_metrics(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::HostMetricsRequest>,
    ) -> ServiceResult<impl Encodable<rpc::HostMetricsResponse> + Send + use<>> {
        let agent = self.clone();
        let text = tokio::task::spawn_blocking(move || agent.metrics_text()).await;
        Response::ok(rpc::HostMetricsResponse {
            text: text.map_err(|error| refuse(internal(error)))?,
            ..Default::default()
        })
    }

    async fn list_templates(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ListTemplatesRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ListTemplatesResponse> + Send + use<>> {
        Response::ok(copies::templates(self, &request.to_owned_message()).await?)
    }

    async fn delete_template(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DeleteTemplateRequest>,
    ) -> ServiceResult<impl Encodable<rpc::DeleteTemplateResponse> + Send + use<>> {
        self.delete_template(request.to_owned_message().name)
            .await
            .map_err(refuse)?;
        Response::ok(rpc::DeleteTemplateResponse::default())
    }

    async fn create_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CreateSnapshotRequest>,
    ) -> ServiceResult<impl Encodable<rpc::CreateSnapshotResponse> + Send + use<>> {
        Response::ok(copies::snapshot(self, request.to_owned_message()).await?)
    }

    async fn delete_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DeleteSnapshotRequest>,
    ) -> ServiceResult<impl Encodable<rpc::DeleteSnapshotResponse> + Send + use<>> {
        copies::delete_snapshot(self, &request.to_owned_message()).await?;
        Response::ok(rpc::DeleteSnapshotResponse::default())
    }

    async fn fork(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ForkRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ForkResponse> + Send + use<>> {
        Response::ok(copies::fork(self, request.to_owned_message()).await?)
    }

    async fn list_pools(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::ListPoolsRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ListPoolsResponse> + Send + use<>> {
        Response::ok(pools::list(self).await?)
    }

    async fn warm_pool(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::WarmPoolRequest>,
    ) -> ServiceResult<impl Encodable<rpc::WarmPoolResponse> + Send + use<>> {
        Response::ok(pools::warm(self, request.to_owned_message()).await?)
    }

    async fn drain_pool(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DrainPoolRequest>,
    ) -> ServiceResult<impl Encodable<rpc::DrainPoolResponse> + Send + use<>> {
        Response::ok(pools::drain(self, &request.to_owned_message()).await?)
    }

    async fn health(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::HealthRequest>,
    ) -> ServiceResult<impl Encodable<rpc::HealthResponse> + Send + use<>> {
        Response::ok(rpc::HealthResponse {
            ready: self.check_ready().is_ok(),
            instance_id: self.host.data.instance().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            isolation: self.host.vmm.isolation().as_str().to_owned(),
            vmm: self.host.vmm.kind().as_str().to_owned(),
            cpus: self.host.cpus,
            memory_mb: self.largest().map_err(refuse)?.0.into(),
            ..Default::default()
        })
    }

    async fn sweep(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SweepRequest>,
    ) -> ServiceResult<impl Encodable<rpc::SweepResponse> + Send + use<>> {
        self.check_ready().map_err(refuse)?;
        // A caller that hangs up does not stop it.
        let (agent, dry_run) = (self.clone(), request.to_owned_message().dry_run);
        let swept = self
            .tasks
            .spawn(carried(async move { Self::sweep(&agent, dry_run).await }).in_current_span())
            .await;
        let swept = swept
            .map_err(|error| ConnectError::internal(error.to_string()))?
            .map_err(refuse)?;
        Response::ok(rpc::SweepResponse {
            resources: swept.into_iter().map(to_swept).collect(),
            ..Default::default()
        })
    }

    async fn shutdown(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::ShutdownRequest>,
    ) -> ServiceResult<impl Encodable<rpc::ShutdownResponse> + Send + use<>> {
        let agent = self.clone();
        let down = self
            .tasks
            .spawn(async move { agent.take_down().await }.in_current_span())
            .await;
        let taken = down
            .map_err(|error| ConnectError::internal(error.to_string()))?
            .map_err(refuse)?;
        Response::ok(rpc::ShutdownResponse {
            destroyed: taken.destroyed,
            kept: taken.kept,
            ..Default::default()
        })
    }
}
