//! `wrenn server`: the control plane as a program of its own, which needs no root. It answers what it can while the agent
//! is away, says so where it cannot, and goes on by itself when the agent is back.

pub(crate) mod address;
mod confine;
pub(crate) mod database;
pub(crate) mod plane;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wrenn_control::{AgentAddress, ApiKey, DatabaseUrl};

use super::signals::Signals;
use crate::cli::{Globals, ServerArgs};
use crate::report::Advised;
use crate::terminal::{print_json, print_line};
use confine::Confinement;

/// How long a predecessor may take to let go of the folder: one that was killed needs a moment.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// What the control plane has before it serves, taken while the process still had one thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    key: ApiKey,
    /// This machine's name, by which the key is told from those of other servers on the same database.
    machine: String,
    database: DatabaseUrl,
    _lock: File,
}

/// Takes the folder and its key, and gives everything up that serving does not need. For a process with one thread.
pub(crate) fn prepare(globals: &Globals, args: &ServerArgs) -> Result<Prepared> {
    address::check(&args.listen)?;
    // What the address leaves out, the environment and files in the home say: none of them is seen later.
    let database = database::named(&args.database)?
        .unwrap_or_else(|| DatabaseUrl::file(args.state.join(plane::DATABASE)));
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().into_owned();
    let Some(uid) = args.confine else {
        let lock = take_folder(&args.state)?;
        let key = plane::key(&args.state.join(plane::API_KEY))?;
        return Ok(Prepared {
            key,
            machine,
            database,
            _lock: lock,
        });
    };
    // With a network namespace of its own it would reach no other machine.
    let AgentAddress::Unix(socket) = &args.agent else {
        anyhow::bail!("confined, the control plane reaches an agent's socket alone");
    };
    // The key's file stays root's: who reads it there reads nothing that this process could have put in its place.
    let key = plane::key(&globals.dir.join(plane::API_KEY))?;
    let agent = socket.parent().unwrap_or(Path::new("/"));
    let confinement = Confinement {
        uid,
        state: &args.state,
        agent,
        database: database.socket_folder(),
    };
    confinement
        .enter()
        .context("the control plane cannot be confined")?;
    let lock = take_folder(&args.state)?;
    Ok(Prepared {
        key,
        machine,
        database,
        _lock: lock,
    })
}

/// Serves until a signal comes.
pub(crate) async fn run(globals: &Globals, args: &ServerArgs, prepared: &Prepared) -> Result<()> {
    let mut signals = Signals::new()?;
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "the control plane runs as root, which it does not need: start it as another user"
        );
    }
    let listener = match args.confine {
        Some(_) => inherited()?,
        None => address::bind(args.listen.addr, address::ADDR).await?,
    };
    let address = listener.local_addr()?;
    let first = (prepared.machine.as_str(), &prepared.key);
    let limits = args.keep.limits();
    let plane = tokio::select! {
        opened = plane::open(&prepared.database, &args.agent, &limits, first, &listener) => opened?,
        // While the database is away that takes as long as it takes.
        () = signals.wait() => return Ok(()),
    };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(plane::serve(plane, listener, shutdown.clone()));
    announce(globals, args, address)?;
    let asked = async {
        signals.wait().await;
        shutdown.cancel();
        signals.wait().await;
        tracing::warn!("asked a second time: calls under way are cut off");
    };
    tokio::select! {
        ended = serving => ended.context("the API is not served any more"),
        () = asked => Ok(()),
    }
}

/// Says where it serves.
fn announce(globals: &Globals, args: &ServerArgs, address: SocketAddr) -> Result<()> {
    let url = format!("http://{address}");
    let key = args.state.join(plane::API_KEY);
    if globals.json {
        return print_json(&json!({ "url": url, "api_key_file": key }));
    }
    let (key, agent) = (key.display(), &args.agent);
    print_line(&format!(
        "Wrenn's control plane serves on {url}, over the agent at {agent}.\nThe first API key is in {key}."
    ))
}

/// The listener that standard input is.
fn inherited() -> Result<TcpListener> {
    let stdin = io::stdin();
    let listens =
        !stdin.is_terminal() && sockopt::socket_acceptconn(stdin.as_fd()).unwrap_or(false);
    anyhow::ensure!(listens, "standard input is no listening socket");
    let listener = std::net::TcpListener::from(stdin.as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

/// Makes the folder where it is missing (0700) and locks it: it has one control plane, and so has a database in it.
fn take_folder(state: &Path) -> Result<File> {
    let advise = |error: io::Error| {
        let message = format!("the folder {} cannot be used", state.display());
        Advised::new(
            message,
            "choose another with --state or WRENN_STATE, one that this user may write",
        )
        .because(error)
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(advise)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(state.join("lock"))
        .map_err(advise)?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!("another control plane works in {}", state.display());
                return Err(
                    Advised::new(message, "end it, or choose another folder with --state").into(),
                );
            }
            Err(TryLockError::Error(error)) => return Err(advise(error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_has_one_control_plane() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        let lock = take_folder(&state).unwrap();
        assert_eq!(
            fs::metadata(&state).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let refused = take_folder(&state).unwrap_err();
        assert!(
            refused.to_string().contains("another control plane"),
            "{refused}"
        );
        drop(lock);
        take_folder(&state).unwrap();
    }
}
