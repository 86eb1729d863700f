//! Starts that cannot go well say why and what to do, and take nothing.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Server, shared, signal, wrenn};

/// What a start says that ends by itself, and not well.
pub(crate) fn refused(mut command: Command) -> String {
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it was not refused");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(!child.wait().unwrap().success(), "{said}");
    said
}

/// `wrenn up` on a port that is free.
pub(crate) fn up(data: &std::path::Path, address: &str) -> Command {
    let mut command = wrenn(data);
    command.args(["up", "--addr", address]);
    command
}

#[tokio::test]
async fn a_data_directory_has_one_wrenn() {
    let server = shared();
    let said = refused(up(&server.data(), "127.0.0.1:0"));
    assert!(
        said.contains("another Wrenn works on") && said.contains("what to do: "),
        "{said}"
    );
    assert!(
        server.client().sandboxes().await.is_ok(),
        "the first one goes on"
    );
}

/// It is the one thing that is done beside a server: the template appears whole in the store that the server has mounted.
#[tokio::test]
async fn a_template_is_built_beside_a_server() {
    let server = shared();
    let built = server.cli().args(["template", "build", "minimal"]).output();
    let built = built.unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    let store = server.data().join("store");
    assert!(store.join("templates/minimal").exists(), "{said}");
    assert!(
        server.client().sandboxes().await.is_ok(),
        "the first one goes on"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let server = shared();
    let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
    let address = server.url().strip_prefix("http://").unwrap();
    let said = refused(up(dir.path(), address));
    assert!(said.contains(address) && said.contains("--addr"), "{said}");
}

#[test]
fn an_address_for_everyone_needs_a_word() {
    let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
    let said = refused(up(dir.path(), "0.0.0.0:0"));
    assert!(said.contains("--listen-public"), "{said}");
    assert!(
        std::fs::read_dir(dir.path()).unwrap().next().is_none(),
        "nothing was made"
    );
}

/// In a mount namespace of its own, in which QEMU is another one. The store's mount goes with it.
#[test]
fn an_old_qemu_is_refused_and_the_remedy_named() {
    let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
    let qemu = dir.path().join("qemu");
    std::fs::write(&qemu, "#!/bin/sh\necho QEMU emulator version 7.2.22\n").unwrap();
    std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755)).unwrap();
    let up = up(&dir.path().join("data"), "127.0.0.1:0");
    #[expect(clippy::disallowed_methods, reason = "a test's helper")]
    let mut hidden = Command::new("unshare");
    hidden
        .args([
            "--mount",
            "sh",
            "-c",
            r#"mount --bind "$0" /usr/bin/qemu-system-x86_64 && exec "$@""#,
        ])
        .arg(&qemu)
        .arg(up.get_program())
        .args(up.get_args());
    let said = refused(hidden);
    assert!(
        said.contains("7.2.22") && said.contains("bookworm-backports"),
        "{said}"
    );
}

#[tokio::test]
async fn the_key_is_made_once_and_is_roots() {
    let mut server = Server::start();
    let path = server.data().join("api-key");
    let key = server.key();
    assert!(key.starts_with("wrn_") && key.len() == 36, "{key}");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (status, _) = server.terminate();
    assert!(status.success());
    server.resume();
    assert_eq!(server.key(), key);
    assert!(server.client().sandboxes().await.is_ok());
}

/// The two commands that a start prints, as they stand.
#[test]
fn the_printed_commands_work() {
    let mut server = Server::start();
    let (status, _) = server.terminate();
    assert!(status.success());
    let mut child = up(&server.data(), "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.as_mut().unwrap())
        .lines()
        .map(Result::unwrap);
    let printed: Vec<_> = printed
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .collect();
    let commands: Vec<_> = printed
        .iter()
        .filter(|line| line.starts_with("  "))
        .cloned()
        .collect();
    #[expect(clippy::disallowed_methods, reason = "a person's shell")]
    let output = Command::new("sh")
        .arg("-ec")
        .arg(commands.join("\n"))
        .output()
        .unwrap();
    signal(&child, "TERM");
    let status = child.wait().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Linux sandbox"), "{printed:#?}\n{output:?}");
    assert!(status.success());
}
