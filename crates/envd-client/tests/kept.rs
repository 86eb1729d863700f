//! How long a client keeps a connection that nobody uses.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use wrenn_envd_client::{Connector, EnvdClient, Stream};

const LIMIT: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);

/// Counts how often it is dialled.
#[derive(Debug, Default)]
struct Counted(Arc<AtomicUsize>);

impl Connector for Counted {
    fn connect(&self, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (here, there) = duplex(4096);
        tokio::spawn(serve(there));
        Box::pin(async move { Ok(Box::new(here) as Box<dyn Stream>) })
    }
}

/// Answers every request on one connection.
async fn serve(mut stream: DuplexStream) {
    let mut request = vec![0; 4096];
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        stream.write_all(b"HTTP/1.1 204 X\r\n\r\n").await.unwrap();
    }
}

/// How often the guest is dialled for two calls that are so far apart.
async fn dials(client: impl Fn(Arc<dyn Connector>) -> EnvdClient, apart: Duration) -> usize {
    let counted = Counted::default();
    let count = counted.0.clone();
    let client = client(Arc::new(counted));
    client.health(LIMIT).await.unwrap();
    tokio::time::sleep(apart).await;
    client.health(LIMIT).await.unwrap();
    count.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_a_while_or_for_as_long_as_is_said() {
    assert_eq!(dials(EnvdClient::new, Duration::from_secs(60)).await, 1);
    assert_eq!(dials(EnvdClient::new, HOUR).await, 2);
    let patient = |connector| EnvdClient::patient(connector, 2 * HOUR);
    assert_eq!(dials(patient, HOUR).await, 1);
    assert_eq!(dials(patient, 3 * HOUR).await, 2);
}
