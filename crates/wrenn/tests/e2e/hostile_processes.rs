//! A guest that takes all that it has: processes, memory, disk, its agent's port. And one that goes for its agent.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use wrenn_client::api::ExecRequest;

use crate::harness::{
    Attack, TestSandbox, assert_undisturbed, python, python_with, shared, shell, until,
};

/// How long a guest may take to come to itself after an attack.
const RECOVERY: Duration = Duration::from_secs(30);

/// Stops process 1 for as many seconds as it is told.
const TRACE: &str = include_str!("attacks/trace.py");

/// Forks until nothing is left to fork with. Whoever is told to end it forks no more himself.
const FORK_BOMB: &str = "sh -c 'f() { f | f & }; f' & exec sleep 600";

/// Takes memory until its kernel ends it.
const EAT: &str = "held = []\nwhile True: held.append(bytearray(1 << 20))";

/// The same without end.
const MEMORY_EATER: &str =
    "while :; do python3 -c 'held = []\nwhile True: held.append(bytearray(1 << 20))'; done";

/// Writes to its disk, in large pieces and in small ones, and waits for each to be there. Zeros would not reach the host.
const DISK_FLOOD: &str = "head -c 16M /dev/urandom > /dev/shm/noise; while :; do \
    for large in a b c d; do dd if=/dev/shm/noise of=/root/$large bs=1M conv=fsync 2>/dev/null; done; \
    dd if=/dev/shm/noise of=/root/small bs=4k count=1000 oflag=dsync 2>/dev/null; done";

/// What a guest really writes before it takes the rest of its disk: so many pieces, in MiB each.
const WRITTEN: (u64, u64) = (16, 16);

/// As root this ends the guest, since its machine is its own; how it ends is defined.
const REBOOT: &str = "import ctypes; ctypes.CDLL(None).reboot(0x01234567)";

/// Where a layer says how large its disk is, in bytes from its beginning: the qcow2 header.
const DISK_SIZE_AT: u64 = 24;
/// Which part of a disk the tables of a full layer take at the most, and what they take at the least, in bytes.
const TABLES_PART: u64 = 1000;
const TABLES_LEAST: u64 = 1 << 20;

#[tokio::test]
async fn a_guest_that_takes_all_it_has_answers_again() {
    let server = shared();
    let client = server.client();
    let (attacked, neighbour) =
        tokio::join!(TestSandbox::create(&client), TestSandbox::create(&client));

    let begin = || Attack::begin(&attacked, FORK_BOMB);
    assert_undisturbed("a fork bomb", &neighbour, begin, Attack::end).await;
    recovers(&attacked).await;

    let mut threads = Attack::begin_python(&attacked, include_str!("attacks/threads.py")).await;
    assert_eq!(threads.ready().await, "full\n");
    let refused = attacked.exec(&shell(":")).await.unwrap_err();
    let told = refused
        .api()
        .expect("an answer, and not a broken connection");
    assert!(told.message.contains("process"), "{refused}");
    threads.end().await;
    recovers(&attacked).await;

    let begin = || Attack::begin(&attacked, MEMORY_EATER);
    assert_undisturbed("an eater of memory", &neighbour, begin, Attack::end).await;
    recovers(&attacked).await;
    let eaten = attacked
        .exec(&ExecRequest {
            timeout_sec: Some(60),
            ..python(EAT)
        })
        .await
        .unwrap();
    assert_eq!(eaten.exit_code, 137, "{eaten:?}");
    recovers(&attacked).await;
    let full = "head -c 1G /dev/zero > /dev/shm/a; head -c 1G /dev/zero > /run/b; echo full";
    assert_eq!(attacked.sh(full).await, "full\n");
    assert_eq!(
        attacked.sh("rm /dev/shm/a /run/b; echo well").await,
        "well\n"
    );

    let begin = || Attack::begin(&attacked, DISK_FLOOD);
    assert_undisturbed("a flood of the disk", &neighbour, begin, Attack::end).await;
    fills_its_disk(&attacked, &server.data()).await;
    attacked.delete().await;
    neighbour.delete().await;
}

/// A disk is as large as its sandbox was promised, to the guest and to the host.
async fn fills_its_disk(sandbox: &TestSandbox, data: &Path) {
    let (pieces, piece) = WRITTEN;
    let write = format!(
        "head -c {piece}M /dev/urandom > /dev/shm/noise; \
         for i in $(seq {pieces}); do cat /dev/shm/noise; done > /root/noise; sync; rm /dev/shm/noise; echo written"
    );
    assert_eq!(sandbox.sh(&write).await, "written\n");
    let full = "fallocate -l 64G /root/all 2>/dev/null; while fallocate -l 64M /root/more$i 2>/dev/null; do i=${i}x; done; \
                head -c 1M /dev/zero > /root/last || echo full";
    let said = sandbox
        .exec(&ExecRequest {
            timeout_sec: Some(120),
            ..shell(full)
        })
        .await
        .unwrap();
    assert_eq!(said.stdout, "full\n", "{}", said.stderr);
    // Beyond its end there is nothing to write to.
    let beyond = "import os; disk = os.open('/dev/vda', os.O_WRONLY); size = os.lseek(disk, 0, os.SEEK_END)\n\
                  os.pwrite(disk, b'x' * 4096, size)";
    let refused = sandbox.exec(&python(beyond)).await.unwrap();
    assert!(refused.stderr.contains("No space left"), "{refused:?}");
    assert_layer_within_its_disk(data, &sandbox.id);
    assert_eq!(
        sandbox
            .sh("rm -f /root/all /root/more* /root/last /root/noise; echo well")
            .await,
        "well\n"
    );
}

