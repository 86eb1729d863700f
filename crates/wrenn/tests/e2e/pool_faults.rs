//! What stands ready when something goes wrong around it: there is no room on the disk, or its template is another one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use wrenn_client::Error;
use wrenn_client::api::CreateSandbox;
use wrenn_testkit::leaks::Snapshot;

use crate::harness::{Server, SmallDisk, TestSandbox, kernel_scope, until};
use crate::pools::{FILL_LIMIT, full, pool, spares};

/// The guest memory of the shape that stands ready, in MiB.
const SMALLEST: i64 = 128;
/// What the store keeps free beside all that is promised, in bytes.
const HEADROOM: u64 = 1 << 30;

/// What the log says of a disk that is full.
const NO_ROOM: [&str; 2] = ["No space left", "disk is full"];

fn smallest() -> CreateSandbox {
    CreateSandbox {
        memory_mb: Some(SMALLEST),
        ..CreateSandbox::default()
    }
}

/// What a server finds in its environment that has so many of the smallest shape stand ready.
fn env(count: u32, images_mb: u32) -> [(&'static str, PathBuf); 2] {
    let size = format!("minimal:1:{SMALLEST}={count}");
    [
        ("WRENN_BOOT_IMAGES_MB", images_mb.to_string().into()),
        ("WRENN_POOL", size.into()),
    ]
}

/// The names in a folder of the store that are not hidden.
fn names(server: &Server, folder: &str) -> HashSet<String> {
    let entries = server.data().join("store").join(folder).read_dir();
    let entries = entries.into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// All that there is of virtual machines, in the store and in the kernel.
fn half_made(server: &Server) -> Vec<String> {
    let folders = ["spares", "lent", "sandboxes"];
    let files = folders.iter().flat_map(|folder| names(server, folder));
    let stands = Snapshot::take(&kernel_scope(server));
    let machines = stands.lines().filter(|line| line.contains("vm-"));
    files.chain(machines.map(str::to_owned)).collect()
}

/// That whoever asks for one is told that the disk is full.
async fn assert_refused(server: &Server, request: &CreateSandbox) {
    let Err(Error::Api(refused)) = server.client().create_sandbox(request).await else {
        panic!("there was room");
    };
    let status = refused.status.map(|status| status.as_u16());
    let told = (status, refused.code.as_str());
    assert_eq!(told, (Some(507), "resource_exhausted"), "{refused}");
    assert!(refused.remedy.contains("free disk space"), "{refused}");
}

#[tokio::test]
async fn a_disk_that_fills_up_while_something_is_made_ready_leaves_nothing_half_made() {
    let disk = SmallDisk::new(3 << 30);
    let mut server = Server::start_with_store_and_env(&disk.path(), &env(1, 2048));
    full(&server).await;
    for (point, begun, said) in [
        ("fill.layer", "spares", "nothing can stand ready for now"),
        ("image.memory", "boot-images", "no boot image could be made"),
    ] {
        // The agent's next start takes the former one's away.
        let former = names(&server, "spares");
        server.terminate();
        if begun == "boot-images" {
            std::fs::remove_dir_all(server.data().join("store/boot-images")).unwrap();
        }
        server.resume_with(&format!("{point}=late"));
        until("something half made", FILL_LIMIT, || async {
            let now = names(&server, begun);
            now.difference(&former).next().map(drop)
        })
        .await;
        // What comes before the step takes less.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let filler = disk.fill();
        until("the end of the try", FILL_LIMIT, || async {
            let ours = server.log();
            let mut lines = ours.lines();
            lines
                .any(|line| line.contains(said) && NO_ROOM.iter().any(|text| line.contains(text)))
                .then_some(())
        })
        .await;
        until("nothing half made", FILL_LIMIT, || async {
            half_made(&server).is_empty().then_some(())
        })
        .await;
        if begun == "boot-images" {
            assert_eq!(names(&server, begun), HashSet::new());
        }
        assert_refused(&server, &smallest()).await;

        std::fs::remove_file(filler).unwrap();
        full(&server).await;
        let sandbox = TestSandbox::create_with(&server.client(), smallest()).await;
        assert_eq!(sandbox.sh("echo here").await, "here\n");
        assert_eq!(pool(&server).await.hits, 1, "{point}");
        sandbox.delete().await;
    }
}

/// Also the room on the disk that its pause would take.
#[tokio::test]
async fn what_stands_ready_gives_its_part_of_the_disk_to_who_needs_it() {
    let disk = SmallDisk::new(3 << 30);
    let server = Server::start_with_store_and_env(&disk.path(), &env(2, 2048));
    full(&server).await;
    let pause = SMALLEST.unsigned_abs() << 20;
    let _filler = disk.fill_but(HEADROOM + 2 * pause + pause / 2);
    // Nothing of the pool is taken for what boots.
    let cold = CreateSandbox {
        cold: true,
        ..smallest()
    };
    let mut sandboxes = Vec::new();
    for left in [1, 0] {
        sandboxes.push(TestSandbox::create_with(&server.client(), cold.clone()).await);
        assert_eq!(spares(&server).len(), left);
    }
    assert_refused(&server, &cold).await;
    for one in sandboxes {
        assert_eq!(one.sh("echo here").await, "here\n");
        one.delete().await;
    }
}

/// Builds the template anew: the same with a file more.
fn rebuild(server: &Server) {
    let templates = server.data().join("store/templates");
    let (there, aside) = (templates.join("minimal"), templates.join(".another"));
    run("cp", &["-a", path(&there), path(&aside)]);
    let disk = aside.join("disk.ext4");
    let mark = server.data().join("mark");
    std::fs::write(&mark, "another").unwrap();
    let write = format!("write {} /mark", mark.display());
    run("debugfs", &["-w", "-R", &write, path(&disk)]);
    let about = aside.join("template.json");
    let mut known: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&about).unwrap()).unwrap();
    known["image_id"] = "another".into();
    std::fs::write(&about, known.to_string()).unwrap();
    renameat_with(CWD, &aside, CWD, &there, RenameFlags::EXCHANGE).unwrap();
    std::fs::remove_dir_all(aside).unwrap();
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, args: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "a test's helper")]
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}

#[tokio::test]
async fn a_template_that_is_built_anew_is_what_all_are_made_of_from_then_on() {
    // Images of what nobody asks for any more find no room.
    let server = Server::start_with_env(&env(1, 1));
    full(&server).await;
    let client = server.client();
    let old = TestSandbox::create_with(&client, smallest()).await;
    full(&server).await;
    let (waiting, image) = (spares(&server), names(&server, "boot-images"));
    assert_eq!((waiting.len(), image.len()), (1, 1));

    rebuild(&server);
    let new = TestSandbox::create_with(&client, smallest()).await;
    assert_eq!(new.sh("cat /mark").await, "another");
    assert_eq!(pool(&server).await.hits, 1, "it is a clone of the old one");
    until("another boot image and its clone", FILL_LIMIT, || async {
        let (spares, images) = (spares(&server), names(&server, "boot-images"));
        let others = spares.is_disjoint(&waiting) && images.is_disjoint(&image);
        (others && !spares.is_empty() && images.len() == 1).then_some(())
    })
    .await;
    full(&server).await;
    let taken = TestSandbox::create_with(&client, smallest()).await;
    assert_eq!(pool(&server).await.hits, 2);
    assert_eq!(taken.sh("cat /mark").await, "another");

    // What is of the old one has all that it needs.
    old.pause().await;
    old.resume().await;
    assert_eq!(old.sh("ls /mark 2>/dev/null || echo old").await, "old\n");
}
