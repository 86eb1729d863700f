//! A sandbox can be destroyed whatever it is doing, also when its VMM is silent and when nobody remembers it.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use wrenn_client::Client;
use wrenn_client::api::{CreateSandbox, ResumeRequest};
use wrenn_testkit::leaks::Snapshot;

use crate::harness::{MEMORY, Server, TestSandbox, kill_vmm, scope, signal_vmm, until};

/// Longer than a destruction takes on a busy machine, and shorter than any step's limit.
const SOON: Duration = Duration::from_secs(25);

async fn destroys_soon(client: &Client, id: &str, what: &str) {
    let begun = Instant::now();
    assert!(client.delete_sandbox(id).await.unwrap(), "{what}");
    assert!(begun.elapsed() < SOON, "{what}: {:?}", begun.elapsed());
    let now = client.sandbox(id).await.unwrap();
    assert_eq!(now.status, "stopped", "{what}: {now:?}");
}

async fn under_way(client: &Client, id: &str, transition: &str) {
    until(transition, Duration::from_secs(60), || async {
        let now = client.sandbox(id).await.unwrap();
        (now.transition.as_deref() == Some(transition)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_goes_from_every_state() {
    let mut server = Server::start();
    let client = server.client();
    let data = server.data();
    let scope = scope(&server);
    let before = Snapshot::take(&scope);

    let silent = TestSandbox::create(&client).await;
    signal_vmm(&data, &silent.id, Signal::STOP);
    destroys_soon(&client, &silent.id, "a VMM that hangs").await;

    let mute = TestSandbox::create(&client).await;
    for entry in std::fs::read_dir(data.join("store/sandboxes").join(&mute.id)).unwrap() {
        let socket = entry.unwrap().path().join("qmp.sock");
        if socket.exists() {
            std::fs::remove_file(socket).unwrap();
        }
    }
    destroys_soon(&client, &mute.id, "a VMM without a socket").await;

    let failed = TestSandbox::create(&client).await;
    kill_vmm(&data, &failed.id);
    failed.becomes("error", Duration::from_secs(30)).await;
    destroys_soon(&client, &failed.id, "error").await;

    let (hung, resuming) = (
        TestSandbox::create(&client).await,
        TestSandbox::create(&client).await,
    );
    resuming.pause().await;
    let pausing = TestSandbox::create(&client).await;
    signal_vmm(&data, &pausing.id, Signal::STOP);
    // The guest is asked to sync, and does not answer.
    let pause = pausing.client.pause(&pausing.id);
    let destroy = async {
        under_way(&client, &pausing.id, "pausing").await;
        assert!(client.delete_sandbox(&pausing.id).await.unwrap());
    };
    let (paused, ()) = tokio::join!(pause, destroy);
    assert!(paused.is_err(), "{paused:?}");

    server.terminate();
    server.resume_with("machine=hang,pause.freeze=hang,resume.machine=hang");
    let client = server.client();
    let pause = client.pause(&hung.id);
    let destroy = async {
        under_way(&client, &hung.id, "pausing").await;
        destroys_soon(&client, &hung.id, "a pause that hangs").await;
    };
    let (paused, ()) = tokio::join!(pause, destroy);
    assert!(paused.is_err(), "{paused:?}");

    let how = ResumeRequest::default();
    let resume = client.resume(&resuming.id, &how);
    let destroy = async {
        under_way(&client, &resuming.id, "resuming").await;
        destroys_soon(&client, &resuming.id, "a resume that hangs").await;
    };
    let (resumed, ()) = tokio::join!(resume, destroy);
    assert!(resumed.is_err(), "{resumed:?}");

    let request = CreateSandbox {
        memory_mb: Some(MEMORY),
        ..Default::default()
    };
    let starting = client.begin_sandbox(&request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    destroys_soon(&client, &starting.id, "a creation that hangs").await;
    before.assert_nothing_new(&scope);
}

/// Its disk, that is: what its guest's memory would want to see is known to nobody any more.
async fn its_pause_can_be_booted(lost: &TestSandbox) {
    let warm = ResumeRequest::default();
    let refused = lost.client.resume(&lost.id, &warm).await.unwrap_err();
    let told = refused.api().unwrap();
    assert_eq!(told.code, "conflict", "{told}");
    assert!(told.remedy.contains("cold"), "{told}");
    lost.resume_with(&ResumeRequest { cold: true }).await;
    assert_eq!(lost.sh("cat /root/file").await, "kept\n");
    lost.pause().await;
    lost.resume().await;
    assert_eq!(lost.sh("cat /root/file").await, "kept\n");
}

#[tokio::test]
async fn a_sandbox_whose_record_is_damaged_is_an_error_and_can_be_destroyed() {
    let mut server = Server::start();
    let client = server.client();
    let scope = scope(&server);
    let before = Snapshot::take(&scope);
    let (forgotten, doubtful, whole) = (
        TestSandbox::create(&client).await,
        TestSandbox::create(&client).await,
        TestSandbox::create(&client).await,
    );
    forgotten.sh("echo kept > /root/file").await;
    forgotten.pause().await;
    server.kill();
    let journal = server.data().join("journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let places = |bytes: &[u8], id: &str| -> Vec<usize> {
        let key = format!("[\"{id}\"");
        let found = bytes.windows(key.len()).enumerate();
        found
            .filter(|(_, window)| *window == key.as_bytes())
            .map(|(at, _)| at)
            .collect()
    };
    // Of one every record is damaged, of the other the newest: what is left says that it was being started.
    let all = places(&bytes, &forgotten.id);
    let newest = *places(&bytes, &doubtful.id).last().unwrap();
    for at in all.into_iter().chain([newest]) {
        bytes[at + 40] ^= 1;
    }
    std::fs::write(&journal, bytes).unwrap();

    server.resume();
    let client = server.client();
    for lost in [&forgotten, &doubtful] {
        let lost = TestSandbox::of(&client, client.sandbox(&lost.id).await.unwrap());
        let now = lost.becomes("error", Duration::from_secs(30)).await;
        assert!(now.status_reason.unwrap().contains("damaged"));
        if lost.id == forgotten.id {
            its_pause_can_be_booted(&lost).await;
        }
        // Its disk is what is left of it.
        let folder = server.data().join("store/sandboxes").join(&lost.id);
        assert!(folder.exists());
        destroys_soon(&client, &lost.id, "a damaged record").await;
        assert!(!folder.exists());
    }
    let whole = TestSandbox::of(&client, client.sandbox(&whole.id).await.unwrap());
    assert_eq!(whole.sh("echo undisturbed").await, "undisturbed\n");
    whole.delete().await;
    before.assert_nothing_new(&scope);
}
