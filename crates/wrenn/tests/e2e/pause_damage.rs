//! A pause whose files are not what was saved, one at a time: no virtual machine starts from it, or `wrenn snapshot verify`
//! says so. The files are those that the generation has.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;
use wrenn_client::api::{CreateSandbox, CreateSnapshot, ResumeRequest};
use wrenn_testkit::leaks::{Scope, Snapshot};

use crate::harness::{Server, TestSandbox, Witness, kernel_scope, kill_vmm, until};
use crate::pause_faults::{holdings, settles};

/// What a resume does not read before the VM runs. All other files are read as a whole.
const PAGES: [&str; 5] = ["memory", "memory.sums", "layer", "layer.sums", "base"];

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// Its last byte is gone.
    Truncated,
    /// A bit in the middle of its data is another.
    Flipped,
    /// It is the same file of another sandbox.
    Mixed,
}

/// A file of a generation, with a copy of what it was and the same file of another one.
struct Patient {
    name: String,
    path: PathBuf,
    good: File,
    other: PathBuf,
}

impl Patient {
    /// Does the damage in place, as a disk would. False where that would be none: the files are one and the same.
    fn damage(&self, damage: Damage) -> bool {
        let file = self.open();
        match damage {
            Damage::Truncated => file.set_len(file.metadata().unwrap().len() - 1).unwrap(),
            Damage::Flipped => flip(&file),
            Damage::Mixed => {
                let other = File::open(&self.other).unwrap();
                if other.metadata().unwrap().ino() == file.metadata().unwrap().ino() {
                    return false;
                }
                become_like(&file, &other);
            }
        }
        true
    }

    fn heal(&self) {
        become_like(&self.open(), &self.good);
    }

    fn open(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(&self.path).unwrap()
    }
}

/// Gives a file the content and the extents of another.
fn become_like(file: &File, other: &File) {
    file.set_len(0).unwrap();
    ioctl_ficlone(file, other).unwrap();
}

