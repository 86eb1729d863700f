//! Where a setting comes from: a flag, a variable, the file, the program. Shown by `wrenn server` refusing an address that
//! other machines can reach, which it names.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// `wrenn` in an empty environment, with this file.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is run as a user runs it"
)]
fn wrenn(config: &Path, args: &[&str], envs: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wrenn"))
        .args(args)
        .env_clear()
        .env("WRENN_CONFIG", config)
        .envs(envs.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("wrenn.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// What it says when it is refused.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_flag_wins_over_a_variable_a_variable_over_the_file_and_the_file_over_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(
        folder.path(),
        "[api]\naddr = \"0.0.0.0:1\"\nlisten_public = false\n",
    );
    let flag = ["server", "--addr", "0.0.0.0:4"];
    let founding = ("CP_LISTEN_ADDR", ":2");
    let own = ("WRENN_ADDR", "0.0.0.0:3");
    for (args, envs, chosen) in [
        (&flag[..1], &[][..], "0.0.0.0:1"),
        (&flag[..1], &[founding], "0.0.0.0:2"),
        (&flag[..1], &[founding, own], "0.0.0.0:3"),
        (&flag, &[founding, own], "0.0.0.0:4"),
    ] {
        let told = refusal(&wrenn(&config, args, envs));
        let expected = format!("{chosen} can be reached from other machines");
        assert!(told.contains(&expected), "{told}");
    }
    // What the file switches on, a flag switches off.
    let config = file(
        folder.path(),
        "[api]\naddr = \"0.0.0.0:1\"\nlisten_public = true\n",
    );
    let told = refusal(&wrenn(&config, &["server", "--listen-public=false"], &[]));
    assert!(told.contains("other machines"), "{told}");
    let state = folder.path().join("wrenn.toml/state");
    let state = ["server", "--state", state.to_str().unwrap()];
    let told = refusal(&wrenn(&config, &state, &[]));
    assert!(told.contains("cannot be used"), "it is let: {told}");
}

#[test]
fn a_file_that_is_not_understood_stops_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path(), "[api]\naddress = \"127.0.0.1:1\"\n");
    for command in [
        &["up"][..],
        &["agent"],
        &["server"],
        &["down"],
        &["sandbox", "ls"],
    ] {
        let told = refusal(&wrenn(&config, command, &[]));
        let expected = format!("`api.address` in {} is no key", config.display());
        assert!(told.contains(&expected), "{told}");
        assert!(told.contains("did you mean `api.addr`?"), "{told}");
    }
    let output = wrenn(&config, &["sandbox", "ls", "--json"], &[]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["remedy"], "did you mean `api.addr`?");
    // Who asks how it is used is answered.
    assert!(wrenn(&config, &["help", "server"], &[]).status.success());

    let absent = folder.path().join("absent.toml");
    let told = refusal(&wrenn(&absent, &["sandbox", "ls"], &[]));
    assert!(told.contains("absent.toml cannot be read"), "{told}");
}

#[test]
fn a_founding_variable_that_would_be_ignored_is_refused_by_who_would_ignore_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path(), "");
    let envs = [("CP_HOST_AGENT_ADDR", "http://localhost:50051")];
    let told = refusal(&wrenn(&config, &["server"], &envs));
    assert!(
        told.contains("CP_HOST_AGENT_ADDR") && told.contains("what to do: unset it"),
        "{told}"
    );
    let told = refusal(&wrenn(&config, &["sandbox", "ls"], &envs));
    assert!(!told.contains("CP_HOST_AGENT_ADDR"), "{told}");
}

#[test]
fn a_socket_needs_a_user_wherever_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let socket = [
        "agent",
        "--server-socket",
        "/run/x/agent.sock",
        "--dir",
        "/dev/null/x",
    ];
    let config = file(folder.path(), "");
    assert_eq!(wrenn(&config, &socket, &[]).status.code(), Some(2));
    let config = file(folder.path(), "[agent]\nserver_user = \"1\"\n");
    assert_eq!(wrenn(&config, &socket, &[]).status.code(), Some(1));
}
