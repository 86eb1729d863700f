//! A large file up and down: through the API, and to a few lines of Python in the same guest that write and read the
//! same file.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wrenn_client::ExecEvent;
use wrenn_client::api::{Sandbox, StartCommand};

use super::Bench;
use super::figures::{Figure, Samples};
use super::goal::Goal;
use super::server_memory::Watch;

/// How much goes up and down, in bytes.
const SIZE: usize = 256 << 20;
const CHUNK: usize = 256 << 10;
const PORT: u16 = 9417;
/// The minimal receiver: one byte says the direction.
const RECEIVER: &str = r#"
import socket
server = socket.create_server(("0.0.0.0", 9417))
print("ready", flush=True)
buffer = bytearray(1 << 20)
view = memoryview(buffer)
while True:
    caller, _ = server.accept()
    if caller.recv(1) == b"u":
        with open("/root/by-hand", "wb", buffering=0) as file:
            while read := caller.recv_into(buffer):
                file.write(view[:read])
        caller.sendall(b"k")
    else:
        with open("/root/by-hand", "rb", buffering=0) as file:
            while read := file.readinto(buffer):
                caller.sendall(view[:read])
    caller.close()
"#;

/// The figures of both directions, and of the server's memory.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let [mut up, mut down, mut hand_up, mut hand_down, mut memory] = <[Samples; 5]>::default();
    bench
        .with_sandbox(async |sandbox| {
            // Dropping it at the end ends the receiver.
            let _receiver = if bench.hand.is_some() {
                Some(receiver(bench, sandbox).await?)
            } else {
                None
            };
            for round in 0..bench.rounds {
                bench.round("transfer", round);
                let watch = Watch::begin(&bench.data);
                up.push(rate(upload(bench, sandbox)).await?);
                down.push(rate(download(bench, sandbox)).await?);
                if let Some(watch) = watch {
                    memory.push(watch.end());
                }
                if bench.hand.is_some() {
                    hand_up.push(rate(upload_by_hand(sandbox)).await?);
                    hand_down.push(rate(download_by_hand(sandbox)).await?);
                }
            }
            Ok(())
        })
        .await?;
    let none = Samples::default();
    Ok(vec![
        Figure::new(
            "256 MiB up",
            "MiB/s",
            Goal::RatioAtLeast(0.8),
            &up,
            &hand_up,
        ),
        Figure::new(
            "256 MiB down",
            "MiB/s",
            Goal::RatioAtLeast(0.8),
            &down,
            &hand_down,
        ),
        Figure::new("server's growth", "MiB", Goal::Below(32.0), &memory, &none),
    ])
}

/// MiB a second.
async fn rate(work: impl Future<Output = Result<()>>) -> Result<f64> {
    let begun = Instant::now();
    work.await?;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let mib = (SIZE >> 20) as f64;
    Ok(mib / begun.elapsed().as_secs_f64())
}

async fn upload(bench: &Bench, sandbox: &Sandbox) -> Result<()> {
    let chunk = Bytes::from(vec![0xa5; CHUNK]);
    let content = stream::iter(std::iter::repeat_n(
        Ok::<_, Infallible>(chunk),
        SIZE / CHUNK,
    ));
    Ok(bench
        .client
        .write_file(&sandbox.id, "/root/wrenn", content)
        .await?)
}

async fn download(bench: &Bench, sandbox: &Sandbox) -> Result<()> {
    let mut content = bench.client.read_file(&sandbox.id, "/root/wrenn").await?;
    let mut read = 0;
    while let Some(chunk) = content.next().await {
        read += chunk?.len();
    }
    ensure!(read == SIZE, "{read} bytes came back");
    Ok(())
}

/// Starts the receiver in the guest; it lives as long as what this gives.
async fn receiver(bench: &Bench, sandbox: &Sandbox) -> Result<impl Sized + use<>> {
    let command = StartCommand {
        cmd: "python3".to_owned(),
        args: vec!["-c".to_owned(), RECEIVER.to_owned()],
        ..Default::default()
    };
    let (control, mut events) = bench.client.exec_stream(&sandbox.id, &command).await?;
    let ready = async {
        loop {
            match events.next().await? {
                ExecEvent::Stdout(_) => return Ok(()),
                ExecEvent::Start { .. } => {}
                other => anyhow::bail!("the receiver does not start: {other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ready)
        .await
        .context("the receiver does not start")??;
    Ok((control, events))
}

async fn connect(sandbox: &Sandbox) -> Result<TcpStream> {
    let address = sandbox
        .host_ip
        .as_deref()
        .context("the sandbox has no address")?;
    let stream = TcpStream::connect((address, PORT))
        .await
        .context("the receiver cannot be reached")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn upload_by_hand(sandbox: &Sandbox) -> Result<()> {
    let mut stream = connect(sandbox).await?;
    stream.write_all(b"u").await?;
    let chunk = vec![0xa5; CHUNK];
    for _ in 0..SIZE / CHUNK {
        stream.write_all(&chunk).await?;
    }
    stream.shutdown().await?;
    ensure!(
        stream.read_u8().await? == b'k',
        "the receiver did not take it"
    );
    Ok(())
}

async fn download_by_hand(sandbox: &Sandbox) -> Result<()> {
    let mut stream = connect(sandbox).await?;
    stream.write_all(b"d").await?;
    let mut buffer = vec![0; CHUNK];
    let mut left = SIZE;
    while left > 0 {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0 && read <= left, "the receiver sent another size");
        left -= read;
    }
    Ok(())
}
