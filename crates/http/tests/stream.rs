//! Commands over a WebSocket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::Bench;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(bench: &Bench, id: &str, key: &str) -> Result<Socket, Error> {
    let address = format!("ws://{}/v1/sandboxes/{id}/exec/stream", bench.address);
    let mut request = address.into_client_request().unwrap();
    request
        .headers_mut()
        .insert("x-api-key", key.parse().unwrap());
    connect_async(request).await.map(|(socket, _)| socket)
}

struct Talk(Socket);

impl Talk {
    async fn start(bench: &Bench, id: &str, message: Value) -> Self {
        let mut talk = Self(connect(bench, id, &bench.key).await.unwrap());
        talk.say(message).await;
        talk
    }

    async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    /// The next message of the server; `None` when it has closed.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(Duration::from_secs(10), self.0.next())
                .await
                .unwrap()
            {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(Message::Close(_))) | None => return None,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(message) = self.hear().await {
            all.push(message);
        }
        all
    }
}

async fn none_runs(bench: &Bench) {
    for _ in 0..200 {
        if bench.agent.commands() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a command runs on");
}

#[tokio::test]
async fn a_command_starts_prints_and_exits() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let mut talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "echo", "args": ["hi"]}),
    )
    .await;
    let start = talk.hear().await.unwrap();
    assert_eq!(start["type"], "start");
    assert!(start["pid"].as_u64().unwrap() > 0);
    assert_eq!(
        talk.rest().await,
        [
            json!({"type": "stdout", "data": "hi\n"}),
            json!({"type": "exit", "exit_code": 0})
        ]
    );
    let talk = Talk::start(&bench, &id, json!({"type": "start", "cmd": "false"})).await;
    assert_eq!(
        talk.rest().await[1],
        json!({"type": "exit", "exit_code": 1})
    );
}

#[tokio::test]
async fn bytes_and_split_characters_come_through() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    // The euro sign cut in two, and then something that is no text.
    let talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "hex", "args": ["61e282", "ac62", "ff"]}),
    )
    .await;
    let said = talk.rest().await;
    for stream in ["stdout", "stderr"] {
        let pieces: Vec<&Value> = said
            .iter()
            .filter(|message| message["type"] == stream)
            .collect();
        assert_eq!(
            pieces,
            [
                &json!({"type": stream, "data": "a"}),
                &json!({"type": stream, "data": "€b"}),
                &json!({"type": stream, "data_b64": "/w=="})
            ]
        );
    }
}

#[tokio::test]
async fn input_is_text_base64_or_binary_and_ends() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let mut talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "cat", "stdin": true}),
    )
    .await;
    talk.hear().await;
    for (sent, heard) in [
        (
            Message::text(json!({"type": "stdin", "data": "one"}).to_string()),
            json!({"type": "stdout", "data": "one"}),
        ),
        (
            Message::text(json!({"type": "stdin", "data_b64": "/w=="}).to_string()),
            json!({"type": "stdout", "data_b64": "/w=="}),
        ),
        (
            Message::binary(&b"two"[..]),
            json!({"type": "stdout", "data": "two"}),
        ),
    ] {
        talk.0.send(sent).await.unwrap();
        assert_eq!(talk.hear().await.unwrap(), heard);
    }
    talk.say(json!({"type": "close_stdin"})).await;
    assert_eq!(talk.rest().await, [json!({"type": "exit", "exit_code": 0})]);
}

#[tokio::test]
async fn a_signal_a_stop_and_a_hang_up_end_the_command() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let sleep = json!({"type": "start", "cmd": "sleep", "args": ["60"]});

    let mut talk = Talk::start(&bench, &id, sleep.clone()).await;
    talk.hear().await;
    talk.say(json!({"type": "signal", "signal": 15})).await;
    assert_eq!(
        talk.rest().await,
        [json!({"type": "exit", "exit_code": 143})]
    );

    let mut talk = Talk::start(&bench, &id, sleep.clone()).await;
    talk.hear().await;
    talk.say(json!({"type": "stop"})).await;
    assert_eq!(
        talk.rest().await,
        [json!({"type": "exit", "exit_code": 137})]
    );
    none_runs(&bench).await;

    let mut talk = Talk::start(&bench, &id, sleep.clone()).await;
    talk.hear().await;
    assert_eq!(bench.agent.commands(), 1);
    drop(talk);
    none_runs(&bench).await;

    let mut detached = sleep;
    detached["detach"] = json!(true);
    let mut talk = Talk::start(&bench, &id, detached.clone()).await;
    talk.hear().await;
    drop(talk);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.agent.commands(), 1, "it goes on alone");
    let mut talk = Talk::start(&bench, &id, detached).await;
    talk.hear().await;
    talk.say(json!({"type": "stop"})).await;
    talk.rest().await;
    assert_eq!(
        bench.agent.commands(),
        1,
        "and is stopped when it is told to"
    );
}

