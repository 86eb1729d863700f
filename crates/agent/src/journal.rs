//! What the agent must not forget: one record a sandbox, in a log whose writes are grouped.
//!
//! The file is `magic, version` and then frames `length u32, CRC-32 u32, payload`, little-endian, after which it is
//! zeros: it is filled ahead of its end, so that a record overwrites blocks that exist and `fdatasync` has no metadata
//! to write. A frame is acknowledged after the sync that covers it. A last frame that is torn belongs to nobody's promise.
//!
//! Everything else that can not be read is damage: a frame further up, something after the end, a file that does not end
//! in zeros. What can be read stands. A damaged log is kept beside the new one as `journal.damaged`, and damage is told at
//! each start until somebody has looked at it and removed it.
//!
//! Opening writes the live records into a new log and renames it; on a full disk the old one is written on. A log whose
//! write failed is written anew, from memory, before anything else is acknowledged.

mod frames;
mod tail;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

pub(crate) use frames::Replay;
use frames::frame;
use tail::{Failure, Tail};

/// The length at which the log is written anew, in bytes.
const COMPACT_AT: u64 = 64 << 20;

/// Why the journal could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file system refused.
    #[error("the journal {path} failed")]
    Io {
        /// The log.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was written by something else.
    #[error(
        "{path} is no journal of this version: bring it back from a copy; or move it away together with the folder \
         store/sandboxes, to begin without the sandboxes that it knew"
    )]
    Foreign {
        /// The log.
        path: PathBuf,
    },
    /// There are sandboxes, and nothing that knows them.
    #[error(
        "{path} is missing, but {sandboxes} has sandboxes: bring the journal back from a copy; or move that folder away, to \
         begin without them"
    )]
    Missing {
        /// The log.
        path: PathBuf,
        /// The folder with what belongs to sandboxes.
        sandboxes: PathBuf,
    },
    /// There is no room to write; what stands in the log stands.
    #[error("there is no room for the journal {path}")]
    Full {
        /// The log.
        path: PathBuf,
    },
    /// A write failed, and so did every try to write the log anew.
    #[error("the journal has failed: {0}")]
    Broken(String),
    /// The record is too large or cannot be written as JSON.
    #[error("a record cannot be written: {0}")]
    Record(String),
}

struct Request {
    id: String,
    /// `None` removes the record.
    record: Option<serde_json::Value>,
    done: oneshot::Sender<Result<(), Error>>,
}

/// The log, open for writing. Cloned freely; the thread behind it ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    requests: mpsc::Sender<Request>,
}

impl Journal {
    /// Replays the log at `path` and opens a fresh one with the same live records.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none but `sandboxes` has something in it; [`Error::Foreign`]; else what the file
    /// system said.
    pub(crate) fn open(path: &Path, sandboxes: &Path) -> Result<(Self, Replay), Error> {
        let replay = read(path, sandboxes)?;
        if replay.damaged > 0 {
            keep(path)?;
        }
        let log = Log::open(path, &replay)?;
        let (requests, inbox) = mpsc::channel(1024);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_until_closed(log, inbox))
            .map_err(Error::io(path))?;
        Ok((Self { requests }, replay))
    }

    /// Writes a record; it is durable when this returns.
    pub(crate) async fn put(&self, id: &str, record: &impl Serialize) -> Result<(), Error> {
        let record =
            serde_json::to_value(record).map_err(|error| Error::Record(error.to_string()))?;
        self.send(id, Some(record)).await
    }

    /// Removes a record; it is gone for good when this returns.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), Error> {
        self.send(id, None).await
    }

    async fn send(&self, id: &str, record: Option<serde_json::Value>) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let request = Request {
            id: id.to_owned(),
            record,
            done,
        };
        let gone = || Error::Broken("its writer has ended".into());
        self.requests.send(request).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Takes what is waiting, writes it with one sync, answers all of it, and again.
fn write_until_closed(mut log: Log, mut inbox: mpsc::Receiver<Request>) {
    let mut batch = Vec::new();
    while inbox.blocking_recv_many(&mut batch, 256) > 0 {
        let (changes, waiting): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|request| ((request.id, request.record), request.done))
            .unzip();
        for (done, result) in waiting.into_iter().zip(log.append(changes)) {
            // Whoever asked may have gone: the record stands all the same.
            drop(done.send(result));
        }
    }
}

struct Log {
    path: PathBuf,
    live: HashMap<String, serde_json::Value>,
    tail: Tail,
    /// The length at which it is written anew, in bytes.
    compact_at: u64,
    /// Why nobody knows what the file holds: it has to be written anew.
    broken: Option<String>,
}