fn flip(file: &File) {
    let middle = file.metadata().unwrap().len() / 2;
    let at = match seek(file, SeekFrom::Data(middle)) {
        Err(Errno::NXIO) => seek(file, SeekFrom::Data(0)),
        found => found,
    };
    let (at, mut byte) = (at.unwrap(), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// A paused sandbox whose files suffer.
struct Ward {
    server: Server,
    sandbox: TestSandbox,
    /// Its generation, and that of another one.
    generations: [PathBuf; 2],
    kernel: Scope,
    no_vm: Snapshot,
}

impl Ward {
    fn patients(&self) -> Vec<Patient> {
        let [own, other] = &self.generations;
        let entries = own.read_dir().unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        // A hint, of which no guest is made.
        names.retain(|name| name != "memory.touched");
        names
            .into_iter()
            .map(|name| self.patient(own, other, name))
            .collect()
    }

    fn patient_of(&self, name: &str) -> Patient {
        let [own, other] = &self.generations;
        self.patient(own, other, name.to_owned())
    }

    fn patient(&self, own: &Path, other: &Path, name: String) -> Patient {
        let path = own.join(&name);
        // Without a name, it goes with the test.
        let aside = self.server.data().join("store").join("aside");
        let mut options = OpenOptions::new();
        let good = options.read(true).write(true).create_new(true);
        let good = good.open(&aside).unwrap();
        std::fs::remove_file(aside).unwrap();
        ioctl_ficlone(&good, File::open(&path).unwrap()).unwrap();
        Patient {
            other: other.join(&name),
            name,
            path,
            good,
        }
    }

    /// Whether `wrenn snapshot verify` finds it whole, and what it says.
    fn verify(&self) -> (bool, String) {
        let mut verify = self.server.cli();
        verify.args(["--json", "snapshot", "verify", &self.sandbox.id]);
        let verdict = verify.output().unwrap();
        let said = [verdict.stdout, verdict.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (verdict.status.success(), said)
    }

    /// That a resume is refused before a VMM starts; gives what it said.
    async fn refused(&self, what: &str, cold: bool) -> String {
        let how = ResumeRequest { cold };
        let before = self.starts();
        let refused = self.sandbox.client.resume(&self.sandbox.id, &how).await;
        let refused = refused.expect_err(what);
        let told = refused.api().unwrap_or_else(|| panic!("{what}: {refused}"));
        // What fits no build of this host is none of the generation's damage.
        let expected = match told.message.contains("can not go on here") {
            true => "conflict",
            false => "agent_error",
        };
        assert_eq!(told.code, expected, "{what}: {told}");
        let checked = told.message.contains("step check: ");
        // Of a build it shows when the program is not where it should be.
        let tried = what.starts_with("vmm-build") && told.message.contains("step machine: ");
        assert!(checked || tried, "{what}: {told}");
        // What is wrong with a file of its own is remembered.
        let own = expected == "agent_error" && checked;
        assert_eq!(self.mark().exists(), own, "{what}: the mark");
        assert_eq!(self.starts(), before, "{what}: a VMM was started");
        self.no_vm.assert_nothing_new(&self.kernel);
        settles(&self.sandbox, &["paused"]).await;
        told.message.clone()
    }

    fn mark(&self) -> PathBuf {
        self.generations[0].with_extension("damaged")
    }

    /// How often the log says that a VMM has started.
    fn starts(&self) -> usize {
        self.server.log().matches("a VMM has started").count()
    }

    /// The mark of a generation that was found to be damaged is taken away.
    fn absolve(&self) {
        if self.mark().exists() {
            std::fs::remove_file(self.mark()).unwrap();
        }
        assert_eq!(holdings(&self.server, &self.sandbox.id), (0, 1));
    }
}

/// Makes a generation one of a host whose processor counts 500 ppm faster, as somebody would who knows how manifests are
/// summed.
fn retune(generation: &Path) {
    let path = generation.join("manifest");
    let text = std::fs::read_to_string(&path).unwrap();
    let (body, _) = text.split_once('\n').unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(body).unwrap();
    let khz = &mut manifest["platform"]["tsc_khz"];
    *khz = (khz.as_u64().unwrap() * 2001 / 2000).into();
    let body = format!("{manifest}\n");
    let sum = blake3::hash(body.as_bytes());
    std::fs::write(&path, format!("{body}{sum}\n")).unwrap();
}

/// Where a paused sandbox's only generation is.
fn generation(server: &Server, sandbox: &TestSandbox) -> PathBuf {
    let folder = server.data().join("store/sandboxes").join(&sandbox.id);
    let entries = folder.join("generations").read_dir().unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find(|path| path.is_dir()).unwrap()
}

#[tokio::test]
async fn no_damage_is_silent() {
    let server = Server::start();
    let client = server.client();
    let kernel = kernel_scope(&server);
    let no_vm = Snapshot::take(&kernel);
    let sandbox = TestSandbox::create(&client).await;
    let witness = Witness::leave(&sandbox).await;
    sandbox.pause().await;
    let mut other = TestSandbox::create(&client).await;
    let others = Witness::leave(&other).await;
    other.pause().await;
    let generations = [generation(&server, &sandbox), generation(&server, &other)];
    let mut ward = Ward {
        server,
        sandbox,
        generations,
        kernel,
        no_vm,
    };
    assert!(ward.verify().0);

    for patient in ward.patients() {
        for damage in [Damage::Truncated, Damage::Flipped, Damage::Mixed] {
            let what = format!("{} {damage:?}", patient.name);
            if !patient.damage(damage) {
                continue;
            }
            if PAGES.contains(&patient.name.as_str()) && damage != Damage::Truncated {
                let (intact, said) = ward.verify();
                assert!(!intact && said.contains("damage"), "{what}: {said}");
            }
            let said = ward.refused(&what, false).await;
            eprintln!("{what}: {said}");
            patient.heal();
            ward.absolve();
            let (intact, said) = ward.verify();
            assert!(intact, "{what} was undone: {said}");
        }
    }
    the_base_image_is_that_of_the_pause(&mut ward, &witness).await;
    what_is_passed_on_is_told(&mut ward).await;
    what_nobody_asks_for_is_read_too(&mut ward).await;
    ward.sandbox.delete().await;
    other.client = ward.server.client();
    other.resume().await;
    others.check(&other).await;
    other.delete().await;
}

/// Whatever has taken the name of the sandbox's own base image, the VM has the one that was checked, and so has the next
/// pause.
async fn the_base_image_is_that_of_the_pause(ward: &mut Ward, witness: &Witness) {
    let folder = ward.server.data().join("store/sandboxes");
    let name = folder.join(&ward.sandbox.id).join("base.ext4");
    let inode = |path: &Path| path.metadata().unwrap().ino();
    let own = inode(&name);
    let len = name.metadata().unwrap().len();
    for empty in [true, false] {
        std::fs::remove_file(&name).unwrap();
        if empty {
            File::create(&name).unwrap().set_len(len).unwrap();
        }
        ward.sandbox.resume().await;
        witness.check(&ward.sandbox).await;
        assert_eq!(inode(&name), own);
        // It may be exchanged under a VM that runs, too.
        std::fs::remove_file(&name).unwrap();
        File::create(&name).unwrap().set_len(len).unwrap();
        ward.sandbox.pause().await;
        ward.generations[0] = generation(&ward.server, &ward.sandbox);
        assert_eq!(inode(&ward.generations[0].join("base")), own);
        let manifest = std::fs::read_to_string(ward.generations[0].join("manifest")).unwrap();
        let manifest: serde_json::Value =
            serde_json::from_str(manifest.lines().next().unwrap()).unwrap();
        assert!(manifest["base"]["root"].is_string(), "{manifest}");
        assert!(ward.verify().0);
    }
    ward.sandbox.resume().await;
    witness.check(&ward.sandbox).await;
    ward.sandbox.pause().await;
    ward.generations[0] = generation(&ward.server, &ward.sandbox);
}

/// A pause shares what was not written since with the one before, and that one's damage, if it was found.
async fn what_is_passed_on_is_told(ward: &mut Ward) {
    ward.sandbox.resume().await;
    flip(&ward.patient_of("memory.sums").open());
    assert!(!ward.verify().0);
    ward.sandbox.pause().await;
    ward.generations[0] = generation(&ward.server, &ward.sandbox);
    assert!(ward.mark().exists(), "the heir is not marked");
    let said = ward.refused("an heir", false).await;
    assert!(said.contains("memory"), "{said}");
    // What shares nothing with it is whole.
    let cold = ResumeRequest { cold: true };
    ward.sandbox.resume_with(&cold).await;
    ward.sandbox.pause().await;
    ward.generations[0] = generation(&ward.server, &ward.sandbox);
    assert!(!ward.mark().exists() && ward.verify().0);
}

/// The walk in the background is due by the time of the last one, not of the last start.
async fn what_nobody_asks_for_is_read_too(ward: &mut Ward) {
    flip(&ward.patient_of("memory").open());
    ward.server.terminate();
    std::fs::write(ward.server.data().join("scrubbed"), "1700000000000\n").unwrap();
    ward.server.resume();
    ward.sandbox.client = ward.server.client();
    let limit = std::time::Duration::from_secs(120);
    until("the walk's mark", limit, || async {
        ward.mark().exists().then_some(())
    })
    .await;
    let why = std::fs::read_to_string(ward.mark()).unwrap();
    assert!(why.contains("memory"), "{why}");
    ward.refused("what the walk found", false).await;
}

#[tokio::test]
async fn a_disk_that_is_whole_boots_beside_a_memory_that_is_not() {
    let server = Server::start();
    let kernel = kernel_scope(&server);
    let no_vm = Snapshot::take(&kernel);
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox.sh("echo kept > /root/file").await;
    sandbox.pause().await;
    let generation = generation(&server, &sandbox);
    let ward = Ward {
        server,
        sandbox,
        generations: [generation.clone(), generation],
        kernel,
        no_vm,
    };
    let patients = ward.patients();
    let file = |name: &str| {
        patients
            .iter()
            .find(|patient| patient.name == name)
            .unwrap()
    };
    let (memory, state, layer) = (file("memory"), file("state"), file("layer"));

    layer.damage(Damage::Truncated);
    let said = ward.refused("cold, a layer that is cut off", true).await;
    assert!(said.contains("layer"), "{said}");
    layer.heal();
    ward.absolve();
    layer.damage(Damage::Flipped);
    assert!(!ward.verify().0);
    let said = ward.refused("cold, a layer with a wrong bit", true).await;
    assert!(said.contains("layer"), "{said}");
    layer.heal();
    ward.absolve();

    retune(&ward.generations[0]);
    let said = ward.refused("a clock of another rate", false).await;
    assert!(
        said.contains("can not go on here") && said.contains("clock ran at"),
        "{said}"
    );
    memory.damage(Damage::Flipped);
    state.damage(Damage::Flipped);
    assert!(!ward.verify().0);
    ward.refused("a damaged memory", false).await;
    ward.sandbox
        .resume_with(&ResumeRequest { cold: true })
        .await;
    assert_eq!(ward.sandbox.sh("cat /root/file").await, "kept\n");
    // It has whole pauses again.
    ward.sandbox.pause().await;
    assert!(ward.verify().0);
    ward.sandbox.resume().await;
    assert_eq!(ward.sandbox.sh("cat /root/file").await, "kept\n");
    ward.sandbox.delete().await;
}

/// The generation's memory is spoilt and what was restored from it dies: soon it has a mark.
async fn dies_of(generation: &Path, server: &Server, restored: &TestSandbox) {
    let mut options = OpenOptions::new();
    let memory = options.read(true).write(true);
    flip(&memory.open(generation.join("memory")).unwrap());
    kill_vmm(&server.data(), &restored.id);
    settles(restored, &["error"]).await;
    let mark = generation.with_extension("damaged");
    let limit = std::time::Duration::from_secs(60);
    until("its mark", limit, || async { mark.exists().then_some(()) }).await;
}

/// What died may have died of what it was restored from: that is read at once, so that the damage is told before it costs another one.
#[tokio::test]
async fn a_pause_is_read_when_what_was_restored_from_it_dies() {
    let server = Server::start();
    let sandbox = TestSandbox::create(&server.client()).await;
    sandbox.sh("echo kept > /root/file").await;
    sandbox.pause().await;
    let generation = generation(&server, &sandbox);
    sandbox.resume().await;
    dies_of(&generation, &server, &sandbox).await;
    let warm = ResumeRequest::default();
    let refused = sandbox.client.resume(&sandbox.id, &warm).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("found to be damaged"), "{refused}");
    sandbox.resume_with(&ResumeRequest { cold: true }).await;
    assert_eq!(sandbox.sh("cat /root/file").await, "kept\n");
    sandbox.delete().await;
}

/// So it is with what others are made from: the snapshot itself is marked, and nobody begins from it any more.
#[tokio::test]
async fn a_snapshot_is_read_when_what_was_made_from_it_dies() {
    let server = Server::start();
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;
    let snapshot = CreateSnapshot {
        sandbox_id: sandbox.id.clone(),
        name: Some("spoilt".to_owned()),
    };
    client
        .create_snapshot(&snapshot, false, false)
        .await
        .unwrap();
    let request = CreateSandbox {
        template: Some("spoilt".to_owned()),
        ..CreateSandbox::default()
    };
    let made = TestSandbox::create_with(&client, request.clone()).await;
    let generations = server.data().join("store/snapshots/spoilt/generations");
    let mut entries = generations.read_dir().unwrap();
    let generation = entries.next().unwrap().unwrap().path();
    dies_of(&generation, &server, &made).await;
    let refused = client.create_sandbox(&request).await.unwrap_err();
    assert!(refused.to_string().contains("damaged"), "{refused}");
    assert_eq!(sandbox.sh("echo runs").await, "runs\n");
}
