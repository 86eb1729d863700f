//! The contract, call by call.

#![expect(
    refining_impl_trait,
    reason = "the generated trait asks for opaque types, which nobody here needs"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectrpc::{
    ConnectError, InboundStream, RequestContext, Response, ServiceRequest, ServiceResult,
    ServiceStream,
};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::BroadcastStream;
use wrenn_hostagent_api::__buffa::view;
use wrenn_hostagent_api::{self as rpc, HostAgentService};
use wrenn_model::{ErrorKind, Fault};

use super::command::{Running, known, run};
use super::process::{self, Events};
use super::{CHUNK, State, create, fork, lock, pause, pool, refusal, refuse, snapshot, template};

pub(super) struct Service(pub(super) Arc<State>);

impl HostAgentService for Service {
    async fn create_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CreateSandboxRequest>,
    ) -> ServiceResult<rpc::CreateSandboxResponse> {
        let knobs = self.0.knobs();
        let request = request.to_owned_message();
        if knobs.recovering {
            return Err(refusal(ErrorKind::Unavailable, "the agent is recovering"));
        }
        if !lock(&self.0.templates).contains_key(&request.template) {
            return Err(refusal(ErrorKind::NotFound, "there is no such template"));
        }
        let sandbox = if request.detached {
            let state = Arc::clone(&self.0);
            let task = tokio::spawn(async move { create(&state, request, knobs).await });
            task.await
                .map_err(|error| ConnectError::internal(error.to_string()))??
        } else {
            create(&self.0, request, knobs).await?
        };
        Response::ok(rpc::CreateSandboxResponse {
            sandbox_id: sandbox.sandbox_id.clone(),
            status: sandbox.status.clone(),
            host_ip: sandbox.host_ip.clone(),
            sandbox: sandbox.into(),
            ..Default::default()
        })
    }

    async fn destroy_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DestroySandboxRequest>,
    ) -> ServiceResult<rpc::DestroySandboxResponse> {
        let knobs = self.0.knobs();
        if let Some(fault) = knobs.destroy_fails {
            return Err(refuse(&fault));
        }
        lock(&self.0.sandboxes).remove(request.sandbox_id);
        self.0.changed(request.sandbox_id);
        tokio::time::sleep(knobs.destroy_takes).await;
        Response::ok(rpc::DestroySandboxResponse::default())
    }

    async fn pause_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::PauseSandboxRequest>,
    ) -> ServiceResult<rpc::PauseSandboxResponse> {
        Response::ok(pause::pause(&self.0, request.sandbox_id).await?)
    }

    async fn resume_sandbox(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ResumeSandboxRequest>,
    ) -> ServiceResult<rpc::ResumeSandboxResponse> {
        Response::ok(pause::resume(&self.0, request.sandbox_id, request.cold).await?)
    }

    async fn set_network(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SetNetworkRequest>,
    ) -> ServiceResult<rpc::SetNetworkResponse> {
        let request = request.to_owned_message();
        let knobs = self.0.knobs();
        if let Some(fault) = knobs.network_fails {
            return Err(refuse(&fault));
        }
        let mut sandbox = self.0.get(&request.sandbox_id)?;
        sandbox.network = request.network;
        self.0.changed(&request.sandbox_id);
        lock(&self.0.sandboxes).insert(request.sandbox_id, sandbox.clone());
        tokio::time::sleep(knobs.network_takes).await;
        Response::ok(rpc::SetNetworkResponse {
            sandbox: sandbox.into(),
            ..Default::default()
        })
    }

    async fn list_sandboxes(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ListSandboxesRequest>,
    ) -> ServiceResult<rpc::ListSandboxesResponse> {
        let knobs = self.0.knobs();
        if knobs.recovering {
            return Err(refusal(ErrorKind::Unavailable, "the agent is recovering"));
        }
        tokio::time::sleep(knobs.list_takes).await;
        let wanted = request.to_owned_message().sandbox_ids;
        let there = lock(&self.0.sandboxes);
        let sandboxes = match wanted.as_slice() {
            [] => there.values().cloned().collect(),
            ids => ids.iter().filter_map(|id| there.get(id)).cloned().collect(),
        };
        drop(there);
        Response::ok(rpc::ListSandboxesResponse {
            sandboxes,
            ..Default::default()
        })
    }

    async fn watch_sandboxes(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::WatchSandboxesRequest>,
    ) -> ServiceResult<ServiceStream<rpc::WatchSandboxesResponse>> {
        if !self.0.knobs().tells {
            return Err(ConnectError::unimplemented("it tells nothing by itself"));
        }
        let first = rpc::WatchSandboxesResponse {
            all: true,
            ..Default::default()
        };
        let changes = BroadcastStream::new(self.0.changes.subscribe());
        // Who falls behind learns that something is missing.
        let changes = changes.map(|id| match id {
            Ok(id) => rpc::WatchSandboxesResponse {
                sandbox_ids: vec![id],
                ..Default::default()
            },
            Err(_) => rpc::WatchSandboxesResponse {
                all: true,
                ..Default::default()
            },
        });
        let told = stream::iter([first]).chain(changes).map(Ok);
        Ok(Response::stream(told))
    }

    async fn ping(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::PingRequest>,
    ) -> ServiceResult<rpc::PingResponse> {
        self.0.awake(request.sandbox_id).await?;
        Response::ok(rpc::PingResponse::default())
    }

    async fn exec(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecRequest>,
    ) -> ServiceResult<rpc::ExecResponse> {
        let request = request.to_owned_message();
        self.0.awake(&request.sandbox_id).await?;
        known(&request.cmd)?;
        let _running = Running::new(&self.0, 0);
        let begun = Instant::now();
        let (stdin, input) = mpsc::channel(1);
        if let Some(bytes) = request.stdin {
            drop(stdin.try_send(bytes));
        }
        drop(stdin);
        let (out, mut printed) = mpsc::channel(16);
        let mut answer = rpc::ExecResponse::default();
        let limit = Duration::from_secs(u64::from(request.timeout_sec.max(1)));
        let work = async {
            let ended = run(&request.cmd, &request.args, input, &out).await;
            drop(out);
            ended
        };
        let collect = async {
            while let Some((is_stderr, bytes)) = printed.recv().await {
                if is_stderr {
                    &mut answer.stderr
                } else {
                    &mut answer.stdout
                }
                .extend(bytes);
            }
        };
        let outcome = tokio::time::timeout(limit, async { tokio::join!(work, collect).0 }).await;
        match outcome {
            Ok(Ok(end)) if end.error.is_empty() => answer.exit_code = end.exit_code,
            Ok(_) => return Err(refusal(ErrorKind::AgentError, "the command was lost")),
            Err(_) => (answer.exit_code, answer.timed_out) = (137, true),
        }
        answer.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Response::ok(answer)
    }

    async fn exec_stream(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecStreamRequest>,
    ) -> ServiceResult<Events> {
        let request = request.to_owned_message();
        self.0.awake(&request.sandbox_id).await?;
        known(&request.cmd)?;
        Response::ok(process::start(&self.0, request, None))
    }

    async fn exec_terminal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecTerminalRequest>,
    ) -> ServiceResult<Events> {
        let mut request = request.to_owned_message();
        let mut command = request.command.take().unwrap_or_default();
        self.0.awake(&command.sandbox_id).await?;
        known(&command.cmd)?;
        command.stdin = true;
        Response::ok(process::start(&self.0, command, request.size.take()))
    }

    async fn resize_terminal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ResizeTerminalRequest>,
    ) -> ServiceResult<rpc::ResizeTerminalResponse> {
        let request = request.to_owned_message();
        self.0.running(&request.sandbox_id)?;
        process::resize(&self.0, request.pid, request.size.into_option())?;
        Response::ok(rpc::ResizeTerminalResponse::default())
    }

    async fn exec_attach(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExecAttachRequest>,
    ) -> ServiceResult<Events> {
        self.0.awake(request.sandbox_id).await?;
        Response::ok(process::attach(&self.0, request.sandbox_id, request.pid)?)
    }

    async fn send_input(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SendInputRequest>,
    ) -> ServiceResult<rpc::SendInputResponse> {
        self.0.running(request.sandbox_id)?;
        let input = lock(&self.0.processes)
            .get(&request.pid)
            .and_then(|process| process.input.clone());
        let input =
            input.ok_or_else(|| refusal(ErrorKind::NotFound, "there is no such process"))?;
        input
            .send(request.data.to_vec())
            .await
            .map_err(|_| refusal(ErrorKind::NotFound, "it has ended"))?;
        Response::ok(rpc::SendInputResponse::default())
    }

    async fn close_input(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CloseInputRequest>,
    ) -> ServiceResult<rpc::CloseInputResponse> {
        self.0.running(request.sandbox_id)?;
        if let Some(process) = lock(&self.0.processes).get_mut(&request.pid) {
            process.input = None;
        }
        Response::ok(rpc::CloseInputResponse::default())
    }

    async fn send_signal(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::SendSignalRequest>,
    ) -> ServiceResult<rpc::SendSignalResponse> {
        self.0.running(request.sandbox_id)?;
        if let Some(process) = lock(&self.0.processes).get(&request.pid) {
            process.signal.send_replace(request.signal);
        }
        Response::ok(rpc::SendSignalResponse::default())
    }

    async fn write_file(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::WriteFileRequest>,
    ) -> ServiceResult<rpc::WriteFileResponse> {
        self.0.awake(request.sandbox_id).await?;
        self.0.write(
            request.sandbox_id,
            request.path,
            Bytes::copy_from_slice(request.content),
        )?;
        Response::ok(rpc::WriteFileResponse::default())
    }

    async fn read_file(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ReadFileRequest>,
    ) -> ServiceResult<rpc::ReadFileResponse> {
        self.0.awake(request.sandbox_id).await?;
        let content = self.0.content(request.sandbox_id, request.path)?.to_vec();
        Response::ok(rpc::ReadFileResponse {
            content,
            ..Default::default()
        })
    }

    async fn write_file_stream(
        &self,
        _: RequestContext,
        mut requests: InboundStream<rpc::WriteFileStreamRequest>,
    ) -> ServiceResult<rpc::WriteFileStreamResponse> {
        use view::oneof::write_file_stream_request::Part;
        let mut target = None;
        let mut content = Vec::new();
        while let Some(message) = requests.next().await {
            let message = message?;
            match (&message.view().part, &target) {
                (Some(Part::Meta(meta)), None) => {
                    self.0.awake(meta.sandbox_id).await?;
                    // A folder is refused before the content has come.
                    if meta.path == "/tmp" {
                        return Err(refusal(ErrorKind::InvalidRequest, "this is a folder"));
                    }
                    target = Some((meta.sandbox_id.to_owned(), meta.path.to_owned()));
                }
                (Some(Part::Chunk(chunk)), Some((_, path))) if path != "/null" => {
                    content.extend_from_slice(chunk);
                }
                (Some(Part::Chunk(_)), Some(_)) => {}
                (Some(Part::Complete(true)), Some((id, path))) => {
                    self.0.write(id, path, content.into())?;
                    return Response::ok(rpc::WriteFileStreamResponse::default());
                }
                _ => {
                    return Err(refusal(
                        ErrorKind::InvalidRequest,
                        "this part is out of order",
                    ));
                }
            }
        }
        Err(refusal(ErrorKind::InvalidRequest, "the upload broke off"))
    }

    async fn read_file_stream(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ReadFileStreamRequest>,
    ) -> ServiceResult<ServiceStream<rpc::ReadFileStreamResponse>> {
        self.0.awake(request.sandbox_id).await?;
        let zeros = request
            .path
            .strip_prefix("/zeros/")
            .and_then(|number| number.parse::<usize>().ok());
        let chunks: std::pin::Pin<Box<dyn Stream<Item = Vec<u8>> + Send>> = match zeros {
            Some(mib) => Box::pin(stream::iter(0..mib * 16).map(|_| vec![0; CHUNK])),
            None => {
                let content = self.0.content(request.sandbox_id, request.path)?;
                let chunks: Vec<_> = content.chunks(CHUNK).map(<[u8]>::to_vec).collect();
                Box::pin(stream::iter(chunks))
            }
        };
        let messages = chunks.map(|chunk| {
            Ok(rpc::ReadFileStreamResponse {
                chunk,
                ..Default::default()
            })
        });
        Response::ok(Box::pin(messages) as ServiceStream<_>)
    }

    async fn console(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ConsoleRequest>,
    ) -> ServiceResult<rpc::ConsoleResponse> {
        let _ = self.0.knobs();
        if !lock(&self.0.sandboxes).contains_key(request.sandbox_id) {
            return Err(refuse(&Fault::no_sandbox(request.sandbox_id)));
        }
        let content = b"[    0.000000] Linux version\n\xff\x1b[31m".to_vec();
        Response::ok(rpc::ConsoleResponse {
            content,
            ..Default::default()
        })
    }

    async fn metrics(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::MetricsRequest>,
    ) -> ServiceResult<rpc::MetricsResponse> {
        let sandboxes = lock(&self.0.sandboxes);
        let Some(sandbox) = sandboxes.get(request.sandbox_id) else {
            return Err(refuse(&Fault::no_sandbox(request.sandbox_id)));
        };
        let machine = (sandbox.status == "running").then(|| rpc::metrics_response::Machine {
            cpu_micros: 1_500_000,
            memory_bytes: 100 << 20,
            ..Default::default()
        });
        Response::ok(rpc::MetricsResponse {
            machine: machine.into(),
            vcpus: sandbox.vcpus,
            memory_total_bytes: u64::from(sandbox.memory_mb) << 20,
            ..Default::default()
        })
    }

    async fn measure_storage(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::MeasureStorageRequest>,
    ) -> ServiceResult<rpc::MeasureStorageResponse> {
        let sandboxes = lock(&self.0.sandboxes);
        let owned = |sandbox: &&rpc::Sandbox| sandbox.owner_id == request.owner_id;
        let count = sandboxes.values().filter(owned).count() as u64;
        let templates = lock(&self.0.templates);
        let kept = templates
            .values()
            .filter(|template| template.owner_id == request.owner_id);
        let snapshots: u64 = kept.map(|template| template.size_bytes).sum();
        Response::ok(rpc::MeasureStorageResponse {
            bytes: count * super::STORAGE_BYTES + snapshots,
            ..Default::default()
        })
    }

    async fn host_metrics(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::HostMetricsRequest>,
    ) -> ServiceResult<rpc::HostMetricsResponse> {
        Response::ok(rpc::HostMetricsResponse {
            text: "# TYPE wrenn_agent_fake gauge\nwrenn_agent_fake 1\n".into(),
            ..Default::default()
        })
    }

    async fn verify_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::VerifySnapshotRequest>,
    ) -> ServiceResult<rpc::VerifySnapshotResponse> {
        Response::ok(snapshot::verify(&self.0, request.sandbox_id)?)
    }

    async fn export_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ExportSnapshotRequest>,
    ) -> ServiceResult<ServiceStream<rpc::ExportSnapshotResponse>> {
        Response::ok(snapshot::export(&self.0, request.sandbox_id)?)
    }

    async fn import_snapshot(
        &self,
        _: RequestContext,
        requests: InboundStream<rpc::ImportSnapshotRequest>,
    ) -> ServiceResult<rpc::ImportSnapshotResponse> {
        Response::ok(snapshot::import(&self.0, requests).await?)
    }

    async fn list_templates(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ListTemplatesRequest>,
    ) -> ServiceResult<rpc::ListTemplatesResponse> {
        let _ = self.0.knobs();
        let all = lock(&self.0.templates);
        let wanted = |told: &&rpc::Template| request.name.is_empty() || told.name == request.name;
        let templates = all.values().filter(wanted).cloned().collect();
        Response::ok(rpc::ListTemplatesResponse {
            templates,
            ..Default::default()
        })
    }

    async fn delete_template(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DeleteTemplateRequest>,
    ) -> ServiceResult<rpc::DeleteTemplateResponse> {
        template::delete(&self.0, request.name, false)?;
        Response::ok(rpc::DeleteTemplateResponse::default())
    }

    async fn create_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::CreateSnapshotRequest>,
    ) -> ServiceResult<rpc::CreateSnapshotResponse> {
        Response::ok(template::create(&self.0, request.to_owned_message()).await?)
    }

    async fn delete_snapshot(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DeleteSnapshotRequest>,
    ) -> ServiceResult<rpc::DeleteSnapshotResponse> {
        template::delete(&self.0, request.name, true)?;
        Response::ok(rpc::DeleteSnapshotResponse::default())
    }

    async fn fork(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::ForkRequest>,
    ) -> ServiceResult<rpc::ForkResponse> {
        Response::ok(fork::fork(&self.0, request.to_owned_message()).await?)
    }

    async fn list_pools(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::ListPoolsRequest>,
    ) -> ServiceResult<rpc::ListPoolsResponse> {
        Response::ok(pool::list(&self.0))
    }

    async fn warm_pool(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::WarmPoolRequest>,
    ) -> ServiceResult<rpc::WarmPoolResponse> {
        Response::ok(pool::warm(&self.0, request.to_owned_message())?)
    }

    async fn drain_pool(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, rpc::DrainPoolRequest>,
    ) -> ServiceResult<rpc::DrainPoolResponse> {
        Response::ok(pool::drain(&self.0, &request.to_owned_message()))
    }

    async fn health(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::HealthRequest>,
    ) -> ServiceResult<rpc::HealthResponse> {
        let knobs = self.0.knobs();
        Response::ok(rpc::HealthResponse {
            ready: !knobs.recovering,
            instance_id: "abc123".into(),
            version: "0.1.0".into(),
            isolation: "emulated".into(),
            vmm: "qemu".into(),
            cpus: knobs.cpus.unwrap_or(4),
            memory_mb: knobs.memory_mb.unwrap_or(8192),
            ..Default::default()
        })
    }

    async fn sweep(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::SweepRequest>,
    ) -> ServiceResult<rpc::SweepResponse> {
        Response::ok(rpc::SweepResponse::default())
    }

    async fn shutdown(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, rpc::ShutdownRequest>,
    ) -> ServiceResult<rpc::ShutdownResponse> {
        let _ = self.0.knobs();
        let mut sandboxes = lock(&self.0.sandboxes);
        let destroyed = u32::try_from(sandboxes.len()).unwrap_or(u32::MAX);
        sandboxes.clear();
        Response::ok(rpc::ShutdownResponse {
            destroyed,
            ..Default::default()
        })
    }
}
