//! The client against the document: each of its calls is made of a server that knows nothing else (`stand_in`), holds every
//! request to it, and answers with all that it says may be answered.
//!
//! An operation that is new fails here until the client has a call of it, or `UNCALLED` a reason; a call that is new until it
//! is in `calls`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod calls;
mod stand_in;

use std::collections::BTreeSet;
use std::path::Path;

use calls::{Call, With};
use serde_json::Value;
use stand_in::{DOCUMENT, Heard, Operation, Shape, StandIn, Tell};
use wrenn_client::api::{ErrorBody, ErrorInfo};
use wrenn_client::{Client, Error, Result};

/// Operations without a call, and why.
const UNCALLED: [(&str, &str); 4] = [
    (
        "GET /v1/audit",
        "it is read with whatever reads logs; no command shows it",
    ),
    (
        "GET /v1/teams/{name}",
        "`teams` has them all, and is as short",
    ),
    (
        "POST /v1/sandboxes/{id}/files/read",
        "the client streams, which takes files of any size",
    ),
    (
        "POST /v1/sandboxes/{id}/files/write",
        "the client streams, which takes files of any size",
    ),
];

/// What the client never says of what it could, and why.
const UNSAID: [(&str, &str, &str); 2] = [
    (
        "POST /v1/sandboxes/{id}/files/stream/read",
        "user",
        "it reads as root, who may read everything",
    ),
    (
        "POST /v1/sandboxes/{id}/files/stream/write",
        "user",
        "it writes as root",
    ),
];

/// Messages of a stream that the client never sends, and why.
const UNSENT: [(&str, &str); 1] = [("stdin", "it sends bytes as they are, in binary messages")];

/// Makes a call, with this answer; gives what the client read, and what the server heard.
async fn make(
    call: &Call,
    client: &Client,
    server: &StandIn,
    tell: Tell,
) -> (Result<Value>, Heard) {
    let operation = operation(call);
    server.tell(tell);
    let read = (call.ask)(With {
        client: client.clone(),
        id: operation.named(),
        shape: tell.shape,
        status: tell.status,
    })
    .await;
    let heard = server.heard();
    let (name, broken) = (call.name, heard.broken.join("\n  "));
    assert!(
        heard.broken.is_empty(),
        "{name} breaks the document:\n  {broken}"
    );
    assert!(!heard.asked.is_empty(), "{name} asks nothing: {read:?}");
    for asked in &heard.asked {
        assert_eq!(asked, call.operation, "{name} is of another operation");
    }
    (read, heard)
}

fn operation(call: &Call) -> Operation<'static> {
    let operation = DOCUMENT.operation(call.operation);
    operation.unwrap_or_else(|| panic!("the document has no {}, of {}", call.operation, call.name))
}

/// Whether all that was told is in what was read. What was read may have more: defaults.
fn has(read: &Value, told: &Value) -> bool {
    match (read, told) {
        (Value::Object(read), Value::Object(told)) => told.iter().all(|(name, told)| {
            let read = read.get(name);
            read.is_some_and(|read| has(read, told))
        }),
        (Value::Array(read), Value::Array(told)) => {
            read.len() == told.len() && read.iter().zip(told).all(|(read, told)| has(read, told))
        }
        _ => read == told,
    }
}

/// What all answers of a call told together: the pages of a list, the messages of a stream.
fn together(mut told: Vec<Value>, read: &Value) -> Value {
    if !read.is_array() {
        assert_eq!(told.len(), 1, "{told:?}");
        return told.remove(0);
    }
    let pages = told.into_iter().flat_map(|one| match one {
        Value::Array(page) => page,
        message => vec![message],
    });
    Value::Array(pages.collect())
}

#[tokio::test]
async fn every_call_asks_what_the_document_says_and_reads_all_of_its_answer() {
    let (server, client) = StandIn::start().await;
    for call in calls::all() {
        for status in operation(&call).statuses(false) {
            for shape in [Shape::Whole, Shape::Bare] {
                let tell = Tell {
                    status,
                    shape,
                    code: "",
                };
                let (read, heard) = make(&call, &client, &server, tell).await;
                let case = format!("{} of {status}, {shape:?}", call.name);
                let read = read.unwrap_or_else(|error| panic!("{case}: {error}"));
                let told = together(heard.told, &read);
                assert!(
                    has(&read, &told),
                    "{case} told {told}\n  and was read as {read}"
                );
                if shape == Shape::Whole {
                    says_all(&call, heard.said.first());
                }
            }
        }
    }
}

