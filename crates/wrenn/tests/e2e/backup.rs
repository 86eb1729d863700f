//! A backup that is made while Wrenn runs, and what comes out of it: what was paused goes on where it was, what ran is lost as
//! the rules say, links are links, and what is no whole backup leaves nothing.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Apart, Server, TestSandbox, Witness, signal, wrenn};
use crate::pause_faults::settles;

/// How long the control plane may take to hear of what became of sandboxes.
const NEWS: Duration = Duration::from_secs(30);

/// `wrenn backup`, of an installation without a control plane of its own.
fn backup(data: &Path, file: &Path) -> Value {
    let output = wrenn(data)
        .args(["backup", "--json", "--state", "/nonexistent"])
        .arg(file)
        .output();
    told(output.unwrap())
}

fn restore(file: &Path, data: &Path, more: &[&str]) -> Output {
    let mut command = wrenn(data);
    command.args(["restore", "--json"]).arg(file).args(more);
    command.output().unwrap()
}

fn told(output: Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is said about a restore that is refused, which has left nothing.
fn refused(file: &Path, data: &Path) -> String {
    let before = data.exists();
    let output = restore(file, data, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(data.exists(), before, "something is left");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"]["remedy"].is_string(), "{error}");
    error["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_paused_goes_on_in_another_place_and_what_ran_is_lost_as_the_rules_say() {
    let folder = TempDir::with_prefix("wrenn-e2e-backup-").unwrap();
    let file = folder.path().join("backup");
    let mut server = Server::start();
    let client = server.client();
    let paused = TestSandbox::create(&client).await;
    let witness = Witness::leave(&paused).await;
    let counted = witness.check(&paused).await;
    paused.pause().await;
    let resumed = TestSandbox::create(&client).await;
    resumed.sh("echo then > /root/when").await;
    resumed.pause().await;
    resumed.resume().await;
    resumed.sh("echo later > /root/when").await;
    let ran = TestSandbox::create(&client).await;

    let made = backup(&server.data(), &file);
    assert_eq!(
        (&made["sandboxes"], &made["databases"]),
        (&2.into(), &1.into()),
        "{made}"
    );
    let left_out = &made["left_out"][0];
    assert_eq!(
        (&left_out["id"], &left_out["status"]),
        (&ran.id.as_str().into(), &"running".into())
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Nobody noticed.
    ran.sh("true").await;
    resumed.sh("true").await;

    damage_is_refused(&file, folder.path());
    a_second_one_lives_beside_it(&file, &paused, &witness, counted).await;

    // Without a Wrenn it has the same sandboxes, but for those that were ended.
    server.down();
    let later = folder.path().join("later");
    assert_eq!(backup(&server.data(), &later)["sandboxes"], 1);

    let key = fs::read_to_string(server.data().join("api-key")).unwrap();
    let instance = fs::read_to_string(server.data().join("instance")).unwrap();
    let restored = Server::start_on(|data| {
        fs::create_dir(data).unwrap();
        let restored = told(restore(&file, data, &[]));
        assert_eq!(
            restored["sandboxes"].as_array().unwrap().len(),
            2,
            "{restored}"
        );
        assert_eq!(restored["left_out"], made["left_out"]);
        assert!(refused(&file, data).contains("is not empty"));
    });
    assert_eq!(restored.key(), key.trim());
    assert_eq!(
        fs::read_to_string(restored.data().join("instance")).unwrap(),
        instance
    );
    let client = restored.client();
    let of = async |id: &str| TestSandbox::of(&client, client.sandbox(id).await.unwrap());
    let again = of(&paused.id).await;
    assert_eq!(again.now().await.status, "paused");
    links_are_links(&restored, &paused.id);
    again.resume().await;
    witness.counts_beyond(&again, counted).await;
    again.sh("echo more > /root/more").await;
    again.pause().await;
    again.resume().await;
    assert_eq!(again.sh("cat /root/more").await, "more\n");

    let lost = of(&resumed.id).await;
    let now = lost.becomes("error", NEWS).await;
    let reason = now.status_reason.unwrap();
    assert!(reason.contains("backup"), "{reason}");
    let back = lost.resume().await;
    assert!(back.sandbox.lost_since.is_some(), "{back:?}");
    assert_eq!(lost.sh("cat /root/when").await, "then\n");
    of(&ran.id).await.becomes("stopped", NEWS).await;
}

/// A backup that was changed or cut, wherever, is refused, and nothing is left of it.
fn damage_is_refused(file: &Path, folder: &Path) {
    let (damaged, data) = (folder.join("damaged"), folder.join("data"));
    let length = fs::metadata(file).unwrap().len();
    for (at, told) in [
        (0, "it is no backup"),
        (30, "its head is not"),
        (length / 2, "its sum is not"),
        (length - 1, "its sum is not"),
    ] {
        fs::copy(file, &damaged).unwrap();
        let open = File::options()
            .read(true)
            .write(true)
            .open(&damaged)
            .unwrap();
        let mut byte = [0];
        open.read_exact_at(&mut byte, at).unwrap();
        open.write_all_at(&[!byte[0]], at).unwrap();
        // Who the backup is of is looked at before all of it is read.
        let output = restore(&damaged, &data, &["--new-instance"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(told), "{at}: {said}");
        assert!(!data.exists(), "{at}: something is left");
    }
    let open = File::options().write(true).open(&damaged).unwrap();
    fs::copy(file, &damaged).unwrap();
    open.set_len(length / 2).unwrap();
    let output = restore(&damaged, &data, &["--new-instance"]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("it is truncated")
    );
    assert!(!data.exists(), "something is left");
    fs::remove_file(damaged).unwrap();
}

/// Beside the installation that it is of, a backup becomes another one, or none.
async fn a_second_one_lives_beside_it(
    file: &Path,
    paused: &TestSandbox,
    witness: &Witness,
    counted: u64,
) {
    let second = Server::start_on(|data| {
        assert!(refused(file, data).contains("is up on this machine"));
        told(restore(file, data, &["--new-instance"]));
    });
    let client = second.client();
    let twin = TestSandbox::of(&client, client.sandbox(&paused.id).await.unwrap());
    twin.resume().await;
    witness.counts_beyond(&twin, counted).await;
    assert_eq!(paused.now().await.status, "paused");
}

/// What the garbage collector goes by: files that were one are one, and nothing is without an owner.
fn links_are_links(server: &Server, id: &str) {
    let store = server.data().join("store");
    let sandbox = store.join("sandboxes").join(id);
    let generations: Vec<_> = fs::read_dir(sandbox.join("generations")).unwrap().collect();
    let generation = generations[0].as_ref().unwrap().path();
    let inode = |path: &Path| {
        let meta = fs::metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        (meta.ino(), meta.nlink())
    };
    let base = inode(&generation.join("base"));
    assert_eq!(inode(&sandbox.join("base.ext4")), base);
    // The template's, two of each sandbox.
    assert_eq!(base.1, 5);
    let builds = fs::read_dir(store.join("vmm-builds")).unwrap();
    let kept: Vec<_> = builds
        .map(|build| inode(&build.unwrap().path().join("build.json")))
        .collect();
    assert!(kept.contains(&inode(&generation.join("vmm-build"))));

    let found = server.cli().args(["gc", "--dry-run", "--json"]).output();
    assert_eq!(told(found.unwrap()), serde_json::json!([]));
    let verified = server
        .cli()
        .args(["snapshot", "verify", "--all", "--json"])
        .output();
    let verified = told(verified.unwrap());
    let verdicts = verified.as_array().unwrap();
    assert_eq!(verdicts.len(), 2);
    assert!(
        verdicts.iter().all(|one| one["intact"] == true),
        "{verified}"
    );
}

#[tokio::test]
async fn a_backup_is_whole_whatever_sandboxes_do_meanwhile() {
    let folder = TempDir::with_prefix("wrenn-e2e-backup-").unwrap();
    let server = Server::start();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    sandbox.pause().await;
    let done = tokio_util::sync::CancellationToken::new();
    let churn = async {
        let mut number = 0;
        while !done.is_cancelled() {
            sandbox.resume().await;
            number += 1;
            sandbox
                .sh(&format!(
                    "echo {number} | tee /run/number > /root/number; sync"
                ))
                .await;
            sandbox.pause().await;
        }
        number
    };
    let backups = async {
        let mut last = None;
        for number in 0..6 {
            let (data, file) = (server.data(), folder.path().join(number.to_string()));
            let path = file.clone();
            let made = tokio::task::spawn_blocking(move || backup(&data, &path));
            assert_eq!(made.await.unwrap()["sandboxes"], 1);
            last = Some(file);
        }
        done.cancel();
        last.unwrap()
    };
    let (rounds, last) = tokio::join!(churn, backups);
    assert!(rounds > 1, "nothing happened meanwhile");
    let restored = Server::start_on(|data| drop(told(restore(&last, data, &["--new-instance"]))));
    let client = restored.client();
    let again = TestSandbox::of(&client, client.sandbox(&sandbox.id).await.unwrap());
    // It may have run at that moment, and says so until it is looked for.
    settles(&again, &["paused", "error"]).await;
    again.resume().await;
    let numbers = again.sh("cat /run/number /root/number").await;
    let (memory, disk) = numbers.trim().split_once('\n').unwrap();
    assert_eq!(memory, disk);
}

#[tokio::test]
async fn a_control_plane_of_its_own_comes_back_as_well() {
    let folder = TempDir::with_prefix("wrenn-e2e-backup-").unwrap();
    let file = folder.path().join("backup");
    let mut apart = Apart::new();
    apart.start_agent();
    apart.start_server();
    let sandbox = TestSandbox::create(&apart.client()).await;
    sandbox.sh("echo kept > /run/kept").await;
    sandbox.pause().await;
    let (data, state) = (apart.data(), apart.state());
    // It goes through a pipe, as to another machine.
    let mut backup = wrenn(&data)
        .args(["backup", "-", "--state"])
        .arg(&state)
        .stdout(File::create(&file).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(backup.wait().unwrap().success());
    apart.kill_agent();
    apart.stop_server();
    apart.forget();

    what_is_cut_off_is_nothing(&file, &data, &state);
    let restored = from_pipe(&data, &state)
        .stdin(File::open(&file).unwrap())
        .output();
    assert_eq!(told(restored.unwrap())["state"], true);
    apart.start_agent();
    apart.start_server();
    let client = apart.client();
    let again = TestSandbox::of(&client, client.sandbox(&sandbox.id).await.unwrap());
    again.resume().await;
    assert_eq!(again.sh("cat /run/kept").await, "kept\n");
    assert!(client.delete_sandbox(&sandbox.id).await.unwrap());
}

/// `wrenn restore -`.
fn from_pipe(data: &Path, state: &Path) -> Command {
    let mut command = wrenn(data);
    command
        .args(["restore", "-", "--json", "--state"])
        .arg(state);
    command
}

/// A restore that is killed leaves what the next one takes away, and one that is interrupted leaves nothing.
fn what_is_cut_off_is_nothing(file: &Path, data: &Path, state: &Path) {
    let bytes = fs::read(file).unwrap();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let begin = || {
        let mut child = from_pipe(data, state)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(first).unwrap();
        child
    };
    let mut killed = begin();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!data.join("instance").exists());
    assert_eq!(fs::read_dir(data).unwrap().count(), 1);

    let mut interrupted = begin();
    signal(&interrupted, "INT");
    // What it waited for comes, and it looks up.
    std::thread::sleep(Duration::from_millis(500));
    drop(interrupted.stdin.as_mut().unwrap().write_all(second));
    let output = interrupted.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("stopped by a signal"), "{said}");
    for folder in [data, state] {
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "{folder:?}");
    }
}
