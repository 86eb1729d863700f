//! What the agent must not forget: one record a sandbox, in a log whose writes are grouped.
//!
//! The file is `magic, version` and then frames `length u32, CRC-32 u32, payload`, little-endian, after which it is
//! zeros: it is filled ahead of its end, so that a record overwrites blocks that exist and `fdatasync` has no metadata
//! to write. A frame is acknowledged after the sync that covers it. A tail that is torn belongs to nobody's promise; a
//! frame damaged further up is skipped and told. Opening writes the live records into a new log and renames it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use wrenn_sys::durable;

const MAGIC: &[u8; 8] = b"wrennlog";
const VERSION: u32 = 1;
const HEADER: usize = 12;
const FRAME: usize = 8;
/// The largest payload of a frame, in bytes.
const LARGEST: usize = 1 << 20;
/// How far ahead of its end the file is filled, in bytes.
const AHEAD: usize = 1 << 20;
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
    #[error("{path} is no journal of this version")]
    Foreign {
        /// The log.
        path: PathBuf,
    },
    /// A write failed before; what is on disk is uncertain until the agent starts again.
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

/// What an old log held.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The live records by id.
    pub(crate) records: HashMap<String, serde_json::Value>,
    /// How many frames were damaged, the torn tail not counted.
    pub(crate) damaged: usize,
}

/// The log, open for writing. Cloned freely; the thread behind it ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    requests: mpsc::Sender<Request>,
}

impl Journal {
    /// Replays the log at `path` (an absent one is empty) and opens a fresh one with the same live records.
    pub(crate) fn open(path: &Path) -> Result<(Self, Replay), Error> {
        let replay = replay(path)?;
        let log = Log::create(path, replay.records.clone())?;
        let (requests, inbox) = mpsc::channel(1024);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_until_closed(log, inbox))
            .map_err(|source| Error::Io {
                path: path.to_owned(),
                source,
            })?;
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
    file: File,
    live: HashMap<String, serde_json::Value>,
    end: u64,
    filled: u64,
    broken: Option<String>,
}

impl Log {
    /// A new log with these records, in the place of whatever was at `path`.
    fn create(path: &Path, live: HashMap<String, serde_json::Value>) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let aside = path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .map_err(failed)?;
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        for (id, record) in &live {
            bytes.extend(frame(id, Some(record))?);
        }
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + AHEAD, 0);
        file.write_all_at(&bytes, 0).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        durable::publish(&aside, path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            live,
            end,
            filled: bytes.len() as u64,
            broken: None,
        })
    }

    /// Appends all changes with one sync. A change that cannot be encoded fails alone; a write that fails, fails all.
    fn append(
        &mut self,
        changes: Vec<(String, Option<serde_json::Value>)>,
    ) -> Vec<Result<(), Error>> {
        if let Some(broken) = &self.broken {
            return changes
                .iter()
                .map(|_| Err(Error::Broken(broken.clone())))
                .collect();
        }
        let mut bytes = Vec::new();
        let mut results = Vec::with_capacity(changes.len());
        for (id, record) in &changes {
            results.push(frame(id, record.as_ref()).map(|frame| bytes.extend(frame)));
        }
        if let Err(error) = self.write(&bytes) {
            let told = error.to_string();
            return changes
                .iter()
                .map(|_| Err(Error::Broken(told.clone())))
                .collect();
        }
        for ((id, record), _) in changes.into_iter().zip(&results).filter(|(_, r)| r.is_ok()) {
            match record {
                Some(record) => self.live.insert(id, record),
                None => self.live.remove(&id),
            };
        }
        if self.end > COMPACT_AT {
            match Self::create(&self.path, std::mem::take(&mut self.live)) {
                Ok(fresh) => *self = fresh,
                Err(error) => self.broken = Some(format!("{error}")),
            }
        }
        results
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end + bytes.len() as u64;
        if end + FRAME as u64 > self.filled {
            // Fails alone when the disk is full: nothing of the log was touched.
            let zeros = vec![0; bytes.len() + AHEAD];
            self.file.write_all_at(&zeros, self.filled)?;
            self.file.sync_all()?;
            self.filled += zeros.len() as u64;
        }
        let written = self
            .file
            .write_all_at(bytes, self.end)
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.end = end,
            // After a failed sync nobody knows what the disk has.
            Err(ref error) => self.broken = Some(error.to_string()),
        }
        written
    }
}

