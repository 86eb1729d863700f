//! Real sockets on the loopback.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use wrenn_pki::{Authority, HostName, Identity};
use wrenn_testkit::identity;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SOON: Duration = Duration::from_secs(2);

fn authority() -> Authority {
    Authority::new(SystemTime::now()).unwrap()
}

fn agent(authority: &Authority) -> Identity {
    identity::agent(authority, &["127.0.0.1"], SystemTime::now())
}

fn control_plane(authority: &Authority) -> ClientConfig {
    let identity = authority.identify_server(SystemTime::now(), DAY).unwrap();
    identity.client_config().unwrap()
}

/// A listener that says after everybody what they say.
async fn echo(data: &Path) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut listener = TlsListener::new(tcp, IdentityFile::of(data)).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await;
            tokio::spawn(async move {
                let (mut from, mut to) = tokio::io::split(connection);
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

/// Whether a word comes back.
async fn talk(address: SocketAddr, config: ClientConfig) -> io::Result<()> {
    let tcp = TcpStream::connect(address).await?;
    let name = "127.0.0.1".parse::<HostName>().unwrap().server_name();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    stream.write_all(b"ping").await?;
    let mut word = [0; 4];
    stream.read_exact(&mut word).await?;
    assert_eq!(&word, b"ping");
    Ok(())
}

/// What a peer that knows no better is told before it is hung up on.
async fn told(address: SocketAddr, says: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(says).await.unwrap();
    let mut heard = Vec::new();
    // A reset is an end like another.
    drop(timeout(SOON, tcp.read_to_end(&mut heard)).await.unwrap());
    heard
}

#[tokio::test]
async fn a_control_plane_of_the_same_authority_is_let_in_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(), authority());
    IdentityFile::of(dir.path()).write(&agent(&ours)).unwrap();
    let address = echo(dir.path()).await;
    talk(address, control_plane(&ours)).await.unwrap();

    let nameless = identity::nameless(control_plane(&ours));
    let mut other_protocol = control_plane(&ours);
    other_protocol.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut no_protocol = control_plane(&ours);
    no_protocol.alpn_protocols.clear();
    for (who, config) in [
        ("without a certificate", nameless),
        ("another authority's", control_plane(&theirs)),
        ("a stolen agent's", agent(&ours).client_config().unwrap()),
        ("of another protocol", other_protocol),
        ("of no protocol", no_protocol),
    ] {
        let met = timeout(SOON, talk(address, config)).await.unwrap();
        assert!(met.is_err(), "{who} is let in");
    }
    talk(address, control_plane(&ours)).await.unwrap();
}

#[tokio::test]
async fn neither_plain_tcp_nor_an_older_tls_is_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    IdentityFile::of(dir.path()).write(&agent(&ours)).unwrap();
    let address = echo(dir.path()).await;
    for plain in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        &[0xff; 64],
    ] {
        let heard = told(address, plain).await;
        // At the most an alert, which is no byte of what was said.
        assert!(heard.is_empty() || heard[0] == 21, "{heard:?}");
    }
    let heard = told(address, &client_hello_of_tls_1_2()).await;
    // An alert, fatal, protocol_version.
    assert_eq!(heard.last_chunk::<2>(), Some(&[2, 70]), "{heard:?}");
    talk(address, control_plane(&ours)).await.unwrap();
}

/// The least that a client of TLS 1.2 says: its random, one suite, no compression, the curve and the signature that it takes.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported groups: P-256
        0, 13, 0, 4, 0, 2, 4, 3, // signatures: ECDSA on P-256 with SHA-256
    ];
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    hello.extend([0, 16]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn who_stays_silent_holds_up_nobody_and_is_hung_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    IdentityFile::of(dir.path()).write(&agent(&ours)).unwrap();
    let address = echo(dir.path()).await;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES + 100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..3 {
        timeout(SOON, talk(address, control_plane(&ours)))
            .await
            .unwrap()
            .unwrap();
    }
    let hung_up = |limit, mut tcp: TcpStream| async move {
        let ended = timeout(limit, tcp.read_u8()).await;
        assert!(ended.unwrap().is_err());
    };
    // The oldest at once, the last when its time is over.
    let last = silent.pop().unwrap();
    hung_up(SOON, silent.remove(0)).await;
    hung_up(HANDSHAKE_LIMIT + SOON, last).await;
}

#[tokio::test]
async fn a_host_that_joins_again_needs_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (authority(), authority());
    let file = IdentityFile::of(dir.path());
    file.write(&agent(&first)).unwrap();
    let address = echo(dir.path()).await;
    talk(address, control_plane(&first)).await.unwrap();
    file.write(&agent(&second)).unwrap();
    talk(address, control_plane(&second)).await.unwrap();
    assert!(talk(address, control_plane(&first)).await.is_err());
    // What is no identity, or is gone, changes nothing.
    std::fs::write(file.path(), "nothing").unwrap();
    talk(address, control_plane(&second)).await.unwrap();
    std::fs::remove_file(file.path()).unwrap();
    talk(address, control_plane(&second)).await.unwrap();
}

#[tokio::test]
async fn the_identity_is_roots_alone_and_its_absence_has_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/data");
    let file = IdentityFile::of(&data);
    let listen = async || {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        TlsListener::new(tcp, IdentityFile::of(&data))
    };
    assert!(matches!(
        listen().await,
        Err(TlsError::NotJoined { path }) if path == file.path()
    ));
    file.write(&agent(&authority())).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file.path()), 0o600);
    assert_eq!((mode(&data.join("tls")), mode(&data)), (0o700, 0o700));
    listen().await.unwrap();
    std::fs::write(file.path(), "nothing").unwrap();
    assert!(matches!(listen().await, Err(TlsError::Damaged { .. })));
}
