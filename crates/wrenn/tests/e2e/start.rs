//! Starts that cannot go well say why and what to do, and take nothing.

use std::process::Output;

use tempfile::TempDir;

use crate::harness::{Server, shared, wrenn};

fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it is refused");
    assert!(said.contains("what to do: "), "{said}");
    said
}

#[tokio::test]
async fn a_data_directory_has_one_wrenn() {
    let server = shared();
    let output = wrenn(&server.data())
        .args(["up", "--addr", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = refused(&output);
    assert!(said.contains("another Wrenn works on"), "{said}");
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
    let output = wrenn(dir.path())
        .args(["up", "--addr", address])
        .output()
        .unwrap();
    let said = refused(&output);
    assert!(said.contains(address) && said.contains("--addr"), "{said}");
}

#[test]
fn an_address_for_everyone_needs_a_word() {
    let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
    let output = wrenn(dir.path())
        .args(["up", "--addr", "0.0.0.0:0"])
        .output()
        .unwrap();
    let said = refused(&output);
    assert!(said.contains("--listen-public"), "{said}");
    assert!(
        std::fs::read_dir(dir.path()).unwrap().next().is_none(),
        "nothing was made"
    );
}

#[test]
fn without_qemu_the_package_is_named() {
    let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
    let mut command = wrenn(&dir.path().join("data"));
    let output = command
        .args(["up", "--addr", "127.0.0.1:0"])
        .env("WRENN_QEMU", "/absent/qemu")
        .output()
        .unwrap();
    let said = refused(&output);
    assert!(said.contains("qemu-system-x86"), "{said}");
    let down = wrenn(&dir.path().join("data"))
        .arg("down")
        .output()
        .unwrap();
    assert!(down.status.success() || !down.stderr.is_empty());
}

#[tokio::test]
async fn the_key_is_made_once_and_is_roots() {
    use std::os::unix::fs::PermissionsExt;

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
