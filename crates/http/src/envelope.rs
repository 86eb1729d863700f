//! What every answer has in common: a request id, a line in the log, and one form for everything that is no success,
//! whichever part of the server refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wrenn_api::{ErrorBody, ErrorInfo};
use wrenn_control::{Call, Caller, request as of_request};
use wrenn_model::{ErrorKind, Fault, KeyId, RequestId, SandboxId, TeamName, TemplateName};
use wrenn_traces::Span;

use crate::auth::Asking;
use crate::line::Line;
use crate::metrics::Metrics;
use crate::router::App;
use crate::traced;

/// The status of a request whose caller did not wait for one, as some servers write it into their logs. Nobody is answered it.
const HUNG_UP: u16 = 499;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The sandbox that an answer is about, where neither its path nor the address of what was made names it.
#[derive(Debug, Clone)]
pub(crate) struct About(pub(crate) SandboxId);

/// The outermost layer.
pub(crate) async fn envelope(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let upload = is_form(&request);
    let line = request
        .extensions()
        .get::<Line>()
        .cloned()
        .unwrap_or_default();
    let asking = Asking::default();
    request.extensions_mut().insert(asking.clone());
    let span = traced::begun(&request, route.as_ref(), &id);
    let inside = match sandbox(&path) {
        Some(sandbox) => span.place().about(&sandbox),
        None => span.place(),
    };
    let exchange = Exchange {
        app: &app,
        span: &span,
        asking: &asking,
        id: &id,
        method: &method,
        route: route.as_ref().map(MatchedPath::as_str),
        path: &path,
        begun,
    };
    let mut response = inside
        .around(of_request::within(Some(id.clone()), next.run(request)))
        .await;
    if response.status().is_client_error() || response.status().is_server_error() {
        response = refused(response, &id, &app.metrics);
        if upload {
            // What is left of the body is not read: a caller must not send its next request behind it.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
    let about = response.extensions_mut().remove::<About>();
    let mut answer = exchange.answered(response.status().as_u16(), place(&response));
    answer.sandbox = answer.sandbox.or(about.map(|About(sandbox)| sandbox));
    std::mem::forget(exchange);
    answer.log();
    traced::answered(&span, answer.status, answer.sandbox.as_ref());
    app.metrics
        .answered(answer.route, &method, answer.status, answer.took);
    if let Some(caller) = asking.0.get().filter(|_| answer.counts()) {
        app.control.audit().record(answer.call(caller)).await;
    }
    line.limit_answer(under_id(response, &id))
}

/// The answer to the request of this id.
pub(crate) fn under_id(mut response: Response, id: &RequestId) -> Response {
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A request that is worked on. Dropped, its caller hung up before it was answered: what it began may go on.
struct Exchange<'a> {
    app: &'a App,
    span: &'a Span,
    asking: &'a Asking,
    id: &'a RequestId,
    method: &'a Method,
    route: Option<&'a str>,
    path: &'a str,
    begun: Instant,
}

impl<'a> Exchange<'a> {
    /// What is told of it, with what it made, by the address of that.
    fn answered(&self, status: u16, made: Option<&str>) -> Answered<'a> {
        Answered {
            id: self.id,
            sandbox: sandbox(self.path).or_else(|| sandbox(made?)),
            object: object(self.path).or_else(|| object(made?)),
            method: self.method,
            route: self.route,
            status,
            took: self.begun.elapsed(),
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        let answer = self.answered(HUNG_UP, None);
        answer.log();
        traced::given_up(self.span, answer.sandbox.as_ref());
        if let Some(caller) = self.asking.0.get().filter(|_| answer.counts()) {
            self.app.control.audit().note(answer.call(caller));
        }
    }
}

/// What the log has of a request. Its path is a caller's word and stays out of it, but for the sandbox.
struct Answered<'a> {
    id: &'a RequestId,
    sandbox: Option<SandboxId>,
    /// For the record alone.
    object: Option<String>,
    method: &'a Method,
    /// The pattern that its path fitted.
    route: Option<&'a str>,
    status: u16,
    took: Duration,
}

impl Answered<'_> {
    /// Whether it may have changed something, as a command over a WebSocket may.
    fn counts(&self) -> bool {
        !self.method.is_safe()
            || self
                .route
                .is_some_and(|route| route.ends_with("/exec/stream"))
    }

    /// What the record of calls has of it.
    fn call(&self, caller: &Arc<Caller>) -> Call {
        Call {
            request_id: self.id.to_string(),
            caller: Arc::clone(caller),
            action: format!("{} {}", self.method, self.route.unwrap_or("none")),
            sandbox: self.sandbox.clone(),
            object: self.object.clone(),
            status: self.status,
        }
    }

    /// What may have changed something leaves a line, and what was refused: its caller has an id to ask about.
    fn log(&self) {
        let Self {
            id, status, took, ..
        } = self;
        let sandbox = self.sandbox.as_ref().map(SandboxId::as_str);
        let (method, route) = (self.method, self.route.unwrap_or("none"));
        if method.is_safe() && *status < 400 {
            tracing::debug!(request_id = %id, sandbox, %method, route, status, ?took, "answered");
        } else {
            tracing::info!(request_id = %id, sandbox, %method, route, status, ?took, "answered");
        }
    }
}

