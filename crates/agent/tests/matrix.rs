//! Every operation × every step × every fault: the step fails, panics, hangs, or the agent dies in it, as it also does at
//! any moment by a hand from outside. Afterwards the neighbour has run on undisturbed and answers, what was half made is
//! gone without trace, what was finished is told, and what is there can be used and destroyed. Everything is undone twice.
//!
//! Operations, steps and undos are the agent's own list ([`wrenn_agent::OPERATIONS`]). The VMM is testkit's, so that a boot
//! takes milliseconds; processes, cgroups, namespaces, links, rules, files and the agent's deaths are real.
//!
//! `cargo test -p wrenn-agent --test matrix -- pause/disk` runs the cases that have this in their names.

mod rig;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::client::{Answer, Client};
use rig::lane::{Lane, fresh_id};
use rig::suite::{self, Case};
use wrenn_agent::{OPERATIONS, Operation};
use wrenn_testkit::{vmm, world};

/// What happens in a step. A step that hangs is one that took too long.
const FAULTS: &[&str] = &["error", "panic", "hang", "abort"];
/// In how much time after an operation began the agent is killed from outside, in milliseconds, more or less.
const KILLS_MS: &[u64] = &[4, 15, 40, 100, 250];

/// How long a sandbox may take to be something definite.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if let Some(code) = vmm::run_if_asked().or_else(rig::agent::run_if_asked) {
        return code;
    }
    world::require();
    let seed = seed();
    println!("seed {seed}: WRENN_MATRIX_SEED={seed} kills at the same moments");
    let mut random = seed;
    let trials = OPERATIONS.iter().flat_map(|operation| {
        let act = Act::of(operation);
        blows(operation, act, &mut random).map(move |blow| Trial {
            operation,
            act,
            blow,
        })
    });
    suite::run(trials.collect())
}

/// What strikes an operation.
fn blows(operation: &Operation, act: Act, random: &mut u64) -> impl Iterator<Item = Blow> + use<> {
    let mut blows = Vec::new();
    for point in operation.points() {
        blows.extend(FAULTS.iter().map(|fault| Blow::Fault(point.clone(), fault)));
    }
    if act == Act::Recover {
        // What happens at a start has no other moments than its steps.
        blows.push(Blow::Silence);
    } else {
        blows.extend(KILLS_MS.iter().map(|about| {
            let after = about * (512 + next(random) % 1024) / 1024;
            Blow::Kill(Duration::from_millis(after))
        }));
    }
    blows.into_iter()
}

fn seed() -> u64 {
    let given = std::env::var("WRENN_MATRIX_SEED").ok();
    let random = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    given
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(random)
}

/// The next of a sequence that follows from its seed (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One case.
#[derive(Debug)]
struct Trial {
    operation: &'static Operation,
    act: Act,
    blow: Blow,
}

/// What strikes.
#[derive(Debug)]
enum Blow {
    /// This fault, once, at this point.
    Fault(String, &'static str),
    /// The agent's death, so long after the operation began.
    Kill(Duration),
    /// The sandbox's machine says nothing any more.
    Silence,
}

/// How an operation is brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Create,
    Pause,
    Resume,
    Destroy,
    /// A pause that succeeds gives its virtual machine back.
    Retire,
    /// A virtual machine that is killed is given back.
    Release,
    Export,
    Import,
    /// The internet is forbidden.
    Network,
    /// The agent dies, and its next start finds what it left.
    Recover,
}

/// What a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Gone,
    Running,
    Paused,
    Error,
}

impl Act {
    /// One that is not known here is not tested, and may not be forgotten.
    fn of(operation: &Operation) -> Self {
        match operation.name {
            "create" => Self::Create,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "destroy" => Self::Destroy,
            "retire" => Self::Retire,
            "release" => Self::Release,
            "export" => Self::Export,
            "import" => Self::Import,
            "network" => Self::Network,
            "recover" => Self::Recover,
            other => panic!("how is {other} brought about?"),
        }
    }

