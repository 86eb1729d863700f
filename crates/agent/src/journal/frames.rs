//! The journal's file format: a header, frames, zeros.

use std::collections::HashMap;

use super::Error;

const MAGIC: &[u8; 8] = b"wrennlog";
const VERSION: u32 = 1;
pub(super) const HEADER: usize = 12;
pub(super) const FRAME: usize = 8;
/// The largest payload of a frame, in bytes.
pub(super) const LARGEST: usize = 1 << 20;

/// What an old log held.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The live records by id.
    pub(crate) records: HashMap<String, serde_json::Value>,
    /// In how many places it is damaged; one at least while the copy of a log that was damaged stands.
    pub(crate) damaged: usize,
    /// Where the next frame goes, in bytes.
    pub(super) end: u64,
}

/// How every log begins.
fn header() -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes
}

/// A log of these records, up to where the next frame goes.
pub(super) fn log(records: &HashMap<String, serde_json::Value>) -> Result<Vec<u8>, Error> {
    let mut bytes = header();
    for (id, record) in records {
        bytes.extend(frame(id, Some(record))?);
    }
    Ok(bytes)
}

/// One change, encoded: a record, or none to remove it.
pub(super) fn frame(id: &str, record: Option<&serde_json::Value>) -> Result<Vec<u8>, Error> {
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

/// What the bytes of a log hold; none when they are no log of this version.
pub(super) fn replay(bytes: &[u8]) -> Option<Replay> {
    let frames = bytes
        .strip_prefix(MAGIC)?
        .strip_prefix(&VERSION.to_le_bytes())?;
    debug_assert_eq!(bytes.len() - frames.len(), HEADER);
    let mut replay = replay_frames(frames);
    replay.end += HEADER as u64;
    Some(replay)
}

fn replay_frames(frames: &[u8]) -> Replay {
    let mut replay = Replay::default();
    let mut rest = frames;
    loop {
        replay.end = (frames.len() - rest.len()) as u64;
        if is_end(rest) {
            return replay;
        }
        let Some((payload, crc, after)) = split_frame(rest) else {
            // Cut off, or a length that leads nowhere: nothing after it can be found.
            replay.damaged += 1;
            return replay;
        };
        let change = (crc32fast::hash(payload) == crc)
            .then(|| serde_json::from_slice::<(String, Option<serde_json::Value>)>(payload).ok())
            .flatten();
        match change {
            Some((id, Some(record))) => drop(replay.records.insert(id, record)),
            Some((id, None)) => drop(replay.records.remove(&id)),
            // The last frame of all may be torn, and what was not written of it is zeros, which no text has. One before
            // others is damaged, and so is one that was written as a whole.
            None if is_end(after) && payload.contains(&0) => return replay,
            None => replay.damaged += 1,
        }
        rest = after;
    }
}

/// Whether nothing but the zeros comes that every log ends in.
fn is_end(bytes: &[u8]) -> bool {
    bytes.len() >= FRAME && bytes.iter().all(|byte| *byte == 0)
}

/// A payload, its CRC and what follows; `None` where no frame can be.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (payload, after) = (1..=LARGEST)
        .contains(&length)
        .then(|| rest.split_at_checked(length))??;
    Some((payload, u32::from_le_bytes(*crc), after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        /// Written so far by a power cut, the log gives a prefix of what was written, and never anything else.
        #[test]
        fn a_torn_log_is_a_prefix(count in 1u32..20, cut in 0usize..2000) {
            let frames: Vec<Vec<u8>> =
                (0..count).map(|n| frame("x", Some(&json!(n))).unwrap()).collect();
            let mut all = frames.concat();
            let cut = cut.min(all.len());
            let length = all.len() + FRAME;
            all.truncate(cut);
            // Cut off, it is damaged; filled with zeros as it was before, it is not.
            prop_assert_eq!(replay_frames(&all).damaged, 1);
            all.resize(length, 0);
            let replay = replay_frames(&all);
            let ends = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) });
            let whole = ends.clone().take_while(|end| *end <= cut).count();
            prop_assert_eq!(replay.damaged, 0);
            prop_assert_eq!(replay.end, ends.take(whole).last().unwrap_or(0) as u64);
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
