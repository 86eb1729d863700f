//! Generations out of this host and into it, as packed streams, and the reading of those that lie here.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wrenn_model::lifecycle::{Event, State};
use wrenn_model::{ErrorKind, Fault, NetworkPolicy, SandboxId, TooManyRanges};
use wrenn_snapshot::{Generation, Generations};
use wrenn_sys::durable;

use crate::Agent;
use crate::failure::{ENDING, EXPORT_AGAIN, Failed, StepError, internal, stepping};
use crate::handle::Handle;
use crate::record::{self, Keys, Pause, Record};
use crate::sandbox::Start;
use crate::steps::{CREATE, Parts, blocking, sync_folder};
use crate::table::Claim;
use crate::time::now_ms;
use wrenn_model::chain;

/// The steps of an export, by their failpoints.
pub const EXPORT: &[&str] = &["export.check", "export.stream"];
/// The steps of an import, by their failpoints.
pub const IMPORT: &[&str] = &["import.folder", "import.unpack", "import.record"];

/// How many pieces of a stream wait for a slow side.
const QUEUE: usize = 8;
/// How large they are, in bytes.
const PIECE: usize = 256 << 10;
/// How long somebody who takes nothing of an export has to take that it broke off.
const TELL_LIMIT: Duration = Duration::from_secs(10);
/// How much room an import is promised beforehand, in bytes; the store grows while it goes on.
const IMPORT_ROOM: u64 = 2 << 30;

/// What an archive carries beside the generation.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    /// What the guest in it knows.
    #[serde(flatten)]
    keys: Keys,
    /// The policy that the sandbox was under when it was exported; that of its pause where it is absent.
    network: Option<NetworkPolicy>,
}

/// What a reading of a generation found.
#[derive(Debug)]
pub(crate) struct Verification {
    pub(crate) generation: String,
    pub(crate) bytes: u64,
    pub(crate) damage: Option<String>,
}

/// A stream of an archive's pieces, or why it broke off.
pub(crate) type Pieces = mpsc::Receiver<Result<Bytes, Fault>>;

impl Agent {
    /// Reads a sandbox's newest generation as a whole.
    pub(crate) async fn verify(&self, id: &str) -> Result<Verification, Fault> {
        let handle = self.find(id)?;
        let pause = paused(&handle)?;
        let generations = self.generations(&handle);
        let (generation, closing) = (pause.generation, self.closing.clone());
        let read = tokio::task::spawn_blocking(move || {
            generations.examine(generation, |one| one.verify(&|| closing.is_cancelled()))
        });
        let found = |bytes, damage| Verification {
            generation: generation.to_string(),
            bytes,
            damage,
        };
        match read.await.map_err(internal)? {
            Ok(verified) => Ok(found(verified.bytes, None)),
            Err(error) if error.is_damage() => {
                tracing::error!(id, error = chain(&error), "a generation is damaged");
                Ok(found(0, Some(chain(&error))))
            }
            Err(error) => {
                let failed = Failed::from(error);
                Err(Fault::new(
                    failed.kind,
                    format!("the generation could not be read: {}", failed.reason),
                    failed.remedy.unwrap_or("see the agent's log"),
                ))
            }
        }
    }

    fn generations(&self, handle: &Handle) -> Generations {
        Generations::of(&self.host.sandboxes().join(handle.spec.id.as_str()))
    }

