//! The client against guests that stretch HTTP itself: whatever they answer, a call ends in time and with an error.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod guest;

use std::sync::Arc;
use std::time::Duration;

use guest::{Guest, Loopback, PLAIN, STREAM, follow, frame, started};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use wrenn_envd_client::{EnvdClient, Error};

/// The time in which every call that needs only the agent ends.
const CALL: Duration = Duration::from_secs(60);

/// An answer in pieces, which may go on for ever.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// How a list of commands fails.
async fn list(first: &[u8], then: &[u8]) -> Error {
    let guest = Guest::answering(first.to_vec(), then.to_vec()).await;
    guest.client().processes().await.unwrap_err()
}

/// How a call with a small answer fails.
async fn metrics(first: &[u8], then: &[u8]) -> Error {
    let guest = Guest::answering(first.to_vec(), then.to_vec()).await;
    guest.client().metrics().await.unwrap_err()
}

#[tokio::test]
async fn an_encoding_is_not_unpacked() {
    // Two empty bytes in gzip; a gibibyte would look the same.
    let packed = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x63, 0x60, 0, 0, 0x1c, 0xdf, 0x44, 0x21, 2, 0, 0, 0,
    ];
    for encoding in ["gzip", "br", "zstd", "identity, gzip", "deflate"] {
        for kind in [
            "application/proto",
            "application/connect+proto",
            "application/json",
        ] {
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-encoding: {encoding}\r\n\r\n"
            );
            let answer = [head.as_bytes(), &packed].concat();
            let errors = [list(&answer, &[]).await, metrics(&answer, &[]).await];
            let guest = Guest::answering(answer, Vec::new()).await;
            let file = guest.client().read_file("/x", None).await.unwrap_err();
            for error in errors.into_iter().chain([file, follow(&guest).await]) {
                assert!(matches!(error, Error::Protocol(_)), "{encoding}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn another_type_is_another_answer() {
    for kind in ["text/html", "application/json", "application/proto; x", ""] {
        let answer =
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\n\r\n");
        assert!(matches!(
            list(answer.as_bytes(), &[]).await,
            Error::Protocol(_)
        ));
        let guest = Guest::answering(answer.into_bytes(), Vec::new()).await;
        assert!(matches!(follow(&guest).await, Error::Protocol(_)));
    }
}

#[tokio::test]
async fn another_protocol_is_malformed() {
    // HTTP/2's first frame, an empty SETTINGS; and what a server says that speaks TLS.
    for answer in [
        &[0, 0, 0, 4, 0, 0, 0, 0, 0][..],
        b"\x15\x03\x01\x00\x02\x02\x46",
    ] {
        let error = metrics(answer, &[]).await;
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    }
    let upgraded = b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    let error = metrics(upgraded, &[]).await;
    assert!(
        matches!(error, Error::Refused { .. } | Error::Protocol(_)),
        "{error:?}"
    );
}

#[tokio::test]
async fn parts_without_end_are_cut() {
    let chunked = |rest: &str| format!("{CHUNKED}{rest}").into_bytes();
    let line = "x-line: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n";
    for (name, first, then) in [
        ("trailers", chunked("0\r\n"), line),
        ("a trailer", chunked("0\r\nx: "), "yyyyyyyyyyyyyyyy"),
        ("an extension", chunked("1;"), "yyyyyyyyyyyyyyyy"),
        (
            "extensions",
            chunked("1\r\n \r\n"),
            "1;yyyyyyyyyyyyyyyy\r\n \r\n",
        ),
        ("a status", b"HTTP/1.1 200 ".to_vec(), "yyyyyyyyyyyyyyyy"),
        ("empty lines", Vec::new(), "\r\n\r\n\r\n"),
        ("pieces", chunked(""), "1\r\n \r\n"),
        ("one piece", chunked("ffffffff\r\n"), "        "),
    ] {
        let begun = Instant::now();
        let then = then.repeat(1 + 4096 / then.len());
        let error = metrics(&first, then.as_bytes()).await;
        assert!(
            matches!(error, Error::TooLarge | Error::Protocol(_)),
            "{name}: {error:?}"
        );
        assert!(begun.elapsed() < CALL / 2, "{name}: {:?}", begun.elapsed());
    }
    let too_long = chunked("fffffffffffffffff\r\n");
    assert!(matches!(metrics(&too_long, &[]).await, Error::Protocol(_)));
}

#[tokio::test]
async fn what_never_becomes_an_answer_ends_with_the_time() {
    let limit = Duration::from_millis(500);
    let hints = "HTTP/1.1 103 X\r\nlink: x\r\n\r\n".repeat(64);
    let zeros = "0".repeat(4096);
    for (name, first, then) in [("hints", "", hints), ("leading zeros", CHUNKED, zeros)] {
        let guest = Guest::answering(first.into(), then.into()).await;
        let begun = Instant::now();
        let error = guest.client().health(limit).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut), "{name}: {error:?}");
        assert!(begun.elapsed() < CALL / 2, "{name}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_answer_to_no_question_answers_none() {
    // Two answers to one call: the second is not taken for that of the next.
    let twice = b"HTTP/1.1 204 X\r\n\r\nHTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec();
    let guest = Guest::answering(twice, Vec::new()).await;
    let client = guest.client();
    for _ in 0..10 {
        client.health(Duration::from_secs(5)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The clock of these calls is the test's: a second passes as soon as nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_not_waited_for() {
    let slow_head = trickle("").await;
    let slow_body = trickle(PLAIN).await;
    let slow_stream = trickle(STREAM).await;
    let begun = Instant::now();
    assert!(matches!(slow_head.processes().await, Err(Error::TimedOut)));
    assert!(matches!(slow_body.metrics().await, Err(Error::TimedOut)));
    assert!(matches!(
        slow_stream.start(guest::true_()).await,
        Err(Error::TimedOut)
    ));
    assert!(begun.elapsed() <= 3 * CALL + Duration::from_secs(3));
}

/// A guest that answers with `first` and then with a byte a second.
async fn trickle(first: &'static str) -> EnvdClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 64 << 10];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(first.as_bytes()).await.unwrap();
                let rest = if first.is_empty() {
                    "HTTP/1.1 200 OK"
                } else {
                    "\0"
                };
                for byte in rest.bytes().chain(std::iter::repeat(0)) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    EnvdClient::new(Arc::new(Loopback(address)))
}

#[tokio::test]
async fn the_end_of_a_stream_is_short() {
    let end = [b"{\"error\":{\"code\":[", &b"0,".repeat(40 << 10)[..]].concat();
    let answer = [STREAM.as_bytes(), &started(), &frame(2, &end)].concat();
    let error = follow(&Guest::answering(answer, Vec::new()).await).await;
    assert!(matches!(error, Error::TooLarge), "{error:?}");
}
