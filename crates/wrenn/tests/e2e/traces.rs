//! A request's way from the API into the guest is one trace, through two programs, one of which is shut off from the network.

use std::time::{Duration, Instant};

use wrenn_testkit::collector::{Collector, Sent, Temper};

use crate::harness::{Answer, MEMORY, Server, request};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// Something that a collector may not know.
const SECRET: &str = "of-somebody-0451";
const SERVICE: &str = "hostagent.v1.HostAgentService";

fn start(collector: &Collector) -> Server {
    Server::start_with_env(&[("WRENN_OTLP_ENDPOINT", collector.endpoint().into())])
}

/// Sends a request as a part of the caller's trace; it succeeds.
fn ask(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    let (key, parent) = (server.key(), format!("00-{TRACE}-{CALLER}-01"));
    let headers = [
        ("x-api-key", &*key),
        ("traceparent", &parent),
        ("content-type", "application/json"),
    ];
    let answer = request(server, method, path, &headers, body.as_bytes());
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer
}

/// What a trace has.
struct Seen(Vec<Sent>);

impl Seen {
    /// The one of this service and name below another.
    #[track_caller]
    fn below(&self, parent: &str, service: &str, name: &str) -> &Sent {
        let is_it =
            |span: &&Sent| span.parent == parent && span.service == service && span.name == name;
        let found = self.0.iter().find(is_it);
        found.unwrap_or_else(|| panic!("no {name} of {service} below {parent}: {:#?}", self.0))
    }

    /// The agent's part of a request of the API.
    #[track_caller]
    fn agents(&self, asked: &str, call: &str) -> &Sent {
        let asked = self.below(CALLER, "wrenn-server", asked);
        let call = format!("{SERVICE}/{call}");
        let calling = self.below(&asked.id, "wrenn-server", &call);
        self.below(&calling.id, "wrenn-agent", &call)
    }
}

#[tokio::test]
async fn a_request_is_one_trace_from_the_api_into_the_guest() {
    let collector = Collector::start(Temper::Takes);
    let mut server = start(&collector);
    let made = ask(
        &server,
        "POST",
        "/v1/sandboxes",
        &format!(
            r#"{{"memory_mb": {MEMORY}, "envs": {{"TOKEN": "{SECRET}"}}, "metadata": {{"a": "{SECRET}"}}}}"#
        ),
    );
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    let of_it = |what: &str| format!("/v1/sandboxes/{id}{what}");
    let script = format!(r#"{{"cmd": "sh", "args": ["-c", "echo {SECRET} | tee /{SECRET}"]}}"#);
    let done = ask(&server, "POST", &of_it("/exec"), &script);
    assert_eq!(done.json()["stdout"], format!("{SECRET}\n"));
    let read = ask(
        &server,
        "POST",
        &of_it("/files/read"),
        &format!(r#"{{"path": "/{SECRET}"}}"#),
    );
    assert!(read.body.contains(SECRET), "{read:?}");
    ask(&server, "POST", &of_it("/pause"), "");
    ask(&server, "POST", &of_it("/resume"), "");
    ask(&server, "DELETE", &of_it(""), "");
    let (status, _) = server.terminate();
    assert!(status.success(), "{status}");

    // What was not sent yet is sent at the end.
    let spans = collector.spans();
    let seen = Seen(
        spans
            .iter()
            .filter(|span| span.trace == TRACE)
            .cloned()
            .collect(),
    );
    let create = seen.agents("POST /v1/sandboxes", "CreateSandbox");
    for step in ["folder", "slot", "layer", "machine", "guest"] {
        let step = seen.below(&create.id, "wrenn-agent", &format!("create.{step}"));
        assert_eq!((step.kind, step.failed), (1, false));
        assert_eq!(step.get("wrenn.sandbox.id"), Some(id));
    }
    for step in ["queue", "journal"] {
        seen.below(&create.id, "wrenn-agent", step);
    }
    let guest = seen.below(&create.id, "wrenn-agent", "create.guest");
    seen.below(&guest.id, "wrenn-agent", "envd /init");
    let exec = seen.agents("POST /v1/sandboxes/{id}/exec", "Exec");
    let started = seen.below(&exec.id, "wrenn-agent", "envd /process.Process/Start");
    assert_eq!(started.get("wrenn.sandbox.id"), Some(id));
    let read = seen.agents("POST /v1/sandboxes/{id}/files/read", "ReadFileStream");
    seen.below(&read.id, "wrenn-agent", "envd /files");
    let pause = seen.agents("POST /v1/sandboxes/{id}/pause", "PauseSandbox");
    for step in [
        "quiesce", "freeze", "memory", "disk", "sync", "publish", "retire",
    ] {
        seen.below(&pause.id, "wrenn-agent", &format!("pause.{step}"));
    }
    let resume = seen.agents("POST /v1/sandboxes/{id}/resume", "ResumeSandbox");
    for step in ["check", "slot", "layer", "machine", "guest"] {
        seen.below(&resume.id, "wrenn-agent", &format!("resume.{step}"));
    }
    let destroy = seen.agents("DELETE /v1/sandboxes/{id}", "DestroySandbox");
    seen.below(&destroy.id, "wrenn-agent", "destroy.machine");

    // Whatever nobody asked for is in no trace, and so are the programs' own calls of the collector.
    assert_eq!(seen.0.len(), spans.len(), "{spans:#?}");
    for bytes in collector.bytes() {
        let secrets = [SECRET, &*server.key()].map(str::to_owned);
        for secret in secrets {
            let there = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!there, "{secret}: {spans:#?}");
        }
    }
    for span in &spans {
        let said = |name: &str| span.resource.iter().any(|(said, _)| said == name);
        assert!(said("service.version") && said("host.name"), "{span:#?}");
    }
    assert!(
        !server.log().contains("the collector does not take traces"),
        "{}",
        server.log()
    );
}

#[tokio::test]
async fn a_collector_that_hangs_holds_neither_a_call_nor_the_end_up() {
    let collector = Collector::start(Temper::Hangs);
    let mut server = start(&collector);
    let made = ask(
        &server,
        "POST",
        "/v1/sandboxes",
        &format!(r#"{{"memory_mb": {MEMORY}}}"#),
    );
    let exec = format!("/v1/sandboxes/{}/exec", made.json()["id"].as_str().unwrap());
    // The first waits for the guest; then the collector is waited for, if anybody does that.
    for _ in 0..30 {
        let begun = Instant::now();
        ask(&server, "POST", &exec, r#"{"cmd": "true"}"#);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    let begun = Instant::now();
    let (status, _) = server.terminate();
    let took = begun.elapsed();
    assert!(status.success(), "{status}");
    // Each half has a second for it.
    assert!(took < Duration::from_secs(4), "{took:?}");
    eprintln!("the end took {took:?}");
}
