//! The guest agent as a process on loopback, and a client of it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part; a helper that fails is a test that fails"
)]

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use wrenn_envd_client::{
    Connector, EnvdClient, InitRequest, ProcessEvent, ProcessStream, Start, Stream,
};

/// The token and the key that [`Agent::initialised`] sets.
pub const TOKEN: &str = "a-token";
pub const KEY: &str = "a-key";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running guest agent; ended, with all it started, when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    pub address: SocketAddr,
    pub cgroup: PathBuf,
}

#[derive(Debug)]
struct Loopback(SocketAddr);

impl Connector for Loopback {
    fn connect(&self, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let address = self.0;
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Stream>) })
    }
}

impl Agent {
    /// Starts an agent that is nobody's yet.
    pub fn start() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup = cgroup2().join(format!("wrenn-envd-test-{}-{number}", std::process::id()));
        #[expect(
            clippy::disallowed_methods,
            reason = "the test starts the program under test and ends it itself"
        )]
        let mut command = Command::new(env!("CARGO_BIN_EXE_wrenn-envd"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--cgroup"])
            .arg(&cgroup)
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().parse().expect("the agent prints its address");
        Self {
            child,
            address,
            cgroup,
        }
    }

    /// Starts an agent and makes it somebody's, with a client that has the token.
    pub async fn initialised() -> (Self, EnvdClient) {
        let agent = Self::start();
        agent.client().init(&first_init(), None).await.unwrap();
        let client = agent.client().with_token(TOKEN.to_owned());
        (agent, client)
    }

    /// A client without a token.
    pub fn client(&self) -> EnvdClient {
        EnvdClient::new(Arc::new(Loopback(self.address)))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
        assert!(
            !self.cgroup.exists(),
            "the agent leaves a control group behind"
        );
    }
}

/// What the host sends first.
pub fn first_init() -> InitRequest {
    InitRequest {
        access_token: Some(TOKEN.into()),
        next_init_key: Some(KEY.into()),
        sandbox_id: Some("sb-test".to_owned()),
        template_id: Some("minimal".to_owned()),
        ..InitRequest::default()
    }
}

/// A shell command as root.
pub fn sh(script: &str) -> Start {
    Start {
        cmd: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        ..Start::default()
    }
}

/// All that a command wrote, and how it ended.
#[derive(Debug, Default)]
pub struct Output {
    pub pid: u32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_code: i32,
    pub status: String,
    pub error: Option<String>,
}

impl Output {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// Follows a command to its end.
pub async fn collect(mut stream: ProcessStream) -> Result<Output, wrenn_envd_client::Error> {
    let mut output = Output::default();
    while let Some(event) = stream.next().await? {
        match event {
            ProcessEvent::Start { pid } => output.pid = pid,
            ProcessEvent::Stdout(data) => output.stdout.extend_from_slice(&data),
            ProcessEvent::Stderr(data) => output.stderr.extend_from_slice(&data),
            ProcessEvent::End {
                exit_code,
                status,
                error,
                ..
            } => {
                (output.exit_code, output.status, output.error) = (exit_code, status, error);
            }
        }
    }
    Ok(output)
}

/// Runs a shell command to its end.
pub async fn run(client: &EnvdClient, script: &str) -> Output {
    collect(client.start(sh(script)).await.unwrap())
        .await
        .unwrap()
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in 5 s: {what}");
}

/// Whether a process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn cgroup2() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let found = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields[2] == "cgroup2");
    PathBuf::from(found.expect("a cgroup v2 hierarchy is mounted")[1])
}
