//! One seed, from beginning to end.

use std::path::Path;
use std::time::Duration;

use wrenn_model::{OnTimeout, SandboxId, Status};
use wrenn_vmm::Ended;

use super::callers::{Callers, Wish};
use super::dice::{Dice, Seed};
use super::judge::Seen;
use super::names::numbered;
use super::stage::Stage;
use super::world::World;

/// How many things happen while things go wrong.
const ACTS: u64 = 40;
/// How soon the next thing happens where it is to meet the one before, in milliseconds.
const SOON: u64 = 500;
/// How long everything has to settle once nothing goes wrong any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(3600);
/// How soon the end of a machine must be known.
const WATCHED_WITHIN: Duration = Duration::from_secs(60);

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
    pub(crate) history: Vec<String>,
    /// What was decided to happen, and when.
    pub(crate) decisions: Vec<String>,
    /// How often time has passed.
    pub(crate) steps: u64,
}

/// Plays a seed in a folder that is empty.
pub(crate) fn play(seed: Seed, folder: &Path) -> Outcome {
    let world = World::new(seed);
    let mut stage = Stage::new(world.clone(), folder);
    let callers = Callers::new(world.clone());
    let played = act(&mut stage, &callers).and_then(|()| end(&mut stage, &callers));
    if let Err(wrong) = played {
        world.lock().never(wrong);
    }
    Outcome {
        wrong: world.wrong(),
        history: numbered(&world.history()),
        decisions: numbered(&world.decisions()),
        steps: stage.steps,
    }
}

/// Everything happens, and much of it goes wrong.
fn act(stage: &mut Stage, callers: &Callers) -> Result<(), String> {
    let seed = stage.world.seed;
    let mut dice = seed.dice("acts");
    stage.start_agent();
    stage.start_control();
    stage.run(Duration::from_secs(5));
    for number in 0..ACTS {
        // Sequences of their own: what came of the acts before changes nothing about when these happen.
        let mut choice = seed.dice(&format!("choice {number}"));
        match dice.below(100) {
            0..6 => harm(stage, &mut choice),
            6..11 => {
                let long = Duration::from_secs(60 + dice.below(4 * 3600));
                stage.world.decide(&format!("{long:?} pass at once"));
                stage.jump(long);
            }
            _ => {
                stage.world.decide("somebody wants something");
                ask(stage, callers, callers.wish(&mut choice));
            }
        }
        // In the middle of what was asked for, as a rule.
        stage.run(dice.millis(SOON));
        match dice.below(100) {
            0..8 => stage.end_agent(),
            8..12 => stage.end_control(),
            12..15 => harm(stage, &mut choice),
            _ => {}
        }
        if dice.percent(60) {
            stage.start_agent();
        }
        if dice.percent(60) {
            stage.start_control();
        }
        let pause = match dice.below(100) {
            0..40 => SOON,
            40..85 => 2_000,
            _ => 60_000,
        };
        stage.run(dice.millis(pause));
        if let Some(wrong) = stage.world.wrong() {
            return Err(wrong);
        }
    }
    Ok(())
}

fn ask(stage: &Stage, callers: &Callers, wish: Wish) {
    stage.world.tell(format!("{wish}?"));
    if stage.call(callers.ask(wish)).is_none() {
        stage.world.tell("nobody is there");
    }
}

/// Ends a machine.
fn harm(stage: &Stage, dice: &mut Dice) {
    stage.world.decide("a machine is killed");
    let mut state = stage.world.lock();
    let living = state
        .machines
        .iter()
        .filter(|(_, machine)| machine.ended.is_none());
    let mut living: Vec<_> = living
        .map(|(id, machine)| (machine.sandbox.clone(), id.clone()))
        .collect();
    // Machines have random names; those of sandboxes go by their age.
    living.sort_by_key(|(sandbox, _)| state.age(sandbox));
    if let Some((sandbox, id)) = dice.pick(&living) {
        state.fate(sandbox).harmed = true;
        state.end(id, Ended::Signal(9));
    }
}

/// Nothing goes wrong any more, and everything must be right.
fn end(stage: &mut Stage, callers: &Callers) -> Result<(), String> {
    stage.world.lock().harmful = false;
    stage.world.tell("nothing goes wrong any more");
    stage.start_agent();
    stage.start_control();
    let seen = settled(stage, callers)?;
    for known in callers.known() {
        seen.keeps_promise(stage, &known)?;
    }
    let seen = each(
        stage,
        callers,
        &seen,
        Status::Paused,
        Wish::Resume,
        Status::Running,
    )?;
    let seen = each(
        stage,
        callers,
        &seen,
        Status::Running,
        Wish::Pause,
        Status::Paused,
    )?;
    let seen = each(
        stage,
        callers,
        &seen,
        Status::Paused,
        Wish::Resume,
        Status::Running,
    )?;
    watched(stage, &seen)?;
    for id in seen.oldest_first(stage, |_| true) {
        ask(stage, callers, Wish::Destroy(id));
    }
    let seen = settled(stage, callers)?;
    match seen.rows.values().find(|row| row.status != Status::Stopped) {
        Some(row) => Err(format!("{} was destroyed and is {}", row.id, row.status)),
        None => Ok(()),
    }
}

/// Does something to each sandbox of this status, which must do what it should.
fn each(
    stage: &mut Stage,
    callers: &Callers,
    seen: &Seen,
    which: Status,
    wish: fn(SandboxId) -> Wish,
    becomes: Status,
) -> Result<Seen, String> {
    let ids = seen.oldest_first(stage, |status| status == which);
    for id in &ids {
        ask(stage, callers, wish(id.clone()));
    }
    let seen = settled(stage, callers)?;
    for id in &ids {
        let row = &seen.rows[id];
        // Its time may be up before its turn comes.
        let timed_out = row.on_timeout == OnTimeout::Destroy && row.status == Status::Stopped;
        if row.status != becomes && !timed_out {
            return Err(format!(
                "{id} should be {becomes} and is {}: {}",
                row.status, row.status_reason
            ));
        }
    }
    Ok(seen)
}

/// Whether the end of each machine is noticed.
fn watched(stage: &mut Stage, seen: &Seen) -> Result<(), String> {
    let running = seen.oldest_first(stage, |status| status == Status::Running);
    for id in &running {
        let mut state = stage.world.lock();
        let machine = state.living(id).next().map(|(id, _)| id.clone());
        state.fate(id).harmed = true;
        state.end(&machine.unwrap(), Ended::Signal(9));
    }
    stage.run(WATCHED_WITHIN);
    let now = Seen::look(stage).ok_or("somebody does not answer")?;
    let unwatched = |id: &&SandboxId| now.rows[*id].status == Status::Running;
    match running.iter().find(unwatched) {
        Some(id) => Err(format!("nobody watches {id}")),
        None => Ok(()),
    }
}

/// Lets time pass until all agree.
fn settled(stage: &mut Stage, callers: &Callers) -> Result<Seen, String> {
    let until = stage.now() + SETTLED_WITHIN;
    loop {
        stage.run(Duration::from_secs(6));
        if let Some(wrong) = stage.world.wrong() {
            return Err(wrong);
        }
        let seen = Seen::look(stage);
        let agree = match &seen {
            _ if callers.wait() => Err("somebody waits for an answer".to_owned()),
            Some(seen) => seen.agree(stage),
            None => Err("somebody does not answer".to_owned()),
        };
        match (agree, seen) {
            (Ok(()), Some(seen)) => return Ok(seen),
            (Err(why), _) if stage.now() > until => {
                return Err(format!("it does not settle: {why}"));
            }
            _ => {}
        }
    }
}
