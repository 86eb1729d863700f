//! Who gets what stands ready, over machines that say what a test has them say.

mod how_many;

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::broadcast;
use wrenn_model::{InstanceId, Isolation};
use wrenn_sys::process::{Birth, FileId};
use wrenn_vmm::{Capture, CpuShare, Error, Identity, VmEvent};

use super::*;
use crate::admission::{Admission, Limits};

const IMAGE: &str = "image";

/// What a machine says when it is asked how it is.
#[derive(Debug, Clone, Copy)]
enum Says {
    Frozen,
    Gone,
    Nothing,
}

/// A machine that can be asked, and nothing else.
#[derive(Debug)]
struct Asked {
    identity: Identity,
    says: Says,
}

#[async_trait]
impl Machine for Asked {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn run_state(&self) -> Result<RunState, Error> {
        // Others have their turn in between.
        tokio::task::yield_now().await;
        match self.says {
            Says::Frozen => Ok(RunState::Frozen),
            Says::Gone => Err(Error::Gone),
            Says::Nothing => std::future::pending().await,
        }
    }

    async fn freeze(&self) -> Result<(), Error> {
        Err(Error::Gone)
    }

    async fn load(&self) -> Result<(), Error> {
        Err(Error::Gone)
    }

    async fn thaw(&self) -> Result<(), Error> {
        Err(Error::Gone)
    }

    async fn set_share(&self, _: CpuShare) -> Result<(), Error> {
        Err(Error::Gone)
    }

    async fn capture(&self) -> Result<Capture, Error> {
        Err(Error::Gone)
    }

    fn events(&self) -> broadcast::Receiver<VmEvent> {
        broadcast::channel(1).1
    }

    async fn console(&self) -> Result<Vec<u8>, Error> {
        Err(Error::Gone)
    }

    async fn kill(&self) -> Result<(), Error> {
        Err(Error::Gone)
    }
}

/// A pool of one shape that is to have so many, and has nothing yet.
struct Lab {
    pools: Pools,
    shape: Shape,
    admission: Arc<Admission>,
}

impl Lab {
    fn of(counts: &str) -> Self {
        let size: PoolSize = format!("minimal:1:128={counts}").parse().unwrap();
        let admission = Admission::new(Limits::default(), &InstanceId::random(), 0, 1);
        let lab = Self {
            pools: Pools::default(),
            shape: size.shape.clone(),
            admission: Arc::new(admission.unwrap()),
        };
        lab.pools.configure(size);
        lab
    }

    fn add(&self, says: Says) -> VmId {
        self.add_of(Level::Ready, IMAGE, says)
    }

