//! A machine whose VMM can't stop a guest when there is no room for what it writes: whoever has made its disk does that, before a write
//! is lost. To all others it is as with a VMM that can.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wrenn_disk::{Disk, Layer};
use wrenn_model::chain;
use wrenn_vmm::{Capture, CpuShare, Ended, Error, Identity, Machine, RunState, VmEvent};

/// How often a disk is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How much room the store has to have for guests to go on writing, in bytes: what a few of them write between two looks.
const RESERVE: u64 = 256 << 20;
/// Events that wait for a slow listener.
const EVENTS: usize = 64;

/// How much room the store has, in bytes.
pub(crate) type Room = Arc<dyn Fn() -> std::io::Result<u64> + Send + Sync>;

/// See the module.
pub(crate) struct WatchedDisk {
    machine: Arc<dyn Machine>,
    seen: Arc<Seen>,
    watcher: JoinHandle<()>,
}

struct Seen {
    disks: Arc<dyn Disk>,
    layer: Layer,
    room: Room,
    /// It stands still for want of room.
    full: AtomicBool,
    events: broadcast::Sender<VmEvent>,
    ended: OnceLock<Ended>,
}

impl WatchedDisk {
    /// This machine, which has that layer for its disk.
    pub(crate) fn of(
        machine: Arc<dyn Machine>,
        disks: Arc<dyn Disk>,
        layer: Layer,
        room: Room,
    ) -> Arc<dyn Machine> {
        let seen = Arc::new(Seen {
            disks,
            layer,
            room,
            full: AtomicBool::new(false),
            events: broadcast::channel(EVENTS).0,
            ended: OnceLock::new(),
        });
        let events = machine.events();
        let watcher = tokio::spawn(watch(Arc::clone(&machine), Arc::clone(&seen), events));
        Arc::new(Self {
            machine,
            seen,
            watcher,
        })
    }
}

impl std::fmt::Debug for WatchedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WatchedDisk").field(&self.machine).finish()
    }
}

impl Drop for WatchedDisk {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

#[async_trait]
impl Machine for WatchedDisk {
    fn identity(&self) -> &Identity {
        self.machine.identity()
    }

    fn moved(&self, dir: &Path) -> Option<Arc<dyn Machine>> {
        let machine = self.machine.moved(dir)?;
        let seen = &self.seen;
        let layer = Layer {
            overlay: dir.join(seen.disks.file_name()),
            ..seen.layer.clone()
        };
        let (disks, room) = (Arc::clone(&seen.disks), Arc::clone(&seen.room));
        Some(Self::of(machine, disks, layer, room))
    }

    async fn freeze(&self) -> Result<(), Error> {
        self.machine.freeze().await
    }

    async fn load(&self) -> Result<(), Error> {
        self.machine.load().await
    }

    /// If there is still no room, it stands still again soon.
    async fn thaw(&self) -> Result<(), Error> {
        self.seen.full.store(false, Ordering::Release);
        self.machine.thaw().await
    }

    async fn set_share(&self, share: CpuShare) -> Result<(), Error> {
        self.machine.set_share(share).await
    }

    async fn capture(&self) -> Result<Capture, Error> {
        self.machine.capture().await
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        let state = self.machine.run_state().await?;
        let full = state == RunState::Frozen && self.seen.full.load(Ordering::Acquire);
        Ok(if full { RunState::IoError } else { state })
    }

    fn events(&self) -> broadcast::Receiver<VmEvent> {
        let events = self.seen.events.subscribe();
        match self.seen.ended.get() {
            None => events,
            // Nobody tells it again.
            Some(_) => self.machine.events(),
        }
    }

    async fn console(&self) -> Result<Vec<u8>, Error> {
        self.machine.console().await
    }

    async fn kill(&self) -> Result<(), Error> {
        self.machine.kill().await
    }
}

/// Tells on what happens to the machine, and looks after its disk, until its end.
async fn watch(
    machine: Arc<dyn Machine>,
    seen: Arc<Seen>,
    mut events: broadcast::Receiver<VmEvent>,
) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => match look(machine.as_ref(), &seen).await {
                Some(event) => event,
                None => continue,
            },
        };
        if let VmEvent::Ended { how } = &event {
            seen.ended.get_or_init(|| *how);
        }
        let end = matches!(event, VmEvent::Ended { .. });
        // Nobody listening is fine.
        drop(seen.events.send(event));
        if end {
            return;
        }
    }
}

/// Sees to it that the disk has room, or that its guest stands still.
async fn look(machine: &dyn Machine, seen: &Arc<Seen>) -> Option<VmEvent> {
    if seen.full.load(Ordering::Acquire) {
        return None;
    }
    let vm = &machine.identity().vm;
    let looking = Arc::clone(seen);
    let looked = tokio::task::spawn_blocking(move || {
        let grown = looking.disks.grow_if_needed(&looking.layer);
        (grown, (looking.room)())
    });
    let (grown, room) = looked.await.ok()?;
    match grown {
        Err(wrenn_disk::Error::Invalidated { .. }) => {
            tracing::error!(%vm, "its disk had no room, and what was written is lost");
            drop(machine.kill().await);
            return None;
        }
        // The machine may be ending, and its disk with it.
        Err(error) => {
            tracing::debug!(%vm, error = chain(&error), "its disk could not be looked at");
        }
        Ok(_) => {}
    }
    if room.ok()? >= RESERVE {
        return None;
    }
    match machine.run_state().await {
        Ok(RunState::Running) => {}
        _ => return None,
    }
    seen.full.store(true, Ordering::Release);
    if let Err(error) = machine.freeze().await {
        tracing::error!(%vm, error = chain(&error), "it could not be stopped for want of room");
        seen.full.store(false, Ordering::Release);
        return None;
    }
    Some(VmEvent::IoError { enospc: true })
}
