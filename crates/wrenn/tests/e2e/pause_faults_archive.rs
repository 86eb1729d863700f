//! Exports and imports that fail, and archives that are not what was exported: nothing is left of them, and a good archive
//! becomes the sandbox that it was. Wrenn's death in them is one of `faults`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wrenn_agent::{EXPORT, IMPORT};
use wrenn_client::Client;
use wrenn_testkit::leaks::{Scope, Snapshot};

use crate::harness::{Server, TestSandbox, Witness, scope, until};
use crate::pause_faults::{arm, revive, settles};

/// Where bits are flipped, in parts per thousand of the archive.
const FLIPS: [u64; 6] = [0, 1, 250, 500, 750, 999];

/// A paused sandbox, and a place for its archive.
struct Source {
    server: Server,
    sandbox: TestSandbox,
    witness: Witness,
    dir: TempDir,
    scope: Scope,
    before: Snapshot,
}

impl Source {
    async fn new() -> Self {
        let server = Server::start();
        let sandbox = TestSandbox::create(&server.client()).await;
        let witness = Witness::leave(&sandbox).await;
        sandbox.pause().await;
        let scope = scope(&server);
        Self {
            dir: TempDir::with_prefix("wrenn-e2e-archive-").unwrap(),
            before: Snapshot::take(&scope),
            server,
            sandbox,
            witness,
            scope,
        }
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn arm(&mut self, point: &str, fault: &str) {
        arm(
            &mut self.server,
            &mut self.sandbox,
            &format!("{point}={fault}"),
        );
    }

    fn export(&self) -> Output {
        let mut export = self.server.cli();
        export.args(["snapshot", "export", &self.sandbox.id, "-o"]);
        export.arg(self.archive()).output().unwrap()
    }

    fn import(&self, archive: &Path) -> Output {
        let mut import = self.server.cli();
        import.args(["--json", "snapshot", "import"]);
        import.arg(archive).output().unwrap()
    }

    /// What was refused has said why and left nothing; the sandbox that is there is as it was.
    async fn assert_refused(&self, what: &str, why: &str, refused: &Output) {
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{what}");
        assert!(said.contains(why), "{what}: not {why:?}, but {said}");
        self.assert_unchanged(what).await;
    }

    async fn assert_unchanged(&self, after: &str) {
        settles(&self.sandbox, &["paused"]).await;
        self.before.assert_nothing_new(&self.scope);
        let known = self.sandbox.client.sandboxes().await.unwrap();
        assert_eq!(known.len(), 1, "after {after}: {known:?}");
    }
}

#[tokio::test]
async fn an_export_that_fails_leaves_no_file() {
    let mut source = Source::new().await;
    for point in EXPORT {
        source.arm(point, "error");
        let refused = source.export();
        source.assert_refused(point, point, &refused).await;
        let left: Vec<_> = source.dir.path().read_dir().unwrap().collect();
        assert!(left.is_empty(), "after {point}: {left:?}");
    }
    source.sandbox.resume().await;
    source.witness.check(&source.sandbox).await;
    source.sandbox.delete().await;
}

#[tokio::test]
async fn an_import_whose_caller_goes_leaves_nothing() {
    let source = Source::new().await;
    assert!(source.export().status.success());
    let half = source.dir.path().join("half");
    let file = OpenOptions::new()
        .read(true)
        .open(source.archive())
        .unwrap();
    copy_start(&file, &half, file.metadata().unwrap().len() / 2);
    let mut import = source.server.cli();
    import.args(["snapshot", "import", "-"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    std::io::copy(&mut File::open(half).unwrap(), &mut input).unwrap();
    let sandboxes = source.server.data().join("store/sandboxes");
    let there = || sandboxes.read_dir().unwrap().count();
    assert_eq!(there(), 2, "the import has begun");
    import.kill().unwrap();
    import.wait().unwrap();
    let limit = Duration::from_secs(10);
    until("the end of the import", limit, || async {
        (there() == 1).then_some(())
    })
    .await;
    source.assert_unchanged("a caller that went").await;
    source.sandbox.delete().await;
}

#[tokio::test]
async fn an_import_that_fails_leaves_nothing_and_a_good_one_is_the_sandbox() {
    let mut source = Source::new().await;
    let began = Instant::now();
    let exported = source.export();
    assert!(exported.status.success(), "{exported:?}");
    let archive = source.archive();
    let len = archive.metadata().unwrap().len();
    eprintln!("{len} bytes were exported in {:?}", began.elapsed());

    for point in IMPORT {
        source.arm(point, "error");
        let refused = source.import(&archive);
        source.assert_refused(point, point, &refused).await;
    }
    // From here on nothing fails by itself.
    arm(&mut source.server, &mut source.sandbox, "");

    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&archive)
        .unwrap();
    for end in [0, len / 100, len / 2, len - 1] {
        let cut = source.dir.path().join("cut");
        copy_start(&file, &cut, end);
        let refused = source.import(&cut);
        let what = format!("the first {end} bytes");
        source.assert_refused(&what, "truncated", &refused).await;
        assert_eq!(code(&refused), "invalid_request", "{what}");
    }
    let flips = FLIPS.map(|part| len * part / 1000);
    for at in [&flips[..], &[8, 200, len - 1]].concat() {
        flip(&file, at);
        let refused = source.import(&archive);
        let what = format!("a bit flipped at {at}");
        let said = String::from_utf8_lossy(&refused.stderr);
        eprintln!("{what}: {}", said.trim());
        source.assert_refused(&what, "not imported", &refused).await;
        assert_eq!(code(&refused), "invalid_request", "{what}");
        flip(&file, at);
    }
    file.write_all_at(b"x", len).unwrap();
    let refused = source.import(&archive);
    source
        .assert_refused("one byte more", "behind", &refused)
        .await;
    file.set_len(len).unwrap();

    // It stands alone: the sandbox that it was made of may be gone.
    source.sandbox.delete().await;
    let began = Instant::now();
    let imported = import_as(&source.server, &archive).await;
    eprintln!("imported in {:?}", began.elapsed());
    let mut verify = source.server.cli();
    let verified = verify.args(["snapshot", "verify", &imported.id]).output();
    let verified = verified.unwrap();
    assert!(verified.status.success(), "{verified:?}");
    imported.resume().await;
    source.witness.check(&imported).await;
    imported.pause().await;
    imported.resume().await;
    source.witness.check(&imported).await;
    imported.delete().await;
}

/// The code of what the command line said as JSON.
fn code(refused: &Output) -> String {
    let said: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    said["error"]["code"].as_str().unwrap().to_owned()
}

/// `server.down` holds a thread of the runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_stall_hold_up_no_down() {
    let mut source = Source::new().await;
    assert!(source.export().status.success());
    let mut stalled = Vec::new();
    // Its reader takes the beginning and then nothing.
    let mut export = source.server.cli();
    export.args(["snapshot", "export", &source.sandbox.id, "-o", "-"]);
    let export = export.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut export = export.spawn().unwrap();
    let mut out = export.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut [0; 8]).unwrap();
    stalled.push(export);
    // Its writer gives half and then nothing.
    let mut import = source.server.cli();
    import.args(["snapshot", "import", "-"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    let archive = File::open(source.archive()).unwrap();
    let half = archive.metadata().unwrap().len() / 2;
    std::io::copy(&mut std::io::Read::take(archive, half), &mut input).unwrap();
    stalled.push(import);

    let began = Instant::now();
    let down = source.server.down();
    assert!(down.status.success(), "{down:?}");
    eprintln!("down in {:?}", began.elapsed());
    drop(input);
    // Half an archive does not pass for one.
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    for stream in stalled {
        let ended = stream.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{said}");
        eprintln!("{said}");
    }
    revive(&mut source.server, &mut source.sandbox);
    source.assert_unchanged("a down beside streams").await;
    source.sandbox.resume().await;
    source.witness.check(&source.sandbox).await;
    source.sandbox.delete().await;
}

/// Imports a good archive and waits until the control plane has heard of its sandbox.
async fn import_as(server: &Server, archive: &Path) -> TestSandbox {
    let client: Client = server.client();
    let mut import = server.cli();
    import.args(["--json", "snapshot", "import"]).arg(archive);
    let imported = import.output().unwrap();
    assert!(imported.status.success(), "{imported:?}");
    let told: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    let id = told["id"].as_str().unwrap();
    let known = until("the imported sandbox", Duration::from_secs(60), || async {
        client.sandbox(id).await.ok()
    });
    let known = known.await;
    assert_eq!(known.status, "paused");
    TestSandbox::of(&client, known)
}

fn copy_start(from: &File, to: &Path, len: u64) {
    let mut to = File::create(to).unwrap();
    let mut from = from.try_clone().unwrap();
    std::io::Seek::rewind(&mut from).unwrap();
    let copied = std::io::copy(&mut std::io::Read::take(from, len), &mut to);
    assert_eq!(copied.unwrap(), len);
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}
