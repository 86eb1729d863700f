//! Traces of `wrenn server` over an agent without a host: what a collector gets of a request, and what a request feels of its
//! collector.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};
use wrenn_testkit::agent::FakeAgent;
use wrenn_testkit::collector::{Collector, Sent, Temper};

/// Something that a collector may not know.
const SECRET: &str = "of-somebody-0451";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// How long the end may take: what flushing has, and some for a busy machine.
const END: Duration = Duration::from_millis(2500);

/// The program, ended with this.
struct Server {
    child: Child,
    address: String,
    key: String,
    log: PathBuf,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is run as a user runs it"
    )]
    fn start(folder: &Path, env: &[(&str, &str)], more: &[&str]) -> Self {
        let log = folder.join("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_wrenn"))
            .args(["server", "--addr", "127.0.0.1:0", "--json", "--log-json"])
            .arg("--agent")
            .arg(format!("unix:{}", folder.join("agent.sock").display()))
            .arg("--state")
            .arg(folder.join("state"))
            .args(more)
            .env_clear()
            .env("WRENN_CONFIG", "/dev/null")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            child,
            address: String::new(),
            key: String::new(),
            log,
        };
        let mut text = String::new();
        for line in stdout.lines() {
            text.push_str(&line.unwrap());
            if let Ok(serving) = serde_json::from_str::<Value>(&text) {
                let url = serving["url"].as_str().unwrap();
                url.strip_prefix("http://")
                    .unwrap()
                    .clone_into(&mut server.address);
                let key = std::fs::read_to_string(folder.join("state/api-key")).unwrap();
                key.trim().clone_into(&mut server.key);
                return server;
            }
        }
        panic!(
            "it does not serve: {}",
            std::fs::read_to_string(&server.log).unwrap()
        );
    }

    /// Sends a request; gives the answer, head and body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {}\r\n\
             Content-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Makes a sandbox and gives its id.
    fn create(&self, headers: &str, body: &str) -> String {
        let answer = self.ask("POST", "/v1/sandboxes", headers, body);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let made: Value = serde_json::from_str(body).unwrap();
        made["id"].as_str().unwrap().to_owned()
    }

    /// SIGTERM; gives how long the end took. It ends well.
    fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        begun.elapsed()
    }

    /// What was said of traces that an operator has to look at.
    fn warnings(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_traces = |line: &Value| {
            line["target"]
                .as_str()
                .unwrap()
                .starts_with("wrenn::traces")
        };
        lines
            .filter(|line| line["level"] == "WARN" && of_traces(line))
            .collect()
    }

    /// Its threads.
    fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id()))
            .unwrap()
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[track_caller]
fn one<'a>(spans: &'a [Sent], name: &str) -> &'a Sent {
    let mut named = spans.iter().filter(|span| span.name == name);
    let span = named
        .next()
        .unwrap_or_else(|| panic!("no {name}: {spans:#?}"));
    assert!(named.next().is_none(), "{name} is there twice: {spans:#?}");
    span
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_the_callers_trace_and_tells_nothing_of_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let _agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
    let collector = Collector::start(Temper::Takes);
    let mut server = Server::start(
        folder.path(),
        // The field's own variable is understood, and ours wins.
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
            ("WRENN_OTLP_ENDPOINT", &collector.endpoint()),
        ],
        &[],
    );
    let caller = format!(
        "traceparent: 00-{TRACE}-{CALLER}-01\r\ntracestate: vendor={SECRET}\r\nbaggage: a={SECRET}\r\n\
         user-agent: {SECRET}\r\nx-request-id: req-of-this-test\r\n"
    );
    let asked =
        format!(r#"{{"envs": {{"TOKEN": "{SECRET}"}}, "metadata": {{"note": "{SECRET}"}}}}"#);
    let id = server.create(&caller, &asked);
    let command =
        format!(r#"{{"cmd": "echo", "args": ["{SECRET}"], "envs": {{"A": "{SECRET}"}}}}"#);
    let done = server.ask(
        "POST",
        &format!("/v1/sandboxes/{id}/exec"),
        &caller,
        &command,
    );
    assert!(done.contains(SECRET), "{done}");
    for (method, path) in [
        ("GET", format!("/v1/sandboxes/{SECRET}")),
        ("GET", format!("/v1/{SECRET}?a={SECRET}")),
        ("GET", format!("/v1/sandboxes/{id}?a={SECRET}")),
        (SECRET, format!("/v1/sandboxes/{id}")),
        ("GET", "/healthz".to_owned()),
    ] {
        server.ask(method, &path, "", "");
    }
    server.stop();

    let spans = collector.spans();
    let ours: Vec<_> = spans
        .iter()
        .filter(|span| span.trace == TRACE)
        .cloned()
        .collect();
    let create = one(&ours, "POST /v1/sandboxes");
    let exec = one(&ours, "POST /v1/sandboxes/{id}/exec");
    for (span, status) in [(create, "201"), (exec, "200")] {
        assert_eq!((&*span.parent, span.kind, span.failed), (CALLER, 2, false));
        assert_eq!(span.get("http.response.status_code"), Some(status));
        assert_eq!(span.get("http.request.method"), Some("POST"));
        assert_eq!(span.get("wrenn.request.id"), Some("req-of-this-test"));
        assert_eq!(span.get("wrenn.sandbox.id"), Some(&*id));
    }
    for (call, of) in [("CreateSandbox", create), ("Exec", exec)] {
        let call = one(&ours, &format!("hostagent.v1.HostAgentService/{call}"));
        assert_eq!((&*call.parent, call.kind), (&*of.id, 3), "{call:#?}");
    }
    // Other requests are traces of their own, and what nobody asked for is in none.
    for span in &spans {
        assert_eq!(span.service, "wrenn-server");
        assert!(
            span.resource
                .iter()
                .any(|(name, _)| name == "service.version")
        );
        let asked = span.name.contains(" /v1/sandboxes");
        assert!(asked || !span.parent.is_empty(), "{span:#?}");
    }
    assert!(
        spans
            .iter()
            .any(|span| span.name == "_OTHER /v1/sandboxes/{id}"),
        "{spans:#?}"
    );
    for bytes in collector.bytes() {
        for secret in [SECRET, &server.key] {
            let there = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!there, "{secret}: {spans:#?}");
        }
    }
    assert_eq!(server.warnings(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_take_traces_is_felt_by_nobody() {
    for temper in [
        Some(Temper::Hangs),
        Some(Temper::Babbles),
        Some(Temper::Refuses),
        None,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let _agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
        let collector = Collector::start(temper.unwrap_or(Temper::Takes));
        let endpoint = collector.endpoint();
        let _there = temper.map(|_| collector);
        let mut server = Server::start(folder.path(), &[], &["--otlp-endpoint", &endpoint]);
        let id = server.create("", "{}");
        let begun = Instant::now();
        let mut took = Vec::new();
        // Long enough for more than one batch to go wrong.
        while begun.elapsed() < Duration::from_secs(7) {
            let asked = Instant::now();
            let exec = server.ask(
                "POST",
                &format!("/v1/sandboxes/{id}/exec"),
                "",
                r#"{"cmd": "true"}"#,
            );
            assert!(exec.starts_with("HTTP/1.1 200"), "{exec}");
            took.push(asked.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
        took.sort_unstable();
        let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
        // One of them may be slow for another reason; to wait for the collector takes five seconds.
        assert!(
            median < Duration::from_millis(500),
            "{temper:?}: {median:?}"
        );
        assert!(slowest < Duration::from_secs(4), "{temper:?}: {slowest:?}");
        let warnings = server.warnings();
        let [warning] = &warnings[..] else {
            panic!("{temper:?}: {warnings:#?}")
        };
        assert_eq!(
            warning["fields"]["message"],
            "the collector does not take traces"
        );
        let took = server.stop();
        assert!(took < END, "{temper:?}: {took:?}");
        eprintln!(
            "{temper:?}: half of them took {median:?}, the slowest {slowest:?}, the end {took:?}"
        );
    }
}

/// The way to a collector over TLS; whom to trust for it is written into a file.
async fn over_tls(collector: &Collector, trusted: &Path) -> String {
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(trusted, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = collector.endpoint().replacen("http://", "", 1);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // Who does not trust it hangs up.
            if let Ok(mut inner) = acceptor.accept(socket).await {
                let mut outer = tokio::net::TcpStream::connect(&behind).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut inner, &mut outer).await);
            }
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_behind_tls_is_one_that_the_machine_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let _agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
    let collector = Collector::start(Temper::Takes);
    let trusted = folder.path().join("trusted.pem");
    let endpoint = over_tls(&collector, &trusted).await;
    let other = folder.path().join("other.pem");
    over_tls(&collector, &other).await;
    for (trusted, taken) in [(&other, false), (&trusted, true)] {
        let trusted = trusted.to_str().unwrap();
        let env = [
            ("SSL_CERT_FILE", trusted),
            ("WRENN_OTLP_ENDPOINT", &endpoint),
        ];
        let mut server = Server::start(folder.path(), &env, &[]);
        server.create("", "{}");
        server.stop();
        let spans = collector.spans();
        let came = spans.iter().any(|span| span.name == "POST /v1/sandboxes");
        assert_eq!(came, taken, "{spans:#?}");
        assert_eq!(server.warnings().is_empty(), taken);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let _agent = FakeAgent::start(&folder.path().join("agent.sock")).unwrap();
    let collector = Collector::start(Temper::Takes);
    // What has nothing in it says that there is none, whatever stands below it.
    let mut server = Server::start(
        folder.path(),
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
            ("WRENN_OTLP_ENDPOINT", ""),
        ],
        &[],
    );
    server.create(&format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n"), "{}");
    let without = server.threads();
    server.stop();
    assert_eq!(collector.spans(), []);

    let mut server = Server::start(
        folder.path(),
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())],
        &[],
    );
    server.create("", "{}");
    eprintln!(
        "{without} threads without a collector, {} with one",
        server.threads()
    );
    server.stop();
    let spans = collector.spans();
    assert!(
        spans.iter().any(|span| span.name == "POST /v1/sandboxes"),
        "{spans:#?}"
    );
}