/// That what a guest wrote takes no more of the host than the disk that it was promised and the tables that lead there: by
/// blocks, and by the layer's end.
fn assert_layer_within_its_disk(data: &Path, sandbox: &str) {
    let folder = data.join("store/sandboxes").join(sandbox);
    let layers: Vec<File> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| File::open(entry.unwrap().path().join("disk.qcow2")).ok())
        .collect();
    assert_eq!(layers.len(), 1, "the layers of one virtual machine");
    let mut promised = [0; 8];
    layers[0]
        .read_exact_at(&mut promised, DISK_SIZE_AT)
        .unwrap();
    let promised = u64::from_be_bytes(promised);
    let most = promised + promised / TABLES_PART + TABLES_LEAST;
    let about = layers[0].metadata().unwrap();
    let (taken, end) = (about.blocks() * 512, about.len());
    eprintln!("a disk of {promised} bytes takes {taken} of the host, and ends at {end}");
    let (pieces, piece) = WRITTEN;
    let least = (pieces * piece) << 20;
    assert!(
        taken >= least && taken <= most && end <= most,
        "{taken}, {end}, not {least} to {most}"
    );
}

#[tokio::test]
async fn a_guest_that_goes_for_its_agent_harms_itself_alone() {
    let server = shared();
    let client = server.client();
    let (attacked, neighbour) =
        tokio::join!(TestSandbox::create(&client), TestSandbox::create(&client));

    attacked
        .sh("for signal in KILL STOP SEGV ABRT HUP QUIT TSTP; do kill -$signal 1; done; sleep 0.3")
        .await;
    assert_eq!(attacked.sh("echo well").await, "well\n");

    // Nothing inside is let in, so that nothing keeps the host out.
    let begin = || async {
        let connections = include_str!("attacks/connections.py");
        let mut connections = Attack::begin_python(&attacked, connections).await;
        assert_eq!(connections.ready().await, "10000 0\n");
        let half_open = include_str!("attacks/half_open.py");
        let mut half_open = Attack::begin_python(&attacked, half_open).await;
        assert_eq!(half_open.ready().await, "begun\n");
        [connections, half_open]
    };
    let end = |attacks: [Attack; 2]| async {
        for _ in 0..5 {
            // Each on a connection of its own: the kept ones would do without a new one.
            let (one, other) = tokio::join!(attacked.sh("echo well"), attacked.sh("echo well"));
            assert_eq!((one.as_str(), other.as_str()), ("well\n", "well\n"));
        }
        for attack in attacks {
            attack.end().await;
        }
    };
    assert_undisturbed("a crowd of connections", &neighbour, begin, end).await;

    let trace = python_with(TRACE, &["4".to_owned()]);
    let mut trace = Attack::begin_request(&attacked, &trace).await;
    assert_eq!(trace.ready().await, "seized\n");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    assert_eq!(attacked.sh("echo well").await, "well\n");
    eprintln!("beside a tracer a command took {:?}", begun.elapsed());

    drop(attacked.exec(&python(REBOOT)).await);
    let ended = attacked.becomes("stopped", Duration::from_secs(60)).await;
    assert!(ended.status_reason.is_some());
    assert_eq!(neighbour.sh("echo well").await, "well\n");
    attacked.delete().await;
    neighbour.delete().await;
}

#[tokio::test]
async fn a_guest_that_stands_still_is_destroyed() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    // Its processors stop for ever; nobody is told.
    let halt = "import ctypes; ctypes.CDLL(None).reboot(0xcdef0123)";
    let halted = tokio::time::timeout(Duration::from_secs(3), sandbox.exec(&python(halt))).await;
    assert!(halted.is_err(), "{halted:?}");
    let begun = Instant::now();
    sandbox.delete().await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn an_agent_that_was_stopped_for_ever_is_told_and_destroyed() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let trace = python_with(TRACE, &["600".to_owned()]);
    let mut trace = Attack::begin_request(&sandbox, &trace).await;
    assert_eq!(trace.ready().await, "seized\n");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let error = sandbox.exec(&shell("echo well")).await.unwrap_err();
    assert_eq!(error.api().unwrap().code, "timeout", "{error}");
    assert!(begun.elapsed() < Duration::from_secs(90), "{error}");
    drop(trace);
    let begun = Instant::now();
    sandbox.delete().await;
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

/// Waits until the sandbox does what it is told.
async fn recovers(sandbox: &TestSandbox) {
    until("a guest that answers again", RECOVERY, || async {
        let said = sandbox.exec(&shell("echo well")).await.ok()?;
        (said.stdout == "well\n").then_some(())
    })
    .await;
}