impl Log {
    fn open(path: &Path, replay: &Replay) -> Result<Self, Error> {
        let tail = match Tail::create(path, &replay.records) {
            // Sandboxes can be looked after and ended on a full disk too.
            Err(Error::Full { .. }) if replay.end > 0 && replay.damaged == 0 => {
                tracing::warn!(
                    "there is no room to write the journal anew; the old one is written on"
                );
                Tail::reopen(path, replay.end).map_err(Error::io(path))
            }
            created => created,
        }?;
        Ok(Self {
            path: path.to_owned(),
            live: replay.records.clone(),
            compact_at: COMPACT_AT.max(2 * tail.end),
            tail,
            broken: None,
        })
    }

    /// Appends all changes with one sync. A change that cannot be encoded fails alone; a write that fails, fails all.
    fn append(
        &mut self,
        changes: Vec<(String, Option<serde_json::Value>)>,
    ) -> Vec<Result<(), Error>> {
        let mut bytes = Vec::new();
        let mut results = Vec::with_capacity(changes.len());
        for (id, record) in &changes {
            results.push(frame(id, record.as_ref()).map(|frame| bytes.extend(frame)));
        }
        if let Err(failure) = self.write(&bytes) {
            return changes.iter().map(|_| Err(self.error(&failure))).collect();
        }
        for ((id, record), _) in changes.into_iter().zip(&results).filter(|(_, r)| r.is_ok()) {
            match record {
                Some(record) => self.live.insert(id, record),
                None => self.live.remove(&id),
            };
        }
        if self.tail.end > self.compact_at {
            self.compact();
        }
        results
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.broken.is_some() {
            self.mend()?;
        }
        let written = self.tail.append(bytes);
        if let Err(Failure::Broken(why)) = &written {
            tracing::error!(why, "the journal could not be written");
            self.broken = Some(why.clone());
        }
        written
    }

    /// After a failed sync nobody knows what the file has: what it should have goes into a new one.
    fn mend(&mut self) -> Result<(), Failure> {
        self.tail = Tail::create(&self.path, &self.live).map_err(|error| match error {
            Error::Full { .. } => Failure::Full,
            other => Failure::Broken(wrenn_model::chain(&other)),
        })?;
        self.broken = None;
        tracing::info!("the journal was written anew");
        Ok(())
    }

    /// Without room for a new log the old one goes on growing.
    fn compact(&mut self) {
        match Tail::create(&self.path, &self.live) {
            Ok(tail) => {
                self.compact_at = COMPACT_AT.max(2 * tail.end);
                self.tail = tail;
            }
            Err(Error::Full { .. }) => self.compact_at = self.tail.end + COMPACT_AT,
            // Which of the two has the name is not known.
            Err(error) => self.broken = Some(wrenn_model::chain(&error)),
        }
    }

    fn error(&self, failure: &Failure) -> Error {
        match failure {
            Failure::Full => Error::Full {
                path: self.path.clone(),
            },
            Failure::Broken(why) => Error::Broken(why.clone()),
        }
    }
}

