//! Hosts on other machines: joining, and a whole agent behind mutual TLS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use wrenn_control::{
    AgentAddress, AgentState, ControlPlane, DatabaseUrl, JoinRequest, Limits, NewSandbox,
    OpenError, Wait,
};
use wrenn_model::{ErrorKind, Fault};
use wrenn_pki::{HostName, Identity, Joining, Token};
use wrenn_testkit::agent::FakeAgent;

const HOUR: Duration = Duration::from_secs(3600);

async fn open(database: &DatabaseUrl, agent: AgentAddress) -> ControlPlane {
    let limits = Limits {
        sweep_every: HOUR,
        ..Limits::default()
    };
    ControlPlane::open(database, agent, limits).await.unwrap()
}

/// A control plane whose agent is nobody's business.
async fn alone(folder: &Path) -> ControlPlane {
    let agent = AgentAddress::Unix(folder.join("nobody.sock"));
    open(&common::database(folder), agent).await
}

fn joining(token: Token, names: &[&str]) -> Joining {
    let names: Vec<HostName> = names.iter().map(|name| name.parse().unwrap()).collect();
    Joining::new(token, &names).unwrap()
}

async fn join(plane: &ControlPlane, name: &str) -> Identity {
    let invited = plane.hosts().invite(HOUR).await.unwrap();
    let joining = joining(invited.token, &[name]);
    let answer = plane.hosts().join(joining.request()).await.unwrap();
    joining.complete(&answer).unwrap()
}

/// What stands on the agent's port.
struct Front(JoinSet<()>);

impl Front {
    /// It is gone with every connection, and the port is free.
    async fn end(mut self) {
        self.0.shutdown().await;
    }
}

/// The agent behind the socket, on a port, over TLS as this host; without an identity over nothing.
async fn front(port: u16, identity: Option<&Identity>, socket: PathBuf) -> Front {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(address).await.unwrap();
    let tls =
        identity.map(|identity| TlsAcceptor::from(Arc::new(identity.server_config().unwrap())));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(pass(stream, tls.clone(), socket.clone()));
        }
    });
    Front(serving)
}

async fn pass(mut stream: TcpStream, tls: Option<TlsAcceptor>, socket: PathBuf) {
    let mut inside = UnixStream::connect(socket).await.unwrap();
    let copied = match tls {
        Some(tls) => match tls.accept(stream).await {
            Ok(mut stream) => tokio::io::copy_bidirectional(&mut stream, &mut inside).await,
            Err(error) => Err(error),
        },
        None => tokio::io::copy_bidirectional(&mut stream, &mut inside).await,
    };
    drop(copied);
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

async fn create(plane: &ControlPlane) -> Result<(), Fault> {
    let created = plane
        .sandboxes()
        .create(NewSandbox::default(), Wait::Running)
        .await;
    created.map(drop)
}

/// Until the agent answers: that a connection has ended is noticed a moment later.
async fn ready(plane: &ControlPlane) {
    for _ in 0..200 {
        if plane.check().await.unwrap() == AgentState::Ready {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the agent is away");
}

#[tokio::test]
async fn an_agent_that_has_joined_is_served_over_tls_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let agent = FakeAgent::start(&socket).unwrap();
    let port = free_port().await;
    let address: AgentAddress = format!("tls:127.0.0.1:{port}").parse().unwrap();
    let database = common::database(folder.path());
    let plane = open(&database, address.clone()).await;
    assert_eq!(
        create(&plane).await.unwrap_err().kind,
        ErrorKind::Unavailable
    );

    let identity = join(&plane, "127.0.0.1").await;
    for round in 1..=2 {
        // The second time the agent has been started again in between.
        let front = front(port, Some(&identity), socket.clone()).await;
        ready(&plane).await;
        create(&plane).await.unwrap();
        assert_eq!(agent.count(), round);
        front.end().await;
    }

    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = join(&alone(elsewhere.path()).await, "127.0.0.1").await;
    let neighbour = join(&plane, "10.0.0.5").await;
    for (who, identity) in [
        ("of another control plane", Some(&stranger)),
        ("of another name", Some(&neighbour)),
        ("without TLS", None),
    ] {
        let front = front(port, identity, socket.clone()).await;
        // The first may have failed with a connection of before.
        for _ in 0..3 {
            let refused = create(&plane).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Unavailable, "{who}: {refused}");
        }
        front.end().await;
    }
    assert_eq!(agent.count(), 2);

    // The authority is the database's: a control plane that is started again knows its agents.
    plane.close().await;
    let plane = open(&database, address).await;
    let _front = front(port, Some(&identity), socket).await;
    ready(&plane).await;
    create(&plane).await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_once_whoever_comes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let plane = alone(folder.path()).await;
    let token = plane.hosts().invite(HOUR).await.unwrap().token;
    let mut joins = JoinSet::new();
    for number in 0..10 {
        let request = joining(token.clone(), &[&format!("10.0.0.{}", number + 1)])
            .request()
            .clone();
        let hosts = plane.hosts().clone();
        joins.spawn(async move { hosts.join(&request).await });
    }
    let outcomes = joins.join_all().await;
    let (joined, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(joined.len(), 1);
    for refused in refused {
        let fault = refused.unwrap_err();
        assert_eq!(fault.kind, ErrorKind::Forbidden);
        assert!(fault.remedy.contains("wrenn host invite"), "{fault:?}");
    }
}

#[tokio::test]
async fn what_proves_nothing_is_refused_and_uses_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let plane = alone(folder.path()).await;
    let token = plane.hosts().invite(HOUR).await.unwrap().token;
    let refused = async |request: &JoinRequest| plane.hosts().join(request).await.unwrap_err();

    let good = joining(token.clone(), &["10.0.0.5"]);
    let mut forged = good.request().clone();
    forged.names = vec!["10.0.0.6".into()];
    let mut guessed = joining(Token::random(), &["10.0.0.5"]).request().clone();
    guessed.token_id = token.id().to_owned();
    let unknown = joining(Token::random(), &["10.0.0.5"]).request().clone();
    let mut told = Vec::new();
    for request in [&forged, &guessed, &unknown] {
        let fault = refused(request).await;
        assert_eq!(fault.kind, ErrorKind::Unauthorized);
        told.push((fault.message, fault.remedy));
    }
    told.dedup();
    assert_eq!(
        told.len(),
        1,
        "which tokens there are is nobody's: {told:?}"
    );

    let nameless = joining(token, &[]);
    let fault = refused(nameless.request()).await;
    assert_eq!(fault.kind, ErrorKind::InvalidRequest, "{fault:?}");
    plane.hosts().join(good.request()).await.unwrap();

    let late = plane.hosts().invite(Duration::ZERO).await.unwrap();
    let fault = refused(joining(late.token, &["10.0.0.5"]).request()).await;
    assert_eq!(fault.kind, ErrorKind::Forbidden);
    assert!(fault.message.contains("expired"), "{fault:?}");
}

#[tokio::test]
async fn a_damaged_authority_is_no_reason_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = common::database(folder.path());
    let store = wrenn_store::Store::open(&database).await.unwrap();
    let damaged = wrenn_store::StoredAuthority {
        certificate: "nothing".into(),
        private_key: "nothing".into(),
    };
    store.insert_authority(&damaged, 1).await.unwrap();
    store.close().await;
    let agent = AgentAddress::Unix(folder.path().join("agent.sock"));
    let opened = ControlPlane::open(&database, agent, Limits::default()).await;
    assert!(matches!(opened, Err(OpenError::Certificates(_))));
}
