//! A guest that begins another life: what it keeps of the one before, and what not.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Agent, KEY, TOKEN, collect, eventually, first_init, is_alive, run, sh};
use futures::future::BoxFuture;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wrenn_envd_client::{
    Connector, EnvdClient, Error, InitRequest, ProcessEvent, ProcessStream, RefusedCode, Start,
    Stream,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a guest's next life begins with.
fn renewal(token: &str, key: &str) -> InitRequest {
    InitRequest {
        renew: true,
        access_token: Some(token.into()),
        next_init_key: Some(key.into()),
        ..InitRequest::default()
    }
}

fn variable(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

async fn pid(stream: &mut ProcessStream) -> u32 {
    match stream.next().await.unwrap() {
        Some(ProcessEvent::Start { pid }) => pid,
        other => panic!("no start event: {other:?}"),
    }
}

/// A raw answer to `request`, with its body.
async fn raw(agent: &Agent, request: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(agent.address).await.unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
         x-access-token: {token}\r\n\r\n{{}}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn nothing_of_the_former_life_is_told() {
    let agent = Agent::start();
    let former = InitRequest {
        env_vars: Some(variable("OF_ALL", "former-secret")),
        default_workdir: Some("/usr".to_owned()),
        ..first_init()
    };
    agent.client().init(&former, None).await.unwrap();
    let old = agent.client().with_token(TOKEN.to_owned());
    let start = Start {
        envs: variable("OF_ONE", "former-secret"),
        ..sh("sleep 60")
    };
    let mut stream = old.start(start).await.unwrap();
    let pid = pid(&mut stream).await;
    assert!(
        raw(&agent, "POST /process.Process/List", TOKEN)
            .await
            .contains("former-secret")
    );

    let client = agent.client();
    for (incomplete, key, code) in [
        (renewal("new", ""), KEY, RefusedCode::InvalidArgument),
        (renewal("", "next"), KEY, RefusedCode::InvalidArgument),
        (
            renewal("new", "next"),
            "wrong",
            RefusedCode::Unauthenticated,
        ),
    ] {
        let refused = client.init(&incomplete, Some(key)).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { code: told, .. } if told == code));
    }
    client
        .init(&renewal("new", "next"), Some(KEY))
        .await
        .unwrap();

    let broken = tokio::time::timeout(SECOND, collect(stream)).await;
    assert!(broken.unwrap().is_err(), "the stream breaks off");
    let list = raw(&agent, "POST /process.Process/List", "new").await;
    assert!(
        list.contains(&pid.to_string()) && list.contains("sleep 60"),
        "{list}"
    );
    assert!(
        !list.contains("OF_ONE") && !list.contains("former-secret"),
        "{list}"
    );
    assert!(raw(&agent, "GET /envs", "new").await.ends_with("\r\n{}"));
    let new = client.with_token("new".to_owned());
    let told = run(
        &new,
        "pwd; echo $WRENN_SANDBOX_ID,$WRENN_TEMPLATE_ID,$OF_ALL",
    )
    .await;
    assert_eq!(told.text(), "/root\n,,\n");

    // The command is not a call: it has what it had, and is taken up by its number.
    assert!(is_alive(pid));
    let mut taken_up = new.connect(pid).await.unwrap();
    assert_eq!(
        taken_up.next().await.unwrap(),
        Some(ProcessEvent::Start { pid })
    );
    new.signal(pid, 9).await.unwrap();
    assert_eq!(collect(taken_up).await.unwrap().exit_code, 137);
}

#[tokio::test]
async fn another_life_with_the_same_token_ends_what_was_begun() {
    let (agent, client) = Agent::initialised().await;
    let mut stream = client.start(sh("sleep 60")).await.unwrap();
    let pid = pid(&mut stream).await;
    let next = InitRequest {
        env_vars: Some(variable("OF_ALL", "new")),
        ..renewal(TOKEN, "next")
    };
    agent.client().init(&next, Some(KEY)).await.unwrap();
    let broken = tokio::time::timeout(SECOND, collect(stream)).await;
    assert!(broken.unwrap().is_err(), "the stream breaks off");
    assert!(is_alive(pid));
    assert_eq!(run(&client, "echo $OF_ALL").await.text(), "new\n");
}

/// A client whose connections can be reset, as those of a clone are by a host that never had them.
#[derive(Debug, Clone)]
struct Resettable {
    address: SocketAddr,
    made: Arc<Mutex<Vec<std::net::TcpStream>>>,
}

impl Connector for Resettable {
    fn connect(&self, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let own = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(own.address).await?.into_std()?;
            // What is closed is reset.
            sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            own.made.lock().unwrap().push(stream.try_clone()?);
            Ok(Box::new(TcpStream::from_std(stream)?) as Box<dyn Stream>)
        })
    }
}

#[tokio::test]
async fn a_reset_connection_takes_no_command_along() {
    let (agent, client) = Agent::initialised().await;
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    // It writes all the time, so that the reset is met in the middle of its output.
    let script = format!(
        "i=0; while :; do i=$((i+1)); head -c 70000 /dev/zero; echo $i > {0}.new; mv {0}.new {0}; done",
        count.display()
    );
    let resettable = Resettable {
        address: agent.address,
        made: Arc::default(),
    };
    let caller = EnvdClient::new(Arc::new(resettable.clone())).with_token(TOKEN.to_owned());
    let mut stream = caller.start(sh(&script)).await.unwrap();
    let pid = pid(&mut stream).await;
    let counted = || -> u64 {
        let text = std::fs::read_to_string(&count).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    drop((stream, caller));
    resettable.made.lock().unwrap().clear();
    let stood_at = counted();
    eventually("it goes on", || counted() > stood_at + 10).await;
    let mut stream = client.connect(pid).await.unwrap();
    assert_eq!(
        stream.next().await.unwrap(),
        Some(ProcessEvent::Start { pid })
    );
    client.signal(pid, 9).await.unwrap();
    assert_eq!(collect(stream).await.unwrap().exit_code, 137);
}
