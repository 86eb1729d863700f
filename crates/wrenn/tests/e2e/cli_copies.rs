//! Snapshots, forks and pools by the command line.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Server, shared};

fn wrenn(server: &Server, args: &[&str]) -> Output {
    server.cli().args(args).output().unwrap()
}

/// What it prints when it ends well.
fn said(server: &Server, args: &[&str]) -> String {
    let output = wrenn(server, args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn document(server: &Server, args: &[&str]) -> Value {
    serde_json::from_str(&said(server, &[args, &["--json"]].concat())).unwrap()
}

/// What a sandbox has in its memory.
fn note(server: &Server, id: &str) -> String {
    said(
        server,
        &["sandbox", "exec", id, "--", "cat", "/dev/shm/note"],
    )
}

fn source(server: &Server) -> String {
    let made = said(
        server,
        &["sandbox", "create", "minimal", "--memory", "256", "--cold"],
    );
    let id = made.trim().to_owned();
    let write = "echo kept > /dev/shm/note";
    said(server, &["sandbox", "exec", &id, "--", "sh", "-c", write]);
    id
}

#[test]
fn a_sandbox_becomes_a_template() {
    let server = shared();
    let id = source(&server);
    let name = format!("cli-{}", &id[3..11]);
    let create = ["snapshot", "create", &id, "--name", &name];
    let made = wrenn(&server, &[&create[..], &["-v"]].concat());
    let (shown, told) = (
        String::from_utf8(made.stdout).unwrap(),
        String::from_utf8(made.stderr).unwrap(),
    );
    assert!(made.status.success(), "{told}");
    assert!(shown.starts_with(&format!("{name}\n")), "{shown}");
    assert!(shown.contains("stood still for"), "{shown}");
    assert!(told.contains("memory"), "{told}");

    let twice = wrenn(&server, &[&create[..], &["--json"]].concat());
    let error: Value = serde_json::from_slice(&twice.stderr).unwrap();
    assert_eq!(error["error"]["code"], "already_exists");
    said(
        &server,
        &[&create[..], &["--overwrite", "--pause"]].concat(),
    );
    assert_eq!(
        document(&server, &["sandbox", "get", &id])["status"],
        "paused"
    );

    let listed = document(&server, &["snapshot", "ls"]);
    let is_mine = |one: &&Value| one["name"] == name.as_str();
    let mine = listed.as_array().unwrap().iter().find(is_mine).unwrap();
    assert_eq!(
        (&mine["type"], &mine["vcpus"], &mine["memory_mb"]),
        (&"snapshot".into(), &1.into(), &256.into())
    );
    let bases = said(&server, &["snapshot", "ls", "--type", "base"]);
    assert!(
        bases.contains("minimal") && !bases.contains(&name),
        "{bases}"
    );

    let copy = said(&server, &["sandbox", "create", &name]);
    assert_eq!(note(&server, copy.trim()), "kept\n");
    assert_eq!(said(&server, &["snapshot", "rm", &name]).trim(), name);
    let gone = wrenn(&server, &["snapshot", "rm", &name]);
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(note(&server, copy.trim()), "kept\n");
    said(&server, &["sandbox", "rm", copy.trim(), &id]);
}

#[test]
fn a_sandbox_becomes_several() {
    let server = shared();
    let id = source(&server);
    let fork = ["sandbox", "fork", &id];
    let forked = document(
        &server,
        &[&fork[..], &["--count", "2", "-m", "who=child"]].concat(),
    );
    let results = forked["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    let mut children = Vec::new();
    for result in results {
        let child = &result["sandbox"];
        assert_eq!(
            (&child["parent_id"], &child["metadata"]["who"]),
            (&id.as_str().into(), &"child".into())
        );
        children.push(child["id"].as_str().unwrap().to_owned());
    }
    let shown = said(&server, &[&fork[..], &["-v"]].concat());
    assert!(shown.contains("stood still for"), "{shown}");
    children.push(shown.lines().next().unwrap().to_owned());
    for child in &children {
        assert_eq!(note(&server, child), "kept\n");
        said(&server, &["sandbox", "rm", child]);
    }
    assert_eq!(note(&server, &id), "kept\n");
    said(&server, &["sandbox", "rm", &id]);
}

#[test]
fn a_pool_is_filled_and_given_back() {
    let server = Server::start_with_env(&[
        ("WRENN_BOOT_IMAGES_MB", "1024".into()),
        ("WRENN_POOL", "minimal:1:192=0".into()),
    ]);
    let counts = || {
        let pools = document(&server, &["pool", "ls"])["pools"].clone();
        let is_mine = |one: &&Value| one["template"] == "minimal" && one["memory_mb"] == 192;
        let mine = pools.as_array().unwrap().iter().find(is_mine).cloned();
        ["wanted", "ready", "wanted_started", "started"].map(|name| {
            let pool = mine.as_ref();
            pool.map_or(0, |pool| pool[name].as_u64().unwrap())
        })
    };
    let shape = ["minimal", "--memory", "192"];
    let warm = [&["pool", "warm"], &shape[..], &["--count", "1"]].concat();
    assert!(said(&server, &warm).contains("192 MiB"));
    assert_eq!(counts(), [1, 1, 0, 0]);
    let started = [
        &["pool", "warm"],
        &shape[..],
        &["--count", "0", "--started", "1"],
    ];
    assert!(said(&server, &started.concat()).contains("1 of 1"));
    let now = counts();
    assert_eq!((now[0], &now[2..]), (0, &[1, 1][..]));
    let none = [&["pool", "warm"], &shape[..], &["--count", "0"]].concat();
    assert!(!wrenn(&server, &none).status.success());
    assert!(said(&server, &["pool", "ls"]).contains("boot images take"));
    let drained = said(&server, &[&["pool", "drain"], &shape[..]].concat());
    assert!(drained.trim().parse::<u32>().unwrap() >= 1);
    assert_eq!(counts()[1..], [0, 0, 0]);
}