/// That a call says all that its operation takes, but for what it leaves out with a reason.
fn says_all(call: &Call, said: Option<&Value>) {
    let Some(schema) = operation(call).body() else {
        return;
    };
    let said = said.unwrap();
    for (field, example) in DOCUMENT.example(schema, Shape::Whole).as_object().unwrap() {
        let left_out = UNSAID
            .iter()
            .any(|(operation, unsaid, _)| *operation == call.operation && unsaid == field);
        let told = said.get(field);
        assert_eq!(told.is_none(), left_out, "{} and {field}", call.name);
        // A path and a file are the call's own.
        let its_own = call.operation.contains("/files/");
        assert!(
            left_out || its_own || told.is_some_and(|told| has(told, example)),
            "{} of {field} {example} says {told:?}",
            call.name
        );
    }
}

#[tokio::test]
async fn every_call_reads_every_refusal_that_the_document_has() {
    let (server, client) = StandIn::start().await;
    let mut refusals = 0;
    for call in calls::all() {
        let operation = operation(&call);
        for status in operation.statuses(true) {
            for code in operation.codes(status) {
                let tell = Tell {
                    status,
                    shape: Shape::Whole,
                    code,
                };
                let (read, heard) = make(&call, &client, &server, tell).await;
                let case = format!("{} of {status} {code}", call.name);
                let Err(Error::Api(error)) = read else {
                    panic!("{case} was read as {read:?}");
                };
                let ErrorBody { error: told } =
                    serde_json::from_value(heard.told[0].clone()).unwrap();
                assert_eq!(
                    error.status.map(|status| status.as_u16()),
                    Some(status),
                    "{case}"
                );
                let retry_after = &operation.answer(status)["headers"]["Retry-After"];
                assert_eq!(
                    error.retry_after_sec,
                    retry_after.is_object().then_some(7),
                    "{case}"
                );
                let mut read = ErrorInfo {
                    code: error.code,
                    message: error.message,
                    remedy: error.remedy,
                    retryable: error.retryable,
                    request_id: error.request_id,
                };
                if status == 401 {
                    // What the server says is for those who write requests.
                    assert!(read.remedy.contains("--api-key"), "{case}");
                    read.remedy.clone_from(&told.remedy);
                }
                assert_eq!(read, told, "{case}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 300, "{refusals}");
}

#[test]
fn every_operation_has_a_call_or_a_reason() {
    let called: BTreeSet<_> = calls::all()
        .iter()
        .map(|call| call.operation.to_owned())
        .collect();
    let uncalled: BTreeSet<_> = UNCALLED.iter().map(|(it, _)| (*it).to_owned()).collect();
    let both: Vec<_> = called.intersection(&uncalled).collect();
    assert!(
        both.is_empty(),
        "a call and a reason to have none: {both:?}"
    );
    let there: BTreeSet<_> = DOCUMENT.operations().map(|it| it.to_string()).collect();
    let known: BTreeSet<_> = called.union(&uncalled).cloned().collect();
    let unknown: Vec<_> = there.symmetric_difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "in the document and without a call, or the other way round: {unknown:?}"
    );
}

/// The client's calls, as its source has them.
#[test]
fn every_call_is_made() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/src");
    let mut there = BTreeSet::new();
    for file in std::fs::read_dir(source).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for calls in text.split("\nimpl Client {\n").skip(1) {
            let calls = calls.split("\n}\n").next().unwrap();
            let named = calls.split("\n    pub async fn ").skip(1);
            let end = |it: &str| it.find(['(', '<']).map(|end| it[..end].to_owned());
            there.extend(named.filter_map(end));
        }
    }
    let made: BTreeSet<_> = calls::all()
        .iter()
        .map(|call| call.name.to_owned())
        .collect();
    assert_eq!(
        there, made,
        "the client's calls, and those that are made here"
    );
}

#[tokio::test]
async fn every_message_of_a_stream_is_said_or_has_a_reason() {
    let (server, client) = StandIn::start().await;
    let tell = Tell {
        status: 101,
        shape: Shape::Whole,
        code: "",
    };
    let mut said: BTreeSet<String> = UNSENT.iter().map(|(name, _)| (*name).to_owned()).collect();
    for call in calls::all() {
        if call.operation.ends_with("/exec/stream") {
            let (read, heard) = make(&call, &client, &server, tell).await;
            read.unwrap();
            if call.name == "exec_stream" {
                let start = DOCUMENT.example_of("StartCommand", Shape::Whole);
                assert!(has(&heard.said[0], &start), "{} of {start}", heard.said[0]);
            }
            let names = heard
                .said
                .iter()
                .map(|message| message["type"].as_str().unwrap().to_owned());
            for name in names {
                assert!(
                    said.insert(name.clone()),
                    "{name} has a reason not to be sent"
                );
            }
        }
    }
    let there: BTreeSet<_> = stand_in::names("ClientMessage").into_iter().collect();
    assert_eq!(there, said);
}
