//! Agent and control plane as if on two machines: joined by a token, over mutual TLS.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use wrenn_client::Client;
use wrenn_client::api::AgentHealth;
use wrenn_pki::{HostName, Identity};
use wrenn_testkit::identity::nameless;

use crate::apart::{breaks, count, counts_on};
use crate::harness::{Apart, TestSandbox, shell, until, wrenn};

/// How long a word may take on the loopback.
const SOON: Duration = Duration::from_secs(10);
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

async fn ready(client: &Client) {
    until("the agent", Duration::from_secs(30), || async {
        let health = client.health().await.unwrap();
        (health.agent == AgentHealth::Ready).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_joins_and_either_half_ends_and_comes_back() {
    let port = free_port();
    let mut apart = Apart::over_tls(port);
    let data = apart.data();
    let unjoined = wrenn(&data)
        .args(["agent", "--listen-tls", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8(unjoined.stderr).unwrap();
    assert!(
        !unjoined.status.success() && said.contains("`wrenn agent join`"),
        "{said}"
    );

    apart.start_server();
    let token = apart.invite();
    let joined = apart.join(&token);
    assert!(joined.status.success(), "{joined:?}");
    let again = apart.join(&token);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success(), "{said}");
    assert!(said.contains("joined with this token already"), "{said}");
    assert!(said.contains("`wrenn host invite`"), "{said}");

    apart.start_agent();
    let client = apart.client();
    ready(&client).await;
    let sandbox = TestSandbox::create(&client).await;
    let boot = sandbox.sh(BOOT_ID).await;
    let (pid, events) = count(&client, &sandbox).await;

    apart.kill_agent();
    breaks(events).await;
    let refused = sandbox.exec(&shell("true")).await.unwrap_err();
    assert!(
        refused.api().is_some_and(|told| told.retryable),
        "{refused}"
    );
    // In between the host joins again, under a certificate that the same control plane gives.
    assert!(apart.join(&apart.invite()).status.success());
    apart.start_agent();
    assert_eq!(sandbox.sh(BOOT_ID).await, boot);
    counts_on(&client, &sandbox, pid).await;

    let (_, events) = count(&client, &sandbox).await;
    apart.kill_server();
    breaks(events).await;
    apart.start_server();
    let client = apart.client();
    counts_on(&client, &sandbox, pid).await;

    strangers_get_nothing(&data, port).await;
    counts_on(&client, &sandbox, pid).await;
    assert!(client.delete_sandbox(&sandbox.id).await.unwrap());
}

/// Whoever has read the agent's own identity is a host, and no control plane.
async fn strangers_get_nothing(data: &std::path::Path, port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stolen = fs::read_to_string(data.join("tls/identity.pem")).unwrap();
    let stolen = Identity::from_pem(&stolen).unwrap();
    let stolen = || stolen.client_config().unwrap();
    for (who, config) in [
        ("without a certificate", Some(nameless(stolen()))),
        ("with a host's certificate", Some(stolen())),
        ("without TLS", None),
    ] {
        let heard = tokio::time::timeout(SOON, ask(address, config)).await;
        // At the most an alert in plain TLS.
        let heard = heard.unwrap().unwrap_or_default();
        assert!(heard.is_empty() || heard[0] == 21, "{who}: {heard:?}");
    }
}

/// Asks what the host is, and reads until the other side hangs up.
async fn ask(address: SocketAddr, tls: Option<ClientConfig>) -> io::Result<Vec<u8>> {
    const ASK: &[u8] = b"POST /hostagent.v1.HostAgentService/Health HTTP/1.1\r\nhost: agent\r\n\
        content-type: application/json\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    let mut tcp = TcpStream::connect(address).await?;
    let mut heard = Vec::new();
    let Some(tls) = tls else {
        tcp.write_all(ASK).await?;
        tcp.read_to_end(&mut heard).await?;
        return Ok(heard);
    };
    let name = "127.0.0.1".parse::<HostName>().unwrap().server_name();
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
    stream.write_all(ASK).await?;
    stream.read_to_end(&mut heard).await?;
    Ok(heard)
}