fn frame(id: &str, record: Option<&serde_json::Value>) -> Result<Vec<u8>, Error> {
    let payload =
        serde_json::to_vec(&(id, record)).map_err(|error| Error::Record(error.to_string()))?;
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= LARGEST)
        .ok_or_else(|| Error::Record(format!("{} bytes", payload.len())))?;
    let mut frame = Vec::with_capacity(FRAME + payload.len());
    frame.extend(length.to_le_bytes());
    frame.extend(crc32fast::hash(&payload).to_le_bytes());
    frame.extend(payload);
    Ok(frame)
}

fn replay(path: &Path) -> Result<Replay, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Replay::default()),
        Err(error) => return Err(failed(error)),
    };
    let foreign = || Error::Foreign {
        path: path.to_owned(),
    };
    let frames = bytes
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.strip_prefix(&VERSION.to_le_bytes()))
        .ok_or_else(foreign)?;
    debug_assert_eq!(bytes.len() - frames.len(), HEADER);
    Ok(replay_frames(frames))
}

fn replay_frames(mut frames: &[u8]) -> Replay {
    let mut replay = Replay::default();
    while let Some((length, crc, rest)) = split_frame(frames) {
        if length > LARGEST || length > rest.len() {
            // A torn length: nothing after it can be found.
            break;
        }
        let (payload, after) = rest.split_at(length);
        let change = (crc32fast::hash(payload) == crc)
            .then(|| serde_json::from_slice::<(String, Option<serde_json::Value>)>(payload).ok())
            .flatten();
        match change {
            Some((id, Some(record))) => drop(replay.records.insert(id, record)),
            Some((id, None)) => drop(replay.records.remove(&id)),
            // The last frame of all may be torn; one before others is damage.
            None if after.iter().all(|byte| *byte == 0) => break,
            None => replay.damaged += 1,
        }
        frames = after;
    }
    replay
}

/// Length, CRC and what follows, or `None` at the end.
fn split_frame(bytes: &[u8]) -> Option<(usize, u32, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length > 0).then_some((length, u32::from_le_bytes(*crc), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    async fn filled(path: &Path) {
        let (journal, replay) = Journal::open(path).unwrap();
        assert!(replay.records.is_empty());
        let (a, b) = (json!({"a": 1}), json!("b"));
        let (first, second) = tokio::join!(journal.put("a", &a), journal.put("b", &b));
        first.unwrap();
        second.unwrap();
        journal.put("a", &json!({"a": 2})).await.unwrap();
        journal.put("c", &json!(3)).await.unwrap();
        journal.remove("b").await.unwrap();
    }

    #[tokio::test]
    async fn what_was_written_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        filled(&path).await;
        for _ in 0..2 {
            let (_, replay) = Journal::open(&path).unwrap();
            assert_eq!(replay.damaged, 0);
            assert_eq!(replay.records.len(), 2);
            assert_eq!(replay.records["a"], json!({"a": 2}));
        }
    }

    #[tokio::test]
    async fn a_damaged_frame_in_the_middle_is_told_and_the_others_stand() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        filled(&path).await;
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER + FRAME + 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (_, replay) = Journal::open(&path).unwrap();
        assert_eq!(replay.damaged, 1);
        assert_eq!(replay.records["c"], json!(3));
    }

    #[tokio::test]
    async fn a_foreign_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "not a journal").unwrap();
        assert!(matches!(Journal::open(&path), Err(Error::Foreign { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"not a journal");
    }

    #[tokio::test]
    async fn a_record_that_is_too_large_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (journal, _) = Journal::open(&path).unwrap();
        assert!(matches!(
            journal.put("big", &"x".repeat(LARGEST)).await,
            Err(Error::Record(_))
        ));
        journal.put("small", &1).await.unwrap();
        let (_, replay) = Journal::open(&path).unwrap();
        assert_eq!(replay.records.len(), 1);
    }

    proptest! {
        /// Cut anywhere, the log gives a prefix of what was written, and never anything else.
        #[test]
        fn a_log_cut_anywhere_is_a_prefix(count in 1u32..20, cut in 0usize..2000) {
            let frames: Vec<Vec<u8>> =
                (0..count).map(|n| frame("x", Some(&json!(n))).unwrap()).collect();
            let all = frames.concat();
            let cut = cut.min(all.len());
            let replay = replay_frames(&all[..cut]);
            let whole = frames
                .iter()
                .scan(0, |end, frame| { *end += frame.len(); Some(*end) })
                .take_while(|end| *end <= cut)
                .count();
            prop_assert_eq!(replay.damaged, 0);
            match whole {
                0 => prop_assert!(replay.records.is_empty()),
                n => prop_assert_eq!(&replay.records["x"], &json!(n - 1)),
            }
        }

        /// Garbage neither panics nor invents records that no CRC covers.
        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            replay_frames(&bytes);
        }
    }
}
