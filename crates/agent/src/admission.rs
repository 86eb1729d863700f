//! Who may have a virtual machine: by what the host really has, and in turn.
//!
//! ```text
//!   resources   what the host has this moment, and what of it may be promised
//!   Admission   what is promised: memory, disk, slots; a Place gives its share back once, by being dropped
//!   Load        all that as numbers, for those who watch
//!   turns       so many starts at a time; queue: all others wait, fair between owners
//! ```
//!
//! A place is promised before anybody waits for a turn: who waits will be served, and who can not be is told at once.

mod load;
mod overcommit;
mod pace;
mod queue;
mod resources;
mod turns;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wrenn_disk::Volume;
use wrenn_model::{ErrorKind, Fault, InstanceId, MiB, SandboxSpec};
use wrenn_network::{LAST_INDEX, SlotIndexes};
use wrenn_sys::cgroup::Hierarchies;

pub(crate) use load::{Load, Share};
pub use overcommit::{InvalidOvercommit, MemoryOvercommit};
pub(crate) use queue::{Asked, Purpose};
pub use resources::Limits;
pub(crate) use turns::{Turn, Waiting};

use pace::{Pace, seconds};
use resources::{Demand, Promised, Room, Seen, Short};
use turns::Turns;

/// How soon a place becomes free where nobody has seen one become free yet.
const UNKNOWN_RELEASE: Duration = Duration::from_secs(10);
/// The most seconds that anybody is sent away for want of a place.
const LONGEST_RETRY_SEC: u32 = 60;
/// For want of disk: somebody has to make room.
const DISK_RETRY_SEC: u32 = 60;
/// How many starts there are at a time for each processor. A start waits a part of its time, for the disk and for the kernel.
const STARTS_PER_CPU: u32 = 2;

/// What is promised on this host, and whose turn it is to start.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    hierarchies: Hierarchies,
    /// The cgroup that all of this instance's virtual machines are in.
    group: String,
    /// What a virtual machine may take beside its guest's memory, in bytes.
    overhead: u64,
    ledger: Mutex<Ledger>,
    turns: Arc<Turns>,
}

#[derive(Debug)]
struct Ledger {
    slots: SlotIndexes,
    promised: Promised,
    /// How often a place becomes free.
    releases: Pace,
    last_release: Instant,
    /// Nobody gets a place any more.
    closed: bool,
}

/// Memory, disk and a slot, promised to a virtual machine. Dropping it gives all of it back.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    demand: Demand,
    slot: SlotIndex,
}

/// The number of a slot, which nobody else has. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct SlotIndex {
    admission: Arc<Admission>,
    index: u16,
}

impl SlotIndex {
    pub(crate) fn get(&self) -> u16 {
        self.index
    }
}

impl Place {
    pub(crate) fn slot_index(&self) -> u16 {
        self.slot.get()
    }

    /// Has another slot in the place of its own, of which nothing may stand.
    pub(crate) fn change_slot(&mut self, slot: SlotIndex) {
        self.slot = slot;
    }
}

impl Admission {
    /// Nothing is promised yet. `overhead` is what a virtual machine may take beside its guest's memory and the tables of that, in bytes.
    pub(crate) fn new(
        limits: Limits,
        instance: &InstanceId,
        overhead: u64,
        cpus: u32,
    ) -> Result<Self, wrenn_sys::cgroup::Error> {
        resources::raise_descriptors();
        let at_once = usize::try_from(cpus.max(1) * STARTS_PER_CPU).unwrap_or(usize::MAX);
        Ok(Self {
            limits,
            hierarchies: Hierarchies::find()?,
            group: wrenn_vmm::cgroup_of(instance),
            overhead,
            ledger: Mutex::new(Ledger {
                slots: SlotIndexes::new([]),
                promised: Promised::default(),
                releases: Pace::default(),
                last_release: Instant::now(),
                closed: false,
            }),
            turns: Arc::new(Turns::new(at_once)),
        })
    }

    /// The memory of the largest guest that could ever be admitted.
    pub(crate) fn largest(&self) -> io::Result<MiB> {
        let most = resources::largest(&self.limits)?.saturating_sub(self.overhead);
        Ok(wrenn_vmm::without_tables(most))
    }

    /// Takes a place for a virtual machine to come. It looks at the host, which may block.
    ///
    /// # Errors
    /// `host_busy` while others have what it needs, `host_full` when the disk has no room, `unavailable` at the end.
    pub(crate) fn admit(
        self: &Arc<Self>,
        volume: &Volume,
        spec: &SandboxSpec,
    ) -> Result<Place, Fault> {
        let seen = Seen::now(volume, &self.hierarchies, &self.group).map_err(|error| {
            Fault::new(
                ErrorKind::Internal,
                format!("what the host has left cannot be seen: {error}"),
                "see the agent's log",
            )
        })?;
        self.promise(&seen.room(&self.limits), self.demand(spec))
    }