    /// Packs a sandbox's newest generation.
    pub(crate) async fn export(&self, id: &str) -> Result<Pieces, Fault> {
        let handle = self.find(id)?;
        let pause = paused(&handle)?;
        let began = Instant::now();
        let ended = move |agent: &Self, error: Option<&StepError>| {
            let kind = error.map(|error| error.kind);
            let metrics = &agent.host.metrics;
            metrics.operation("export", began.elapsed(), kind);
        };
        let generations = self.generations(&handle);
        let told = |error: StepError| error.fault("the sandbox was not exported");
        let check = async move {
            let clone = |one: &Generation| Ok(one.clone());
            Ok::<Generation, Failed>(generations.examine(pause.generation, clone)?)
        };
        let checked = self.stepping(EXPORT[0], check).await;
        let (generation, _) = checked.map_err(|error| {
            ended(self, Some(&error));
            told(error)
        })?;
        let carried = Carried {
            keys: pause.keys,
            network: Some(handle.view().network),
        };
        let secret = serde_json::to_vec(&carried).map_err(internal)?;
        let (out, pieces) = mpsc::channel(QUEUE);
        let agent = self.clone();
        let stream = async move {
            let closing = agent.closing.clone();
            let mut writer = PieceWriter::new(out.clone(), closing.clone());
            let write = async move {
                tokio::task::spawn_blocking(move || {
                    generation.export(&secret, &|| closing.is_cancelled(), &mut writer)?;
                    Ok::<_, Failed>(writer.flush()?)
                })
                .await?
            };
            let written = agent.stepping(EXPORT[1], write).await;
            ended(&agent, written.as_ref().err());
            if let Err(error) = written.map_err(|error| agent.broken_off(error)) {
                tracing::warn!(%error, "an export broke off");
                // Whoever took it may have gone, or take no more.
                drop(tokio::time::timeout(TELL_LIMIT, out.send(Err(told(error)))).await);
            }
        };
        self.tasks
            .spawn(wrenn_traces::carried(stream).in_current_span());
        Ok(pieces)
    }

