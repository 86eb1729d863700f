//! A machine whose VMM can't stop a guest when there is no room for what it writes: whoever has made its disk does that, before a write
//! is lost. To all others it is as with a VMM that can.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wrenn_disk::{Disk, Layer};
use wrenn_model::chain;
use wrenn_vmm::{Capture, CpuShare, Ended, Error, Identity, Machine, RunState, VmEvent};

/// How often a disk is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How much room the store has to have for guests to go on writing, in bytes: what a few of them write between two looks. What waits
/// in the host's memory to be written has to have room beside that: a guest that stands still does not hold it up.
const RESERVE: u64 = 256 << 20;
/// Events that wait for a slow listener.
const EVENTS: usize = 64;

/// How much room the store has for what is still to come, in bytes.
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
    /// Held by whoever stops it or lets it go on.
    turn: Mutex<()>,
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
            turn: Mutex::new(()),
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
        self.watcher.abort();
        let seen = &self.seen;
        let layer = Layer {
            overlay: dir.join(seen.disks.file_name()),
            ..seen.layer.clone()
        };
        let (disks, room) = (Arc::clone(&seen.disks), Arc::clone(&seen.room));
        Some(Self::of(machine, disks, layer, room))
    }

    async fn freeze(&self) -> Result<(), Error> {
        let _held = self.seen.turn.lock().await;
        self.machine.freeze().await
    }

    async fn load(&self) -> Result<(), Error> {
        self.machine.load().await
    }

    /// If there is still no room, it stands still again soon.
    async fn thaw(&self) -> Result<(), Error> {
        let _held = self.seen.turn.lock().await;
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
    let mut is_short = room.is_ok_and(|room| room < RESERVE);
    match grown {
        Err(wrenn_disk::Error::Invalidated { .. }) => {
            tracing::error!(%vm, "its disk had no room, and what was written is lost");
            drop(machine.kill().await);
            return None;
        }
        // The machine may be ending, and its disk with it; if not, its next writes may be too many.
        Err(error) => {
            tracing::debug!(%vm, error = chain(&error), "its disk could not be looked at");
            is_short = true;
        }
        Ok(_) => {}
    }
    if !is_short {
        return None;
    }
    let _held = seen.turn.lock().await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io;
    use std::path::PathBuf;
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::AtomicU64;
    use wrenn_disk::Grown;
    use wrenn_model::{Isolation, VmId};
    use wrenn_sys::dm::DeviceNumber;
    use wrenn_sys::process::{Birth, FileId};

    /// Longer than between two looks.
    const SOON: Duration = Duration::from_secs(5);

    /// A machine that does as it is told.
    #[derive(Debug)]
    struct Obedient {
        identity: Identity,
        state: StdMutex<RunState>,
        events: broadcast::Sender<VmEvent>,
    }

    impl Obedient {
        fn running() -> Arc<Self> {
            let identity = Identity {
                vm: VmId::random(),
                dir: "/none".into(),
                isolation: Isolation::Kvm,
                pid: 0,
                birth: Birth {
                    boot_id: String::new(),
                    start_time: 0,
                },
                exe: FileId { dev: 0, ino: 0 },
                cgroup: String::new(),
                memory: None,
                pages: None,
            };
            Arc::new(Self {
                identity,
                state: StdMutex::new(RunState::Running),
                events: broadcast::channel(8).0,
            })
        }

        fn set(&self, state: RunState) -> Result<(), Error> {
            *self.state.lock().unwrap() = state;
            Ok(())
        }
    }

    #[async_trait]
    impl Machine for Obedient {
        fn identity(&self) -> &Identity {
            &self.identity
        }

        async fn freeze(&self) -> Result<(), Error> {
            self.set(RunState::Frozen)
        }

        async fn load(&self) -> Result<(), Error> {
            Ok(())
        }

        async fn thaw(&self) -> Result<(), Error> {
            self.set(RunState::Running)
        }

        async fn set_share(&self, _: CpuShare) -> Result<(), Error> {
            Ok(())
        }

        async fn capture(&self) -> Result<Capture, Error> {
            Err(Error::Gone)
        }

        async fn run_state(&self) -> Result<RunState, Error> {
            Ok(*self.state.lock().unwrap())
        }

        fn events(&self) -> broadcast::Receiver<VmEvent> {
            self.events.subscribe()
        }

        async fn console(&self) -> Result<Vec<u8>, Error> {
            Ok(Vec::new())
        }

        async fn kill(&self) -> Result<(), Error> {
            let how = Ended::Signal(9);
            drop(self.events.send(VmEvent::Ended { how }));
            Ok(())
        }
    }

    /// Disks of which only the growth is asked for.
    #[derive(Debug, Default)]
    struct Growing {
        invalid: AtomicBool,
        asked: AtomicU64,
    }

    impl Disk for Growing {
        fn file_name(&self) -> &'static str {
            "disk"
        }

        fn grow_if_needed(&self, layer: &Layer) -> Result<Grown, wrenn_disk::Error> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match self.invalid.load(Ordering::Relaxed) {
                false => Ok(Grown::No),
                true => Err(wrenn_disk::Error::Invalidated {
                    overlay: layer.overlay.clone(),
                }),
            }
        }

        fn attach(&self, _: &Layer) -> Result<Option<DeviceNumber>, wrenn_disk::Error> {
            unreachable!("it is there")
        }

        fn go_on(&self, _: &Layer) -> Result<(), wrenn_disk::Error> {
            unreachable!("nobody holds it up")
        }

        fn detach(&self, _: &Layer) -> Result<(), wrenn_disk::Error> {
            unreachable!("it stays")
        }

        fn create(&self, _: &Layer, _: u32) -> Result<(), wrenn_disk::Error> {
            unreachable!("it is there")
        }

        fn branch(&self, _: &Path, _: &Layer, _: u32) -> Result<(), wrenn_disk::Error> {
            unreachable!("it is there")
        }

        fn checkpoint(&self, _: &Layer, _: &Path) -> Result<File, wrenn_disk::Error> {
            unreachable!("nobody pauses it")
        }

        fn open(&self, _: &Layer) -> Result<File, wrenn_disk::Error> {
            unreachable!("nobody reads it")
        }

        fn remove(&self, _: &Layer) -> Result<(), wrenn_disk::Error> {
            unreachable!("it stays")
        }

        fn usage(&self, _: &Layer) -> io::Result<u64> {
            unreachable!("nobody asks")
        }
    }

    struct Lab {
        machine: Arc<Obedient>,
        disks: Arc<Growing>,
        room: Arc<AtomicU64>,
        watched: Arc<dyn Machine>,
    }

    fn lab() -> Lab {
        let (machine, disks) = (Obedient::running(), Arc::new(Growing::default()));
        let room = Arc::new(AtomicU64::new(RESERVE));
        let layer = Layer {
            overlay: PathBuf::from("/none/disk"),
            base: PathBuf::from("/none/base"),
            virtual_size: 1 << 30,
        };
        let left = Arc::clone(&room);
        let told: Room = Arc::new(move || Ok(left.load(Ordering::Relaxed)));
        let watched = WatchedDisk::of(machine.clone(), disks.clone(), layer, told);
        Lab {
            machine,
            disks,
            room,
            watched,
        }
    }

    async fn next(events: &mut broadcast::Receiver<VmEvent>) -> VmEvent {
        let event = tokio::time::timeout(SOON, events.recv()).await;
        event.expect("nothing happens").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_stands_still_before_there_is_no_room_and_goes_on_when_there_is() {
        let lab = lab();
        let mut events = lab.watched.events();
        tokio::time::sleep(SOON).await;
        assert!(lab.disks.asked.load(Ordering::Relaxed) > 0);
        assert_eq!(lab.watched.run_state().await.unwrap(), RunState::Running);

        lab.room.store(RESERVE - 1, Ordering::Relaxed);
        assert_eq!(next(&mut events).await, VmEvent::IoError { enospc: true });
        assert_eq!(lab.machine.run_state().await.unwrap(), RunState::Frozen);
        assert_eq!(lab.watched.run_state().await.unwrap(), RunState::IoError);

        // Too early.
        lab.watched.thaw().await.unwrap();
        assert_eq!(next(&mut events).await, VmEvent::IoError { enospc: true });
        lab.room.store(RESERVE, Ordering::Relaxed);
        lab.watched.thaw().await.unwrap();
        tokio::time::sleep(SOON).await;
        assert_eq!(lab.watched.run_state().await.unwrap(), RunState::Running);
        assert!(events.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stands_still_for_another_reason_is_not_told_to_be_full() {
        let lab = lab();
        let mut events = lab.watched.events();
        lab.watched.freeze().await.unwrap();
        lab.room.store(0, Ordering::Relaxed);
        tokio::time::sleep(SOON).await;
        assert_eq!(lab.watched.run_state().await.unwrap(), RunState::Frozen);
        assert!(events.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_disk_is_lost_is_ended_and_its_end_is_told() {
        let lab = lab();
        let mut events = lab.watched.events();
        lab.disks.invalid.store(true, Ordering::Relaxed);
        let ended = VmEvent::Ended {
            how: Ended::Signal(9),
        };
        assert_eq!(next(&mut events).await, ended);
    }
}
