//! A pause that finds no room, wherever in it: the sandbox runs on, whoever asked is told, and with room it is paused.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wrenn_agent::{CaptureStep, PAUSE};
use wrenn_client::api::{Paused, ResumeRequest};
use wrenn_client::{Error, Result};

use crate::harness::{Server, SmallDisk, TestSandbox, Witness, shell, until};
use crate::pause_faults::{arm, holdings, settles};

/// What the guest writes into its memory before each pause, in MiB.
const DIRTY_MIB: u64 = 40;

/// How close the least room that suffices is looked for, in bytes.
const NEAR: u64 = 64 << 10;

/// A sandbox whose store has a disk of its own.
struct Full {
    sandbox: TestSandbox,
    witness: Witness,
    /// How far the guest had counted.
    last: u64,
    server: Server,
    /// The store stands on it, so that it goes last.
    disk: SmallDisk,
}

impl Full {
    async fn new() -> Self {
        let disk = SmallDisk::new(3 << 30);
        let server = Server::start_with_store(&disk.path());
        let sandbox = TestSandbox::create(&server.client()).await;
        let witness = Witness::leave(&sandbox).await;
        Self {
            last: 0,
            sandbox,
            witness,
            server,
            disk,
        }
    }

    async fn write_to_memory(&self) {
        let dirty = format!("dd if=/dev/urandom of=/run/dirty bs=1M count={DIRTY_MIB} 2>/dev/null");
        self.sandbox.sh(&dirty).await;
    }

    /// Pauses with so much room; gives the step that found too little, if one did.
    async fn pause(&mut self, spare: u64) -> Option<&'static str> {
        self.write_to_memory().await;
        let filler = self.disk.fill_but(spare);
        let paused = self.sandbox.client.pause(&self.sandbox.id).await;
        let failed = paused.is_err().then(|| assert_no_room(paused));
        if failed.is_some() {
            settles(&self.sandbox, &["running"]).await;
        }
        std::fs::remove_file(filler).unwrap();
        if failed.is_none() {
            assert_eq!(holdings(&self.server, &self.sandbox.id), (0, 1));
            self.resume().await;
        }
        self.goes_on().await;
        failed
    }

    /// A removed file's blocks are free a moment after its name is gone; until then a resume hears that there is no room.
    async fn resume(&self) {
        until("room to be resumed", Duration::from_secs(30), || async {
            let (client, id) = (&self.sandbox.client, &self.sandbox.id);
            match client.resume(id, &ResumeRequest::default()).await {
                Ok(_) => Some(()),
                Err(Error::Api(full)) if full.status.is_some_and(|status| status == 507) => None,
                Err(error) => panic!("{error}"),
            }
        })
        .await;
    }

    /// Now that there is room, the guest counts on, and of what was begun nothing is left.
    async fn goes_on(&mut self) {
        until("the guest to go on", Duration::from_secs(30), || async {
            let now = self.sandbox.now().await;
            now.status_reason.is_none().then_some(())
        })
        .await;
        self.last = self.witness.counts_beyond(&self.sandbox, self.last).await;
        assert_eq!(holdings(&self.server, &self.sandbox.id).0, 1);
    }
}

/// That whoever asked for a pause is told that there was no room; gives the step that is named.
#[track_caller]
fn assert_no_room(answer: Result<Paused>) -> &'static str {
    let Err(Error::Api(full)) = answer else {
        panic!("{answer:?}");
    };
    let status = full.status.map(|status| status.as_u16());
    let told = (status, full.code.as_str());
    assert_eq!(told, (Some(507), "resource_exhausted"), "{full}");
    assert!(full.remedy.contains("free disk space"), "{full}");
    let mut steps = PAUSE.steps.iter().copied().map(CaptureStep::name);
    let named = steps.find(|step| full.message.contains(&format!("step {step}: ")));
    named.unwrap_or_else(|| panic!("no step is named: {full}"))
}

#[tokio::test]
async fn whatever_room_there_is_a_pause_has_it_or_leaves_it_running() {
    let mut full = Full::new().await;
    let (mut little, mut enough) = (0, (4 * DIRTY_MIB) << 20);
    assert_eq!(full.pause(enough).await, None);
    let mut met = BTreeSet::new();
    while enough - little > NEAR {
        let middle = u64::midpoint(little, enough);
        match full.pause(middle).await {
            Some(step) => {
                met.insert(step);
                little = middle;
            }
            None => enough = middle,
        }
    }
    eprintln!("a pause needs {enough} bytes; with less it fails at {met:?}");
    assert!(met.contains(CaptureStep::Memory.name()));
    full.sandbox.delete().await;
}

#[tokio::test]
async fn a_disk_that_fills_up_before_any_step_leaves_it_running() {
    let mut full = Full::new().await;
    for step in PAUSE.steps.iter().copied().map(CaptureStep::name) {
        let late = format!("pause.{step}=late");
        arm(&mut full.server, &mut full.sandbox, &late);
        full.write_to_memory().await;
        let (client, id) = (full.sandbox.client.clone(), full.sandbox.id.clone());
        let pausing = tokio::spawn(async move { client.pause(&id).await });
        // What comes before the step takes less.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let filler = full.disk.fill();
        let failed = assert_no_room(pausing.await.unwrap());
        eprintln!("full before {step}: it fails at {failed}");
        settles(&full.sandbox, &["running"]).await;
        std::fs::remove_file(filler).unwrap();
        full.goes_on().await;
    }
    arm(&mut full.server, &mut full.sandbox, "");
    full.sandbox.pause().await;
    full.resume().await;
    full.goes_on().await;
    full.sandbox.delete().await;
}

#[tokio::test]
async fn a_guest_with_more_to_write_than_there_is_room_is_not_paused() {
    let mut full = Full::new().await;
    // The guest keeps it in memory until it is told to write it out.
    let lazy = "cd /proc/sys/vm; echo 90 > dirty_ratio; echo 80 > dirty_background_ratio; \
        echo 360000 > dirty_expire_centisecs; echo 360000 > dirty_writeback_centisecs; \
        dd if=/dev/urandom of=/root/unwritten bs=1M count=64 2>/dev/null";
    full.sandbox.sh(lazy).await;
    let filler = full.disk.fill_but(16 << 20);
    let began = Instant::now();
    let answer = full.sandbox.client.pause(&full.sandbox.id).await;
    assert_no_room(answer);
    eprintln!("refused after {:?}", began.elapsed());
    settles(&full.sandbox, &["running"]).await;
    std::fs::remove_file(filler).unwrap();
    // A write that began while there was no room may still stall it, until the next look for room, a second later.
    tokio::time::sleep(Duration::from_secs(3)).await;
    until("an answer", Duration::from_secs(30), || async {
        let request = shell("true");
        full.sandbox.exec(&request).await.ok()
    })
    .await;
    full.goes_on().await;
    full.sandbox.pause().await;
    full.resume().await;
    full.goes_on().await;
    let size = full.sandbox.sh("stat -c %s /root/unwritten").await;
    assert_eq!(size, "67108864\n");
    full.sandbox.delete().await;
}
