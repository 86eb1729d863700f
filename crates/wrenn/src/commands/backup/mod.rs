//! `wrenn backup`: a whole installation in one file, made beside a Wrenn that runs or without one. What a guest writes while it
//! runs is in no backup: of a sandbox that runs there is its last pause, or nothing, and that is said.

mod database;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use wrenn_agent::{Backup, BackupError, DataDir, DataDirError, LeftOut, Store};

use super::server::plane::{API_KEY, DATABASE};
use crate::cli::{BackupArgs, Globals, STATE};
use crate::install;
use crate::output_file::{self, Readers};
use crate::report::Advised;
use crate::terminal::{print_json, print_line, size, stdout_is_terminal};

pub(crate) use database::child as copy_database;

/// How much is written at a time, in bytes.
const CHUNK: usize = 1 << 20;
/// Where a database would be that is none of these.
const ELSEWHERE: &str = "a control plane that keeps its database in PostgreSQL backs that up with PostgreSQL's own tools, such as \
                         `pg_dump`; sandboxes that a database does not know are taken into it at the next start";

/// What a backup that was made has and has not.
struct Told {
    sandboxes: usize,
    left_out: Vec<LeftOut>,
    databases: usize,
    bytes: u64,
}

/// Makes a backup, and says what is not in it.
pub(crate) async fn run(globals: &Globals, args: &BackupArgs) -> Result<()> {
    install::require_root("wrenn backup")?;
    let dir = &globals.dir;
    if !dir.join("instance").exists() {
        return Err(Advised::new(
            format!("there is no Wrenn in {}", dir.display()),
            "name its data directory with --dir or WRENN_DIR",
        )
        .into());
    }
    if args.file == Path::new("-") && stdout_is_terminal() {
        let message = "a backup is no text for a terminal";
        return Err(Advised::new(message, "name a file, or redirect it").into());
    }
    let told = match DataDir::open(dir) {
        Ok(data) => {
            let store = Store::open(data, &globals.cache).await?;
            let made = make(globals, args).await;
            // Sandboxes of a Wrenn that was killed may still run on it: it stays mounted for them.
            if let Err(error) = store.close().await {
                tracing::debug!(%error, "the store stays mounted");
            }
            made?
        }
        Err(DataDirError::Locked { .. }) => make(globals, args).await?,
        Err(error) => return Err(error.into()),
    };
    tell(globals, args, &told)
}

async fn make(globals: &Globals, args: &BackupArgs) -> Result<Told> {
    let data = globals.dir.clone();
    let gathered = tokio::task::spawn_blocking(move || Backup::gather(&data)).await?;
    let mut backup = gathered.map_err(advise)?;
    let state = state_dir(globals, args.state.as_deref());
    let mut databases = 0;
    if let Some(copy) = database::copy(&globals.dir.join("server")).await? {
        databases += 1;
        backup.add_servers(DATABASE, copy);
    }
    if let Some(copy) = database::copy(&state).await? {
        databases += 1;
        backup.add_state(DATABASE, copy);
    }
    if let Some(key) = database::open(&state.join(API_KEY))? {
        backup.add_state(API_KEY, key);
    }
    let (sandboxes, left_out) = (backup.sandboxes_in_it().len(), backup.left_out().to_vec());
    let bytes = write(backup, &args.file).await?;
    Ok(Told {
        sandboxes,
        left_out,
        databases,
        bytes,
    })
}

/// The folder of a control plane that runs by itself.
pub(super) fn state_dir(globals: &Globals, named: Option<&Path>) -> PathBuf {
    let state = named.or(globals.state.as_deref());
    state.unwrap_or(Path::new(STATE)).to_owned()
}

/// Secrets and guests' memory are in it: nobody but root reads it.
async fn write(backup: Backup, path: &Path) -> Result<u64> {
    if path == Path::new("-") {
        return on_a_thread(backup, std::io::stdout()).await;
    }
    output_file::replace(path, Readers::Owner, async |file| {
        let file: File = file.try_clone().await?.into_std().await;
        on_a_thread(backup, file).await
    })
    .await
}

async fn on_a_thread(backup: Backup, to: impl Write + Send + 'static) -> Result<u64> {
    let to = BufWriter::with_capacity(CHUNK, to);
    let written = tokio::task::spawn_blocking(move || backup.write(to)).await?;
    written.map_err(advise)
}

fn tell(globals: &Globals, args: &BackupArgs, told: &Told) -> Result<()> {
    let to_stdout = args.file == Path::new("-");
    if globals.json && !to_stdout {
        return print_json(&json!({
            "file": args.file, "bytes": told.bytes, "sandboxes": told.sandboxes,
            "databases": told.databases, "left_out": told.left_out,
        }));
    }
    let mut lines = vec![format!(
        "{} {} in a backup of {}.",
        told.sandboxes,
        if told.sandboxes == 1 {
            "sandbox"
        } else {
            "sandboxes"
        },
        size(told.bytes)
    )];
    lines.extend(told.left_out.iter().map(left_out));
    if told.databases == 0 {
        lines.push(format!("There is no database in it: {ELSEWHERE}."));
    }
    let text = lines.join("\n");
    if to_stdout {
        eprintln!("{text}");
        return Ok(());
    }
    print_line(&text)
}

/// `left out  sb-…  running: it has never been paused`.
pub(super) fn left_out(one: &LeftOut) -> String {
    format!("left out  {}  {}: {}", one.id, one.status, one.why)
}

/// A failure with what to do about it.
pub(super) fn advise(error: BackupError) -> anyhow::Error {
    let remedy = match &error {
        full if full.is_full() => {
            "make room on the disk that it was written to: `df -h` tells what is used up"
        }
        damaged if damaged.is_damage() => {
            "nothing of it was used: take another copy of it, or an older backup"
        }
        BackupError::NotMounted { .. } => {
            "try again in a moment; if it stays so, look at the log of the Wrenn that works on it"
        }
        BackupError::Unreadable { .. } => "use the release of Wrenn that wrote it, or a newer one",
        BackupError::Restless { .. } => "try again",
        BackupError::Stream(wrenn_agent::StreamError::Foreign) => {
            "name a file that `wrenn backup` made; what `wrenn snapshot export` made, `wrenn snapshot import` takes"
        }
        BackupError::Stream(wrenn_agent::StreamError::Version(_)) => {
            "use the release of Wrenn that made it, or a newer one"
        }
        BackupError::Occupied { .. } => {
            "choose a folder that is empty or does not exist: --dir for the data, --state for a control plane's own folder"
        }
        BackupError::Busy { .. } => "wait for it to end",
        BackupError::Standing { .. } => {
            "end it with `wrenn down --dir DIR`, or restore with --new-instance, which makes it another installation"
        }
        BackupError::Head(_) | BackupError::Stream(_) | BackupError::Failed { .. } => {
            "see that the files named are there, whole and on a disk with room, and try again"
        }
    };
    Advised::new(error.to_string(), remedy)
        .because(error)
        .into()
}

/// A file to be read, with its name in what goes wrong.
pub(super) fn opened(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("{} cannot be read", path.display()))
}
