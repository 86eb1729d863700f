//! The commands that the fake agent knows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use connectrpc::ConnectError;
use tokio::sync::mpsc;
use wrenn_model::ErrorKind;

use super::{CHUNK, State, lock, refusal};

/// Counts a command for as long as it runs.
pub(super) struct Running {
    state: Arc<State>,
    pid: u32,
}

impl Running {
    pub(super) fn new(state: &Arc<State>, pid: u32) -> Self {
        state.commands.fetch_add(1, Ordering::SeqCst);
        Self {
            state: Arc::clone(state),
            pid,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.state.processes).remove(&self.pid);
        self.state.commands.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How a command ends.
pub(super) struct End {
    pub(super) exit_code: i32,
    pub(super) error: &'static str,
}

/// Runs a command; what it prints goes through `out`, standard error marked by `true`.
pub(super) async fn run(
    cmd: &str,
    args: &[String],
    mut input: mpsc::Receiver<Vec<u8>>,
    out: &mpsc::Sender<(bool, Vec<u8>)>,
) -> Result<End, mpsc::error::SendError<(bool, Vec<u8>)>> {
    let mut exit_code = 0;
    let mut error = "";
    let number = || {
        args.first()
            .and_then(|arg| arg.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    match cmd {
        "echo" => {
            out.send((false, format!("{}\n", args.join(" ")).into_bytes()))
                .await?;
        }
        "true" => {}
        "false" => exit_code = 1,
        "sleep" => tokio::time::sleep(Duration::from_secs_f64(number())).await,
        "cat" => {
            while let Some(bytes) = input.recv().await {
                out.send((false, bytes)).await?;
            }
        }
        "hex" => {
            for arg in args {
                out.send((false, unhex(arg))).await?;
                out.send((true, unhex(arg))).await?;
            }
        }
        "spew" => {
            for _ in 0..args.first().and_then(|arg| arg.parse().ok()).unwrap_or(0) * 16 {
                out.send((false, vec![b'x'; CHUNK])).await?;
            }
        }
        _ => error = "the sandbox was lost",
    }
    Ok(End { exit_code, error })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .filter_map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok())
        .collect()
}

/// Whether there is such a command.
pub(super) fn known(cmd: &str) -> Result<(), ConnectError> {
    if matches!(
        cmd,
        "echo" | "true" | "false" | "sleep" | "cat" | "hex" | "spew" | "lost"
    ) {
        return Ok(());
    }
    Err(refusal(ErrorKind::NotFound, "there is no such program"))
}
