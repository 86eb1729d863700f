//! A server that knows the document and nothing else: it holds every request to it, and answers with what it says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod conversation;
mod document;
mod example;
mod request;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use wrenn_client::Client;

pub(crate) use conversation::names;
pub(crate) use document::{DOCUMENT, Operation};
pub(crate) use example::Shape;
use request::Kept;

/// What the server is to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tell {
    pub(crate) status: u16,
    pub(crate) shape: Shape,
    /// The code of a refusal.
    pub(crate) code: &'static str,
}

/// What came and what went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// The operations that were asked for.
    pub(crate) asked: Vec<String>,
    /// What bodies and messages said.
    pub(crate) said: Vec<Value>,
    /// What was answered, or told in a stream.
    pub(crate) told: Vec<Value>,
    /// How the document was broken.
    pub(crate) broken: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Heard>>);

impl Log {
    fn write(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn told(&self, value: Value) {
        self.write(|heard| heard.told.push(value));
    }

    fn said(&self, value: Value) {
        self.write(|heard| heard.said.push(value));
    }

    fn broke(&self, how: String) {
        self.write(|heard| heard.broken.push(how));
    }
}

#[derive(Clone)]
pub(crate) struct StandIn {
    tell: Arc<Mutex<Tell>>,
    log: Log,
}

impl StandIn {
    /// A server that serves, and a client of it.
    pub(crate) async fn start() -> (Self, Client) {
        let stand_in = Self {
            tell: Arc::new(Mutex::new(Tell {
                status: 500,
                shape: Shape::Bare,
                code: "internal",
            })),
            log: Log::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (stand_in, Client::new(&url, Some("wrn_key")).unwrap())
    }

    /// What it answers from now on.
    pub(crate) fn tell(&self, tell: Tell) {
        *self.tell.lock().unwrap() = tell;
    }

    /// What it heard since it was asked last.
    pub(crate) fn heard(&self) -> Heard {
        std::mem::take(&mut self.log.0.lock().unwrap())
    }
}

async fn answer(State(stand_in): State<StandIn>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let kept = match request::check(&parts, body).await {
        Ok(kept) => kept,
        Err(broken) => {
            stand_in.log.broke(broken);
            return StatusCode::IM_A_TEAPOT.into_response();
        }
    };
    let Kept { operation, body } = kept;
    stand_in.log.write(|heard| {
        heard.asked.push(operation.to_string());
        heard.said.extend(body);
    });
    let tell = *stand_in.tell.lock().unwrap();
    if tell.status == 101 {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
        let log = stand_in.log.clone();
        return upgrade
            .unwrap()
            .on_upgrade(move |socket| conversation::converse(socket, tell.shape, log));
    }
    let said = operation.answer(tell.status);
    let (kind, body) = content(said, &parts.headers, tell, &stand_in.log);
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(tell.status).unwrap();
    if let Some(kind) = kind {
        let headers = response.headers_mut();
        headers.insert("content-type", kind.parse().unwrap());
    }
    for name in said["headers"].as_object().into_iter().flatten() {
        if let Some(value) = header(operation, &parts, name.0) {
            let name: HeaderName = name.0.parse().unwrap();
            response.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    response
}

/// A header, as its description has it: a schema says of most no more than that they are texts.
fn header(operation: Operation<'_>, parts: &Parts, name: &str) -> Option<String> {
    Some(match name {
        "Link" => {
            let cursor = operation.example("query", "cursor")?;
            let path = parts.uri.path();
            let is_last = parts.uri.query().unwrap_or_default().contains("cursor=");
            return (!is_last).then(|| format!("<{path}?cursor={cursor}>; rel=\"next\""));
        }
        "Server-Timing" => "queue;dur=0.004, boot;dur=9.250".to_owned(),
        "Retry-After" => "7".to_owned(),
        _ => "text".to_owned(),
    })
}

/// The body of an answer in the type that was asked for, and that type.
fn content(
    said: &'static Value,
    headers: &HeaderMap,
    tell: Tell,
    log: &Log,
) -> (Option<&'static str>, Body) {
    let Some(contents) = said["content"].as_object() else {
        log.told(Value::Null);
        return (None, Body::empty());
    };
    let only_json = headers["accept"] == "application/json";
    let (kind, content) = contents
        .iter()
        .find(|(kind, _)| (*kind == "application/json") == (only_json || contents.len() == 1))
        .or(contents.iter().next())
        .unwrap();
    let body = match kind.as_str() {
        "application/json" => {
            let mut example = DOCUMENT.example(&content["schema"], tell.shape);
            if tell.status >= 400 {
                example["error"]["code"] = json!(tell.code);
            }
            let text = example.to_string();
            log.told(example);
            Body::from(text)
        }
        "text/event-stream" => stream(&content["schema"], tell.shape, log),
        _ => {
            log.told(json!("text"));
            Body::from("text")
        }
    };
    (Some(kind), body)
}

/// One message of each name that there is.
fn stream(schema: &Value, shape: Shape, log: &Log) -> Body {
    let schema = DOCUMENT.resolved(schema);
    let names = schema["properties"]["event"]["pattern"].as_str().unwrap();
    let mut text = String::new();
    for name in names.trim_matches(['^', '(', ')', '$']).split('|') {
        let mut message = DOCUMENT.example(schema, Shape::Whole);
        let mut event = DOCUMENT.example_of("Event", shape);
        event["type"] = json!(name);
        message["event"] = json!(name);
        let is_event = !matches!(name, "ready" | "gap");
        message["data"] = json!(if is_event {
            event.to_string()
        } else {
            "{}".to_owned()
        });
        if name == "gap" {
            message.as_object_mut().unwrap().remove("id");
        }
        DOCUMENT.check(schema, &message).unwrap();
        for (field, value) in message.as_object().unwrap() {
            text.push_str(&format!("{field}: {}\n", value.as_str().unwrap()));
        }
        text.push('\n');
        log.told(if is_event {
            event
        } else {
            json!({ name: message.get("id") })
        });
    }
    Body::from(text)
}
