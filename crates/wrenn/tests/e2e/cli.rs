//! The command line, as a person or a script uses it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::harness::{Server, kill_vmm, shared, signal};

/// Runs `wrenn sandbox …`.
fn sandbox(server: &Server, args: &[&str]) -> Output {
    server.cli().arg("sandbox").args(args).output().unwrap()
}

/// From its creation to its end.
fn its_events_are_told(server: &Server, id: &str) {
    let told = server
        .cli()
        .args(["events", id, "--json"])
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let events: Vec<Value> = String::from_utf8(told.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_eq!(
        (&first["type"], &first["status"]),
        (&"created".into(), &"pending".into())
    );
    assert_eq!(
        (&last["type"], &last["status"]),
        (&"changed".into(), &"stopped".into())
    );
    assert!(events.iter().any(|event| event["status"] == "paused"));

    let mut follower = server
        .cli()
        .args(["events", "--follow", "--after", &first["id"].to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut told = BufReader::new(follower.stdout.take().unwrap());
    told.read_line(&mut line).unwrap();
    follower.kill().unwrap();
    follower.wait().unwrap();
    let next = first["id"].as_i64().unwrap() + 1;
    assert!(line.starts_with(&format!("{next} ")), "{line}");
}

/// What it prints when it ends well.
fn said(server: &Server, args: &[&str]) -> String {
    let output = sandbox(server, args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_tour_by_hand() {
    let server = shared();
    let id = said(
        &server,
        &["create", "minimal", "--memory", "256", "-m", "who=cli"],
    );
    let id = id.trim();
    let got: Value = serde_json::from_str(&said(&server, &["get", id, "--json"])).unwrap();
    assert_eq!(
        (&got["id"], &got["metadata"]["who"]),
        (&id.into(), &"cli".into())
    );
    assert!(said(&server, &["ls"]).contains(id));
    assert!(
        said(&server, &["ls", "--quiet"])
            .lines()
            .any(|line| line == id)
    );
    let templates = server.cli().args(["template", "ls"]).output().unwrap();
    assert!(
        String::from_utf8(templates.stdout)
            .unwrap()
            .contains("minimal")
    );

    let failed = sandbox(
        &server,
        &[
            "exec",
            id,
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 42",
        ],
    );
    assert_eq!(failed.status.code(), Some(42));
    assert_eq!(
        (failed.stdout.as_slice(), failed.stderr.as_slice()),
        (b"out\n".as_slice(), b"err\n".as_slice())
    );
    let collected: Value =
        serde_json::from_str(&said(&server, &["exec", id, "--json", "--", "echo", "hi"])).unwrap();
    assert_eq!(collected["stdout"], "hi\n");

    input_is_passed(&server, id);
    control_c_arrives(&server, id);
    files_are_copied(&server, id);

    it_is_paused_and_comes_back(&server, id);

    let console = said(&server, &["console", id, "--json"]);
    assert!(serde_json::from_str::<Value>(&console).unwrap()["console"].is_string());
    assert_eq!(said(&server, &["rm", id]).trim(), id);
    its_events_are_told(&server, id);
    assert!(!said(&server, &["ls"]).contains(id));
    assert!(said(&server, &["ls", "--all"]).contains(id));
}

fn it_is_paused_and_comes_back(server: &Server, id: &str) {
    said(
        server,
        &["exec", id, "--", "sh", "-c", "echo kept > /root/kept"],
    );
    let paused = said(server, &["pause", id, "-v"]);
    assert!(paused.starts_with(id), "{paused}");
    for step in ["quiesce", "freeze", "publish", "retire", "memory: "] {
        assert!(paused.contains(step), "{step}: {paused}");
    }
    let again = sandbox(server, &["pause", id, "--json"]);
    let error: Value = serde_json::from_slice(&again.stderr).unwrap();
    assert_eq!(error["error"]["code"], "invalid_state");
    let resumed = said(server, &["resume", id, "-v"]);
    assert!(
        resumed.starts_with(id) && resumed.contains("guest"),
        "{resumed}"
    );

    kill_vmm(&server.data(), id);
    let status = || {
        let got: Value = serde_json::from_str(&said(server, &["get", id, "--json"])).unwrap();
        got["status"].clone()
    };
    for _ in 0..300 {
        if status() == "error" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let back = sandbox(server, &["resume", id, "--cold"]);
    assert!(back.status.success(), "{back:?}");
    let told = String::from_utf8(back.stderr).unwrap();
    assert!(told.contains("is lost"), "{told}");
    assert_eq!(
        said(server, &["exec", id, "--", "cat", "/root/kept"]),
        "kept\n"
    );
    // It is news once.
    said(server, &["pause", id]);
    let back = sandbox(server, &["resume", id]);
    assert_eq!(String::from_utf8(back.stderr).unwrap(), "");
}

fn input_is_passed(server: &Server, id: &str) {
    let mut child = server
        .cli()
        .args(["sandbox", "exec", id, "--", "sha256sum"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&[0xff; 1 << 20])
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let sum = "f5fb04aa5b882706b9309e885f19477261336ef76a150c3b4d3489dfac3953ec  -\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), sum);
}

fn control_c_arrives(server: &Server, id: &str) {
    let script = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.1; done";
    let mut child = server
        .cli()
        .args(["sandbox", "exec", id, "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    signal(&child, "INT");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(
        (rest.as_str(), child.wait().unwrap().code()),
        ("interrupted\n", Some(7))
    );
}

fn files_are_copied(server: &Server, id: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (up, down) = (dir.path().join("up.bin"), dir.path().join("down.bin"));
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    std::fs::write(&up, &content).unwrap();
    let remote = format!("{id}:/root/");
    said(server, &["cp", up.to_str().unwrap(), &remote]);
    said(
        server,
        &["cp", &format!("{id}:/root/up.bin"), down.to_str().unwrap()],
    );
    assert!(std::fs::read(&down).unwrap() == content);
    assert_eq!(
        said(server, &["cp", &format!("{id}:/etc/hostname"), "-"]),
        "sandbox\n"
    );

    let absent = sandbox(
        server,
        &["cp", &format!("{id}:/absent"), down.to_str().unwrap()],
    );
    assert!(!absent.status.success());
    assert!(
        std::fs::read(&down).unwrap() == content,
        "a copy that fails leaves the old file"
    );
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        2,
        "and nothing half beside it"
    );
}

#[test]
fn failures_say_what_to_do() {
    let server = shared();
    let output = sandbox(&server, &["get", "sb-00000000000000000000"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("error: ") && text.contains("what to do: "),
        "{text}"
    );

    let output = sandbox(&server, &["exec", "sb-00000000000000000000", "--", "true"]);
    assert_eq!(
        output.status.code(),
        Some(125),
        "not an exit code of the command"
    );

    let output = sandbox(&server, &["get", "sb-00000000000000000000", "--json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "not_found");

    let nobody = crate::harness::wrenn(&server.data())
        .args(["--url", "http://127.0.0.1:1", "sandbox", "ls"])
        .output();
    let text = String::from_utf8(nobody.unwrap().stderr).unwrap();
    assert!(text.contains("wrenn up"), "{text}");
}

#[test]
fn the_doctor_looks_while_wrenn_runs_and_finds_nothing_that_stops_it() {
    let server = shared();
    let output = server.cli().args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["problems"], 0, "{report:#}");
    let findings = || {
        let areas = report["areas"].as_array().unwrap().iter();
        areas.flat_map(|area| area["findings"].as_array().unwrap())
    };
    let found = |check: &str| {
        let finding = findings().find(|finding| finding["check"] == check);
        finding.unwrap()["found"].as_str().unwrap()
    };
    assert!(found("in use").starts_with("by process "), "{report:#}");
    assert_eq!(found("forwarding"), "on");
    assert_eq!(found("firewalls"), "none that drops what is forwarded");
    for finding in findings().filter(|finding| finding["verdict"] != "ok") {
        assert!(
            finding["remedy"].is_string(),
            "nothing can be done: {finding:#}"
        );
    }
    let text = server.cli().arg("doctor").output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.trim_end()
            .ends_with("sandboxes can run on this machine."),
        "{text}"
    );
}
