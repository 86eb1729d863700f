//! One conversation about one command: its output to the client, the client's words to the command.
//!
//! Three things go on at once, each at its own pace and each with bounded memory:
//! *hear* passes output on and waits while the client does not read; *listen* reads the client's messages, so that a
//! `stop` is heard whatever the output does; *feed* writes to the command's input and waits while it does not read.
//! The first to end ends the conversation, and with it the command.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wrenn_api::{ClientMessage, PtySize, ServerMessage, StartCommand};
use wrenn_control::{Command, CommandEvent, CommandInput, CommandStream, Input, Sandboxes};
use wrenn_model::{ErrorKind, Fault, SandboxId};

use super::text::Pieces;
use super::words::{Ending, Sink, Source, bytes, err, farewell, lost, out, parse, tell, wrong};

/// How long a client may take to say what to run.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a silent connection is tried: writing is how a client that vanished is noticed.
const TRY_EVERY: Duration = Duration::from_secs(15);
/// Messages that wait for a command to read.
const QUEUE: usize = 8;
/// Ends a command.
const SIGKILL: i32 = 9;
/// How long the end of a killed command is waited for.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What a conversation begins with.
enum First {
    Start(StartCommand),
    Connect { pid: u32 },
}

/// For the command's input.
enum Word {
    Data(Bytes),
    End,
}

/// Has the conversation.
pub(super) async fn run(
    socket: WebSocket,
    sandboxes: Sandboxes,
    id: SandboxId,
    closing: CancellationToken,
) {
    let (mut sink, mut source) = socket.split();
    let ending = tokio::select! {
        ending = converse(&mut sink, &mut source, &sandboxes, &id) => ending,
        () = closing.cancelled() => {
            Ending::Refused(Fault::new(ErrorKind::Unavailable, "the server is stopping", "connect again shortly"))
        }
    };
    let going_away = closing.is_cancelled();
    farewell(sink, source, ending, going_away).await;
}

async fn converse(
    sink: &mut Sink,
    source: &mut Source,
    sandboxes: &Sandboxes,
    id: &SandboxId,
) -> Ending {
    let first = match tokio::time::timeout(PATIENCE, first(source)).await {
        Ok(Ok(first)) => first,
        Ok(Err(ending)) => return ending,
        Err(_) => return unstarted(),
    };
    let (opened, takes_input) = match first {
        First::Start(start) => {
            let takes_input = start.stdin || start.pty.is_some();
            (begin(start, sandboxes, id).await, takes_input)
        }
        // Whether its input is open, the guest knows.
        First::Connect { pid } => (sandboxes.exec_attach(id, pid).await, true),
    };
    let mut command = match opened {
        Ok(command) => command,
        Err(fault) => return Ending::Refused(fault),
    };
    // Known once the command has started.
    let (started, speaker) = watch::channel(None);
    let (words, queue) = mpsc::channel(QUEUE);
    let ending = tokio::select! {
        ending = hear(&mut command, sink, &started) => ending,
        ending = listen(source, words, speaker.clone(), takes_input) => ending,
        fault = feed(queue, speaker) => Ending::Refused(fault),
    };
    let speaker = started.borrow().clone();
    match (ending, speaker) {
        (Ending::Stop, Some(speaker)) => stop(&mut command, &speaker).await,
        (Ending::Lost(fault), Some(speaker)) => {
            Ending::Refused(sandboxes.broke_off(id, speaker.pid(), fault).await)
        }
        // Dropping the stream ends a command that is tied to it.
        (ending, _) => ending,
    }
}

/// Starts a command.
async fn begin(
    start: StartCommand,
    sandboxes: &Sandboxes,
    id: &SandboxId,
) -> Result<CommandStream, Fault> {
    let timeout_sec = start.check()?;
    let input = Input {
        stdin: start.stdin,
        detach: start.detach,
        terminal: start.pty.map(PtySize::check).transpose()?,
    };
    let command = Command {
        cmd: start.cmd,
        args: start.args,
        timeout_sec,
        cwd: start.cwd,
        envs: start.envs,
        user: start.user,
    };
    sandboxes.exec_stream(id, command, input).await
}

/// Kills a command with all its children, detached or not. What it still says is not passed on; its end is.
async fn stop(command: &mut CommandStream, speaker: &CommandInput) -> Ending {
    match speaker.signal(SIGKILL).await {
        // It ended in between: its exit is on its way.
        Err(fault) if fault.kind != ErrorKind::NotFound => {
            tracing::debug!(%fault, "a command was not stopped");
            return Ending::Stop;
        }
        _ => {}
    }
    let end = async {
        loop {
            match command.next().await {
                Ok(Some(CommandEvent::End {
                    exit_code,
                    timed_out,
                })) => {
                    return Ending::Exit {
                        exit_code,
                        timed_out,
                    };
                }
                Ok(Some(CommandEvent::Lost(_)) | None) | Err(_) => return Ending::Stop,
                Ok(Some(_)) => {}
            }
        }
    };
    let told = tokio::time::timeout(STOP_LIMIT, end).await;
    told.unwrap_or(Ending::Stop)
}

/// What the client wants to run or to follow.
async fn first(source: &mut Source) -> Result<First, Ending> {
    loop {
        match source.next().await {
            Some(Ok(Message::Text(text))) => {
                return match parse(text.as_str())? {
                    ClientMessage::Start(start) => Ok(First::Start(start)),
                    ClientMessage::Connect { pid } => Ok(First::Connect { pid }),
                    ClientMessage::Stop => Err(Ending::Stop),
                    _ => Err(unstarted()),
                };
            }
            Some(Ok(Message::Binary(_))) => return Err(unstarted()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Ending::Vanished),
        }
    }
}