    /// Makes a paused sandbox of an archive. After an error there is none.
    pub(crate) async fn import(
        &self,
        id: &str,
        owner_id: String,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Arc<Handle>, Fault> {
        self.check_ready()?;
        let id: SandboxId = id.parse().map_err(|error: wrenn_model::InvalidName| {
            Fault::new(
                ErrorKind::InvalidRequest,
                error.to_string(),
                "correct the id",
            )
        })?;
        // Until it has a record, this alone says that what is unpacked belongs to somebody.
        let Some(claim) = self.table.claim(&id) else {
            return Err(taken(&id));
        };
        let (metrics, work) = (
            &self.host.metrics,
            self.take_in(&id, &claim, owner_id, pieces),
        );
        metrics.timed("import", |fault| fault.kind, work).await
    }

    /// Makes a paused sandbox of an archive. Its id is nobody else's.
    async fn take_in(
        &self,
        id: &SandboxId,
        claim: &Claim,
        owner_id: String,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Arc<Handle>, Fault> {
        let folder = self.host.sandboxes().join(id.as_str());
        let made = self.unpack(id, owner_id, pieces).await;
        let outcome = match made {
            Ok(record) => {
                let record = self.stepping(IMPORT[2], async { Ok(record) }).await;
                record.map(|(record, _)| record)
            }
            Err(error) => Err(error),
        };
        let record = match outcome {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(%id, %error, "an import failed");
                // One that was there before us is not ours to remove.
                if error.step != IMPORT[0]
                    && let Err(error) = blocking(move || durable::remove(&folder)).await
                {
                    tracing::error!(%id, %error, "what an import left stays until the next start");
                }
                return Err(error.fault("the archive was not imported"));
            }
        };
        let start = Start {
            record,
            plan: CREATE,
            held: None,
            place: None,
            waiting: None,
            parts: Parts::default(),
        };
        let handle = self
            .add(start, Some(Event::Imported), Some(claim))
            .map_err(|_| taken(id))?;
        handle.started().await?;
        Ok(handle)
    }

    async fn unpack(
        &self,
        id: &SandboxId,
        owner_id: String,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Record, StepError> {
        let home = self.home(id, std::path::PathBuf::new(), 0);
        let folder = home.folder.clone();
        let make = async {
            self.host.volume.make_room(IMPORT_ROOM).await?;
            let made = blocking(move || {
                let mut folders = std::fs::DirBuilder::new();
                std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
                folders.create(&folder)
            });
            Ok::<(), Failed>(made.await?)
        };
        self.stepping(IMPORT[0], make).await?;
        let (name, generations) = (id.clone(), Generations::of(&home.folder));
        let (base, folder) = (home.base.clone(), home.folder.clone());
        let (vmm, closing) = (self.host.vmm.clone(), self.closing.clone());
        let read = async move {
            tokio::task::spawn_blocking(move || {
                let mut reader = PieceReader::new(pieces, closing);
                let (generation, secret) = generations.import(&mut reader, |next, facts| {
                    facts.spec.id = name;
                    facts.spec.owner_id = owner_id;
                    // One that this host does not have is told when somebody wants to resume.
                    if let Err(error) = vmm.keep_build(&facts.platform, &next.build_link()) {
                        let (id, error) = (&facts.spec.id, chain(&error));
                        tracing::warn!(%id, error, "the VMM build of an archive is not here");
                    }
                })?;
                let carried: Carried = serde_json::from_slice(&secret).map_err(foreign_secret)?;
                std::fs::hard_link(generation.base(), &base)?;
                sync_folder(&folder)?;
                let mut spec = generation.manifest().spec.clone();
                spec.network = carried.network.unwrap_or(spec.network);
                let long =
                    |error: TooManyRanges| Failed::of(ErrorKind::InvalidRequest, error.to_string());
                spec.network.check().map_err(long)?;
                Ok::<_, Failed>((generation, carried.keys, spec))
            })
            .await?
        };
        let unpacked = self.stepping(IMPORT[1], read).await;
        let ((generation, keys, spec), _) = unpacked.map_err(|error| self.broken_off(error))?;
        let manifest = generation.manifest();
        Ok(Record {
            version: record::VERSION,
            state: State::Pending,
            created_ms: now_ms(),
            started_ms: None,
            seed: None,
            vm: None,
            pause: Some(Pause {
                generation: generation.id(),
                keys,
                at_ms: manifest.created_ms,
            }),
            lost_since_ms: None,
            home: record::Home {
                virtual_size: manifest.layer.virtual_size,
                ..home
            },
            spec,
        })
    }

    /// What breaks off because the store closes is no fault of the archive's.
    fn broken_off(&self, error: StepError) -> StepError {
        if !self.closing.is_cancelled() {
            return error;
        }
        StepError {
            kind: ErrorKind::Unavailable,
            reason: closes().to_string(),
            remedy: Some(ENDING),
            ..error
        }
    }

    async fn stepping<T>(
        &self,
        point: &'static str,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<(T, Duration), StepError> {
        stepping(&self.host, point, point, None, None, work).await
    }
}

fn taken(id: &SandboxId) -> Fault {
    Fault::new(
        ErrorKind::AlreadyExists,
        format!("there is a sandbox {id}"),
        "use a new id",
    )
}

fn paused(handle: &Handle) -> Result<Pause, Fault> {
    handle.view().pause.ok_or_else(|| {
        Fault::new(
            ErrorKind::InvalidState,
            "the sandbox has never been paused",
            "pause it first",
        )
    })
}

/// What the agent gives along with a generation is not what this agent gives.
fn foreign_secret(error: serde_json::Error) -> Failed {
    Failed {
        kind: ErrorKind::InvalidRequest,
        reason: format!("what the archive says beside its generation is not usable: {error}"),
        remedy: Some(EXPORT_AGAIN),
    }
}

/// Passes on what is written, in pieces, until the store closes. For threads that may wait.
struct PieceWriter {
    out: mpsc::Sender<Result<Bytes, Fault>>,
    closing: CancellationToken,
    piece: Vec<u8>,
}

impl PieceWriter {
    fn new(out: mpsc::Sender<Result<Bytes, Fault>>, closing: CancellationToken) -> Self {
        Self {
            out,
            closing,
            piece: Vec::with_capacity(PIECE),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.out.send(Ok(piece.into()));
        let sent = tokio::runtime::Handle::current()
            .block_on(self.closing.run_until_cancelled(sent))
            .ok_or_else(closes)?;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&data[..taken]);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.send()
    }
}

fn closes() -> io::Error {
    io::Error::other("the host agent is ending")
}

/// Reads what comes in pieces, until the store closes. For threads that may wait.
struct PieceReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    closing: CancellationToken,
    piece: Bytes,
}

impl PieceReader {
    fn new(pieces: mpsc::Receiver<io::Result<Bytes>>, closing: CancellationToken) -> Self {
        Self {
            pieces,
            closing,
            piece: Bytes::new(),
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let received = self.closing.run_until_cancelled(self.pieces.recv());
            let received = tokio::runtime::Handle::current().block_on(received);
            match received.ok_or_else(closes)? {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}
