//! What a machine's process is told, over a socket without a file: a line each way.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use wrenn_model::VmId;
use wrenn_sys::extents::Piece;
use wrenn_vmm::{Error, RunState};

use super::{io_error, timed_out};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// What it does.
    RunState,
    /// To stand still.
    Freeze,
    /// To go on.
    Thaw,
    /// To write its pages into this file.
    Capture(PathBuf),
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What it does now.
    Is(RunState),
    /// Its pages, in the file that it was told: from, to, length.
    Pages(Vec<(u64, u64, u64)>),
    /// It could not.
    Failed(String),
}

/// The name of a machine's socket.
pub(super) fn address(vm: &VmId) -> String {
    format!("wrenn-fake-vm/{vm}")
}

/// The machine's end. It belongs to the network namespace of the calling thread.
pub(super) fn listen(name: &str) -> io::Result<StdListener> {
    let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers until the runtime ends.
pub(super) async fn serve(listener: StdListener, answer: impl Fn(Ask) -> Answer) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Who hung up wants no answer.
        drop(converse(stream, &answer).await);
    }
}

async fn converse(stream: UnixStream, answer: impl Fn(Ask) -> Answer) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut text = serde_json::to_string(&answer(serde_json::from_str(&line)?))?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await
}

/// The agent's end.
#[derive(Debug, Clone)]
pub(super) struct Control {
    name: String,
}

impl Control {
    pub(super) fn new(vm: &VmId) -> Self {
        Self { name: address(vm) }
    }

    pub(super) async fn run_state(&self) -> Result<RunState, Error> {
        match self.ask(Ask::RunState).await? {
            Answer::Is(state) => Ok(state),
            other => Err(Error::Protocol(format!("{other:?}"))),
        }
    }

    pub(super) async fn tell(&self, ask: Ask) -> Result<(), Error> {
        match self.ask(ask).await? {
            Answer::Is(_) => Ok(()),
            other => Err(Error::Protocol(format!("{other:?}"))),
        }
    }

    pub(super) async fn pages(&self, file: PathBuf) -> Result<Vec<Piece>, Error> {
        match self.ask(Ask::Capture(file)).await? {
            Answer::Pages(pages) => Ok(pages
                .into_iter()
                .map(|(from, to, len)| Piece { from, to, len })
                .collect()),
            other => Err(Error::Protocol(format!("{other:?}"))),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Error> {
        let asked = async {
            let address = SocketAddr::from_abstract_name(&self.name)?;
            let stream = StdStream::connect_addr(&address)?;
            stream.set_nonblocking(true)?;
            let mut stream = BufReader::new(UnixStream::from_std(stream)?);
            let text = format!("{}\n", serde_json::to_string(&ask)?);
            stream.write_all(text.as_bytes()).await?;
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            Ok::<Answer, io::Error>(serde_json::from_str(&line)?)
        };
        let answered = tokio::time::timeout(LIMIT, asked).await;
        answered
            .map_err(|_| timed_out("a machine's answer", LIMIT))?
            .map_err(io_error("asking a machine"))
    }
}
