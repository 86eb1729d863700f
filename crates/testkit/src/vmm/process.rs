//! A machine's own process.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use wrenn_vmm::RunState;

use super::control::{self, Answer, Ask};
use super::memory::{Guest, Memory};
use super::{Birth, agent, network};

/// How an argument begins that makes a program a machine.
const ASKED: &str = "fake-vm=";
/// How often a guest counts.
const TICK: Duration = Duration::from_millis(20);

/// The guest, as everything in the process holds it.
pub(super) type Shared = Arc<Mutex<Guest>>;

/// The argument that makes [`run_if_asked`] a machine.
pub(super) fn asking(note: &Path) -> OsString {
    let mut argument = OsString::from(ASKED);
    argument.push(note);
    argument
}

/// Becomes a machine if the program was started as one, and returns only otherwise. To be called before anything else: no
/// thread may run yet.
pub fn run_if_asked() -> Option<ExitCode> {
    let argument = std::env::args().nth(1)?;
    let note = PathBuf::from(argument.strip_prefix(ASKED)?);
    Some(match run(&note) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the machine of {} ended: {error}", note.display());
            ExitCode::FAILURE
        }
    })
}

fn run(note: &Path) -> io::Result<()> {
    let birth: Birth = serde_json::from_slice(&fs::read(note)?)?;
    for door in &birth.doors {
        fs::write(door, "0")?;
    }
    // Before the namespace changes: the agent calls from the other one.
    let control = control::listen(&birth.control)?;
    let guest = Arc::new(Mutex::new(wake(&birth)?));
    let slot = io::stdin().as_fd().try_clone_to_owned()?;
    let wire = network::enter(birth.mac)?;
    let pumped = guest.clone();
    network::pump(slot, wire, move || lock(&pumped).frozen);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let told = guest.clone();
    runtime.block_on(async move {
        tokio::select! {
            ended = control::serve(control, |ask| obey(&told, ask)) => ended,
            ended = agent::serve(guest.clone()) => ended,
            () = count(&guest) => Ok(()),
        }
    })
}

/// The guest that boots, or the one in the memory image.
fn wake(birth: &Birth) -> io::Result<Guest> {
    if fs::metadata(&birth.image)?.len() != birth.memory {
        return Err(io::Error::other("the memory image has another size"));
    }
    let memory = Memory::open(&birth.image)?;
    if birth.restored {
        return Guest::restore(memory);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(Guest::boot(memory, boot.trim().to_owned()))
}

fn obey(guest: &Shared, ask: Ask) -> Answer {
    let mut guest = lock(guest);
    match ask {
        Ask::RunState => {}
        Ask::Freeze => guest.freeze(),
        Ask::Thaw => guest.thaw(),
        Ask::Capture(pages) => {
            return match guest.capture(&pages) {
                Ok(pages) => Answer::Pages(pages),
                Err(error) => Answer::Failed(error.to_string()),
            };
        }
    }
    Answer::Is(if guest.frozen {
        RunState::Frozen
    } else {
        RunState::Running
    })
}

async fn count(guest: &Shared) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        lock(guest).tick();
    }
}

pub(super) fn lock(guest: &Shared) -> MutexGuard<'_, Guest> {
    guest.lock().unwrap_or_else(PoisonError::into_inner)
}
