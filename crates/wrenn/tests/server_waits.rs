//! `wrenn server` that starts while its PostgreSQL is away: it waits for it, and says so to whoever asks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wrenn_testkit::postgres::Cluster;

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(30);

/// The program, ended with this.
struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is run as a user runs it"
    )]
    fn start(folder: &Path, database: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = folder.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_wrenn"))
            .arg("server")
            .arg("--addr")
            .arg(address.to_string())
            .arg("--agent")
            .arg(format!("unix:{}", folder.join("agent.sock").display()))
            .arg("--state")
            .arg(folder.join("state"))
            .env_remove("RUST_LOG")
            .env("WRENN_CONFIG", "/dev/null")
            .env("WRENN_DATABASE_URL", database)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            log,
        }
    }

    /// The answer to a GET, head and all; empty while nobody listens.
    fn get(&self, path: &str) -> String {
        let mut answer = Vec::new();
        if let Ok(mut socket) = TcpStream::connect(self.address) {
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            drop(socket.write_all(head.as_bytes()));
            drop(socket.read_to_end(&mut answer));
        }
        String::from_utf8(answer).unwrap()
    }

    /// The answer to a GET, once it is of this status.
    fn until(&self, path: &str, status: u16) -> String {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.starts_with(&format!("HTTP/1.1 {status} ")) {
                return answer;
            }
            assert!(
                begun.elapsed() < SOON,
                "{path} is {answer:?}: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < SOON, "it goes on: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn while_postgresql_is_away_it_says_so_and_goes_on_when_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start();
    let database = cluster.database();
    cluster.stop();
    let server = Server::start(folder.path(), &database);
    for path in ["/healthz", "/v1/sandboxes", "/docs"] {
        let away = server.until(path, 503);
        for part in [
            "\"code\":\"unavailable\"",
            "\"retryable\":true",
            "the database is away",
            "x-request-id: ",
        ] {
            assert!(away.contains(part), "{part}: {away}");
        }
    }
    assert!(server.said().contains("the database is away"));
    cluster.restart();
    let there = server.until("/healthz", 200);
    assert!(there.contains("unreachable"), "{there}");
    assert!(server.said().contains("the database is there"));
    server.until("/v1/sandboxes", 401);

    // Killed and started while it is there, nothing is waited for.
    drop(server);
    let server = Server::start(folder.path(), &database);
    server.until("/healthz", 200);
    assert!(!server.said().contains("away"), "{}", server.said());
}

#[test]
fn it_ends_when_it_is_told_to_also_while_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("postgres:///wrenn?host={}", folder.path().display());
    let mut server = Server::start(folder.path(), &nobody);
    server.until("/healthz", 503);
    kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
    assert!(server.ended().success(), "{}", server.said());
}

#[test]
fn what_waiting_does_not_mend_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start();
    let database = cluster.database();
    for (wrong, why) in [
        (database.replace("/test0?", "/absent?"), "does not exist"),
        (database.replace("=postgres", "=nobody"), "nobody"),
    ] {
        let mut server = Server::start(folder.path(), &wrong);
        assert_eq!(server.ended().code(), Some(1));
        let said = server.said();
        assert!(
            said.contains("cannot be used") && said.contains(why) && said.contains("what to do: "),
            "{said}"
        );
    }
}