impl Error {
    /// For `map_err`: a full disk is an error of its own.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if is_full(&source) {
                Self::Full { path }
            } else {
                Self::Io { path, source }
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether there is nothing in a folder, or no such folder.
fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// What the log at `path` holds. Nothing is written.
///
/// # Errors
/// As [`Journal::open`].
pub(crate) fn read(path: &Path, sandboxes: &Path) -> Result<Replay, Error> {
    match replay(path)? {
        Some(replay) => Ok(replay),
        None if is_empty(sandboxes) => Ok(Replay::default()),
        None => Err(Error::Missing {
            path: path.to_owned(),
            sandboxes: sandboxes.to_owned(),
        }),
    }
}

/// A whole log of these records, as it lies in a file.
///
/// # Errors
/// [`Error::Record`].
pub(crate) fn contents(records: &HashMap<String, serde_json::Value>) -> Result<Vec<u8>, Error> {
    let mut bytes = frames::log(records)?;
    bytes.resize(bytes.len() + frames::FRAME, 0);
    Ok(bytes)
}

/// What the log at `path` holds; none when there is no log.
fn replay(path: &Path) -> Result<Option<Replay>, Error> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map_err(Error::io(path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let foreign = || Error::Foreign {
        path: path.to_owned(),
    };
    let mut replay = frames::replay(&bytes).ok_or_else(foreign)?;
    let kept = kept(path);
    if replay.damaged > 0 {
        tracing::error!(places = replay.damaged, "the journal is damaged");
    } else if kept.exists() {
        tracing::error!(kept = %kept.display(), "the journal was damaged once: look at what runs, then remove what was kept of it");
        replay.damaged = 1;
    }
    Ok(Some(replay))
}

/// Where a damaged log stays.
fn kept(path: &Path) -> PathBuf {
    path.with_extension("damaged")
}

/// Gives a damaged log a second name, under which it stays. The first that was kept is the one that tells most.
fn keep(path: &Path) -> Result<(), Error> {
    let kept = kept(path);
    match std::fs::hard_link(path, &kept) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(Error::io(&kept)),
    }
}

#[cfg(test)]
mod tests {
    use super::frames::{FRAME, HEADER, LARGEST};
    use super::*;
    use serde_json::json;

    fn open(path: &Path) -> Result<(Journal, Replay), Error> {
        Journal::open(path, &path.with_file_name("sandboxes"))
    }

    async fn filled(path: &Path) {
        let (journal, replay) = open(path).unwrap();
        assert!(replay.records.is_empty());
        let (a, b) = (json!({"a": 1}), json!("b"));
        let (first, second) = tokio::join!(journal.put("a", &a), journal.put("b", &b));
        first.unwrap();
        second.unwrap();
        journal.put("a", &json!({"a": 2})).await.unwrap();
        journal.put("c", &json!(3)).await.unwrap();
        journal.remove("b").await.unwrap();
    }

    /// A log in a folder of its own, written and closed, and changed by whoever damages it.
    async fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        filled(&path).await;
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[tokio::test]
    async fn what_was_written_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        filled(&path).await;
        for _ in 0..2 {
            let (_, replay) = open(&path).unwrap();
            assert_eq!(replay.damaged, 0);
            assert_eq!(replay.records.len(), 2);
            assert_eq!(replay.records["a"], json!({"a": 2}));
        }
    }

    #[tokio::test]
    async fn a_damaged_frame_in_the_middle_is_told_and_the_others_stand() {
        let (_dir, path) = damaged(|bytes| bytes[HEADER + FRAME + 2] ^= 1).await;
        let (_, replay) = open(&path).unwrap();
        assert_eq!(replay.damaged, 1);
        assert_eq!(replay.records["c"], json!(3));
    }

    #[tokio::test]
    async fn damage_is_told_until_somebody_has_looked_at_it() {
        let length = |bytes: &mut Vec<u8>| bytes[HEADER + 3] = 0xff;
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(HEADER + 20);
        let tidy_cut = |bytes: &mut Vec<u8>| {
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes.truncate(end + 1);
        };
        let behind = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() = 1;
        // Closures that capture nothing are functions.
        let changes: [fn(&mut Vec<u8>); 4] = [length, cut, tidy_cut, behind];
        for change in changes {
            let (_dir, path) = damaged(change).await;
            let before = std::fs::read(&path).unwrap();
            // The second time it is a log without a fault, in the place of the damaged one.
            for _ in 0..2 {
                assert!(open(&path).unwrap().1.damaged > 0);
            }
            let kept = path.with_extension("damaged");
            assert_eq!(std::fs::read(&kept).unwrap(), before);
            std::fs::remove_file(kept).unwrap();
            assert_eq!(open(&path).unwrap().1.damaged, 0);
        }
    }

    #[tokio::test]
    async fn a_foreign_or_empty_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for text in ["not a journal", ""] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(open(&path), Err(Error::Foreign { .. })));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn a_missing_journal_of_sandboxes_that_are_there_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::create_dir_all(dir.path().join("sandboxes/sb-x")).unwrap();
        assert!(matches!(open(&path), Err(Error::Missing { .. })));
        let sandboxes = dir.path().join("sandboxes");
        assert!(matches!(
            read(&path, &sandboxes),
            Err(Error::Missing { .. })
        ));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn who_only_reads_a_damaged_log_leaves_it_as_it_is() {
        let (dir, path) = damaged(|bytes| bytes[HEADER + FRAME + 2] ^= 1).await;
        let replay = read(&path, &dir.path().join("sandboxes")).unwrap();
        assert_eq!(replay.damaged, 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_record_that_is_too_large_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (journal, _) = open(&path).unwrap();
        assert!(matches!(
            journal.put("big", &"x".repeat(LARGEST)).await,
            Err(Error::Record(_))
        ));
        journal.put("small", &1).await.unwrap();
        let (_, replay) = open(&path).unwrap();
        assert_eq!(replay.records.len(), 1);
    }

    /// As after an error of the disk: what is in memory goes into a new file, which has all that was ever acknowledged.
    #[tokio::test]
    async fn a_log_that_failed_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        filled(&path).await;
        let replay = super::replay(&path).unwrap().unwrap();
        let mut log = Log::open(&path, &replay).unwrap();
        log.tail.file = File::open(&path).unwrap();
        let failed = log.append(vec![("d".into(), Some(json!(4)))]);
        assert!(matches!(failed[..], [Err(Error::Broken(_))]), "{failed:?}");
        let written = log.append(vec![("e".into(), Some(json!(5)))]);
        assert!(matches!(written[..], [Ok(())]), "{written:?}");
        let replay = super::replay(&path).unwrap().unwrap();
        let mut ids: Vec<_> = replay.records.keys().map(String::as_str).collect();
        ids.sort_unstable();
        assert_eq!((ids, replay.damaged), (vec!["a", "c", "e"], 0));
    }
}