fn unstarted() -> Ending {
    wrong(
        "nothing was started",
        "send a start or a connect message first",
    )
}

/// Passes on what the command says.
async fn hear(
    command: &mut CommandStream,
    sink: &mut Sink,
    started: &watch::Sender<Option<CommandInput>>,
) -> Ending {
    let (mut stdout, mut stderr) = (Pieces::default(), Pieces::default());
    loop {
        let event = tokio::select! {
            event = command.next() => event,
            () = tokio::time::sleep(TRY_EVERY) => {
                match sink.send(Message::Ping(Bytes::new())).await {
                    Ok(()) => continue,
                    Err(_) => return Ending::Vanished,
                }
            }
        };
        let message = match event {
            Ok(Some(CommandEvent::Start { pid })) => {
                started.send_replace(Some(command.input(pid)));
                Some(ServerMessage::Start { pid })
            }
            Ok(Some(CommandEvent::Stdout(chunk))) => stdout.push(chunk).map(out),
            Ok(Some(CommandEvent::Stderr(chunk))) => stderr.push(chunk).map(err),
            Ok(Some(CommandEvent::End {
                exit_code,
                timed_out,
            })) => {
                for message in stdout
                    .finish()
                    .map(out)
                    .into_iter()
                    .chain(stderr.finish().map(err))
                {
                    if tell(sink, &message).await.is_err() {
                        return Ending::Vanished;
                    }
                }
                return Ending::Exit {
                    exit_code,
                    timed_out,
                };
            }
            Ok(Some(CommandEvent::Lost(why))) => return lost(why),
            Ok(None) => return lost("the host agent lost sight of it".into()),
            Err(fault) => return Ending::Lost(fault),
        };
        if let Some(message) = message
            && tell(sink, &message).await.is_err()
        {
            return Ending::Vanished;
        }
    }
}

/// Reads what the client says.
async fn listen(
    source: &mut Source,
    words: mpsc::Sender<Word>,
    mut speaker: watch::Receiver<Option<CommandInput>>,
    takes_input: bool,
) -> Ending {
    loop {
        let word = match source.next().await {
            Some(Ok(Message::Text(text))) => match parse(text.as_str()) {
                Ok(ClientMessage::Stdin { data, data_b64 }) => match bytes(data, data_b64) {
                    Ok(data) => Word::Data(data),
                    Err(ending) => return ending,
                },
                Ok(ClientMessage::CloseStdin) => Word::End,
                Ok(ClientMessage::Signal { signal }) => {
                    let sent = once_started(&mut speaker, async |it| it.signal(signal).await);
                    if let Err(fault) = sent.await {
                        return Ending::Refused(fault);
                    }
                    continue;
                }
                Ok(ClientMessage::Resize { cols, rows }) => {
                    let size = match (PtySize { cols, rows }).check() {
                        Ok(size) => size,
                        Err(fault) => return Ending::Refused(fault),
                    };
                    let resized = once_started(&mut speaker, async |it| it.resize(size).await);
                    match resized.await {
                        Err(fault) if fault.kind == ErrorKind::InvalidState => {
                            return Ending::Refused(fault);
                        }
                        // What runs there is worth more than how it looks.
                        Err(fault) => tracing::debug!(%fault, "a terminal has its former size"),
                        Ok(()) => {}
                    }
                    continue;
                }
                Ok(ClientMessage::Stop) => return Ending::Stop,
                Ok(ClientMessage::Start(_) | ClientMessage::Connect { .. }) => {
                    return wrong("it has started already", "connect once for each command");
                }
                Err(ending) => return ending,
            },
            Some(Ok(Message::Binary(data))) => Word::Data(data),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Ending::Vanished,
        };
        if !takes_input {
            return wrong(
                "its standard input is closed",
                "start it with \"stdin\": true",
            );
        }
        // Full while the command does not read. Only the feeder ends before this does, and then all ends.
        if words.send(word).await.is_err() {
            return Ending::Vanished;
        }
    }
}

async fn once_started(
    speaker: &mut watch::Receiver<Option<CommandInput>>,
    say: impl AsyncFnOnce(CommandInput) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Some(speaker) = started(speaker).await else {
        return Ok(());
    };
    match say(speaker).await {
        // It ended in between: its exit is on its way.
        Err(fault) if fault.kind == ErrorKind::NotFound => Ok(()),
        told => told,
    }
}

/// Writes to the command's input, for ever or until that is refused.
async fn feed(
    mut queue: mpsc::Receiver<Word>,
    mut speaker: watch::Receiver<Option<CommandInput>>,
) -> Fault {
    while let Some(word) = queue.recv().await {
        let Some(speaker) = started(&mut speaker).await else {
            break;
        };
        let told = match word {
            Word::Data(data) => speaker.send(data.into()).await,
            Word::End => speaker.close().await,
        };
        match told {
            // Nobody reads any more, which is the command's own affair.
            Err(fault)
                if !matches!(
                    fault.kind,
                    ErrorKind::NotFound | ErrorKind::InvalidState | ErrorKind::Conflict
                ) =>
            {
                return fault;
            }
            _ => {}
        }
    }
    std::future::pending().await
}

async fn started(speaker: &mut watch::Receiver<Option<CommandInput>>) -> Option<CommandInput> {
    speaker.wait_for(Option::is_some).await.ok()?.clone()
}
