//! What a guest goes through when it comes back from a pause: another token, the right time, and connections whose other
//! side no longer exists.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use common::{Agent, KEY, TOKEN, collect, eventually, first_init, is_alive, run, sh};
use futures::StreamExt;
use futures::future::BoxFuture;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use wrenn_envd_api::Timestamp;
use wrenn_envd_client::{
    Connector, EnvdClient, Error, InitRequest, ProcessEvent, ProcessStream, RefusedCode, Stream,
};

const SECOND: Duration = Duration::from_secs(1);

/// A client whose connections can vanish, as they do when the host's side of a guest is made anew.
#[derive(Debug, Clone)]
struct Mortal {
    address: SocketAddr,
    /// The second descriptor of each connection, and its port on this side.
    made: Arc<Mutex<Vec<(OwnedFd, u16)>>>,
}

impl Connector for Mortal {
    fn connect(&self, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let own = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(own.address).await?.into_std()?;
            let port = stream.local_addr()?.port();
            own.made
                .lock()
                .unwrap()
                .push((stream.try_clone()?.into(), port));
            Ok(Box::new(TcpStream::from_std(stream)?) as Box<dyn Stream>)
        })
    }
}

impl Mortal {
    fn new(agent: &Agent) -> Self {
        Self {
            address: agent.address,
            made: Arc::default(),
        }
    }

    fn client(&self) -> EnvdClient {
        EnvdClient::new(Arc::new(self.clone())).with_token(TOKEN.to_owned())
    }

    /// Forgets every connection without a packet: a socket under repair leaves in silence. Gives their ports.
    fn vanish(&self, stream: ProcessStream) -> Vec<u16> {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        for (socket, _) in &made {
            setsockopt(socket, sockopt::TcpRepair, &1).unwrap();
            rustix::net::connect_unspec(socket).unwrap();
        }
        drop(stream);
        made.into_iter().map(|(_, port)| port).collect()
    }
}

/// The agent's side of the connection from `port`, while it is open: which timer runs, and for how much longer.
fn timer(agent: &Agent, port: u16) -> Option<(String, Duration)> {
    let ends = (
        format!(":{:04X}", agent.address.port()),
        format!(":{port:04X}"),
    );
    let tcp = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = tcp
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let fields = lines.find(|fields| {
        fields[1].ends_with(&ends.0) && fields[2].ends_with(&ends.1) && fields[3] == "01"
    })?;
    let (kind, ticks) = fields[5].split_once(':').unwrap();
    let left = Duration::from_millis(u64::from_str_radix(ticks, 16).unwrap() * 10);
    Some((kind.to_owned(), left))
}

async fn pid(stream: &mut ProcessStream) -> u32 {
    match stream.next().await.unwrap() {
        Some(ProcessEvent::Start { pid }) => pid,
        other => panic!("no start event: {other:?}"),
    }
}

/// What the host sends after a restore.
fn again(token: &str) -> InitRequest {
    InitRequest {
        access_token: Some(token.into()),
        next_init_key: Some("next".into()),
        ..InitRequest::default()
    }
}

fn is_unauthenticated<T>(result: &Result<T, Error>) -> bool {
    matches!(
        result,
        Err(Error::Refused {
            code: RefusedCode::Unauthenticated,
            ..
        })
    )
}

#[tokio::test]
async fn every_init_says_what_the_clock_says() {
    let agent = Agent::start();
    let client = agent.client();
    let small = InitRequest {
        timestamp: Some(Timestamp {
            seconds: 1_700_000_000,
            ..Timestamp::default()
        }),
        ..InitRequest::default()
    };
    for (request, key) in [
        (first_init(), None),
        (small.clone(), Some(KEY)),
        (small, Some(KEY)),
    ] {
        let before = SystemTime::now();
        let told = client
            .init(&request, key)
            .await
            .unwrap()
            .guest_time
            .unwrap();
        assert!(before <= told && told <= SystemTime::now(), "{told:?}");
    }
    // An init of nothing but the time changes neither token nor key.
    let client = client.with_token(TOKEN.to_owned());
    assert_eq!(
        run(&client, "echo $WRENN_SANDBOX_ID").await.text(),
        "sb-test\n"
    );
}

#[tokio::test]
async fn a_small_init_is_cheap() {
    let (agent, _client) = Agent::initialised().await;
    let client = agent.client();
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        client
            .init(&InitRequest::default(), Some(KEY))
            .await
            .unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    eprintln!("a small init: p50 {:?}, p95 {:?}", took[25], took[47]);
    assert!(took[25] < Duration::from_millis(20), "{took:?}");
}

#[tokio::test]
async fn everything_is_written_back() {
    let (_agent, client) = Agent::initialised().await;
    client.sync(60 * SECOND).await.unwrap();
}