#[tokio::test]
async fn a_pause_ends_the_stream_and_a_connect_takes_the_command_up() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let cat = json!({"type": "start", "cmd": "cat", "stdin": true});
    let mut talk = Talk::start(&bench, &id, cat).await;
    let pid = talk.hear().await.unwrap()["pid"].clone();
    bench
        .post(&format!("/v1/sandboxes/{id}/pause"), "")
        .await
        .json();
    let said = talk.rest().await;
    assert_eq!(
        (said.len(), &said[0]["type"], &said[0]["code"]),
        (1, &json!("error"), &json!("invalid_state"))
    );
    let told = said[0]["data"].as_str().unwrap();
    assert!(
        told.contains("paused") && told.contains(&pid.to_string()),
        "{told}"
    );
    assert!(said[0]["remedy"].as_str().unwrap().contains("connect"));

    bench
        .post(&format!("/v1/sandboxes/{id}/resume"), "")
        .await
        .json();
    assert_eq!(bench.agent.commands(), 1, "it has gone on");
    let connect = json!({"type": "connect", "pid": pid});
    let mut talk = Talk::start(&bench, &id, connect.clone()).await;
    assert_eq!(
        talk.hear().await.unwrap(),
        json!({"type": "start", "pid": pid})
    );
    talk.say(json!({"type": "stdin", "data": "again"})).await;
    assert_eq!(
        talk.hear().await.unwrap(),
        json!({"type": "stdout", "data": "again"})
    );
    drop(talk);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.agent.commands(), 1, "a listener's end is not its own");

    let mut talk = Talk::start(&bench, &id, connect).await;
    talk.hear().await;
    talk.say(json!({"type": "close_stdin"})).await;
    assert_eq!(talk.rest().await, [json!({"type": "exit", "exit_code": 0})]);
    let absent = json!({"type": "connect", "pid": 1});
    let said = Talk::start(&bench, &id, absent).await.rest().await;
    assert_eq!(
        (&said[0]["type"], &said[0]["code"]),
        (&json!("error"), &json!("not_found"))
    );
}

#[tokio::test]
async fn who_may_not_is_refused_before_the_upgrade() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let status = async |id: &str, key: &str| match connect(&bench, id, key).await {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("{other:?}"),
    };
    let address = format!("ws://{}/v1/sandboxes/{id}/exec/stream", bench.address);
    match connect_async(address).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 401),
        other => panic!("{other:?}"),
    }
    assert_eq!(status(&id, "wrong").await, 401);
    assert_eq!(status("sb-aaaaaaaaaaaaaaaaaaaa", &bench.key).await, 404);
    bench.delete(&format!("/v1/sandboxes/{id}")).await;
    assert_eq!(status(&id, &bench.key).await, 409);
}

#[tokio::test]
async fn nonsense_is_an_error_and_ends_the_command() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    for first in [
        json!({"type": "stdin", "data": "x"}),
        json!({"type": "start"}),
        json!({"type": "start", "cmd": ""}),
        json!({"type": "start", "cmd": "true", "pty": {}}),
        json!({"type": "start", "cmd": "true", "cwd": "tmp"}),
        json!({"type": "connect"}),
        json!({"type": "connect", "pid": "7"}),
        json!(7),
    ] {
        let said = Talk::start(&bench, &id, first.clone()).await.rest().await;
        assert_eq!(
            (said.len(), &said[0]["type"], &said[0]["code"]),
            (1, &json!("error"), &json!("invalid_request")),
            "{first}"
        );
    }
    let said = Talk::start(&bench, &id, json!({"type": "start", "cmd": "absent"}))
        .await
        .rest()
        .await;
    assert_eq!(
        (&said[0]["type"], &said[0]["code"]),
        (&json!("error"), &json!("not_found"))
    );
    let said = Talk::start(&bench, &id, json!({"type": "start", "cmd": "lost"}))
        .await
        .rest()
        .await;
    assert_eq!(
        (&said[1]["type"], &said[1]["data"]),
        (&json!("error"), &json!("the sandbox was lost"))
    );
    for later in [
        json!({"type": "stdin", "data": "x"}),
        json!({"type": "start", "cmd": "true"}),
        json!({"type": "connect", "pid": 7}),
        json!({"type": "signal", "signal": 99}),
        json!({"type": "signal", "signal": 99.5}),
    ] {
        let mut talk = Talk::start(
            &bench,
            &id,
            json!({"type": "start", "cmd": "sleep", "args": ["60"]}),
        )
        .await;
        talk.hear().await;
        talk.say(later.clone()).await;
        let said = talk.rest().await;
        assert_eq!(
            (said.len(), &said[0]["code"]),
            (1, &json!("invalid_request")),
            "{later}"
        );
        none_runs(&bench).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for_and_can_still_stop() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let mut talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "spew", "args": ["100000"]}),
    )
    .await;
    talk.hear().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.agent.commands(), 1, "it waits");
    talk.say(json!({"type": "stop"})).await;
    none_runs(&bench).await;

    let talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "spew", "args": ["32"]}),
    )
    .await;
    let said = talk.rest().await;
    let length: usize = said
        .iter()
        .filter_map(|message| message["data"].as_str())
        .map(str::len)
        .sum();
    assert_eq!(length, 32 << 20);
    assert_eq!(said.last().unwrap()["type"], "exit");
}

