//! What the control plane costs on top of an agent that does nothing: `cargo run --release -p wrenn-http --example
//! measure`. Agent, server and client are one process here, so that its memory bounds the server's.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request};
use http_body_util::{BodyExt as _, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wrenn_control::{ApiKey, ControlPlane, Limits, NewSandbox, Wait};
use wrenn_testkit::agent::FakeAgent;

const MIB: usize = 256;
const HEAD: &str = "--b\r\ncontent-disposition: form-data; name=\"path\"\r\n\r\n/null\r\n--b\r\n\
                    content-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("agent.sock");
    let _agent = FakeAgent::start(&socket)?;
    let control =
        ControlPlane::open(&folder.path().join("wrenn.db"), &socket, Limits::default()).await?;
    let key = ApiKey::random();
    control.keys().register("measure", &key).await?;
    let made = control
        .sandboxes()
        .create(NewSandbox::default(), Wait::Running)
        .await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}/v1/sandboxes/{}", listener.local_addr()?, made.id);
    let closing = CancellationToken::new();
    tokio::spawn(wrenn_http::serve(
        listener,
        wrenn_http::router(control.clone(), closing.clone()),
        closing,
    ));
    let client =
        Client::builder(TokioExecutor::new()).build_http::<BoxBody<Bytes, std::io::Error>>();
    let call = async |path: &str, kind: &str, chunks: Vec<Bytes>| {
        let frames = stream::iter(chunks.into_iter().map(|chunk| Ok(Frame::data(chunk))));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{base}/{path}"))
            .header("x-api-key", key.reveal())
            .header("content-type", kind)
            .body(BoxBody::new(StreamBody::new(frames)))?;
        let answer = client.request(request).await?;
        let status = answer.status();
        let (mut length, mut body) = (0, answer.into_body());
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok::<_, Box<dyn Error>>((status, length))
    };

    let mut times = Vec::new();
    for _ in 0..2000 {
        let begun = Instant::now();
        call(
            "exec",
            "application/json",
            vec![Bytes::from_static(br#"{"cmd":"true"}"#)],
        )
        .await?;
        times.push(begun.elapsed());
    }
    report("exec over HTTP", &mut times);
    for _ in 0..2000 {
        let begun = Instant::now();
        control.sandboxes().ping(&made.id).await?;
        times.push(begun.elapsed());
    }
    report("ping, database and RPC alone", &mut times);

    let before = peak_kib()?;
    let part = Bytes::from(vec![0; 64 * 1024]);
    for _ in 0..3 {
        let begun = Instant::now();
        let (status, length) = call(
            "files/stream/read",
            "application/json",
            vec![format!(r#"{{"path":"/zeros/{MIB}"}}"#).into()],
        )
        .await?;
        println!(
            "read {status} {} MiB: {:.0} MiB/s",
            length >> 20,
            rate(begun)
        );
        let begun = Instant::now();
        let mut form = vec![Bytes::from_static(HEAD.as_bytes())];
        form.extend(std::iter::repeat_n(part.clone(), MIB * 16));
        form.push(Bytes::from_static(b"\r\n--b--\r\n"));
        let (status, _) = call(
            "files/stream/write",
            "multipart/form-data; boundary=b",
            form,
        )
        .await?;
        println!("write {status} {MIB} MiB: {:.0} MiB/s", rate(begun));
    }
    println!(
        "memory: {:.1} MiB more at the most",
        f64::from(peak_kib()? - before) / 1024.0
    );
    Ok(())
}

fn rate(begun: Instant) -> f64 {
    256.0 / begun.elapsed().as_secs_f64()
}

fn report(what: &str, times: &mut Vec<Duration>) {
    times.sort();
    println!(
        "{what}: p50 {:?}, p95 {:?}",
        times[times.len() / 2],
        times[times.len() * 95 / 100]
    );
    times.clear();
}

/// The most memory this process has had, in KiB.
fn peak_kib() -> Result<u32, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}
