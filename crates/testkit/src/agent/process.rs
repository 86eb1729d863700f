//! Commands that run, and those who listen to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use connectrpc::{ConnectError, ServiceStream};
use futures::stream;
use tokio::sync::{Notify, mpsc, watch};
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::oneof::exec_stream_response::{Event, data::Output};
use wrenn_model::ErrorKind;

use super::command::{End, Running, run};
use super::{State, lock, refusal};

/// What a listener hears.
pub(super) type Events = ServiceStream<rpc::ExecStreamResponse>;

const SIGKILL: i32 = 9;

/// A command that runs.
#[derive(Debug)]
pub(super) struct Process {
    sandbox: String,
    /// Dropped when its input is closed.
    pub(super) input: Option<mpsc::Sender<Vec<u8>>>,
    /// The signal that ends it; 0 before one was sent.
    pub(super) signal: watch::Sender<i32>,
    listeners: Vec<Listener>,
    terminal: Option<rpc::TerminalSize>,
}

#[derive(Debug)]
struct Listener {
    events: mpsc::Sender<rpc::ExecStreamResponse>,
    cut: Arc<Notify>,
}

/// A listener's own end.
struct Heard {
    events: mpsc::Receiver<rpc::ExecStreamResponse>,
    cut: Arc<Notify>,
}

/// Ends its command when it is dropped, as long as it is tied to it.
struct Tie {
    state: Arc<State>,
    pid: u32,
    tied: bool,
}

impl Drop for Tie {
    fn drop(&mut self) {
        if self.tied
            && let Some(process) = lock(&self.state.processes).get(&self.pid)
        {
            process.signal.send_replace(SIGKILL);
        }
    }
}

impl Process {
    /// One more listener, who is told first that it runs.
    fn listen(&mut self, pid: u32) -> Heard {
        let (told, events) = mpsc::channel(4);
        let start = event(rpc::exec_stream_response::Start {
            pid,
            ..Default::default()
        });
        // A new channel has room.
        drop(told.try_send(start));
        let cut = Arc::new(Notify::new());
        self.listeners
            .retain(|listener| !listener.events.is_closed());
        self.listeners.push(Listener {
            events: told,
            cut: Arc::clone(&cut),
        });
        Heard { events, cut }
    }
}

/// Starts a command, on a terminal of this size where there is one, and listens to it.
pub(super) fn start(
    state: &Arc<State>,
    request: rpc::ExecStreamRequest,
    terminal: Option<rpc::TerminalSize>,
) -> Events {
    let pid = state.next_pid.fetch_add(1, Ordering::SeqCst);
    let (stdin, input) = mpsc::channel(16);
    let (signal, mut signalled) = watch::channel(0);
    let mut process = Process {
        sandbox: request.sandbox_id,
        input: request.stdin.then_some(stdin),
        signal,
        listeners: Vec::new(),
        terminal,
    };
    let heard = process.listen(pid);
    lock(&state.processes).insert(pid, process);
    let running = Running::new(state, pid);
    let (out, printed) = mpsc::channel(4);
    let (cmd, args) = (request.cmd, request.args);
    let work = async move {
        tokio::select! {
            outcome = run(&cmd, &args, input, &out) => {
                outcome.unwrap_or(End { exit_code: 141, error: "" })
            }
            Ok(()) = signalled.changed() => End { exit_code: 128 + *signalled.borrow(), error: "" },
        }
    };
    let teller = Arc::clone(state);
    tokio::spawn(async move {
        let _running = running;
        let (end, ()) = tokio::join!(work, pass_on(&teller, pid, printed));
        let end = event(rpc::exec_stream_response::End {
            exit_code: end.exit_code,
            error: end.error.to_owned(),
            ..Default::default()
        });
        tell(&teller, pid, end).await;
    });
    follow(state, pid, heard, !request.detach)
}

/// Gives a command's terminal another size, and has it show that.
pub(super) fn resize(
    state: &Arc<State>,
    pid: u32,
    size: Option<rpc::TerminalSize>,
) -> Result<(), ConnectError> {
    let size = size.unwrap_or_default();
    let mut processes = lock(&state.processes);
    let terminal = processes
        .get_mut(&pid)
        .ok_or_else(|| refusal(ErrorKind::NotFound, "there is no such process"))?;
    if terminal.terminal.is_none() {
        return Err(refusal(ErrorKind::InvalidState, "it has no terminal"));
    }
    let shown = format!("{} {}\n", size.rows, size.cols);
    terminal.terminal = Some(size);
    drop(processes);
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let data = event(rpc::exec_stream_response::Data {
            output: Some(Output::Stdout(shown.into_bytes())),
            ..Default::default()
        });
        tell(&state, pid, data).await;
    });
    Ok(())
}

/// Listens to a command that runs already. It does not end with its listener.
pub(super) fn attach(state: &Arc<State>, sandbox: &str, pid: u32) -> Result<Events, ConnectError> {
    let mut processes = lock(&state.processes);
    let process = processes
        .get_mut(&pid)
        .filter(|process| process.sandbox == sandbox)
        .ok_or_else(|| refusal(ErrorKind::NotFound, "there is no such process"))?;
    let heard = process.listen(pid);
    drop(processes);
    Ok(follow(state, pid, heard, false))
}

/// Closes every conversation about a command in this sandbox. The commands go on.
pub(super) fn cut(state: &State, sandbox: &str) {
    let mut processes = lock(&state.processes);
    for process in processes
        .values_mut()
        .filter(|process| process.sandbox == sandbox)
    {
        for listener in process.listeners.drain(..) {
            listener.cut.notify_one();
        }
    }
}

/// Ends every command in this sandbox.
pub(super) fn kill(state: &State, sandbox: &str) {
    for process in lock(&state.processes)
        .values()
        .filter(|process| process.sandbox == sandbox)
    {
        process.signal.send_replace(SIGKILL);
    }
}

fn follow(state: &Arc<State>, pid: u32, heard: Heard, tied: bool) -> Events {
    let tie = Tie {
        state: Arc::clone(state),
        pid,
        tied,
    };
    Box::pin(stream::unfold(Some((heard, tie)), |listening| async {
        let (mut heard, mut tie) = listening?;
        tokio::select! {
            // Being cut off ends the events too.
            biased;
            () = heard.cut.notified() => {
                tie.tied = false;
                Some((Err(refusal(ErrorKind::InvalidState, "the sandbox is being paused")), None))
            }
            event = heard.events.recv() => Some((Ok(event?), Some((heard, tie)))),
        }
    }))
}

/// Hands on what a command prints, as fast as its listeners read.
async fn pass_on(state: &State, pid: u32, mut printed: mpsc::Receiver<(bool, Vec<u8>)>) {
    while let Some((is_stderr, bytes)) = printed.recv().await {
        let output = if is_stderr {
            Output::Stderr(bytes)
        } else {
            Output::Stdout(bytes)
        };
        let data = event(rpc::exec_stream_response::Data {
            output: Some(output),
            ..Default::default()
        });
        tell(state, pid, data).await;
    }
}

async fn tell(state: &State, pid: u32, event: rpc::ExecStreamResponse) {
    let listeners: Vec<_> = lock(&state.processes)
        .get(&pid)
        .into_iter()
        .flat_map(|process| &process.listeners)
        .map(|listener| listener.events.clone())
        .collect();
    for listener in listeners {
        // One who has gone hears nothing more.
        drop(listener.send(event.clone()).await);
    }
}

fn event(event: impl Into<Event>) -> rpc::ExecStreamResponse {
    rpc::ExecStreamResponse {
        event: Some(event.into()),
        ..Default::default()
    }
}
