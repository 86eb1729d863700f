//! A command whose server is not there, or is another program, or does not know the key: what it says, and that it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const KEY: &str = "wrn_0123456789abcdefghijklmnopqrstuv";

/// `wrenn` with an empty data directory and nothing of the caller's environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is run as a user runs it"
)]
fn wrenn(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wrenn"))
        .env_clear()
        .env("WRENN_CONFIG", "/dev/null")
        .env("WRENN_STATE", dir.join("state"))
        .arg("--dir")
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// `wrenn sandbox ls` at an address: what it says, of which exactly one line is a remedy.
fn lists(url: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = wrenn(
        dir.path(),
        &["--url", url, "--api-key", KEY, "sandbox", "ls"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("what to do: ").count(), 1, "{told}");
    assert!(told.starts_with("error: "), "{told}");
    told
}

/// A program that answers every caller with these words; its address.
fn answers(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for caller in listener.incoming() {
            let mut caller = caller.unwrap();
            let mut asked = [0; 4096];
            // Who has heard what was asked loses no word of the answer.
            drop(caller.read(&mut asked));
            drop(caller.write_all(words.as_bytes()));
        }
    });
    url
}

fn html(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
}

#[test]
fn where_nobody_serves_one_is_told_to_start_a_server() {
    let told = lists("http://127.0.0.1:1");
    assert!(
        told.contains("no Wrenn server answers at http://127.0.0.1:1"),
        "{told}"
    );
    assert!(told.contains("refused"), "{told}");
    assert!(
        told.contains("`wrenn up`") && told.contains("--url"),
        "{told}"
    );
}

#[test]
fn what_is_no_address_says_how_one_is_written() {
    for url in [
        "127.0.0.1:8080",
        "https://127.0.0.1:8080",
        "http://127.0.0.1:8080/v1",
        "",
    ] {
        let told = lists(url);
        assert!(
            told.contains("give it as http://HOST:PORT"),
            "{url}: {told}"
        );
    }
}

#[test]
fn another_program_on_the_port_is_told_from_a_server() {
    for words in [
        html("200 OK"),
        html("404 Not Found"),
        html("401 Unauthorized"),
        html("502 Bad Gateway"),
        "HTTP/1.1 301 Moved\r\nLocation: https://example.org/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"up\": true}".to_owned(),
        "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_owned(),
    ] {
        let words: &'static str = words.leak();
        let told = lists(&answers(words));
        assert!(told.contains("is not one of a Wrenn server"), "{words}: {told}");
        assert!(told.contains("--url"), "{words}: {told}");
    }
}

#[test]
fn without_a_key_one_is_told_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let output = wrenn(dir.path(), &["sandbox", "ls"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("there is no API key"), "{told}");
    assert!(told.contains(dir.path().to_str().unwrap()), "{told}");
    // One that was made by `wrenn server` is found as well.
    std::fs::create_dir(dir.path().join("state")).unwrap();
    std::fs::write(dir.path().join("state/api-key"), KEY).unwrap();
    let output = wrenn(
        dir.path(),
        &["--url", "http://127.0.0.1:1", "sandbox", "ls"],
    );
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("no Wrenn server answers"), "{told}");
}

#[test]
fn programs_are_told_the_same_and_exec_has_a_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--url", "http://127.0.0.1:1", "--api-key", KEY, "--json"];
    let output = wrenn(dir.path(), &[&args[..], &["sandbox", "ls"]].concat());
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "client_error");
    assert!(
        error["error"]["remedy"]
            .as_str()
            .unwrap()
            .contains("wrenn up"),
        "{error}"
    );
    let exec = ["sandbox", "exec", "sb-00000000000000000000", "--", "true"];
    let output = wrenn(dir.path(), &[&args[..], &exec].concat());
    assert_eq!(output.status.code(), Some(125), "{output:?}");
}
