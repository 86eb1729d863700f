//! Every operation × every step × every fault: the step fails, panics, hangs, or the agent dies in it, as it also does at
//! any moment by a hand from outside. Afterwards the neighbour has run on undisturbed and answers, what was half made is
//! gone without trace, what was finished is told, and what is there can be used and destroyed. Everything is undone twice.
//!
//! Operations, steps and undos are the agent's own list ([`wrenn_agent::OPERATIONS`]). The VMM is testkit's, so that a boot
//! takes milliseconds; processes, cgroups, namespaces, links, rules, files and the agent's deaths are real.
//!
//! `cargo test -p wrenn-agent --test matrix -- pause/disk` runs the cases that have this in their names.

#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

mod rig;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::act::{SETTLE_LIMIT, act, comes_to, prepare, prove, prove_copy};
use rig::client::Answer;
use rig::lane::{Lane, fresh_id};
use rig::pulse::{as_busy, idle};
use rig::suite::{self, Case};
use wrenn_agent::{OPERATIONS, Operation};
use wrenn_testkit::act::Act;
use wrenn_testkit::{vmm, world};

/// What happens in a step. A step that hangs is one that took too long.
const FAULTS: &[&str] = &["error", "panic", "hang", "abort"];
/// In how much time after an operation began the agent is killed from outside, in milliseconds, more or less.
const KILLS_MS: &[u64] = &[4, 15, 40, 100, 250];
/// How many sandboxes a start finds, and how many are made at once.
const CROWD: usize = 200;
const AT_ONCE: usize = 4;
/// How long such a start may take, with nothing beside it.
const CROWD_LIMIT: Duration = Duration::from_secs(2);
/// Which part of the processors must be idle before it, beside what so many guests take, or others take them.
const QUIET: f64 = 0.5;

fn main() -> ExitCode {
    if let Some(code) = vmm::run_if_asked().or_else(rig::agent::run_if_asked) {
        return code;
    }
    world::require();
    let seed = seed();
    println!("seed {seed}: WRENN_MATRIX_SEED={seed} kills at the same moments");
    let mut random = seed;
    let trials = OPERATIONS.iter().flat_map(|operation| {
        let act = Act::of(operation.name);
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
        blows.extend([Blow::Silence, Blow::Crowd]);
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
    /// There are many.
    Crowd,
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
            Blow::Crowd => format!("{name}/{CROWD} at once"),
        }
    }

    fn alone(&self) -> bool {
        matches!(self.blow, Blow::Crowd)
    }

    async fn run(&self, lane: &mut Lane) {
        let id = fresh_id();
        let (before, done) = self.act.path();
        prepare(lane, &id, self.act, before).await;
        let answer = match &self.blow {
            Blow::Fault(point, fault) => self.strike(lane, &id, point, fault).await,
            Blow::Kill(after) => kill_during(lane, &id, self.act, *after).await,
            Blow::Silence => return silence(lane, &id).await,
            Blow::Crowd => return crowd(lane, &id).await,
        };
        lane.assert_undisturbed().await;
        let fate = comes_to(lane, &id, [before, done]).await;
        let told = answer.is_ok();
        let forbids = lane.client.forbids_internet(&id).await.unwrap();
        match (&self.blow, answer) {
            // What was told to be done is done, and what must be done is.
            (_, Ok(())) => {
                assert_eq!((fate, forbids), (done, self.act == Act::Network));
            }
            (Blow::Fault(..), Err(_)) if self.act.insists() => assert_eq!(fate, done),
            // All or nothing. Whether a policy was recorded before the agent died is not told.
            (Blow::Fault(_, fault), Err(_)) => {
                assert_eq!(fate, before);
                assert!(!forbids || *fault == "abort");
            }
            // Nobody was there to tell.
            (_, Err(_)) => {}
        }
        lane.arm("");
        prove_copy(lane, &id, self.act, told).await;
        prove(lane, &id, fate, self.act).await;
        lane.assert_undisturbed().await;
    }
}

impl Trial {
    /// What the caller was told of an operation in which a fault struck. After it the agent runs.
    async fn strike(&self, lane: &mut Lane, id: &str, point: &str, fault: &str) -> Answer {
        let armed = format!("{point}={fault}*1");
        if self.act != Act::Recover {
            lane.arm(&armed);
        } else if point.ends_with(".generation") {
            // What is looked for after a pause that nobody ended.
            lane.arm("pause.disk=abort");
            lane.client.pause(id).await.unwrap_err();
            lane.agent.dies().await;
            lane.start(&armed);
        } else {
            lane.agent.kill();
            lane.start(&armed);
        }
        let answer = act(lane, id, self.act).await;
        if fault == "abort" {
            lane.agent.dies().await;
            lane.start("");
            lane.client.ready().await;
        } else {
            assert!(lane.agent.comes_by().await, "nothing came by {point}");
            let comes = self.act.insists() || self.act.has_another_way();
            assert_eq!(answer.is_ok(), comes, "{answer:?}");
        }
        answer
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

/// A start finds many, answers soon, and all of them are as they were.
async fn crowd(lane: &mut Lane, id: &str) {
    let mut all: Vec<String> = (1..CROWD).map(|_| fresh_id()).collect();
    let made = futures::stream::iter(&all).map(|id| lane.client.create(id));
    let made: Vec<Answer> = made.buffer_unordered(AT_ONCE).collect().await;
    made.into_iter().collect::<Answer>().unwrap();
    all.push(id.to_owned());
    lane.agent.kill();
    let idle = idle(Duration::from_secs(1)).await;
    lane.start("limit=20000");
    lane.client.ready().await;
    let (took, worked) = (lane.agent.began.elapsed(), lane.agent.worked());
    println!(
        "a start with {CROWD} sandboxes took {took:?}, of which it worked {worked:?}; before, {:.0} % were idle",
        idle * 100.0
    );
    let limit = if idle < QUIET {
        as_busy(CROWD_LIMIT)
    } else {
        CROWD_LIMIT
    };
    assert!(took < limit, "{took:?} of {limit:?}");
    lane.assert_undisturbed().await;
    for id in &all {
        lane.answers(id).await;
    }
    let gone = futures::stream::iter(&all).map(|id| lane.client.destroy(id));
    let gone: Vec<Answer> = gone.buffer_unordered(AT_ONCE).collect().await;
    gone.into_iter().collect::<Answer>().unwrap();
    lane.assert_nothing_left().await;
    lane.assert_undisturbed().await;
}
