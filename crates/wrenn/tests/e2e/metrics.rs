//! What is seen from outside: what a sandbox uses, what was done and how long it took; and what is never seen, secrets.

use std::path::PathBuf;

use bytes::Bytes;
use futures::stream;
use wrenn_client::api::{CreateSandbox, Network, TeamLimits};

use crate::harness::{MEMORY, Server, TestSandbox, request, shell};

/// Something that only its owner may know.
const SECRET: &str = "of-a-guest-0451";

fn scraped(server: &Server) -> String {
    let answer = request(
        server,
        "GET",
        "/metrics",
        &[("X-API-Key", &server.key())],
        b"",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The value of a line of this name and these labels.
fn told(text: &str, line: &str) -> Option<f64> {
    let line = format!("{line} ");
    let value = text.lines().find_map(|there| there.strip_prefix(&line))?;
    value.parse().ok()
}

#[tokio::test]
async fn work_is_counted() {
    let server = Server::start();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let before = client.metrics(&sandbox.id).await.unwrap();
    let first = before.machine.unwrap();
    assert!(
        first.cpu_usec > 0 && first.memory_bytes > 16 << 20,
        "{first:?}"
    );
    assert_eq!(before.snapshot_bytes, 0);

    let work =
        "head -c 20000000 /dev/urandom > /var/tmp/noise && sync && getent hosts name.test; true";
    client.exec(&sandbox.id, &shell(work)).await.unwrap();
    let second = client.metrics(&sandbox.id).await.unwrap().machine.unwrap();
    assert!(second.cpu_usec > first.cpu_usec, "{second:?}");
    assert!(
        second.sent_packets > first.sent_packets,
        "{first:?} {second:?}"
    );
    assert!(
        second.disk_bytes >= first.disk_bytes + 19_000_000,
        "{first:?} {second:?}"
    );

    client.pause(&sandbox.id).await.unwrap();
    let paused = client.metrics(&sandbox.id).await.unwrap();
    assert!(paused.machine.is_none());
    assert!(paused.snapshot_bytes > 20 << 20, "{paused:?}");

    // Its pause counts among what its team takes.
    let storage = |mib| TeamLimits {
        max_storage_mb: Some(mib),
        ..TeamLimits::default()
    };
    client.put_team("default", &storage(20)).await.unwrap();
    let refused = client.create_sandbox(&CreateSandbox::default()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("MiB of disk"), "{refused}");
    client.put_team("default", &storage(1 << 20)).await.unwrap();

    let policy = Network {
        internet: false,
        ..Network::default()
    };
    client.set_network(&sandbox.id, &policy).await.unwrap();
    let archive = server.data().with_extension("archive");
    let mut export = server.cli();
    export.args(["snapshot", "export", &sandbox.id, "-o"]);
    assert!(export.arg(&archive).status().unwrap().success());
    let mut import = server.cli();
    import.args(["snapshot", "import"]);
    assert!(import.arg(&archive).status().unwrap().success());

    let text = scraped(&server);
    for (operation, step) in [("create", "machine"), ("pause", "memory")] {
        let line = format!(
            "wrenn_agent_step_duration_seconds_count{{operation=\"{operation}\",step=\"{step}\",result=\"ok\"}} 1"
        );
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
    assert_eq!(
        told(&text, "wrenn_agent_sandboxes{status=\"paused\"}"),
        Some(2.0),
        "{text}"
    );
    for operation in ["create", "pause", "network", "export", "import", "recover"] {
        let line = format!(
            "wrenn_agent_operation_duration_seconds_count{{operation=\"{operation}\",result=\"ok\"}}"
        );
        assert_eq!(told(&text, &line), Some(1.0), "{line}\n{text}");
    }
}

#[tokio::test]
async fn what_is_promised_goes_up_and_down_with_a_sandbox() {
    let server = Server::start();
    let client = server.client();
    let promised = || {
        let text = scraped(&server);
        let value = |name: &str| told(&text, &format!("wrenn_agent_{name}")).unwrap();
        assert!(value("promised_memory_bytes") < value("promised_memory_limit_bytes"));
        assert!(value("slots_used") < value("slots_limit"));
        [
            value("slots_used"),
            value("promised_memory_bytes"),
            value("promised_disk_bytes"),
        ]
    };
    assert_eq!(promised(), [0.0; 3]);
    let sandbox = TestSandbox::create(&client).await;
    let guest = f64::from(u32::try_from(MEMORY).unwrap() << 20);
    let [slots, memory, disk] = promised();
    assert_eq!((slots, disk), (1.0, guest));
    assert!(memory > guest, "what runs it counts too: {memory}");
    sandbox.pause().await;
    assert_eq!(promised(), [0.0; 3]);
    sandbox.resume().await;
    assert_eq!(promised(), [slots, memory, disk]);
    sandbox.delete().await;
    assert_eq!(promised(), [0.0; 3]);
}

/// Not even the log of everything has a key, or what a guest was given and said.
#[tokio::test]
async fn a_log_has_ids_and_no_secrets() {
    let server = Server::start_with_env(&[("RUST_LOG", PathBuf::from("debug"))]);
    let client = server.client();
    let asked = CreateSandbox {
        memory_mb: Some(MEMORY),
        envs: [("TOKEN".to_owned(), format!("env-{SECRET}"))].into(),
        ..CreateSandbox::default()
    };
    let id = client.create_sandbox(&asked).await.unwrap().id;
    let said = shell(&format!("echo arg-{SECRET} $TOKEN"));
    let done = client.exec(&id, &said).await.unwrap();
    assert_eq!(done.stdout.trim(), format!("arg-{SECRET} env-{SECRET}"));
    let secret = Ok::<_, std::io::Error>(Bytes::from(format!("file-{SECRET}")));
    let file = stream::iter([secret]);
    client.write_file(&id, "/root/secret", file).await.unwrap();
    client.pause(&id).await.unwrap();
    client.resume(&id, &Default::default()).await.unwrap();
    client.delete_sandbox(&id).await.unwrap();

    let log = server.log();
    assert!(log.contains(&id) && log.contains("req-"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    assert!(!log.contains(server.key().trim()), "{log}");
}

/// What operators are told to watch is there to be watched.
#[tokio::test]
async fn every_metric_of_the_operators_guide_exists() {
    let server = Server::start();
    let client = server.client();
    TestSandbox::create(&client).await.delete().await;
    client.sandbox("sb-aaaaaaaaaaaaaaaaaaaa").await.unwrap_err();
    let text = scraped(&server);
    let guide = include_str!("../../../../docs/operations.md");
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let named: Vec<&str> = guide
        .split(|letter| !is_part(letter))
        .filter(|word| word.starts_with("wrenn_agent_") || word.starts_with("wrenn_server_"))
        // All of a kind.
        .filter(|word| !word.ends_with('_'))
        .collect();
    assert!(named.len() > 12, "{named:?}");
    for name in named {
        let told = text.lines().any(|line| line.starts_with(name));
        assert!(told, "{name}: {text}");
    }
}
