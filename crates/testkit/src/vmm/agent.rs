//! The guest's agent: as much of envd's contract as a host needs to call a sandbox its own.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use connectrpc::{
    ConnectError, ConnectRpcService, Encodable, InboundStream, RequestContext, Response,
    ServiceRequest, ServiceResult, ServiceStream,
};
use futures::stream;
use tokio::net::TcpListener;
use wrenn_envd_api::process::process_event::data_event::Output;
use wrenn_envd_api::process::process_event::{DataEvent, EndEvent, Event, StartEvent};
use wrenn_envd_api::process::{
    CloseStdinRequest, CloseStdinResponse, ConnectRequest, ConnectResponse, ListRequest,
    ListResponse, Process, ProcessConfig, ProcessEvent, ProcessExt, SendInputRequest,
    SendInputResponse, SendSignalRequest, SendSignalResponse, StartRequest, StartResponse,
    StreamInputRequest, StreamInputResponse, UpdateRequest, UpdateResponse,
};
use wrenn_envd_api::{InitRequest, guest, header};

use super::process::{Shared, lock};

/// The number of every command: each has ended before the next begins.
const PID: u32 = 2;

/// Serves where envd does, until the runtime ends.
pub(super) async fn serve(guest: Shared) -> io::Result<()> {
    let listener = TcpListener::bind((guest::ADDRESS, guest::PORT)).await?;
    let commands = Arc::new(Commands(guest.clone())).register(connectrpc::Router::new());
    let router = Router::new()
        .route("/health", get(|| async { StatusCode::NO_CONTENT }))
        .route("/init", post(init))
        .route("/sync", post(|| async { StatusCode::NO_CONTENT }))
        .with_state(guest)
        .fallback_service(ConnectRpcService::new(commands));
    axum::serve(listener, router).await
}

/// Takes token and next key from who has the key. The clock and all else is the host's, and stays.
async fn init(
    State(guest): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, String); 1]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = [(
        header::GUEST_TIME,
        now.unwrap_or_default().as_nanos().to_string(),
    )];
    let Ok(request) = serde_json::from_slice::<InitRequest>(&body) else {
        return (StatusCode::BAD_REQUEST, time);
    };
    let mut guest = lock(&guest);
    let known = guest.contents.key.clone();
    let offered = headers.get(header::INIT_KEY).map(|key| key.as_bytes());
    if known.is_some_and(|key| !key.matches(offered.unwrap_or_default())) {
        return (StatusCode::UNAUTHORIZED, time);
    }
    if let Some(token) = request.access_token {
        guest.contents.token = Some(token);
    }
    if let Some(key) = request.next_init_key {
        guest.contents.key = Some(key);
    }
    (StatusCode::NO_CONTENT, time)
}

/// The commands that it knows.
struct Commands(Shared);

impl Commands {
    /// What a command prints, or why there is none.
    fn run(&self, ctx: &RequestContext, command: &ProcessConfig) -> Result<String, ConnectError> {
        let mut guest = lock(&self.0);
        let offered = ctx.header(header::ACCESS_TOKEN);
        let offered = offered.map(|token| token.as_bytes()).unwrap_or_default();
        let token = guest.contents.token.as_ref();
        if token.is_none_or(|token| !token.matches(offered)) {
            return Err(ConnectError::unauthenticated("the token is wrong"));
        }
        match (command.cmd.as_str(), command.args.as_slice()) {
            ("true", _) => Ok(String::new()),
            ("count", _) => serde_json::to_string(&guest.told())
                .map_err(|error| ConnectError::internal(error.to_string())),
            ("keep", [text]) => {
                guest.contents.kept.clone_from(text);
                Ok(String::new())
            }
            ("kept", _) => Ok(guest.contents.kept.clone()),
            _ => Err(ConnectError::not_found("no such command")),
        }
    }
}

#[allow(
    refining_impl_trait,
    reason = "the generated trait leaves the answer's type open on purpose"
)]
impl Process for Commands {
    async fn start(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, StartRequest>,
    ) -> ServiceResult<ServiceStream<StartResponse>> {
        let request = request.to_owned_message();
        let command = request.process.as_option().cloned().unwrap_or_default();
        let printed = self.run(&ctx, &command)?;
        let events = [
            Event::from(StartEvent {
                pid: PID,
                ..Default::default()
            }),
            Event::from(DataEvent {
                output: Some(Output::Stdout(printed.into_bytes())),
                ..Default::default()
            }),
            Event::from(EndEvent {
                exited: true,
                ..Default::default()
            }),
        ];
        let events = events.map(|event| {
            Ok(StartResponse {
                event: Some(ProcessEvent {
                    event: Some(event),
                    ..Default::default()
                })
                .into(),
                ..Default::default()
            })
        });
        Ok(Response::stream(stream::iter(events)))
    }

    async fn list(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, ListRequest>,
    ) -> ServiceResult<impl Encodable<ListResponse> + Send + use<>> {
        Response::ok(ListResponse::default())
    }

    async fn connect(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, ConnectRequest>,
    ) -> ServiceResult<ServiceStream<ConnectResponse>> {
        Err(ConnectError::not_found("every command has ended"))
    }

    async fn update(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, UpdateRequest>,
    ) -> ServiceResult<UpdateResponse> {
        Err(ConnectError::unimplemented("there are no terminals"))
    }

    async fn stream_input(
        &self,
        _: RequestContext,
        _: InboundStream<StreamInputRequest>,
    ) -> ServiceResult<StreamInputResponse> {
        Err(ConnectError::unimplemented("no command reads"))
    }

    async fn send_input(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, SendInputRequest>,
    ) -> ServiceResult<SendInputResponse> {
        Err(ConnectError::unimplemented("no command reads"))
    }

    async fn send_signal(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, SendSignalRequest>,
    ) -> ServiceResult<SendSignalResponse> {
        Err(ConnectError::not_found("every command has ended"))
    }

    async fn close_stdin(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, CloseStdinRequest>,
    ) -> ServiceResult<CloseStdinResponse> {
        Err(ConnectError::not_found("every command has ended"))
    }
}
