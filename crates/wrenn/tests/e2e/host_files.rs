//! Files of the data directory that are damaged or gone: refused in words, or made good; never begun anew in silence.

use std::path::Path;
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use wrenn_client::api::CreateSandbox;

use crate::harness::{Server, TestSandbox, until};
use crate::start::{refused, up};

/// Puts something else in a file's place.
type Change = fn(&Path);

fn garbage(path: &Path) {
    std::fs::write(path, "garbage ".repeat(1000)).unwrap();
}

fn truncated(path: &Path) {
    std::fs::write(path, "").unwrap();
}

fn gone(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

/// What a start must say of each damage, beside the file's name.
const DAMAGES: [(&str, Change, &str); 11] = [
    ("instance", garbage, "bring the file `instance` back"),
    ("instance", truncated, "bring the file `instance` back"),
    ("instance", gone, "bring the file `instance` back"),
    ("journal", garbage, "bring it back from a copy"),
    ("journal", truncated, "bring it back from a copy"),
    ("journal", gone, "bring the journal back from a copy"),
    (
        "api-key",
        garbage,
        "remove it, and the next start makes a new one",
    ),
    (
        "api-key",
        truncated,
        "remove it, and the next start makes a new one",
    ),
    ("server/wrenn.db", garbage, "bring it back from a copy"),
    ("server/wrenn.db", truncated, "bring it back from a copy"),
    ("server/wrenn.db-wal", garbage, "bring it back from a copy"),
];

#[tokio::test]
async fn damage_is_refused_with_a_remedy_and_what_runs_runs_on() {
    let mut server = Server::start();
    let request = CreateSandbox {
        metadata: [("purpose".to_owned(), "test".to_owned())].into(),
        hostname: Some("kept".to_owned()),
        ..CreateSandbox::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    let before = sandbox.now().await;
    server.kill();
    let data = server.data();
    let copy = data.with_extension("copy");
    for (name, damage, remedy) in DAMAGES {
        let path = data.join(name);
        // A server that ended well left no log.
        let there = std::fs::copy(&path, &copy).is_ok();
        damage(&path);
        let damaged = std::fs::read(&path).ok();
        let said = refused(up(&data, "127.0.0.1:0"));
        assert!(
            said.contains(name) && said.contains(remedy),
            "{name}: {said}"
        );
        let now = std::fs::read(&path).ok();
        assert_eq!(now, damaged, "{name} was written");
        if there {
            std::fs::copy(&copy, &path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
    }
    a_database_that_cannot_be_written_is_refused(&data);
    // When generations were read last is no reason to refuse: they are read anew a while after this start.
    garbage(&data.join("scrubbed"));
    server.resume();
    let sandbox = TestSandbox::of(&server.client(), (*sandbox).clone());
    assert_eq!(sandbox.sh("hostname").await, "kept\n");

    // A lost database is made anew from what the agent has; the key in its file is let in again.
    server.kill();
    std::fs::remove_dir_all(data.join("server")).unwrap();
    server.resume();
    let sandbox = TestSandbox::of(&server.client(), (*sandbox).clone());
    let adopted = until("its adoption", Duration::from_secs(30), || async {
        sandbox.client.sandbox(&sandbox.id).await.ok()
    })
    .await;
    assert_eq!(adopted.metadata, before.metadata);
    // The agent's own word for it, which came a moment later.
    let apart = adopted.created_at.unix_ms() - before.created_at.unix_ms();
    assert!((0..5000).contains(&apart), "{apart} ms");
    assert_eq!(sandbox.sh("hostname").await, "kept\n");

    // A lost key is made anew, beside the one that was lost, which somebody has to revoke.
    let lost = server.key();
    server.kill();
    std::fs::remove_file(data.join("api-key")).unwrap();
    server.resume();
    assert_ne!(server.key(), lost);
    let old = wrenn_client::Client::new(server.url(), Some(&lost)).unwrap();
    let keys = old.keys().await.unwrap();
    let [_, first] = keys.as_slice() else {
        panic!("one was made beside the other: {keys:?}")
    };
    server.client().revoke_key(&first.id).await.unwrap();
    let refused = old.sandboxes().await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "unauthorized");
    let sandbox = TestSandbox::of(&server.client(), (*sandbox).clone());
    sandbox.delete().await;
}

/// As on a file system that went read-only.
fn a_database_that_cannot_be_written_is_refused(data: &Path) {
    let path = data.join("server/wrenn.db");
    let bind = |flags| mount(Some(&path), &path, None::<&str>, flags, None::<&str>).unwrap();
    bind(MsFlags::MS_BIND);
    bind(MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
    let said = refused(up(data, "127.0.0.1:0"));
    umount(&path).unwrap();
    assert!(
        said.contains("wrenn.db cannot be written") && said.contains("is writable"),
        "{said}"
    );
}
