//! What nobody owns any more goes: each kind is planted as an orphan with the installation's label, told, and taken away,
//! beside what is owned and beside another installation.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use wrenn_model::leftover::Kind;
use wrenn_model::{SandboxId, VmId};
use wrenn_sys::cgroup::{Hierarchies, Limits};
use wrenn_testkit::leaks::Snapshot;

use crate::harness::{Server, TestSandbox, scope, wrenn};

/// Orphans of an installation. Their processes are reaped when it goes.
struct Orphans {
    kinds: BTreeSet<&'static str>,
    processes: Vec<Child>,
}

impl Orphans {
    /// One of each kind that may be an orphan while an agent runs. `home` is the folder of a sandbox that lives.
    fn plant(server: &Server, home: &Path) -> Self {
        let data = server.data();
        let instance = std::fs::read_to_string(data.join("instance")).unwrap();
        let instance = instance.trim();
        let mut orphans = Self {
            kinds: BTreeSet::new(),
            processes: Vec::new(),
        };
        let vm = || VmId::random().as_str().to_owned();
        orphans.plant_vm(instance, &vm());
        orphans.plant_process(&data);
        let label = format!("wrenn-{instance}-{}", vm());
        run("ip", &["netns", "add", &label]);
        let nameless = format!("wrenn-{instance}-{}", vm());
        std::fs::write(Path::new("/run/netns").join(nameless), "").unwrap();
        for (suffix, alias) in [("zzzzzzz1", Some(&label)), ("zzzzzzz2", None)] {
            let name = format!("w{instance}{suffix}");
            run("ip", &["link", "add", &name, "type", "veth"]);
            if let Some(alias) = alias {
                run("ip", &["link", "set", &name, "alias", alias]);
            }
        }
        run("nft", &["add", "table", "ip", &label]);
        let metric = u32::from_str_radix(instance, 36).unwrap().to_string();
        let route = ["route", "add", "unreachable", "198.51.100.0/24"];
        run(
            "ip",
            &[&route[..], &["proto", "119", "metric", &metric]].concat(),
        );
        let folder = data
            .join("store/sandboxes")
            .join(SandboxId::random().as_str());
        let root = folder.join(vm()).join("root");
        std::fs::create_dir_all(&root).unwrap();
        run("mount", &["-t", "tmpfs", "none", root.to_str().unwrap()]);
        std::fs::create_dir(home.join(vm())).unwrap();
        for kind in [
            Kind::Namespace,
            Kind::Link,
            Kind::Table,
            Kind::Route,
            Kind::JailMount,
            Kind::VmFolder,
            Kind::SandboxFolder,
        ] {
            orphans.kinds.insert(kind.as_str());
        }
        let image = data.join("store.img");
        if image.exists() {
            run("losetup", &["--find", image.to_str().unwrap()]);
            orphans.kinds.insert(Kind::LoopDevice.as_str());
        }
        orphans
    }

    /// What is nobody's only when the agent is dead.
    fn plant_dead(&mut self, data: &Path, home: &Path) {
        std::fs::create_dir(home.join("next")).unwrap();
        std::fs::create_dir_all(data.join("store/templates/.making-1-1")).unwrap();
        let names = [
            ".ranges.new",
            ".scrubbed.new",
            "journal.new",
            "store/memory/.new-1-1",
        ];
        for name in names {
            std::fs::write(data.join(name), "").unwrap();
        }
        for kind in [Kind::Generation, Kind::Temporary, Kind::Socket] {
            self.kinds.insert(kind.as_str());
        }
    }

    /// A control group with a process in it.
    fn plant_vm(&mut self, instance: &str, vm: &str) {
        let group = Hierarchies::find()
            .unwrap()
            .group(&format!("wrenn-{instance}"), vm);
        group
            .create(Limits {
                memory: 64 << 20,
                cpu_milli: 500,
                pids: 8,
            })
            .unwrap();
        let child = sleep(|command| command);
        for door in group.doors() {
            std::fs::write(door, child.id().to_string()).unwrap();
        }
        self.processes.push(child);
        self.kinds.insert(Kind::Cgroup.as_str());
    }