/// The sandbox that a path names.
fn sandbox(path: &str) -> Option<SandboxId> {
    path.split('/').find_map(|segment| segment.parse().ok())
}

/// The key, team or snapshot that a path names.
fn object(path: &str) -> Option<String> {
    let (kind, name) = path.strip_prefix("/v1/")?.split_once('/')?;
    let is_one = match kind {
        "keys" => name.parse::<KeyId>().is_ok(),
        "teams" => name.parse::<TeamName>().is_ok(),
        "snapshots" => name.parse::<TemplateName>().is_ok(),
        _ => false,
    };
    is_one.then(|| name.to_owned())
}

/// The address of what was made.
fn place(response: &Response) -> Option<&str> {
    response.headers().get(header::LOCATION)?.to_str().ok()
}

fn is_form(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"multipart/"))
}

/// The caller's own id when it is one, else a new one.
pub(crate) fn request_id(request: &Request) -> RequestId {
    let own = request.headers().get(REQUEST_ID);
    own.and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or_else(RequestId::random)
}

/// The error form. What headers the refusal had, `Allow` say, stay.
pub(crate) fn refused(mut response: Response, id: &RequestId, metrics: &Metrics) -> Response {
    let fault = response
        .extensions_mut()
        .remove::<Fault>()
        .unwrap_or_else(|| of_status(response.status()));
    metrics.refused(fault.kind);
    let status =
        StatusCode::from_u16(wrenn_api::http_status(fault.kind)).unwrap_or(response.status());
    if status.is_server_error() {
        tracing::warn!(kind = %fault.kind, message = fault.message, request_id = %id, "refused");
    }
    let body = ErrorBody {
        error: ErrorInfo::new(&fault, id.as_str()),
    };
    let mut refused = (status, axum::Json(body)).into_response();
    let (parts, _) = response.into_parts();
    for (name, value) in parts.headers {
        if let Some(name) =
            name.filter(|name| *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH)
        {
            refused.headers_mut().append(name, value);
        }
    }
    if let Some(seconds) = fault.retry_after_sec {
        refused
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        refused.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("X-API-Key"),
        );
    }
    refused.map(Body::new)
}

/// A refusal of the routing itself, which knows no more than its status.
fn of_status(status: StatusCode) -> Fault {
    let see = "see /openapi.yaml for what there is";
    match status {
        StatusCode::NOT_FOUND => Fault::new(ErrorKind::NotFound, "there is no such route", see),
        StatusCode::METHOD_NOT_ALLOWED => Fault::new(
            ErrorKind::MethodNotAllowed,
            "this route has no such method",
            see,
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Fault::new(ErrorKind::TooLarge, "the body is too large", "send less")
        }
        other if other.is_client_error() => Fault::new(
            ErrorKind::InvalidRequest,
            format!("the request makes no sense: {other}"),
            see,
        ),
        other => Fault::new(
            ErrorKind::Internal,
            other.to_string(),
            "report it, with the request id",
        ),
    }
}
