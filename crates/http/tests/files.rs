//! Files over HTTP: forms in every order, large ones, broken ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::{Bench, form};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn what_is_written_is_read_by_both_routes() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    for (n, (route, parts)) in [
        ("files/write", [("path", &b"/f0"[..]), ("file", &content)]),
        ("files/write", [("file", &content), ("path", b"/f1")]),
        ("files/stream/write", [("path", b"/f2"), ("file", &content)]),
    ]
    .into_iter()
    .enumerate()
    {
        let written = bench
            .form(&format!("/v1/sandboxes/{id}/{route}"), &parts)
            .await;
        assert_eq!(written.status, StatusCode::NO_CONTENT, "{:?}", written.body);
        for route in ["files/read", "files/stream/read"] {
            let read = bench
                .post(
                    &format!("/v1/sandboxes/{id}/{route}"),
                    &format!(r#"{{"path":"/f{n}"}}"#),
                )
                .await;
            assert_eq!(read.headers["content-type"], "application/octet-stream");
            assert!(read.body == content, "{route}");
        }
    }
    let empty = bench
        .form(
            &format!("/v1/sandboxes/{id}/files/write"),
            &[("path", b"/empty"), ("file", b"")],
        )
        .await;
    assert_eq!(empty.status, StatusCode::NO_CONTENT);
    let read = bench
        .post(
            &format!("/v1/sandboxes/{id}/files/read"),
            r#"{"path":"/empty"}"#,
        )
        .await;
    assert_eq!((read.status, read.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_form_out_of_order_is_refused_and_the_old_file_stays() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let whole = format!("/v1/sandboxes/{id}/files/write");
    let stream = format!("/v1/sandboxes/{id}/files/stream/write");
    assert_eq!(
        bench
            .form(&whole, &[("path", b"/f"), ("file", b"old")])
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    bench
        .form(&stream, &[("file", b"new"), ("path", b"/f")])
        .await
        .refused(400, "invalid_request");
    for route in [&whole, &stream] {
        for parts in [
            &[("path", &b"/f"[..])][..],
            &[("file", b"new")],
            &[("path", b"f"), ("file", b"new")],
            &[("path", b"/f\0"), ("file", b"new")],
            &[("path", b"\xff"), ("file", b"new")],
            &[("path", b"/f"), ("path", b"/g"), ("file", b"new")],
            &[("path", b"/f"), ("file", b"new"), ("file", b"more")],
            &[("path", b"/f"), ("file", b"new"), ("user", b"root")],
            &[("path", b"/f"), ("file", b"new"), ("mode", b"0644")],
            &[("path", b"/f"), ("user", b"a:b"), ("file", b"new")],
            &[("path", b"/tmp"), ("file", b"new")],
            &[("path", &[b'/'; 5000]), ("file", b"new")],
        ] {
            bench
                .form(route, parts)
                .await
                .refused(400, "invalid_request");
        }
        let request = bench
            .request(Method::POST, route)
            .header("content-type", "application/json");
        bench
            .send(request, "{}")
            .await
            .refused(400, "invalid_request");
    }
    assert_eq!(bench.agent.file(&id, "/f").unwrap(), "old");
    assert_eq!(bench.agent.file(&id, "/g"), None);
}

/// Sends a form of this length without having it in memory, as far as the server takes it.
async fn flood(bench: &Bench, path: &str, length: usize, parts_first: &[(&str, &[u8])]) -> String {
    let mut head = form(parts_first);
    head.truncate(head.len() - b"--frontier--\r\n".len());
    head.extend(
        b"--frontier\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
    );
    let tail = b"\r\n--frontier--\r\n";
    let total = head.len() + length + tail.len();
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=frontier\r\ncontent-length: {total}\r\n\r\n",
        bench.key
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket.write_all(&head).await.unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..length >> 20 {
        if socket.write_all(&zeros).await.is_err() {
            break;
        }
    }
    drop(socket.write_all(tail).await);
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn whole_files_have_a_limit_and_streams_have_none() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let answer = flood(
        &bench,
        &format!("/v1/sandboxes/{id}/files/write"),
        101 << 20,
        &[("path", b"/null")],
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("files/stream/write"),
        "{answer:?}"
    );
    let answer = flood(
        &bench,
        &format!("/v1/sandboxes/{id}/files/write"),
        101 << 20,
        &[],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
    let answer = flood(
        &bench,
        &format!("/v1/sandboxes/{id}/files/stream/write"),
        101 << 20,
        &[("path", b"/null")],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer:?}");
    let read = bench
        .post(
            &format!("/v1/sandboxes/{id}/files/read"),
            r#"{"path":"/zeros/101"}"#,
        )
        .await;
    read.refused(413, "too_large");
    let read = bench
        .post(
            &format!("/v1/sandboxes/{id}/files/stream/read"),
            r#"{"path":"/zeros/101"}"#,
        )
        .await;
    assert_eq!((read.status, read.body.len()), (StatusCode::OK, 101 << 20));
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_file() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let path = format!("/v1/sandboxes/{id}/files/stream/write");
    bench
        .form(&path, &[("path", b"/f"), ("file", b"old")])
        .await;
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    let mut part = form(&[("path", b"/f"), ("file", &[7; 200_000])]);
    part.truncate(150_000);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-type: multipart/form-data; boundary=frontier\r\n\
         content-length: 300000\r\n\r\n",
        bench.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&part).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(socket);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.agent.file(&id, "/f").unwrap(), "old");
}

#[tokio::test]
async fn a_reader_that_pauses_gets_all_of_it_in_the_end() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    let body = r#"{"path":"/zeros/64"}"#;
    let head = format!(
        "POST /v1/sandboxes/{id}/files/stream/read HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        bench.key,
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Others are served meanwhile.
    assert_eq!(
        bench
            .post(&format!("/v1/sandboxes/{id}/ping"), "")
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > 64 << 20 && answer.ends_with(b"\r\n0\r\n\r\n"));
}