    fn add_of(&self, level: Level, image: &str, says: Says) -> VmId {
        let vm = VmId::random();
        let identity = Identity {
            vm: vm.clone(),
            dir: "/none".into(),
            isolation: Isolation::Emulated,
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
        let machine = Arc::new(Asked { identity, says });
        let spare = Spare::of_machine(machine, &self.admission);
        let added = self.pools.add(&self.shape, level, image.to_owned(), spare);
        added.expect("it is wanted");
        vm
    }

    async fn take(&self) -> Option<VmId> {
        let taken = self.pools.take(&self.shape, IMAGE).await;
        taken.and_then(|spare| spare.id())
    }

    /// Has everything that stands ready be there for so long.
    fn age(&self, age: Duration) {
        let mut inner = self.pools.lock();
        for one in &mut inner.pools.get_mut(&self.shape).unwrap().standing {
            one.since = Instant::now().checked_sub(age).unwrap();
        }
    }

    /// Looks at it as the keeper of pools does.
    fn look(&self, image: Option<&str>) -> Vec<VmId> {
        let worn = self.pools.worn(|_| image.map(str::to_owned));
        ids(worn)
    }

    fn state(&self) -> PoolState {
        self.pools.states().remove(0)
    }
}

fn ids(spares: impl IntoIterator<Item = Spare>) -> Vec<VmId> {
    spares.into_iter().filter_map(|one| one.id()).collect()
}

#[tokio::test]
async fn what_is_too_old_is_not_handed_out_and_another_is_made() {
    let lab = Lab::of("2");
    let old = lab.add(Says::Frozen);
    lab.age(OLDEST);
    let young = lab.add(Says::Frozen);
    assert_eq!(lab.pools.lacking(), None);
    assert_eq!(lab.take().await, Some(young));
    // Between two looks it is still there, and nobody's.
    assert_eq!(lab.take().await, None);
    assert_eq!(lab.state().ready, 1);
    assert_eq!(lab.look(Some(IMAGE)), [old]);
    assert!(lab.pools.lacking().is_some());
    let next = lab.add(Says::Frozen);
    lab.age(OLDEST - Duration::from_secs(60));
    assert_eq!(lab.look(Some(IMAGE)), []);
    assert_eq!(lab.take().await, Some(next));
}

#[tokio::test]
async fn what_is_of_another_image_is_not_handed_out_and_goes() {
    let lab = Lab::of("2");
    let other = lab.add_of(Level::Ready, "what the template was", Says::Frozen);
    assert_eq!(lab.take().await, None);
    let ours = lab.add(Says::Frozen);
    assert_eq!(lab.look(Some(IMAGE)), [other]);
    // Its template is gone.
    assert_eq!(lab.look(None), [ours]);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_or_has_ended_is_passed_over() {
    let lab = Lab::of("3+1");
    lab.add(Says::Nothing);
    lab.add(Says::Gone);
    let good = lab.add(Says::Frozen);
    lab.add_of(Level::Started, IMAGE, Says::Gone);
    assert_eq!(lab.take().await, Some(good));
    assert_eq!(lab.take().await, None);
    let PoolState {
        ready,
        started,
        hits,
        misses,
        ..
    } = lab.state();
    assert_eq!((ready, started, hits, misses), (0, 0, 1, 1));

    let dead = [lab.add(Says::Gone), lab.add(Says::Nothing)];
    let good = lab.add(Says::Frozen);
    assert_eq!(ids(lab.pools.dead().await), dead);
    assert_eq!(lab.take().await, Some(good));
}

#[tokio::test]
async fn what_is_ready_is_taken_first_and_given_back_last() {
    let lab = Lab::of("2+1");
    let started = lab.add_of(Level::Started, IMAGE, Says::Frozen);
    let (first, second) = (lab.add(Says::Frozen), lab.add(Says::Frozen));
    assert_eq!(lab.take().await, Some(first));
    assert_eq!(ids(lab.pools.give_back()), [started]);
    assert_eq!(ids(lab.pools.give_back()), [second]);
    assert!(lab.pools.give_back().is_none());
    // Whoever needed its place has it before another is made.
    assert_eq!(lab.pools.lacking(), None);
    assert!(lab.pools.rests() > Some(Duration::ZERO));
}

/// Whoever takes, gives back, looks or drains at the same time: each is somebody's, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_goes_to_one_of_many_who_ask_at_once() {
    const EACH: usize = 12;
    for round in 0..50 {
        let lab = Lab::of(&EACH.to_string());
        let mut made = BTreeSet::new();
        for _ in 0..EACH {
            made.insert(lab.add(Says::Frozen).to_string());
        }
        let lab = Arc::new(lab);
        let seekers = (0..EACH).map(|seeker| {
            let lab = lab.clone();
            tokio::spawn(async move {
                match seeker % 6 {
                    0 => ids(lab.pools.dead().await),
                    1 => ids(lab.pools.give_back()),
                    2 => lab.look(Some(IMAGE)),
                    _ => lab.take().await.into_iter().collect(),
                }
            })
        });
        let mut had = Vec::new();
        for seeker in join_all(seekers).await {
            had.extend(seeker.unwrap());
        }
        let taken = lab.state();
        assert_eq!(taken.hits + taken.misses, 6, "round {round}: {taken:?}");
        assert_eq!(had.len(), 8, "round {round}");
        had.extend(ids(lab.pools.close()));
        assert_eq!(had.len(), EACH, "round {round}: {had:?}");
        let had: BTreeSet<String> = had.iter().map(ToString::to_string).collect();
        assert_eq!(had, made, "round {round}");
        assert!(lab.take().await.is_none());
    }
}
