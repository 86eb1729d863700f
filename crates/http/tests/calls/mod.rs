//! Every call of the client, by the operation of the document that it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::convert::Infallible;

use axum::body::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wrenn_client::api::TemplateType;
use wrenn_client::{Client, ExecEvent, ExecEvents, Result, Told};

use crate::stand_in::{DOCUMENT, Shape};

/// What a call is made with.
pub(crate) struct With {
    pub(crate) client: Client,
    /// The document's example of what the path names.
    pub(crate) id: String,
    /// How much of a body is there.
    pub(crate) shape: Shape,
    /// What will be answered.
    pub(crate) status: u16,
}

impl With {
    /// The document's example of what is sent, as the client's own type.
    fn a<T: DeserializeOwned>(&self, schema: &str) -> T {
        let example = DOCUMENT.example_of(schema, self.shape);
        serde_json::from_value(example.clone())
            .unwrap_or_else(|error| panic!("the client cannot say {schema} {example}: {error}"))
    }
}

type Ask = Box<dyn Fn(With) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

/// One call.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) operation: &'static str,
    /// Makes it, and gives what the client read, as JSON.
    pub(crate) ask: Ask,
}

fn call<F>(
    name: &'static str,
    operation: &'static str,
    ask: impl Fn(With) -> F + Send + Sync + 'static,
) -> Call
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    Call {
        name,
        operation,
        ask: Box::new(move |with| ask(with).boxed()),
    }
}

fn read(answer: impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(answer).unwrap())
}

pub(crate) fn all() -> Vec<Call> {
    let all = [
        sandboxes(),
        commands(),
        files(),
        events(),
        templates(),
        others(),
    ];
    all.into_iter().flatten().collect()
}

fn sandboxes() -> Vec<Call> {
    vec![
        call("health", "GET /healthz", |w| async move {
            read(w.client.health().await?)
        }),
        call("create_sandbox", "POST /v1/sandboxes", |w| async move {
            read(w.client.create_sandbox(&w.a("CreateSandbox")).await?)
        }),
        call(
            "create_sandbox_unless",
            "POST /v1/sandboxes",
            |w| async move {
                let (never, asked) = (std::future::pending(), w.a("CreateSandbox"));
                read(w.client.create_sandbox_unless(never, &asked).await?)
            },
        ),
        call(
            "create_sandbox_timed",
            "POST /v1/sandboxes",
            |w| async move {
                let (sandbox, timings) =
                    w.client.create_sandbox_timed(&w.a("CreateSandbox")).await?;
                assert_eq!(timings.len(), if w.status == 201 { 2 } else { 0 });
                read(sandbox)
            },
        ),
        call("begin_sandbox", "POST /v1/sandboxes", |w| async move {
            read(w.client.begin_sandbox(&w.a("CreateSandbox")).await?)
        }),
        call("sandboxes", "GET /v1/sandboxes", |w| async move {
            let all = w.client.sandboxes().await?;
            assert_eq!(all.len(), 2, "a list is read to its end");
            read(all)
        }),
        call("newest_sandboxes", "GET /v1/sandboxes", |w| async move {
            read(w.client.newest_sandboxes().await?)
        }),
        call("sandbox", "GET /v1/sandboxes/{id}", |w| async move {
            read(w.client.sandbox(&w.id).await?)
        }),
        call(
            "delete_sandbox",
            "DELETE /v1/sandboxes/{id}",
            |w| async move {
                let ended = w.client.delete_sandbox(&w.id).await?;
                assert_eq!(ended, w.status == 204);
                read(())
            },
        ),
        call("pause", "POST /v1/sandboxes/{id}/pause", |w| async move {
            read(w.client.pause(&w.id).await?)
        }),
        call("resume", "POST /v1/sandboxes/{id}/resume", |w| async move {
            read(w.client.resume(&w.id, &w.a("ResumeRequest")).await?)
        }),
        call("fork", "POST /v1/sandboxes/{id}/fork", |w| async move {
            read(w.client.fork(&w.id, &w.a("ForkSandbox")).await?)
        }),
        call(
            "set_network",
            "PUT /v1/sandboxes/{id}/network",
            |w| async move { read(w.client.set_network(&w.id, &w.a("Network")).await?) },
        ),
        call("ping", "POST /v1/sandboxes/{id}/ping", |w| async move {
            read(w.client.ping(&w.id).await?)
        }),
        call(
            "console",
            "GET /v1/sandboxes/{id}/console",
            |w| async move { read(text(&w.client.console(&w.id).await?)) },
        ),
        call(
            "metrics",
            "GET /v1/sandboxes/{id}/metrics",
            |w| async move { read(w.client.metrics(&w.id).await?) },
        ),
    ]
}

fn commands() -> Vec<Call> {
    vec![
        call("exec", "POST /v1/sandboxes/{id}/exec", |w| async move {
            read(w.client.exec(&w.id, &w.a("ExecRequest")).await?)
        }),
        call(
            "exec_stream",
            "GET /v1/sandboxes/{id}/exec/stream",
            |w| async move {
                let start = w.a("StartCommand");
                let (mut control, mut events) = w.client.exec_stream(&w.id, &start).await?;
                control.stdin(Bytes::from_static(&[0, 255])).await?;
                control.close_stdin().await?;
                control.resize(w.a("PtySize")).await?;
                control.signal(2).await?;
                control.stop().await?;
                follow(&mut events, "exit").await
            },
        ),
        call(
            "exec_attach",
            "GET /v1/sandboxes/{id}/exec/stream",
            |w| async move {
                let (_control, mut events) = w.client.exec_attach(&w.id, 7).await?;
                follow(&mut events, "error").await
            },
        ),
    ]
}