    /// What the sandbox is before, and when it has been done.
    fn path(self) -> (Fate, Fate) {
        match self {
            Self::Create => (Fate::Gone, Fate::Running),
            Self::Pause | Self::Retire => (Fate::Running, Fate::Paused),
            Self::Resume => (Fate::Paused, Fate::Running),
            Self::Destroy => (Fate::Running, Fate::Gone),
            Self::Release => (Fate::Running, Fate::Error),
            Self::Export => (Fate::Paused, Fate::Paused),
            Self::Import => (Fate::Gone, Fate::Paused),
            Self::Network | Self::Recover => (Fate::Running, Fate::Running),
        }
    }

    /// Whether a fault in it is tried again until it is done, since it must be.
    fn insists(self) -> bool {
        matches!(
            self,
            Self::Destroy | Self::Retire | Self::Release | Self::Recover
        )
    }
}

impl Case for Trial {
    fn name(&self) -> String {
        let name = self.operation.name;
        match &self.blow {
            Blow::Fault(point, fault) => {
                let step = point.rsplit('.').next().unwrap_or(point);
                format!("{name}/{step}/{fault}")
            }
            Blow::Kill(after) => format!("{name}/killed after {} ms", after.as_millis()),
            Blow::Silence => format!("{name}/silent"),
        }
    }

    async fn run(&self, lane: &mut Lane) {
        let id = fresh_id();
        let (before, done) = self.act.path();
        prepare(lane, &id, before).await;
        let answer = match &self.blow {
            Blow::Fault(point, fault) => self.strike(lane, &id, point, fault).await,
            Blow::Kill(after) => Some(kill_during(lane, &id, self.act, *after).await),
            Blow::Silence => return silence(lane, &id).await,
        };
        lane.assert_undisturbed().await;
        let fate = comes_to(lane, &id, [before, done]).await;
        match answer {
            // It was told to be done.
            Some(Ok(())) => {
                assert_eq!(fate, done);
                let forbids = self.act == Act::Network;
                assert_eq!(forbids, lane.client.forbids_internet(&id).await.unwrap());
            }
            // Its steps are all or nothing; those that were struck had not happened.
            Some(Err(_)) if matches!(self.blow, Blow::Fault(..)) && !self.act.insists() => {
                assert_eq!(fate, before);
                let died = matches!(self.blow, Blow::Fault(_, "abort"));
                assert!(died || !lane.client.forbids_internet(&id).await.unwrap());
            }
            Some(Err(_)) if self.act.insists() && matches!(self.blow, Blow::Fault(..)) => {
                assert_eq!(fate, done);
            }
            // Nobody was there to be told.
            Some(Err(_)) | None => {}
        }
        lane.arm("");
        prove(lane, &id, fate, self.act).await;
        lane.assert_undisturbed().await;
    }
}

impl Trial {
    /// What the caller was told of an operation in which a fault struck. After it the agent runs.
    async fn strike(&self, lane: &mut Lane, id: &str, point: &str, fault: &str) -> Option<Answer> {
        let armed = format!("{point}={fault}*1");
        if self.act == Act::Recover {
            // What is looked for after a pause that nobody ended.
            if point.ends_with(".generation") {
                lane.arm("pause.disk=abort");
                lane.client.pause(id).await.unwrap_err();
                lane.agent.dies().await;
            } else {
                lane.agent.kill();
            }
            lane.start(&armed);
        } else {
            lane.arm(&armed);
        }
        let answer = act(lane, id, self.act).await;
        if fault == "abort" {
            lane.agent.dies().await;
            lane.start("");
            lane.client.ready().await;
        } else {
            assert!(lane.agent.comes_by().await, "nothing came by {point}");
        }
        let told = answer.is_ok();
        let strikes = fault != "abort" && !self.act.insists();
        assert!(!(strikes && told), "{point} failed, and nobody was told");
        assert!(
            fault == "abort" || !self.act.insists() || told,
            "{answer:?}"
        );
        Some(answer)
    }
}

