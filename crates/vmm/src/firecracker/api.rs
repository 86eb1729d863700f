//! Firecracker's API: HTTP over a Unix socket that it makes in its jail, JSON both ways, one short connection for each call.
//! By `src/firecracker/swagger/firecracker.yaml` of its sources.
//!
//! Whoever has broken into it may put anything in the socket's place: it is looked for without following a link, connected to by
//! what was found, and the process at its other end has to be the one that we started. What it answers is bounded.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::Error;

/// How often it is looked whether the socket is there.
const POLL: Duration = Duration::from_millis(2);
/// The longest answer, in bytes.
const LONGEST: usize = 64 << 10;
/// How much of a refusal is told on.
const SAID: usize = 1000;

/// The way to one Firecracker.
#[derive(Debug, Clone)]
pub(super) struct Api {
    socket: Arc<OwnedFd>,
    pid: i32,
}

/// What a refusal says.
#[derive(Debug, Deserialize)]
struct Fault {
    fault_message: String,
}

impl Api {
    /// Waits until the process `pid` has its socket at this path in its jail and listens on it.
    ///
    /// # Errors
    /// [`Error::TimedOut`].
    pub(super) async fn wait_for(pid: i32, path: &Path, limit: Duration) -> Result<Self, Error> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            match Self::listening(pid, path).await {
                Ok(api) => return Ok(api),
                Err(error) if is_early(&error) => sleep(POLL).await,
                Err(error) => return Err(Error::io("looking for the VMM's socket")(error)),
            }
        }
        Err(Error::TimedOut {
            what: "waiting for the VMM's socket".into(),
            limit,
        })
    }

    /// The same, if it takes a connection: it has a name before it listens.
    async fn listening(pid: i32, path: &Path) -> io::Result<Self> {
        let api = Self::open(pid, path)?;
        api.connect().await?;
        Ok(api)
    }

    /// The socket that the process `pid` has at this path in its jail.
    pub(super) fn open(pid: i32, path: &Path) -> io::Result<Self> {
        let root = File::open(format!("/proc/{pid}/root"))?;
        let path = path.strip_prefix("/").unwrap_or(path);
        let found = openat2(
            root,
            path,
            OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )?;
        if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Socket {
            return Err(io::Error::other("what is in its place is no socket"));
        }
        Ok(Self {
            socket: Arc::new(found),
            pid,
        })
    }

    /// Asks for what it has.
    pub(super) async fn get(&self, path: &'static str, limit: Duration) -> Result<Value, Error> {
        self.call(Method::GET, path, None, limit).await
    }

    /// Sets something, or has something done.
    pub(super) async fn put(
        &self,
        path: &'static str,
        body: Value,
        limit: Duration,
    ) -> Result<(), Error> {
        self.call(Method::PUT, path, Some(body), limit)
            .await
            .map(drop)
    }

    /// Changes something.
    pub(super) async fn patch(
        &self,
        path: &'static str,
        body: Value,
        limit: Duration,
    ) -> Result<(), Error> {
        self.call(Method::PATCH, path, Some(body), limit)
            .await
            .map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &'static str,
        body: Option<Value>,
        limit: Duration,
    ) -> Result<Value, Error> {
        let answer = timeout(limit, self.send(method, path, body)).await;
        let (status, bytes) = answer.map_err(|_| Error::TimedOut {
            what: format!("Firecracker's {path}"),
            limit,
        })??;
        if status.is_success() {
            return match bytes.is_empty() {
                true => Ok(Value::Null),
                false => serde_json::from_slice(&bytes)
                    .map_err(|error| Error::Protocol(error.to_string())),
            };
        }
        let mut said = match serde_json::from_slice::<Fault>(&bytes) {
            Ok(fault) => fault.fault_message,
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        said.truncate(said.floor_char_boundary(SAID));
        Err(Error::Refused {
            command: path,
            said: format!("{status}: {}", said.escape_debug()),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Bytes), Error> {
        let broken = |error: &dyn std::error::Error| Error::Protocol(error.to_string());
        let stream = self.connect().await;
        let stream = stream.map_err(Error::io("connecting to the VMM"))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| broken(&error))?;
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "localhost")
            .header("Accept", "application/json")
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| broken(error.as_ref()))?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            // Of what came before its end nothing is lost.
            _ = &mut connection => exchange.await,
        }
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let path = format!("/proc/self/fd/{}", self.socket.as_raw_fd());
        let stream = UnixStream::connect(path).await?;
        if stream.peer_cred()?.pid() == Some(self.pid) {
            Ok(stream)
        } else {
            Err(io::Error::other("somebody else is there"))
        }
    }
}

