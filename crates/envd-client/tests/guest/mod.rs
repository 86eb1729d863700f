//! A guest whose agent was taken over, in this process: it answers every call with the same bytes, whatever they are.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its own part; a helper that fails is a test that fails"
)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wrenn_envd_client::{Connector, EnvdClient, Error, Start, Stream};

/// The head of a well-formed stream answer.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/connect+proto\r\nconnection: close\r\n\r\n";
/// The head of a well-formed answer of unknown length.
pub(crate) const PLAIN: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";

/// The head of a well-formed answer of unknown length to a call that is no stream.
pub(crate) const UNARY: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\nconnection: close\r\n\r\n";

/// Answers every connection's first request with the same bytes, then with more of them for as long as they are taken.
#[derive(Debug)]
pub(crate) struct Guest {
    address: SocketAddr,
    sent: Arc<AtomicUsize>,
}

impl Guest {
    pub(crate) async fn answering(first: Vec<u8>, then: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(
                    stream,
                    first.clone(),
                    then.clone(),
                    Arc::clone(&counter),
                ));
            }
        });
        Self { address, sent }
    }

    pub(crate) fn client(&self) -> EnvdClient {
        EnvdClient::new(Arc::new(Loopback(self.address)))
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn answer(mut stream: TcpStream, first: Vec<u8>, then: Vec<u8>, sent: Arc<AtomicUsize>) {
    let mut request = vec![0; 64 << 10];
    if stream.read(&mut request).await.is_err() || stream.write_all(&first).await.is_err() {
        return;
    }
    while !then.is_empty() && stream.write_all(&then).await.is_ok() {
        sent.fetch_add(then.len(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Loopback(pub(crate) SocketAddr);

impl Connector for Loopback {
    fn connect(&self, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let address = self.0;
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Stream>) })
    }
}

/// One message of a stream, with its prefix.
pub(crate) fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flags][..], &length, message].concat()
}

/// A start event: `StartResponse { event { start { pid: 7 } } }`.
pub(crate) fn started() -> Vec<u8> {
    frame(0, &[0x0a, 0x04, 0x0a, 0x02, 0x08, 0x07])
}

pub(crate) fn true_() -> Start {
    Start {
        cmd: "true".to_owned(),
        ..Start::default()
    }
}

/// Starts a command and reads until something is wrong.
pub(crate) async fn follow(guest: &Guest) -> Error {
    let mut stream = match guest.client().start(true_()).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a good end"),
            Err(error) => {
                assert!(
                    matches!(stream.next().await, Ok(None)),
                    "nothing follows an error"
                );
                return error;
            }
        }
    }
}
