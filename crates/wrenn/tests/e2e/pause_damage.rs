//! A pause whose files are not what was saved, one at a time: no virtual machine starts from it, or `wrenn snapshot verify`
//! says so. The files are those that the generation has.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;
use wrenn_client::api::ResumeRequest;
use wrenn_testkit::leaks::{Scope, Snapshot};

use crate::harness::{Server, TestSandbox, Witness, kernel_scope};
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
        names
            .into_iter()
            .map(|name| self.patient(own, other, name))
            .collect()
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
        assert_eq!(self.starts(), before, "{what}: a VMM was started");
        self.no_vm.assert_nothing_new(&self.kernel);
        settles(&self.sandbox, &["paused"]).await;
        told.message.clone()
    }

    /// How often the log says that a VMM has started.
    fn starts(&self) -> usize {
        self.server.log().matches("a VMM has started").count()
    }

    /// The mark of a generation that was found to be damaged is taken away.
    fn absolve(&self) {
        let mark = self.generations[0].with_extension("damaged");
        if mark.exists() {
            std::fs::remove_file(mark).unwrap();
        }
        assert_eq!(holdings(&self.server, &self.sandbox.id), (0, 1));
    }
}

/// Where a paused sandbox's only generation is.
fn generation(server: &Server, sandbox: &TestSandbox) -> PathBuf {
    let folder = server.data().join("store/sandboxes").join(&sandbox.id);
    let mut entries = folder.join("generations").read_dir().unwrap();
    entries.next().unwrap().unwrap().path()
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
    let other = TestSandbox::create(&client).await;
    let others = Witness::leave(&other).await;
    other.pause().await;
    let generations = [generation(&server, &sandbox), generation(&server, &other)];
    let ward = Ward {
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
    ward.sandbox.resume().await;
    witness.check(&ward.sandbox).await;
    ward.sandbox.delete().await;
    other.resume().await;
    others.check(&other).await;
    other.delete().await;
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