/// Does it, up to its end; a death of the agent is one.
async fn act(lane: &mut Lane, id: &str, act: Act) -> Answer {
    let client = &lane.client;
    match act {
        Act::Create => client.create(id).await,
        Act::Pause | Act::Retire => client.pause(id).await,
        Act::Resume => client.resume(id).await,
        Act::Destroy => client.destroy(id).await,
        Act::Export => client.export(id).await.map(drop),
        Act::Import => client.import(id, &lane.archive).await,
        Act::Network => client.forbid_internet(id).await,
        Act::Release => {
            let machine = Pid::from_raw(lane.machine(id));
            kill(machine, Signal::SIGKILL).unwrap();
            while client
                .find(id)
                .await?
                .is_some_and(|found| found.status != "error")
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        }
        Act::Recover => lane.recovers().await,
    }
}

/// Kills the agent at a moment of the operation, and starts it anew.
async fn kill_during(lane: &mut Lane, id: &str, what: Act, after: Duration) -> Answer {
    let answer = tokio::select! {
        biased;
        () = tokio::time::sleep(after) => Err(connectrpc::ConnectError::canceled("killed")),
        answer = act(lane, id, what) => answer,
    };
    lane.agent.kill();
    lane.start("");
    lane.client.ready().await;
    answer
}

/// A machine that says nothing holds up nobody else, and can be destroyed.
async fn silence(lane: &mut Lane, id: &str) {
    kill(Pid::from_raw(lane.machine(id)), Signal::SIGSTOP).unwrap();
    lane.agent.kill();
    lane.start("");
    lane.assert_undisturbed().await;
    let refused = lane.client.exec(id, &["true"]).await;
    assert!(refused.is_err(), "{refused:?}");
    let began = Instant::now();
    lane.client.destroy(id).await.unwrap();
    assert!(began.elapsed() < SETTLE_LIMIT, "{:?}", began.elapsed());
    lane.assert_nothing_left().await;
    lane.assert_undisturbed().await;
}

/// Brings the sandbox to where the operation begins.
async fn prepare(lane: &Lane, id: &str, fate: Fate) {
    if fate == Fate::Gone {
        return;
    }
    lane.client.create(id).await.unwrap();
    lane.client.exec(id, &["keep", id]).await.unwrap();
    if fate == Fate::Paused {
        lane.client.pause(id).await.unwrap();
    }
}

/// Waits until the sandbox is one of these. One that could not be made is told as an error for a moment.
async fn comes_to(lane: &Lane, id: &str, fates: [Fate; 2]) -> Fate {
    let limit = Instant::now() + SETTLE_LIMIT;
    loop {
        let found = lane.client.find(id).await.unwrap();
        let fate = match &found {
            None => Some(Fate::Gone),
            Some(found) if !found.transition.is_empty() => None,
            Some(found) => match found.status.as_str() {
                "running" => Some(Fate::Running),
                "paused" => Some(Fate::Paused),
                "error" => Some(Fate::Error),
                _ => None,
            },
        };
        if let Some(fate) = fate.filter(|fate| fates.contains(fate)) {
            return fate;
        }
        assert!(Instant::now() < limit, "none of {fates:?}: {found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// That the sandbox is what it was, can be paused and resumed once more, and leaves nothing when it is destroyed.
async fn prove(lane: &Lane, id: &str, fate: Fate, act: Act) {
    let client: &Client = &lane.client;
    match fate {
        Fate::Gone | Fate::Error => {}
        Fate::Running | Fate::Paused => {
            if fate == Fate::Paused {
                client.resume(id).await.unwrap();
            }
            let kept = client.exec(id, &["kept"]).await.unwrap();
            let expected = match act {
                Act::Create => "",
                Act::Import => "archived",
                _ => id,
            };
            assert_eq!(kept, expected);
            let count = client.count(id).await.unwrap();
            client.pause(id).await.unwrap();
            client.resume(id).await.unwrap();
            let later = client.count(id).await.unwrap();
            assert_eq!(later.boot, count.boot);
            assert!(later.count > count.count);
        }
    }
    client.destroy(id).await.unwrap();
    assert!(client.find(id).await.unwrap().is_none());
    lane.assert_nothing_left().await;
}
