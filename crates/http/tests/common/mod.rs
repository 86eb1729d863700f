//! A whole server for a test: fake agent, a real database, whichever of the two it is (`wrenn_testkit::database`), control
//! plane, HTTP on a loopback port, and a small client.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wrenn_control::{AgentAddress, ApiKey, ControlPlane, DatabaseUrl, Limits, NewKey, TeamLimits};
use wrenn_testkit::agent::FakeAgent;

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: DatabaseUrl,
    pub(crate) agent: FakeAgent,
    pub(crate) control: ControlPlane,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    pub(crate) closing: CancellationToken,
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
}

/// A key beside the bench's own.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) key: String,
}

#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = wrenn_testkit::database::new(folder.path());
        Self::on(folder, database.parse().unwrap()).await
    }

    /// Over this database, whatever the others are on.
    pub(crate) async fn on(folder: tempfile::TempDir, database: DatabaseUrl) -> Self {
        let socket = folder.path().join("agent.sock");
        let agent = FakeAgent::start(&socket).unwrap();
        let limits = Limits {
            sweep_every: Duration::from_secs(3600),
            others_take: Duration::from_millis(300),
            ..Limits::default()
        };
        let control = ControlPlane::open(&database, AgentAddress::Unix(socket), limits)
            .await
            .unwrap();
        let key = ApiKey::random();
        control.keys().register("first", &key).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let router = wrenn_http::router(control.clone(), closing.clone());
        tokio::spawn(wrenn_http::serve(listener, router, closing.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            folder,
            database,
            agent,
            control,
            address,
            key: key.reveal().to_owned(),
            closing,
            client,
        }
    }

    /// A key of this team, which is made where there is none, for these scopes.
    pub(crate) async fn key(&self, team: &str, scopes: &str) -> Made {
        let team = team.parse().unwrap();
        let admin = self.control.keys().check(&self.key).await.unwrap();
        let teams = self.control.teams();
        if teams.get(&admin, &team).await.is_err() {
            teams.put(&team, &TeamLimits::default()).await.unwrap();
        }
        let new = NewKey {
            name: "test".to_owned(),
            team: Some(team),
            scopes: scopes.parse().unwrap(),
            good_for: None,
        };
        let made = self.control.keys().create(&admin, new).await.unwrap();
        Made {
            id: made.stored.id.to_string(),
            key: made.key.reveal().to_owned(),
        }
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Answered {
        let request = request.body(Full::new(body.into())).unwrap();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let uri = format!("http://{}{path}", self.address);
        Request::builder()
            .method(method)
            .uri(uri)
            .header("x-api-key", &self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.send(self.request(Method::GET, path), "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answered {
        self.send(self.request(Method::DELETE, path), "").await
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answered {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/json");
        self.send(request, json.to_owned()).await
    }

    /// Bytes of this process, with all that is in it, that are in memory now.
    pub(crate) fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages = statm.split(' ').nth(1).unwrap();
        pages.parse::<usize>().unwrap() * 4096
    }

    /// A running sandbox's id.
    pub(crate) async fn sandbox(&self) -> String {
        let made = self.post("/v1/sandboxes", "{}").await;
        assert_eq!(made.status, StatusCode::CREATED);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// Sends a form of these parts.
    pub(crate) async fn form(&self, path: &str, parts: &[(&str, &[u8])]) -> Answered {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "multipart/form-data; boundary=frontier");
        self.send(request, form(parts)).await
    }
}

impl Made {
    pub(crate) fn request(
        &self,
        bench: &Bench,
        method: Method,
        path: &str,
    ) -> http::request::Builder {
        let mut request = bench.request(method, path);
        let headers = request.headers_mut().unwrap();
        headers.insert("x-api-key", self.key.parse().unwrap());
        request
    }
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    /// The error's code, after a look at its whole form.
    pub(crate) fn code(&self) -> String {
        let error = &self.json()["error"];
        for field in ["code", "message", "remedy", "request_id"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field} of {error}"
            );
        }
        assert!(error["retryable"].is_boolean());
        assert_eq!(
            error["request_id"],
            self.headers["x-request-id"].to_str().unwrap()
        );
        error["code"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.code().as_str()),
            (status, code),
            "{:?}",
            self.body
        );
    }
}

/// A multipart form; a part named `file` has a file name.
pub(crate) fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let file = if *name == "file" {
            "; filename=\"f\""
        } else {
            ""
        };
        body.extend(
            format!("--frontier\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                .bytes(),
        );
        body.extend_from_slice(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--frontier--\r\n");
    body
}
