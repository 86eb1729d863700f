//! `wrenn sandbox exec`: a command whose output streams here, whose input comes from here, whose exit code is ours.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use wrenn_client::api::{ExecRequest, StartCommand};
use wrenn_client::{Client, ExecControl, ExecEvent, ExecEvents};

use super::tty;
use crate::cli::ExecArgs;
use crate::report::{self, Advised};
use crate::terminal::{Escaper, print_json};

/// The exit code when Wrenn failed and not the command, as other tools of this kind have it.
const OWN_FAILURE: u8 = 125;
/// The exit code after a second Ctrl-C.
const INTERRUPTED: u8 = 130;
/// Said of a command beside its exit code.
pub(super) const TIMED_OUT: &str = "wrenn: the command was ended at its time limit";
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;

pub(super) async fn run(client: &Client, args: ExecArgs, json: bool) -> Result<ExitCode> {
    let done = if json {
        collect(client, args).await
    } else if args.tty {
        tty::run(client, args).await
    } else {
        stream(client, args).await
    };
    Ok(done.unwrap_or_else(|error| {
        report::failure(&error, json);
        ExitCode::from(OWN_FAILURE)
    }))
}

/// With `--json`: the API's answer as it is.
async fn collect(client: &Client, args: ExecArgs) -> Result<ExitCode> {
    let (cmd, arguments) = split(args.command);
    let stdin = if passes_input(args.interactive) {
        let mut text = String::new();
        tokio::io::stdin()
            .read_to_string(&mut text)
            .await
            .map_err(|error| {
                Advised::new(
                    "standard input is no text",
                    "run it without --json, which passes any bytes",
                )
                .because(error)
            })?;
        Some(text)
    } else {
        None
    };
    let request = ExecRequest {
        cmd,
        args: arguments,
        timeout_sec: args.timeout_sec.map(i64::from),
        cwd: args.cwd,
        envs: args.envs.into_iter().collect(),
        user: args.user,
        stdin,
    };
    let answer = client.exec(&args.id, &request).await?;
    print_json(&answer)?;
    Ok(exit_code(answer.exit_code))
}

async fn stream(client: &Client, args: ExecArgs) -> Result<ExitCode> {
    // From before the command is there: what is pressed while its output is shown is not lost.
    let interrupts = signal(SignalKind::interrupt())?;
    // A command that is taken up has an input of its own, which must not end because ours is empty.
    let input = match args.attach {
        Some(_) => args.interactive,
        None => passes_input(args.interactive),
    };
    let (control, events) = match args.attach {
        Some(pid) => client.exec_attach(&args.id, pid).await?,
        None => {
            let (id, command) = asked(args);
            let start = StartCommand {
                stdin: input,
                ..command
            };
            client.exec_stream(&id, &start).await?
        }
    };
    let (signals, asked) = mpsc::channel(2);
    let feeding = tokio::spawn(feed(control, input, asked));
    let ended = follow(events, interrupts, signals).await;
    feeding.abort();
    ended
}

/// The sandbox, and what is to run there.
pub(super) fn asked(args: ExecArgs) -> (String, StartCommand) {
    let (cmd, arguments) = split(args.command);
    let start = StartCommand {
        cmd,
        args: arguments,
        timeout_sec: args.timeout_sec.map(i64::from),
        cwd: args.cwd,
        envs: args.envs.into_iter().collect(),
        user: args.user,
        ..Default::default()
    };
    (args.id, start)
}

/// Shows what comes until the command has ended. The first Ctrl-C goes to the command, the second ends it and us.
async fn follow(
    mut events: ExecEvents,
    mut pressed: Signal,
    signals: mpsc::Sender<i32>,
) -> Result<ExitCode> {
    let mut stdout = Shown::new(tokio::io::stdout(), std::io::stdout().is_terminal());
    let mut stderr = Shown::new(tokio::io::stderr(), std::io::stderr().is_terminal());
    let mut interrupts = 0;
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = pressed.recv() => {
                interrupts += 1;
                let signal = if interrupts == 1 { SIGINT } else { SIGKILL };
                if signals.try_send(signal).is_err() {
                    tracing::debug!(signal, "the command takes no signals any more");
                }
                if interrupts > 1 {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    return Ok(ExitCode::from(INTERRUPTED));
                }
                continue;
            }
        };
        match event {
            ExecEvent::Start { .. } => {}
            ExecEvent::Stdout(bytes) => stdout.write(&bytes).await?,
            ExecEvent::Stderr(bytes) => stderr.write(&bytes).await?,
            ExecEvent::Exit {
                exit_code: code,
                timed_out,
            } => {
                stdout.finish().await?;
                stderr.finish().await?;
                if timed_out {
                    eprintln!("{TIMED_OUT}");
                }
                return Ok(exit_code(code));
            }
        }
    }
}

/// Sends standard input and signals to the command.
async fn feed(
    mut control: ExecControl,
    input: bool,
    mut signals: mpsc::Receiver<i32>,
) -> wrenn_client::Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut open = input;
    let mut buffer = vec![0; 32 << 10];
    loop {
        tokio::select! {
            biased;
            signal = signals.recv() => match signal {
                Some(signal) => control.signal(signal).await?,
                None => return Ok(()),
            },
            // An error of our own input ends the command's input, as its end does.
            read = stdin.read(&mut buffer), if open => match read.unwrap_or(0) {
                0 => {
                    open = false;
                    control.close_stdin().await?;
                }
                read => control.stdin(Bytes::copy_from_slice(&buffer[..read])).await?,
            },
        }
    }
}

/// One of our output streams: raw when it is piped, escaped when a terminal would obey it.
struct Shown<W> {
    to: W,
    escaper: Option<Escaper>,
}

impl<W: AsyncWrite + Unpin> Shown<W> {
    fn new(to: W, terminal: bool) -> Self {
        Self {
            to,
            escaper: terminal.then(Escaper::default),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.escaper {
            Some(escaper) => self.to.write_all(escaper.push(bytes).as_bytes()).await?,
            None => self.to.write_all(bytes).await?,
        }
        self.to.flush().await
    }

    async fn finish(&mut self) -> std::io::Result<()> {
        if let Some(escaper) = &mut self.escaper {
            self.to.write_all(escaper.finish().as_bytes()).await?;
        }
        self.to.flush().await
    }
}

/// Input is passed when somebody means it: asked for, or redirected.
fn passes_input(interactive: bool) -> bool {
    interactive || !std::io::stdin().is_terminal()
}

fn split(command: Vec<String>) -> (String, Vec<String>) {
    let mut words = command.into_iter();
    (words.next().unwrap_or_default(), words.collect())
}

/// The command's exit code as ours: its low byte, as a shell would give it.
pub(super) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}