/// What a command tells up to its end, in the words of the document.
async fn follow(events: &mut ExecEvents, end: &str) -> Result<Value> {
    let mut told = Vec::new();
    loop {
        let event = match events.next().await {
            Ok(ExecEvent::Start { pid }) => json!({ "type": "start", "pid": pid }),
            Ok(ExecEvent::Stdout(piece)) => output("stdout", &piece),
            Ok(ExecEvent::Stderr(piece)) => output("stderr", &piece),
            Ok(ExecEvent::Exit {
                exit_code,
                timed_out,
            }) => json!({ "type": "exit", "exit_code": exit_code, "timed_out": timed_out }),
            Err(error) => {
                // A refusal is told with a status, before anything is.
                let api = error.api().filter(|api| api.status.is_none());
                let Some(api) = api else {
                    return Err(error);
                };
                json!({ "type": "error", "data": api.message, "code": api.code, "remedy": api.remedy })
            }
        };
        let ended = event["type"] == end;
        told.push(event);
        if ended {
            return read(told);
        }
    }
}

fn output(stream: &str, piece: &Bytes) -> Value {
    match std::str::from_utf8(piece) {
        Ok(text) => json!({ "type": stream, "data": text }),
        Err(_) => {
            assert_eq!(piece[..], [0, 255]);
            json!({ "type": stream, "data_b64": "AP8=" })
        }
    }
}

fn files() -> Vec<Call> {
    vec![
        call(
            "read_file",
            "POST /v1/sandboxes/{id}/files/stream/read",
            |w| async move {
                let content = w.client.read_file(&w.id, "/tmp/text").await?;
                let pieces: Vec<Bytes> = content.try_collect().await?;
                read(text(&pieces.concat()))
            },
        ),
        call(
            "write_file",
            "POST /v1/sandboxes/{id}/files/stream/write",
            |w| async move {
                let content = stream::iter([Ok::<_, Infallible>(Bytes::from("text"))]);
                read(w.client.write_file(&w.id, "/tmp/text", content).await?)
            },
        ),
    ]
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn events() -> Vec<Call> {
    vec![
        call("events", "GET /v1/events", |w| async move {
            read(w.client.events(None, 7).await?)
        }),
        call("events", "GET /v1/sandboxes/{id}/events", |w| async move {
            read(w.client.events(Some(&w.id), 0).await?)
        }),
        call("follow_events", "GET /v1/events", |w| async move {
            told(w.client.follow_events(None, Some(7)).await?).await
        }),
        call(
            "follow_events",
            "GET /v1/sandboxes/{id}/events",
            |w| async move { told(w.client.follow_events(Some(&w.id), None).await?).await },
        ),
    ]
}

/// What a stream of events tells, to its end.
async fn told(mut stream: wrenn_client::EventStream) -> Result<Value> {
    let mut all = Vec::new();
    while let Some(told) = stream.next().await? {
        all.push(match told {
            Told::Ready(after) => json!({ "ready": after.to_string() }),
            Told::Gap => json!({ "gap": null }),
            Told::Event(event) => json!(event),
        });
    }
    read(all)
}

fn templates() -> Vec<Call> {
    vec![
        call("templates", "GET /v1/snapshots", |w| async move {
            read(w.client.templates().await?)
        }),
        call("templates_of", "GET /v1/snapshots", |w| async move {
            read(w.client.templates_of(TemplateType::Snapshot).await?)
        }),
        call("create_snapshot", "POST /v1/snapshots", |w| async move {
            let asked = w.a("CreateSnapshot");
            read(w.client.create_snapshot(&asked, true, true).await?)
        }),
        call(
            "delete_template",
            "DELETE /v1/snapshots/{name}",
            |w| async move { read(w.client.delete_template(&w.id).await?) },
        ),
        call("pools", "GET /v1/pools", |w| async move {
            read(w.client.pools().await?)
        }),
        call("warm_pool", "POST /v1/pools", |w| async move {
            read(w.client.warm_pool(&w.a("WarmPool")).await?)
        }),
        call("drain_pools", "DELETE /v1/pools", |w| async move {
            let shape = (w.shape == Shape::Whole).then_some(("minimal", 1, 512));
            let drained = w.client.drain_pools(
                shape.map(|(template, ..)| template),
                shape.map(|(_, vcpus, _)| vcpus),
                shape.map(|(.., memory_mb)| memory_mb),
            );
            read(drained.await?)
        }),
    ]
}

fn others() -> Vec<Call> {
    vec![
        call("create_key", "POST /v1/keys", |w| async move {
            read(w.client.create_key(&w.a("CreateKey")).await?)
        }),
        call("keys", "GET /v1/keys", |w| async move {
            read(w.client.keys().await?)
        }),
        call("revoke_key", "DELETE /v1/keys/{id}", |w| async move {
            read(w.client.revoke_key(&w.id).await?)
        }),
        call("teams", "GET /v1/teams", |w| async move {
            read(w.client.teams().await?)
        }),
        call("put_team", "PUT /v1/teams/{name}", |w| async move {
            read(w.client.put_team(&w.id, &w.a("TeamLimits")).await?)
        }),
        call(
            "invite_host",
            "POST /v1/hosts/invitations",
            |w| async move { read(w.client.invite_host(&w.a("InviteHost")).await?) },
        ),
        call("join_host", "POST /v1/hosts/join", |w| async move {
            read(w.client.join_host(&w.a("JoinHost")).await?)
        }),
    ]
}
