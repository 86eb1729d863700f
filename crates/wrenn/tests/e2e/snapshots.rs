//! Snapshots as templates: what is made from one is what its source was at one instant, and nothing else of it.

use std::time::Duration;

use wrenn_client::api::{CreateSandbox, CreateSnapshot, Snapshot, TemplateType};
use wrenn_client::{Client, ExecEvent};

use crate::harness::{MEMORY, Server, TestSandbox, shared, start, until};

async fn snapshot(client: &Client, of: &TestSandbox, name: &str) -> Snapshot {
    let request = CreateSnapshot {
        sandbox_id: of.id.clone(),
        name: Some(name.to_owned()),
    };
    client
        .create_snapshot(&request, false, false)
        .await
        .unwrap()
}

async fn made_from(client: &Client, name: &str) -> TestSandbox {
    let request = CreateSandbox {
        template: Some(name.to_owned()),
        ..CreateSandbox::default()
    };
    TestSandbox::create_with(client, request).await
}

#[tokio::test]
async fn a_sandbox_from_a_snapshot_is_what_its_source_was_and_somebody_else() {
    let server = shared();
    let client = server.client();
    let request = CreateSandbox {
        envs: [("SECRET".to_owned(), "source's".to_owned())].into(),
        hostname: Some("source".to_owned()),
        ..CreateSandbox::default()
    };
    let source = TestSandbox::create_with(&client, request).await;
    source
        .begin("i=0; while :; do i=$((i+1)); echo $i > /dev/shm/n; sleep 0.1; done")
        .await;
    source
        .sh("echo disk > /root/kept; echo memory > /dev/shm/kept")
        .await;
    let identity = "cat /proc/sys/kernel/random/boot_id /etc/machine-id; hostname";
    let first = source.sh(identity).await;
    let (_control, mut events) = client
        .exec_stream(&source.id, &start("sleep 4; echo still here"))
        .await
        .unwrap();

    let snapshot = snapshot(&client, &source, "of-a-source").await;
    assert!(snapshot.frozen_ms > 0.0 && snapshot.template.size_bytes > 0);
    assert!(snapshot.notice.contains("memory"), "{}", snapshot.notice);
    source.sh("echo later > /root/kept; sync").await;
    let said = async {
        let mut said = String::new();
        loop {
            match events.next().await.unwrap() {
                ExecEvent::Stdout(data) => said += &String::from_utf8_lossy(&data),
                ExecEvent::Exit { .. } => return said,
                _ => {}
            }
        }
    };
    assert_eq!(
        said.await,
        "still here\n",
        "a command of the source was cut off"
    );

    // What is asked for beside the snapshot's own vCPUs and memory gives way to them.
    let request = CreateSandbox {
        template: Some("of-a-source".to_owned()),
        memory_mb: Some(1024),
        hostname: Some("child".to_owned()),
        envs: [("OWN".to_owned(), "child's".to_owned())].into(),
        ..CreateSandbox::default()
    };
    let child = TestSandbox::create_with(&client, request).await;
    assert_eq!(i64::from(child.memory_mb), MEMORY);
    let kept = "cat /root/kept /dev/shm/kept; a=$(cat /dev/shm/n); sleep 0.5; [ $(cat /dev/shm/n) -gt $a ] && echo counts";
    assert_eq!(child.sh(kept).await, "disk\nmemory\ncounts\n");
    let told = child.sh("echo [$SECRET] $OWN $WRENN_SANDBOX_ID").await;
    assert_eq!(told, format!("[] child's {}\n", child.id));
    let second = child.sh(identity).await;
    for (ours, theirs) in second.lines().zip(first.lines()) {
        assert_ne!(ours, theirs);
    }

    // It needs neither the snapshot nor the source any more.
    client.delete_template("of-a-source").await.unwrap();
    source.delete().await;
    child.pause().await;
    child.resume().await;
    assert_eq!(child.sh(kept).await, "disk\nmemory\ncounts\n");
    assert_eq!(child.sh(identity).await, second);
    child.delete().await;
}

#[tokio::test]
async fn an_overwritten_name_is_another_version_and_those_of_the_old_one_go_on() {
    let server = shared();
    let client = server.client();
    let source = TestSandbox::create(&client).await;
    source.sh("echo one > /root/version").await;
    snapshot(&client, &source, "versions").await;
    let old = made_from(&client, "versions").await;
    source.sh("echo two > /root/version").await;
    let request = CreateSnapshot {
        sandbox_id: source.id.clone(),
        name: Some("versions".to_owned()),
    };
    let refused = client.create_snapshot(&request, false, false).await;
    assert_eq!(refused.unwrap_err().api().unwrap().code, "already_exists");

    // While others are made from it: each is of the one or of the other version.
    let (overwritten, made) = tokio::join!(
        client.create_snapshot(&request, true, false),
        made_from(&client, "versions")
    );
    overwritten.unwrap();
    let version = made.sh("cat /root/version").await;
    assert!(["one\n", "two\n"].contains(&version.as_str()), "{version}");
    let new = made_from(&client, "versions").await;
    assert_eq!(new.sh("cat /root/version").await, "two\n");
    assert_eq!(old.sh("cat /root/version").await, "one\n");
    old.pause().await;
    old.resume().await;
    assert_eq!(old.sh("cat /root/version").await, "one\n");
    let of_kind = client.templates_of(TemplateType::Snapshot).await.unwrap();
    assert_eq!(
        of_kind.iter().filter(|one| one.name == "versions").count(),
        1
    );
    client.delete_template("versions").await.unwrap();
    for sandbox in [source, old, made, new] {
        sandbox.delete().await;
    }
}

#[tokio::test]
async fn a_snapshot_outlives_the_agent_and_its_disk_can_be_booted() {
    let mut server = Server::start();
    let source = TestSandbox::create(&server.client()).await;
    source
        .sh("echo kept > /root/kept; echo gone > /dev/shm/gone")
        .await;
    let request = CreateSnapshot {
        sandbox_id: source.id.clone(),
        name: Some("kept".to_owned()),
    };
    // As the founding system did it.
    let client = server.client();
    client.create_snapshot(&request, false, true).await.unwrap();
    source.becomes("paused", Duration::from_secs(10)).await;
    server.kill();
    server.resume();
    let client = server.client();
    let warm = made_from(&client, "kept").await;
    assert_eq!(
        warm.sh("cat /root/kept /dev/shm/gone").await,
        "kept\ngone\n"
    );
    let request = CreateSandbox {
        template: Some("kept".to_owned()),
        cold: true,
        ..CreateSandbox::default()
    };
    let cold = TestSandbox::create_with(&client, request).await;
    assert_eq!(cold.sh("cat /root/kept; ls /dev/shm").await, "kept\n");
    until(
        "a snapshot's file that is gone with its name",
        Duration::from_secs(5),
        || async { client.delete_template("kept").await.ok() },
    )
    .await;
    let gone = client.delete_template("kept").await.unwrap_err();
    assert_eq!(gone.api().unwrap().code, "not_found");
    let store = server.data().join("store/snapshots");
    assert_eq!(store.read_dir().unwrap().count(), 0);
}