/// Whether a socket may still come to be one that listens.
fn is_early(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    use std::os::unix::fs::symlink;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Ourselves as Firecracker, with one answer.
    async fn answering(answer: &'static str) -> (tempfile::TempDir, Api) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                // Who only looks whether it listens asks for nothing.
                if stream.read(&mut request).await.unwrap() == 0 {
                    continue;
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
            }
        });
        let pid = std::process::id().try_into().unwrap();
        let api = Api::wait_for(pid, &path, LIMIT).await.unwrap();
        (dir, api)
    }

    #[tokio::test]
    async fn it_is_asked_and_told() {
        let answer = "HTTP/1.1 200 \r\nContent-Length: 19\r\n\r\n{\"state\":\"Running\"}";
        let (_dir, api) = answering(answer).await;
        assert_eq!(api.get("/", LIMIT).await.unwrap()["state"], "Running");
        let (_dir, api) = answering("HTTP/1.1 204 \r\n\r\n").await;
        api.put("/actions", Value::Null, LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_tells_why() {
        let answer = "HTTP/1.1 400 \r\nContent-Length: 29\r\n\r\n{\"fault_message\":\"no such x\"}";
        let (_dir, api) = answering(answer).await;
        let refused = api.patch("/vm", Value::Null, LIMIT).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn nothing_of_it_is_waited_for_or_believed_without_end() {
        let (_dir, api) = answering("").await;
        let hung = api.get("/", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(hung, Error::TimedOut { .. }), "{hung:?}");
        let endless = "HTTP/1.1 200 \r\nContent-Length: 70000000\r\n\r\n";
        let (_dir, api) = answering(endless).await;
        let refused = api.get("/", LIMIT).await.unwrap_err();
        assert!(matches!(refused, Error::Protocol(_)), "{refused:?}");
        let (_dir, api) = answering("nonsense\r\n\r\n").await;
        let refused = api.get("/", LIMIT).await.unwrap_err();
        assert!(matches!(refused, Error::Protocol(_)), "{refused:?}");
    }

    #[tokio::test]
    async fn one_that_does_not_listen_yet_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api");
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        let pid = std::process::id().try_into().unwrap();
        let early = Api::wait_for(pid, &path, Duration::from_millis(20)).await;
        let early = early.unwrap_err();
        assert!(matches!(early, Error::TimedOut { .. }), "{early:?}");
        let waiting = tokio::spawn(async move { Api::wait_for(pid, &path, LIMIT).await });
        tokio::task::yield_now().await;
        listen(&socket, 1).unwrap();
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_its_own_socket_is_taken_for_it() {
        let (dir, api) = answering("").await;
        let link = dir.path().join("link");
        symlink(dir.path().join("api"), &link).unwrap();
        assert!(Api::open(api.pid, &link).is_err(), "a link");
        assert!(Api::open(api.pid, dir.path()).is_err(), "a folder");
        let absent = Path::new("/absent/socket");
        let limit = Duration::from_millis(20);
        let absent = Api::wait_for(api.pid, absent, limit).await.unwrap_err();
        assert!(matches!(absent, Error::TimedOut { .. }), "{absent:?}");
        let other = Api { pid: 1, ..api };
        let refused = other.get("/", LIMIT).await.unwrap_err();
        assert!(matches!(refused, Error::Io { .. }), "{refused:?}");
    }
}