    fn promise(self: &Arc<Self>, room: &Room, demand: Demand) -> Result<Place, Fault> {
        let mut ledger = self.lock();
        if ledger.closed {
            return Err(Fault::new(
                ErrorKind::Unavailable,
                "the host agent is being taken down",
                "start Wrenn again: what is paused is there then",
            ));
        }
        if let Err(short) = room.check(&ledger.promised, demand) {
            return Err(ledger.refusal(short, room, demand));
        }
        let Some(slot_index) = ledger.slots.allocate() else {
            return Err(ledger.refusal(Short::Machines, room, demand));
        };
        ledger.promised.add(demand);
        drop(ledger);
        Ok(self.place(demand, slot_index))
    }

    /// The number of a slot for nobody yet; `None` when all are taken, or nobody gets one any more.
    pub(crate) fn slot_index(self: &Arc<Self>) -> Option<SlotIndex> {
        let mut ledger = self.lock();
        let index = (!ledger.closed).then(|| ledger.slots.allocate()).flatten();
        drop(ledger);
        index.map(|index| self.slot(index))
    }

    fn place(self: &Arc<Self>, demand: Demand, slot_index: u16) -> Place {
        Place {
            admission: self.clone(),
            demand,
            slot: self.slot(slot_index),
        }
    }

    fn slot(self: &Arc<Self>, index: u16) -> SlotIndex {
        SlotIndex {
            admission: self.clone(),
            index,
        }
    }

    /// The place of a virtual machine that runs already, whatever the host has left.
    pub(crate) fn reclaim(self: &Arc<Self>, spec: &SandboxSpec, slot_index: u16) -> Place {
        let demand = self.demand(spec);
        self.lock().promised.add(demand);
        self.place(demand, slot_index)
    }

    /// Begins anew with these slots in use. Before anything else happens.
    pub(crate) fn occupy(&self, slots: impl IntoIterator<Item = u16>) {
        self.lock().slots = SlotIndexes::new(slots);
    }

    /// From now on nobody gets a place.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Takes a place in the queue of those who are to start.
    ///
    /// # Errors
    /// `host_busy` when the queue is full.
    pub(crate) fn queue(&self, spec: &SandboxSpec, purpose: Purpose) -> Result<Waiting, Fault> {
        self.queue_since(spec, purpose, Asked::now())
    }

    /// The same for who asked before: those of their owner who asked later come after them.
    pub(crate) fn queue_since(
        &self,
        spec: &SandboxSpec,
        purpose: Purpose,
        asked: Asked,
    ) -> Result<Waiting, Fault> {
        self.turns.enter(&spec.owner_id, purpose, asked)
    }

    /// Whether one more would have a place if virtual machines of these sizes gave theirs back.
    pub(crate) fn fits_without(&self, volume: &Volume, spec: &SandboxSpec, given: &[MiB]) -> bool {
        let seen = Seen::now(volume, &self.hierarchies, &self.group);
        seen.is_ok_and(|seen| self.fits(seen.room(&self.limits), self.demand(spec), given))
    }

    fn fits(&self, mut room: Room, wanted: Demand, given: &[MiB]) -> bool {
        let mut promised = self.lock().promised;
        for guest in given {
            let back = self.demand_of(*guest);
            promised = promised.without(back);
            room.available += back.memory;
        }
        room.check(&promised, wanted).is_ok()
    }

    /// Whether somebody waits for their turn to start.
    pub(crate) fn has_waiting(&self) -> bool {
        let (waiting, _) = self.turns.load();
        waiting.used > 0
    }

    /// How full the host is. It looks at it, which may block.
    ///
    /// # Errors
    /// When the host cannot be seen.
    pub(crate) fn load(&self, volume: &Volume) -> io::Result<Load> {
        let seen = Seen::now(volume, &self.hierarchies, &self.group)?;
        Ok(self.load_of(&seen.room(&self.limits)))
    }

    fn load_of(&self, room: &Room) -> Load {
        let (waiting, turns) = self.turns.load();
        let ledger = self.lock();
        let slots = Share::of(ledger.slots.used(), usize::from(LAST_INDEX));
        Load {
            waiting,
            turns,
            ..Load::promised(&ledger.promised, room, slots)
        }
    }

    fn demand(&self, spec: &SandboxSpec) -> Demand {
        self.demand_of(spec.memory)
    }