    /// A process that left its control group, of a user that only a VMM of this installation can be.
    fn plant_process(&mut self, data: &Path) {
        let ranges = std::fs::read_to_string(data.join("ranges")).unwrap();
        let bytes: Vec<u32> = ranges
            .split('.')
            .take(2)
            .map(|byte| byte.parse().unwrap())
            .collect();
        let user = 0x4000_0000 + (bytes[0] << 8 | bytes[1]) * 0x8000 + 0x7ff0;
        self.processes.push(sleep(|command| command.uid(user)));
        self.kinds.insert(Kind::Process.as_str());
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        for child in &mut self.processes {
            // It has been swept, or the test failed.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a process to be swept")]
fn sleep(change: impl FnOnce(&mut Command) -> &mut Command) -> Child {
    let mut command = Command::new("sleep");
    command.arg("3600").stdin(Stdio::null()).current_dir("/");
    change(&mut command).spawn().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests use other means than the product"
)]
fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}

/// What `wrenn gc` says with these arguments.
fn gc(data: &Path, args: &[&str]) -> Vec<Value> {
    let output = wrenn(data)
        .args(["gc", "--json"])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The kinds of what came out so.
fn kinds(swept: &[Value], outcome: &str) -> BTreeSet<String> {
    let of_outcome = swept.iter().filter(|swept| swept["outcome"] == outcome);
    of_outcome
        .map(|swept| swept["kind"].as_str().unwrap().to_owned())
        .collect()
}

fn owned(kinds: &BTreeSet<&'static str>) -> BTreeSet<String> {
    kinds.iter().map(|kind| (*kind).to_owned()).collect()
}

/// `gc --dry-run` tells all of it and takes nothing, `gc` takes all of it and nothing else.
fn assert_swept(
    data: &Path,
    orphans: &Orphans,
    before: &Snapshot,
    scope: &wrenn_testkit::leaks::Scope,
) {
    let planted = Snapshot::take(scope);
    let told = gc(data, &["--dry-run"]);
    assert_eq!(kinds(&told, "garbage"), owned(&orphans.kinds), "{told:#?}");
    assert_eq!(planted.new_since(scope), Vec::<String>::new());
    assert!(!before.new_since(scope).is_empty());
    let swept = gc(data, &[]);
    assert_eq!(
        kinds(&swept, "removed"),
        owned(&orphans.kinds),
        "{swept:#?}"
    );
    assert_eq!(kinds(&swept, "failed"), BTreeSet::new(), "{swept:#?}");
    before.assert_nothing_new(scope);
    assert!(gc(data, &[]).is_empty());
}

#[tokio::test]
async fn every_kind_of_orphan_goes_and_nobody_is_disturbed() {
    let (mut server, other) = (Server::start(), Server::start());
    let (mine, neighbour) = (
        TestSandbox::create(&server.client()).await,
        TestSandbox::create(&other.client()).await,
    );
    let data = server.data();
    let home = data.join("store/sandboxes").join(&mine.id);
    let (scope, others) = (scope(&server), scope(&other));
    let (before, others_before) = (Snapshot::take(&scope), Snapshot::take(&others));

    let orphans = Orphans::plant(&server, &home);
    assert_swept(&data, &orphans, &before, &scope);
    drop(orphans);
    assert_eq!(mine.sh("echo undisturbed").await, "undisturbed\n");

    // The same without an agent: what its record speaks of is kept for the next one.
    server.kill();
    let mut orphans = Orphans::plant(&server, &home);
    orphans.plant_dead(&data, &home);
    assert_swept(&data, &orphans, &before, &scope);
    let kept = gc(&data, &["--dry-run", "--all"]);
    for kind in ["cgroup", "namespace", "link", "nft table", "sandbox folder"] {
        assert!(kinds(&kept, "kept").contains(kind), "{kept:#?}");
    }
    drop(orphans);

    // And a start sweeps by itself.
    let orphans = Orphans::plant(&server, &home);
    server.resume();
    before.assert_nothing_new(&scope);
    drop(orphans);
    let mine = TestSandbox::of(
        &server.client(),
        server.client().sandbox(&mine.id).await.unwrap(),
    );
    assert_eq!(mine.sh("echo undisturbed").await, "undisturbed\n");

    assert_eq!(others_before.new_since(&others), Vec::<String>::new());
    assert_eq!(neighbour.sh("echo undisturbed").await, "undisturbed\n");
    neighbour.pause().await;
    neighbour.resume().await;
    neighbour.delete().await;
    mine.delete().await;
}

/// Without agent and virtual machine what the installation has as a whole is an orphan too.
#[tokio::test]
async fn what_a_dead_installation_leaves_is_swept_whole() {
    let mut server = Server::start();
    server.kill();
    let swept = gc(&server.data(), &[]);
    let removed = kinds(&swept, "removed");
    for kind in [Kind::Table, Kind::Route, Kind::Socket] {
        assert!(removed.contains(kind.as_str()), "{swept:#?}");
    }
    if server.data().join("store.img").exists() {
        assert!(removed.contains(Kind::StoreMount.as_str()), "{swept:#?}");
    }
    server.resume();
    let sandbox = TestSandbox::create(&server.client()).await;
    assert_eq!(sandbox.sh("echo anew").await, "anew\n");
    sandbox.delete().await;
}