#[tokio::test]
async fn a_new_token_ends_what_was_begun_with_the_old_one() {
    let (agent, old) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("upload");
    let mut quiet = old.start(sh("sleep 60")).await.unwrap();
    let quiet_pid = pid(&mut quiet).await;
    let mut noisy = old.start(sh("exec yes")).await.unwrap();
    let noisy_pid = pid(&mut noisy).await;
    let endless =
        futures::stream::repeat_with(|| Ok(Bytes::from_static(b"x"))).then(async |piece| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            piece
        });
    let upload = tokio::spawn({
        let (old, path) = (old.clone(), path.to_str().unwrap().to_owned());
        async move { old.write_file(&path, None, Box::pin(endless)).await }
    });
    tokio::time::sleep(SECOND / 4).await;
    assert!(!upload.is_finished());

    let client = agent.client();
    client.init(&again("new"), Some(KEY)).await.unwrap();
    assert!(is_unauthenticated(&old.processes().await));
    assert!(is_unauthenticated(&old.start(sh("true")).await));
    for (name, stream) in [("quiet", quiet), ("noisy", noisy)] {
        let broken = tokio::time::timeout(SECOND, collect(stream)).await;
        assert!(broken.unwrap().is_err(), "the {name} stream breaks off");
    }
    let refused = tokio::time::timeout(2 * SECOND, upload).await.unwrap();
    assert!(refused.unwrap().is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    // Commands are not calls.
    let client = client.with_token("new".to_owned());
    for pid in [quiet_pid, noisy_pid] {
        assert!(is_alive(pid));
        let mut stream = client.connect(pid).await.unwrap();
        assert_eq!(
            stream.next().await.unwrap(),
            Some(ProcessEvent::Start { pid })
        );
    }
    client.signal(noisy_pid, 9).await.unwrap();
}

#[tokio::test]
async fn an_init_that_keeps_the_token_ends_nothing() {
    let (agent, client) = Agent::initialised().await;
    let stream = client.start(sh("sleep 0.5; echo done")).await.unwrap();
    agent.client().init(&again(TOKEN), Some(KEY)).await.unwrap();
    assert_eq!(collect(stream).await.unwrap().text(), "done\n");
}

#[tokio::test]
async fn a_silent_connection_is_asked_for_a_sign_of_life() {
    let (agent, _client) = Agent::initialised().await;
    let mortal = Mortal::new(&agent);
    let mut stream = mortal.client().start(sh("sleep 60")).await.unwrap();
    let pid = pid(&mut stream).await;
    tokio::time::sleep(SECOND / 4).await;
    let ports = mortal.vanish(stream);
    tokio::time::sleep(SECOND).await;
    let (kind, left) = timer(&agent, ports[0]).expect("nobody told the agent");
    assert_eq!(kind, "02", "the timer of keepalive");
    assert!(left <= 15 * SECOND, "{left:?}");
    let began = Instant::now();
    while timer(&agent, ports[0]).is_some() {
        assert!(began.elapsed() < 35 * SECOND, "the connection is kept");
        tokio::time::sleep(SECOND / 4).await;
    }
    assert!(is_alive(pid), "the command goes on");
}

#[tokio::test]
async fn a_vanished_caller_is_forgotten_with_its_token() {
    let (agent, _client) = Agent::initialised().await;
    let mortal = Mortal::new(&agent);
    let mut stream = mortal.client().start(sh("sleep 60")).await.unwrap();
    pid(&mut stream).await;
    let ports = mortal.vanish(stream);
    tokio::time::sleep(SECOND).await;
    assert!(timer(&agent, ports[0]).is_some(), "nobody told the agent");
    agent.client().init(&again("new"), Some(KEY)).await.unwrap();
    eventually("its connection is closed", || {
        timer(&agent, ports[0]).is_none()
    })
    .await;
}

#[tokio::test]
async fn a_command_whose_caller_vanished_goes_on_and_is_taken_up_again() {
    let (agent, client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    // A pipe's worth of output at each step: it would stand still if its output went nowhere.
    let script = format!(
        "i=0; while :; do i=$((i+1)); head -c 70000 /dev/zero; echo $i > {0}.new; mv {0}.new {0}; done",
        count.display()
    );
    let mortal = Mortal::new(&agent);
    let mut stream = mortal.client().start(sh(&script)).await.unwrap();
    let pid = pid(&mut stream).await;
    let counted = || -> u64 {
        let text = std::fs::read_to_string(&count).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    // Its unread output holds it back.
    let mut stands_at = None;
    while stands_at != Some(counted()) {
        stands_at = Some(counted());
        tokio::time::sleep(SECOND / 2).await;
    }
    mortal.vanish(stream);
    agent.client().init(&again("new"), Some(KEY)).await.unwrap();
    let stood_at = stands_at.unwrap();
    eventually("it goes on", || counted() > stood_at + 10).await;
    let client = client.with_token("new".to_owned());
    let mut stream = client.connect(pid).await.unwrap();
    assert_eq!(
        stream.next().await.unwrap(),
        Some(ProcessEvent::Start { pid })
    );
    assert!(matches!(
        stream.next().await.unwrap(),
        Some(ProcessEvent::Stdout(_))
    ));
    client.signal(pid, 9).await.unwrap();
    assert_eq!(collect(stream).await.unwrap().exit_code, 137);
}