    /// That of a virtual machine whose guest may take so much.
    fn demand_of(&self, guest: MiB) -> Demand {
        Demand {
            memory: wrenn_vmm::with_tables(guest) + self.overhead,
            disk: guest.bytes(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// What to tell, and when to come back.
    fn refusal(&self, short: Short, room: &Room, demand: Demand) -> Fault {
        let mib = |bytes: u64| bytes >> 20;
        let busy = |message: String, remedy: &str| {
            let wait = self.releases.mean(UNKNOWN_RELEASE);
            Fault::new(ErrorKind::HostBusy, message, remedy)
                .retry_after(seconds(wait, LONGEST_RETRY_SEC))
        };
        match short {
            Short::Memory => busy(
                format!(
                    "the host has no memory left for this sandbox: it may take {} MiB with what runs it, and {} of {} MiB are promised",
                    mib(demand.memory),
                    mib(self.promised.memory),
                    mib(room.memory)
                ),
                "pause or destroy sandboxes, ask for less memory, or try again later",
            ),
            Short::Available => busy(
                format!(
                    "the host has no memory left for this sandbox: it may take {} MiB with what runs it, and {} MiB are free",
                    mib(demand.memory),
                    mib(room.available)
                ),
                "pause or destroy sandboxes, ask for less memory, or try again later",
            ),
            Short::Machines => busy(
                format!(
                    "all places of the host are taken: {} sandboxes run",
                    self.promised.machines
                ),
                "pause or destroy sandboxes, or try again later",
            ),
            Short::Disk => Fault::new(
                ErrorKind::HostFull,
                format!(
                    "the host's disk has no room for this sandbox: its pause may take {} MiB, and {} of {} MiB are promised",
                    mib(demand.disk),
                    mib(self.promised.disk),
                    mib(room.disk)
                ),
                "free disk space on the host, or destroy sandboxes",
            )
            .retry_after(DISK_RETRY_SEC),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut ledger = self.admission.lock();
        ledger.promised.give_back(self.demand);
        let since = ledger.last_release.elapsed();
        ledger.releases.note(since);
        ledger.last_release = Instant::now();
    }
}

impl Drop for SlotIndex {
    fn drop(&mut self) {
        self.admission.lock().slots.release(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrenn_model::{NetworkPolicy, OnTimeout, SandboxId};

    fn admission() -> Arc<Admission> {
        let instance = InstanceId::random();
        Arc::new(Admission::new(Limits::default(), &instance, 0, 1).unwrap())
    }

    fn demand(memory: u64) -> Demand {
        Demand { memory, disk: 1 }
    }

    fn spec(owner: &str) -> SandboxSpec {
        SandboxSpec {
            id: SandboxId::random(),
            owner_id: owner.to_owned(),
            template: "minimal".parse().unwrap(),
            vcpus: 1,
            memory: MiB(128),
            timeout_sec: 60,
            on_timeout: OnTimeout::Destroy,
            auto_resume: false,
            hostname: String::new(),
            network: NetworkPolicy::default(),
            parent: None,
            metadata: Default::default(),
            envs: Default::default(),
        }
    }

    const ROOM: Room = Room {
        memory: 100,
        available: 100,
        disk: 3,
        machines: 10,
    };

    #[test]
    fn what_is_promised_comes_back_once() {
        let admission = admission();
        let first = admission.promise(&ROOM, demand(60)).unwrap();
        let busy = admission.promise(&ROOM, demand(60)).unwrap_err();
        assert_eq!(busy.kind, ErrorKind::HostBusy);
        assert_eq!(busy.retry_after_sec, Some(10));
        drop(first);
        let second = admission.promise(&ROOM, demand(60)).unwrap();
        assert_eq!(admission.lock().promised.memory, 60);
        drop(second);
        assert_eq!(admission.lock().promised, Promised::default());
        // Places became free at once, and nobody is sent away for long.
        let all = admission.promise(&ROOM, demand(100)).unwrap();
        let busy = admission.promise(&ROOM, demand(1)).unwrap_err();
        assert_eq!(busy.retry_after_sec, Some(1));
        drop(all);
    }

    #[test]
    fn the_load_is_what_is_promised_and_who_waits() {
        let admission = admission();
        let share = |used, limit| Share { used, limit };
        let idle = admission.load_of(&ROOM);
        assert_eq!((idle.memory, idle.slots), (share(0, 100), share(0, 10)));
        assert_eq!((idle.turns.used, idle.waiting.used), (0, 0));
        let place = admission.promise(&ROOM, demand(60)).unwrap();
        let spec = spec("");
        let enter = || admission.queue(&spec, Purpose::Create).unwrap();
        let started: Vec<_> = (0..idle.turns.limit).map(|_| enter()).collect();
        let waiting = enter();
        let busy = admission.load_of(&ROOM);
        assert_eq!((busy.memory, busy.slots), (share(60, 100), share(1, 10)));
        assert_eq!(busy.disk, share(1, 3));
        assert_eq!((busy.turns.used, busy.waiting.used), (idle.turns.limit, 1));
        drop((place, started, waiting));
        assert_eq!(admission.load_of(&ROOM), idle);
    }

    #[test]
    fn a_full_disk_is_another_error_than_a_busy_host() {
        let admission = admission();
        let places: Vec<_> = (0..3)
            .map(|_| admission.promise(&ROOM, demand(1)).unwrap())
            .collect();
        let full = admission.promise(&ROOM, demand(1)).unwrap_err();
        assert_eq!(full.kind, ErrorKind::HostFull);
        assert_eq!(full.retry_after_sec, Some(DISK_RETRY_SEC));
        let slots: std::collections::HashSet<u16> = places.iter().map(Place::slot_index).collect();
        assert_eq!(slots.len(), 3);
    }

    #[test]
    fn an_owner_who_fills_the_queue_shuts_nobody_else_out() {
        let admission = admission();
        let enter = |owner| admission.queue(&spec(owner), Purpose::Create);
        let mut greedy = Vec::new();
        let refused = loop {
            match enter("greedy") {
                Ok(waiting) => greedy.push(waiting),
                Err(fault) => break fault,
            }
        };
        assert_eq!(refused.kind, ErrorKind::HostBusy);
        let full = admission.load_of(&ROOM).waiting;
        assert_eq!(full.used, full.limit);
        // Half of the places are anybody else's, also those of who gives no name.
        let mut others = Vec::new();
        for number in 0..full.limit / 2 {
            let owner = if number % 2 == 0 { "other" } else { "" };
            others.push(admission.queue(&spec(owner), Purpose::Wake).unwrap());
            assert!(enter("greedy").is_err());
        }
        assert_eq!(admission.load_of(&ROOM).waiting, full);
    }

    #[test]
    fn a_slot_is_somebodys_until_it_is_given_back() {
        let admission = admission();
        let used = || admission.load_of(&ROOM).slots.used;
        let mut place = admission.promise(&ROOM, demand(1)).unwrap();
        let ready = admission.slot_index().unwrap();
        let number = ready.get();
        assert_eq!(used(), 2);
        place.change_slot(ready);
        assert_eq!((place.slot_index(), used()), (number, 1));
        drop(place);
        assert_eq!(used(), 0);
    }

    #[test]
    fn what_others_could_give_back_is_enough_or_not() {
        let admission = admission();
        let room = |memory: u32, available: u32, disk: u32| Room {
            memory: wrenn_vmm::with_tables(MiB(memory)),
            available: wrenn_vmm::with_tables(MiB(available)),
            disk: MiB(disk).bytes(),
            machines: 10,
        };
        let wanted = admission.demand_of(MiB(128));
        let ready = [MiB(128); 2];
        let _places = [7, 8].map(|slot| admission.reclaim(&spec(""), slot));
        // How many have to give theirs back; three, where that is not enough.
        let must = |memory, available, disk| {
            let room = room(memory, available, disk);
            let enough = |count: &usize| admission.fits(room, wanted, &ready[..*count]);
            (0..=ready.len()).find(enough).unwrap_or(3)
        };
        assert_eq!(must(384, 128, 384), 0);
        for (memory, available, disk) in [(383, 999, 999), (999, 127, 999), (999, 999, 383)] {
            assert_eq!(must(memory, available, disk), 1);
        }
        // More is promised than there is: one alone helps nobody.
        for (memory, disk) in [(255, 999), (999, 255), (128, 128)] {
            assert_eq!(must(memory, 999, disk), 2);
        }
        for (memory, disk) in [(127, 999), (999, 127)] {
            assert_eq!(must(memory, 999, disk), 3);
        }
        // Some have gone meanwhile.
        assert!(admission.fits(room(128, 128, 128), wanted, &[MiB(128); 5]));
    }

    #[test]
    fn once_closed_nobody_gets_in() {
        let admission = admission();
        admission.close();
        assert!(admission.slot_index().is_none());
        let fault = admission.promise(&ROOM, demand(1)).unwrap_err();
        assert_eq!(fault.kind, ErrorKind::Unavailable);
    }

    #[test]
    fn places_taken_and_dropped_from_many_threads_add_up() {
        let admission = admission();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        drop(admission.promise(&ROOM, demand(40)));
                        assert!(admission.lock().promised.memory <= ROOM.memory);
                    }
                });
            }
        });
        assert_eq!(admission.lock().promised, Promised::default());
    }
}
