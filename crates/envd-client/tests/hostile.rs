//! The client against guests whose agent was taken over: whatever they answer, a call ends with an error, holds little
//! memory, and never panics.
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod guest;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guest::{Guest, Loopback, PLAIN, STREAM, UNARY, follow, frame, started, true_};
use wrenn_envd_client::{EnvdClient, Error, InitRequest, ProcessEvent, RefusedCode, Start};

#[tokio::test]
async fn garbage_is_malformed() {
    let noise: Vec<u8> = (0..9_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    for first in [
        noise.clone(),
        b"HTTP/1.1 99999 X\r\n\r\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
    ] {
        let guest = Guest::answering(first, Vec::new()).await;
        let error = guest.client().processes().await.unwrap_err();
        assert!(
            matches!(error, Error::Protocol(_) | Error::Unreachable(_)),
            "{error:?}"
        );
    }
    let guest = Guest::answering([UNARY.as_bytes(), &noise].concat(), Vec::new()).await;
    assert!(matches!(
        guest.client().processes().await,
        Err(Error::Protocol(_))
    ));
    assert!(matches!(
        guest.client().metrics().await,
        Err(Error::Protocol(_))
    ));
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let line = b"x-line: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n";
    let guest = Guest::answering(b"HTTP/1.1 200 OK\r\n".to_vec(), line.to_vec()).await;
    let error = guest
        .client()
        .health(Duration::from_secs(20))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge | Error::Protocol(_)),
        "{error:?}"
    );

    let guest = Guest::answering(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 64 << 10]).await;
    let error = guest
        .client()
        .health(Duration::from_secs(20))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge | Error::Protocol(_)),
        "{error:?}"
    );
    // What the sockets hold comes on top of the client's own buffer.
    assert!(guest.sent() < 32 << 20, "{} bytes were taken", guest.sent());
}

#[tokio::test]
async fn bodies_without_end_are_cut() {
    let guest = Guest::answering(PLAIN.as_bytes().to_vec(), vec![b' '; 64 << 10]).await;
    let client = guest.client();
    assert!(matches!(client.metrics().await, Err(Error::TooLarge)));
    let list = Guest::answering(UNARY.as_bytes().to_vec(), vec![b' '; 64 << 10]).await;
    assert!(matches!(
        list.client().processes().await,
        Err(Error::TooLarge)
    ));
    assert!(matches!(
        client.init(&InitRequest::default(), None).await,
        Err(Error::TooLarge)
    ));
    assert!(guest.sent() < 64 << 20, "{} bytes were taken", guest.sent());

    let refusal = b"HTTP/1.1 500 X\r\nconnection: close\r\n\r\n".to_vec();
    let guest = Guest::answering(refusal, vec![b'['; 64 << 10]).await;
    assert!(matches!(
        guest.client().processes().await,
        Err(Error::TooLarge)
    ));
}

#[tokio::test]
async fn silence_ends_in_time() {
    let guest = Guest::answering(Vec::new(), Vec::new()).await;
    assert!(matches!(
        guest.client().health(Duration::from_millis(200)).await,
        Err(Error::Unreachable(_) | Error::TimedOut)
    ));

    // An address that takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = EnvdClient::new(Arc::new(Loopback(listener.local_addr().unwrap())));
    assert!(matches!(
        client.health(Duration::from_millis(200)).await,
        Err(Error::TimedOut)
    ));
}

#[tokio::test]
async fn a_time_limit_holds_against_an_agent_that_ignores_it() {
    let output = frame(0, &[0x0a, 0x06, 0x12, 0x04, 0x0a, 0x02, b'x', b'x']);
    let guest = Guest::answering([STREAM.as_bytes(), &started()].concat(), output).await;
    let start = Start {
        timeout: Some(Duration::from_secs(30)),
        ..true_()
    };
    let mut stream = guest.client().start(start).await.unwrap();
    stream.next().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(46)).await;
    let mut last = stream.next().await;
    while let Ok(Some(_)) = last {
        last = stream.next().await;
    }
    assert!(matches!(last, Err(Error::TimedOut)), "{last:?}");
}

