//! A command over a WebSocket, with every message that the document has.

use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};

use super::Log;
use super::document::DOCUMENT;
use super::example::Shape;

/// The names of the messages of one side.
pub(crate) fn names(side: &str) -> Vec<String> {
    let all = DOCUMENT.schema(side)["oneOf"].as_array().unwrap().iter();
    all.map(|message| {
        DOCUMENT.example(message, Shape::Bare)["type"]
            .as_str()
            .unwrap()
            .to_owned()
    })
    .collect()
}

/// Every message of the server's, in every form, but those that end a conversation: as the document has them.
fn told(shape: Shape) -> (Vec<Value>, Vec<Value>) {
    let all = DOCUMENT.schema("ServerMessage")["oneOf"]
        .as_array()
        .unwrap()
        .iter();
    let examples = all.flat_map(|message| forms(DOCUMENT.example(message, shape)));
    examples.partition(|message| !matches!(message["type"].as_str(), Some("exit" | "error")))
}

/// A piece of output is text or base64, for which the document has words but no rule.
fn forms(message: Value) -> Vec<Value> {
    let kind = message["type"].as_str().unwrap();
    match kind {
        "stdout" | "stderr" => vec![
            json!({ "type": kind, "data": "text" }),
            json!({ "type": kind, "data_b64": "AP8=" }),
        ],
        _ => vec![message],
    }
}

/// Says all that there is to say, hears all that there is to hear, and ends: well, or where a command was taken up that runs
/// already, with an error.
pub(crate) async fn converse(mut socket: WebSocket, shape: Shape, log: Log) {
    let Some(first) = hear(&mut socket, &log).await else {
        return;
    };
    let (pieces, ends) = told(shape);
    for message in pieces {
        say(&mut socket, message, &log).await;
    }
    let end = match first.as_str() {
        "connect" => "error",
        _ => {
            while hear(&mut socket, &log)
                .await
                .is_some_and(|heard| heard != "stop")
            {}
            "exit"
        }
    };
    for message in ends.into_iter().filter(|message| message["type"] == end) {
        say(&mut socket, message, &log).await;
    }
}

async fn say(socket: &mut WebSocket, message: Value, log: &Log) {
    let text = Message::text(message.to_string());
    log.told(message);
    // Who has hung up is told nothing more, and has not read it whole.
    drop(socket.send(text).await);
}

/// The name of the next message; of a binary one, `binary`.
async fn hear(socket: &mut WebSocket, log: &Log) -> Option<String> {
    loop {
        let value: Value = match socket.recv().await?.ok()? {
            Message::Text(text) => serde_json::from_str(&text).ok()?,
            Message::Binary(_) => return Some("binary".to_owned()),
            Message::Close(_) => return None,
            _ => continue,
        };
        if let Err(wrong) = DOCUMENT.check(DOCUMENT.schema("ClientMessage"), &value) {
            log.broke(format!("{value} of a stream: {wrong}"));
        }
        let name = value["type"].as_str()?.to_owned();
        log.said(value);
        return Some(name);
    }
}