/// All bytes that a stream of these messages has.
fn joined(said: &[Value], stream: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in said.iter().filter(|message| message["type"] == stream) {
        match (message["data"].as_str(), message["data_b64"].as_str()) {
            (Some(text), None) => bytes.extend(text.bytes()),
            (None, Some(text)) => bytes.extend(STANDARD.decode(text).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    bytes
}

/// Every byte, in every place of a longer text.
fn every_byte(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}

#[tokio::test]
async fn every_byte_comes_through_both_ways_in_every_form() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let all = every_byte(300_000);
    let mut talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "cat", "stdin": true}),
    )
    .await;
    talk.hear().await;
    let (mut sink, source) = talk.0.split();
    let said = async {
        // In pieces that cut characters and base64's groups.
        for (number, piece) in all.chunks(997).enumerate() {
            let message = match number % 2 {
                0 => Message::binary(piece.to_vec()),
                _ => {
                    let data_b64 = STANDARD.encode(piece);
                    Message::text(json!({"type": "stdin", "data_b64": data_b64}).to_string())
                }
            };
            sink.send(message).await.unwrap();
        }
        let close = json!({"type": "close_stdin"}).to_string();
        sink.send(Message::text(close)).await.unwrap();
    };
    let heard = source
        .filter_map(async |message| match message.unwrap() {
            Message::Text(text) => Some(serde_json::from_str::<Value>(&text).unwrap()),
            _ => None,
        })
        .collect::<Vec<_>>();
    let ((), heard) = tokio::join!(said, heard);
    assert!(joined(&heard, "stdout") == all, "they differ");
    assert_eq!(heard.last().unwrap()["exit_code"], 0);

    let hex: String = (0..=u8::MAX).map(|byte| format!("{byte:02x}")).collect();
    let talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "hex", "args": [hex]}),
    )
    .await;
    let said = talk.rest().await;
    for stream in ["stdout", "stderr"] {
        assert_eq!(joined(&said, stream), every_byte(256), "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_hear_their_own() {
    const MANY: usize = 64;
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let mut talks = Vec::new();
    for _ in 0..MANY {
        let cat = json!({"type": "start", "cmd": "cat", "stdin": true});
        let mut talk = Talk::start(&bench, &id, cat).await;
        talk.hear().await;
        talks.push(talk);
    }
    assert_eq!(bench.agent.commands(), MANY, "they run at once");
    let talking = talks.into_iter().enumerate().map(|(number, mut talk)| {
        tokio::spawn(async move {
            let mut said = Vec::new();
            for turn in 0..20 {
                let words = format!("{number}.{turn} ").repeat(500);
                talk.say(json!({"type": "stdin", "data": words})).await;
                said.extend(words.bytes());
            }
            talk.say(json!({"type": "close_stdin"})).await;
            let heard = talk.rest().await;
            assert_eq!(heard.last().unwrap()["exit_code"], 0);
            assert!(joined(&heard, "stdout") == said, "{number} hears another");
        })
    });
    for talk in futures::future::join_all(talking).await {
        talk.unwrap();
    }
    none_runs(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_hold_up_nobody_and_fill_no_memory() {
    const READERS: usize = 16;
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let before = Bench::resident();
    let mut stopped = Vec::new();
    for _ in 0..READERS {
        let spew = json!({"type": "start", "cmd": "spew", "args": ["1000"]});
        let mut talk = Talk::start(&bench, &id, spew).await;
        talk.hear().await;
        stopped.push(talk);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..20 {
        let echo = json!({"type": "start", "cmd": "echo", "args": ["hi"]});
        let begun = Instant::now();
        let said = Talk::start(&bench, &id, echo).await.rest().await;
        assert_eq!(joined(&said, "stdout"), b"hi\n");
        assert!(begun.elapsed() < Duration::from_secs(2), "it was held up");
    }
    assert_eq!(bench.agent.commands(), READERS, "they wait");
    let grown = Bench::resident().saturating_sub(before);
    assert!(grown < READERS << 24, "{grown} bytes for {READERS}");
    // Each goes on where it was, and whoever hangs up ends its command.
    for talk in &mut stopped {
        for _ in 0..100 {
            assert_eq!(talk.hear().await.unwrap()["type"], "stdout");
        }
    }
    drop(stopped);
    none_runs(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_to_a_command_that_does_not_read_is_held_up() {
    const PIECE: usize = 1 << 20;
    const AT_MOST: usize = 128;
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let sleep = json!({"type": "start", "cmd": "sleep", "args": ["60"], "stdin": true});
    let mut deaf = Talk::start(&bench, &id, sleep).await;
    deaf.hear().await;
    let before = Bench::resident();
    let mut sent = 0;
    let piece = Message::binary(vec![b'x'; PIECE]);
    let held_up = async {
        loop {
            let send = deaf.0.send(piece.clone());
            if tokio::time::timeout(Duration::from_secs(2), send)
                .await
                .is_err()
            {
                return;
            }
            sent += 1;
            assert!(sent < AT_MOST, "it is not held up");
        }
    };
    held_up.await;
    let grown = Bench::resident().saturating_sub(before);
    assert!(grown < AT_MOST * PIECE, "{grown} bytes");
    // Others are not.
    let cat = json!({"type": "start", "cmd": "cat", "stdin": true});
    let mut talk = Talk::start(&bench, &id, cat).await;
    talk.hear().await;
    talk.say(json!({"type": "stdin", "data": "hi"})).await;
    assert_eq!(talk.hear().await.unwrap()["data"], "hi");
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let mut talk = Talk::start(
        &bench,
        &id,
        json!({"type": "start", "cmd": "sleep", "args": ["60"]}),
    )
    .await;
    talk.hear().await;
    bench.closing.cancel();
    let said = talk.rest().await;
    assert_eq!(
        (&said[0]["type"], &said[0]["code"]),
        (&json!("error"), &json!("unavailable"))
    );
    none_runs(&bench).await;
}

#[tokio::test]
async fn a_terminal_takes_what_is_typed_and_another_size() {
    let bench = Bench::new().await;
    let id = bench.sandbox().await;
    let start = |pty: Value| json!({"type": "start", "cmd": "cat", "pty": pty});
    let mut talk = Talk::start(&bench, &id, start(json!({"cols": 80, "rows": 24}))).await;
    assert_eq!(talk.hear().await.unwrap()["type"], "start");
    // It needs no word that input will come.
    talk.say(json!({"type": "stdin", "data": "ls"})).await;
    assert_eq!(
        talk.hear().await.unwrap(),
        json!({"type": "stdout", "data": "ls"})
    );
    talk.say(json!({"type": "resize", "cols": 132, "rows": 50}))
        .await;
    assert_eq!(
        talk.hear().await.unwrap(),
        json!({"type": "stdout", "data": "50 132\n"})
    );
    talk.say(json!({"type": "resize", "cols": 0, "rows": 50}))
        .await;
    let told = talk.rest().await;
    assert_eq!(told[0]["code"], "invalid_request", "{told:?}");
    none_runs(&bench).await;

    // What has none cannot be resized, and none is of no size.
    let plain = json!({"type": "start", "cmd": "cat", "stdin": true});
    let mut talk = Talk::start(&bench, &id, plain).await;
    talk.say(json!({"type": "resize", "cols": 80, "rows": 24}))
        .await;
    let told = talk.rest().await;
    assert_eq!(told.last().unwrap()["code"], "invalid_state", "{told:?}");
    let nothing = start(json!({"cols": 80, "rows": 0}));
    let told = Talk::start(&bench, &id, nothing).await.rest().await;
    assert_eq!(told[0]["code"], "invalid_request", "{told:?}");
}
