//! A pause that finds no room, wherever in it: the sandbox runs on, whoever asked is told, and with room it is paused.

use std::collections::BTreeSet;

use wrenn_agent::{PAUSE, PauseStep};
use wrenn_client::Error;

use crate::harness::{Server, SmallDisk, TestSandbox, Witness};
use crate::pause_faults::{holdings, settles};

/// What the guest writes into its memory before each pause, in MiB.
const DIRTY_MIB: u64 = 40;

/// How close the least room that suffices is looked for, in bytes.
const NEAR: u64 = 32 << 10;

struct Full {
    sandbox: TestSandbox,
    witness: Witness,
    /// How far the guest had counted.
    last: u64,
    server: Server,
    /// The server stands on it, so that it goes last.
    disk: SmallDisk,
}

impl Full {
    /// Pauses with so much room; gives the step that found too little, if one did.
    async fn pause(&mut self, spare: u64) -> Option<&'static str> {
        let id = self.sandbox.id.clone();
        let dirty = format!("dd if=/dev/urandom of=/run/dirty bs=1M count={DIRTY_MIB} 2>/dev/null");
        self.sandbox.sh(&dirty).await;
        let filler = self.disk.fill_but(spare);
        let paused = self.sandbox.client.pause(&id).await;
        let failed = match &paused {
            Ok(_) => None,
            Err(Error::Api(full)) => {
                let status = full.status.map(|status| status.as_u16());
                let code = full.code.as_str();
                assert_eq!((status, code), (Some(507), "resource_exhausted"), "{full}");
                assert!(full.remedy.contains("disk"), "{full}");
                let step = PAUSE.iter().copied().map(PauseStep::name);
                let step = step.filter(|step| full.message.contains(&format!("step {step}: ")));
                Some(step.last().unwrap_or_else(|| panic!("no step: {full}")))
            }
            Err(other) => panic!("{other}"),
        };
        let before = holdings(&self.server, &id);
        if failed.is_some() {
            // While the disk is as full as it was.
            settles(&self.sandbox, &["running"]).await;
            assert_eq!(before.0, 1, "{failed:?}");
            self.last = self.witness.counts_beyond(&self.sandbox, self.last).await;
        }
        std::fs::remove_file(filler).unwrap();
        if failed.is_none() {
            assert_eq!(before, (0, 1));
            self.sandbox.resume().await;
            self.last = self.witness.counts_beyond(&self.sandbox, self.last).await;
        }
        failed
    }
}

#[tokio::test]
async fn a_pause_without_room_leaves_it_running() {
    let disk = SmallDisk::new(3 << 30);
    let server = Server::start_in(&disk.path());
    let sandbox = TestSandbox::create(&server.client()).await;
    let witness = Witness::leave(&sandbox).await;
    let mut full = Full {
        sandbox,
        witness,
        last: 0,
        server,
        disk,
    };
    let mut met = BTreeSet::new();
    // Between too little and enough lies every other step.
    let (mut little, mut enough) = (1 << 20, 4 * DIRTY_MIB << 20);
    met.extend(full.pause(little).await);
    assert_eq!(full.pause(enough).await, None);
    while enough - little > NEAR {
        let middle = u64::midpoint(little, enough);
        match full.pause(middle).await {
            Some(step) => {
                eprintln!("{middle} bytes are too little at {step}");
                met.insert(step);
                little = middle;
            }
            None => enough = middle,
        }
    }
    eprintln!("a pause needs {enough} bytes; without them it fails at {met:?}");
    assert!(met.contains(PauseStep::Memory.name()));
    full.sandbox
        .client
        .delete_sandbox(&full.sandbox.id)
        .await
        .unwrap();
}