#[tokio::test]
async fn streams_are_looked_at_message_by_message() {
    let head = [STREAM.as_bytes(), &started()].concat();
    let with = |tail: Vec<u8>| [head.clone(), tail].concat();
    for (name, answer) in [
        ("no end", head.clone()),
        ("half a prefix", with(vec![0, 0, 0])),
        ("half a message", with(vec![0, 0, 0, 0, 9, 1])),
        ("compressed", with(frame(1, b"x"))),
        ("unknown flags", with(frame(64, b""))),
        ("no protobuf", with(frame(0, &[0xff; 40]))),
        (
            "a length beyond the message",
            with(frame(0, &[0x0a, 0x7f, 0x01])),
        ),
        ("deep nesting", with(frame(0, &[0x0b; 5_000]))),
        ("an end before the process's", with(frame(2, b"{}"))),
        ("an end that is no JSON", with(frame(2, b"{"))),
        ("an end of the wrong shape", with(frame(2, b"[1]"))),
        ("JSON nested without end", with(frame(2, &[b'['; 60_000]))),
    ] {
        let error = follow(&Guest::answering(answer, Vec::new()).await).await;
        assert!(matches!(error, Error::Protocol(_)), "{name}: {error:?}");
    }
    let error =
        follow(&Guest::answering(with(vec![0, 0xff, 0xff, 0xff, 0xff]), Vec::new()).await).await;
    assert!(matches!(error, Error::TooLarge), "{error:?}");
    let not_a_stream = Guest::answering(PLAIN.as_bytes().to_vec(), Vec::new()).await;
    assert!(matches!(follow(&not_a_stream).await, Error::Protocol(_)));
}

#[tokio::test]
async fn an_endless_stream_is_taken_only_as_fast_as_it_is_read() {
    // `StartResponse { event { data { stdout: "xx" } } }`.
    let output = frame(0, &[0x0a, 0x06, 0x12, 0x04, 0x0a, 0x02, b'x', b'x']).repeat(1_000);
    let guest = Guest::answering([STREAM.as_bytes(), &started()].concat(), output).await;
    let mut stream = guest.client().start(true_()).await.unwrap();
    let first = stream.next().await.unwrap();
    assert_eq!(first, Some(ProcessEvent::Start { pid: 7 }));
    for _ in 0..5_000 {
        let event = stream.next().await.unwrap();
        assert_eq!(event, Some(ProcessEvent::Stdout("xx".into())));
    }
    // Half of what loopback may have in flight; then nobody reads.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = guest.sent();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(guest.sent(), before, "unread data is not taken");
}

#[tokio::test]
async fn a_stream_that_says_nothing_without_end_is_given_up() {
    let sign = frame(0, &[0x0a, 0x02, 0x22, 0x00]);
    for nothing in [sign, frame(0, &[]), frame(0, &[0x0a, 0x00])] {
        let answer = [STREAM.as_bytes(), &started()].concat();
        let guest = Guest::answering(answer, nothing.repeat(1_000)).await;
        let error = follow(&guest).await;
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    }
}

#[tokio::test]
async fn refusals_keep_their_code_and_lose_their_teeth() {
    let refused = async |status: u16, body: &str| {
        let answer = format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        match Guest::answering(answer.into_bytes(), Vec::new())
            .await
            .client()
            .processes()
            .await
        {
            Err(Error::Refused { code, message }) => (code, message),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(404, r#"{"code":"not_found","message":"no"}"#).await,
        (RefusedCode::NotFound, "no".to_owned())
    );
    assert_eq!(
        refused(503, r#"{"code":503,"message":"not yet"}"#).await.0,
        RefusedCode::Unavailable
    );
    assert_eq!(
        refused(500, r#"{"code":"made_up"}"#).await,
        (
            RefusedCode::Internal,
            "it says no more than 500 Internal Server Error".to_owned()
        )
    );
    assert_eq!(
        refused(404, "<html>").await,
        (
            RefusedCode::NotFound,
            "it says no more than 404 Not Found".to_owned()
        )
    );
    let (_, message) = refused(
        400,
        &format!(r#"{{"message":"\u001b[2J{}"}}"#, "x".repeat(9_000)),
    )
    .await;
    assert!(message.chars().count() <= 512 && !message.contains('\x1b'));
    let redirect = Guest::answering(
        b"HTTP/1.1 302 X\r\nlocation: http://10.0.0.1/\r\n\r\n".to_vec(),
        Vec::new(),
    )
    .await;
    assert!(matches!(
        redirect.client().processes().await,
        Err(Error::Refused {
            code: RefusedCode::Unknown,
            ..
        })
    ));
}

#[tokio::test]
async fn a_file_that_breaks_off_is_an_error() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_vec();
    let guest = Guest::answering(answer, Vec::new()).await;
    let mut stream = guest.client().read_file("/x", None).await.unwrap();
    assert_eq!(stream.size(), Some(100));
    assert_eq!(
        stream.next().await.unwrap(),
        Some(Bytes::from_static(b"short"))
    );
    assert!(matches!(stream.next().await, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    let answer = b"HTTP/1.1 204 X\r\n\r\n".to_vec();
    let guest = Guest::answering(answer, Vec::new()).await;
    let client = guest.client();
    for _ in 0..20 {
        // Each connection is closed after its first answer.
        client.health(Duration::from_secs(5)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_token_does_not_print() {
    let guest = Guest::answering(Vec::new(), Vec::new()).await;
    let client = guest.client().with_token("very-secret".to_owned());
    assert!(!format!("{client:?}").contains("very-secret"));
}
