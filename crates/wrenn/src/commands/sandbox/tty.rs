//! `wrenn sandbox exec --tty`: the command has a terminal, and ours shows what that shows.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use wrenn_client::{Client, ExecControl, ExecEvent, ExecEvents};

use super::exec::{TIMED_OUT, asked, exit_code};
use crate::cli::ExecArgs;
use crate::report::Advised;
use crate::terminal::{self, Raw};

/// How long what the command said last may take, once it takes no more.
const LAST_WORDS: Duration = Duration::from_secs(5);

pub(super) async fn run(client: &Client, args: ExecArgs) -> Result<ExitCode> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        let wrong = Advised::new(
            "there is no terminal to lend to the command",
            "leave --tty out, or run it from a terminal",
        );
        return Err(wrong.into());
    }
    let (id, mut start) = asked(args);
    if let Ok(term) = std::env::var("TERM") {
        start.envs.entry("TERM".to_owned()).or_insert(term);
    }
    start.pty = Some(terminal::screen()?);
    let (control, events) = client.exec_stream(&id, &start).await?;
    // Until here Ctrl-C is ours.
    let raw = Raw::enter()?;
    let shown = show(events);
    let mut shown = std::pin::pin!(shown);
    let ended = tokio::select! {
        ended = &mut shown => ended,
        // What was said last is still to be shown, and may say why.
        Err(failed) = speak(control) => match tokio::time::timeout(LAST_WORDS, shown).await {
            Ok(ended) => ended,
            Err(_) => Err(failed),
        },
        signal = told_to_end() => signal.and_then(|()| {
            Err(anyhow::anyhow!("interrupted; the command ends with this"))
        }),
    };
    // What is said from here on is on our own terminal again.
    drop(raw);
    let (code, timed_out) = ended?;
    if timed_out {
        eprintln!("{TIMED_OUT}");
    }
    Ok(exit_code(code))
}

/// Shows what comes until the command has ended: its exit code, and whether that was at its time limit.
async fn show(mut events: ExecEvents) -> Result<(i32, bool)> {
    let mut stdout = tokio::io::stdout();
    loop {
        match events.next().await? {
            ExecEvent::Start { .. } => {}
            ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => {
                stdout.write_all(&bytes).await?;
                stdout.flush().await?;
            }
            ExecEvent::Exit {
                exit_code,
                timed_out,
            } => return Ok((exit_code, timed_out)),
        }
    }
}

/// Passes on what is typed, and how large our terminal is from then on.
async fn speak(mut control: ExecControl) -> Result<Infallible> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut typed = typed();
    loop {
        tokio::select! {
            Some(keys) = typed.recv() => control.stdin(keys).await?,
            Some(()) = resized.recv() => control.resize(terminal::screen()?).await?,
            else => return std::future::pending().await,
        }
    }
}

/// Returns when somebody wants this to end who is not at its terminal.
async fn told_to_end() -> Result<()> {
    let mut asked = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = asked.recv() => {}
        _ = interrupted.recv() => {}
        _ = hung_up.recv() => {}
    }
    Ok(())
}

/// What is typed. It is read in a task of its own: a key whose reading was given up would be lost.
fn typed() -> mpsc::Receiver<Bytes> {
    let (keys, typed) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stdin.read(&mut buffer).await {
            let read = Bytes::copy_from_slice(&buffer[..read]);
            if keys.send(read).await.is_err() {
                return;
            }
        }
    });
    typed
}
