//! A pack's header and mapping as bytes.

use std::io::{Read, Write};

use super::{BuildId, Entry, Error, Flaw, Identity, MAX_SIZE, Mapping, SUM, Source};
use crate::PAGE;

const MAGIC: [u8; 8] = *b"wrennpak";
const VERSION: u32 = 1;
const BLOCK_SIZE: u32 = 4096;
const HEADER: usize = 72;
const ENTRY: usize = 40;
const NIL: [u8; 16] = [0; 16];

const _: () = assert!(BLOCK_SIZE as u64 == PAGE);

/// How many entries are read or written at once.
const BATCH: usize = 1024;

/// Where the blocks begin in a pack with this mapping, in bytes.
pub(super) fn data_start(mapping: &Mapping) -> u64 {
    (HEADER + mapping.entries().len() * ENTRY + SUM) as u64
}

/// Writes header, mapping and their sum, and returns the sum.
pub(super) fn write(mapping: &Mapping, out: &mut dyn Write) -> Result<blake3::Hash, Error> {
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        out.write_all(bytes).map_err(Error::Write)
    };
    put(&encode_header(mapping))?;
    for entries in mapping.entries().chunks(BATCH) {
        let bytes: Vec<u8> = entries.iter().flat_map(encode_entry).collect();
        put(&bytes)?;
    }
    let sum = hasher.finalize();
    out.write_all(sum.as_bytes()).map_err(Error::Write)?;
    Ok(sum)
}

/// Reads header and mapping, and returns them with their sum, which is right.
pub(super) fn read(input: &mut dyn Read) -> Result<(Mapping, blake3::Hash), Error> {
    let mut hasher = blake3::Hasher::new();
    let mut header = [0; HEADER];
    input.read_exact(&mut header).map_err(Error::read)?;
    hasher.update(&header);
    let (mut mapping, mut entries) = decode_header(&header)?;
    let mut batch = vec![0; BATCH * ENTRY];
    while entries > 0 {
        let count = usize::try_from(entries).map_or(BATCH, |left| left.min(BATCH));
        let bytes = &mut batch[..count * ENTRY];
        input.read_exact(bytes).map_err(Error::read)?;
        hasher.update(bytes);
        for bytes in bytes.as_chunks().0 {
            mapping.append_read(decode_entry(bytes, mapping.entries().len())?)?;
        }
        entries -= count as u64;
    }
    mapping.check_covered()?;
    let sum = hasher.finalize();
    if read_sum(input)? != sum {
        return Err(Error::MappingSum);
    }
    Ok((mapping, sum))
}

/// Reads a sum.
pub(super) fn read_sum(input: &mut dyn Read) -> Result<blake3::Hash, Error> {
    let mut sum = [0; SUM];
    input.read_exact(&mut sum).map_err(Error::read)?;
    Ok(sum.into())
}

fn encode_header(mapping: &Mapping) -> Vec<u8> {
    let identity = mapping.identity();
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend(BLOCK_SIZE.to_le_bytes());
    header.extend(mapping.size().to_le_bytes());
    header.extend(identity.generation.to_le_bytes());
    header.extend(identity.build.as_bytes());
    header.extend(identity.base.as_bytes());
    header.extend((mapping.entries().len() as u64).to_le_bytes());
    header
}

/// An empty mapping with what the header says, and how many entries follow.
fn decode_header(header: &[u8; HEADER]) -> Result<(Mapping, u64), Error> {
    if field(header, 0) != MAGIC {
        return Err(Error::Magic);
    }
    let version = u32::from_le_bytes(field(header, 8));
    if version != VERSION {
        return Err(Error::Version(version));
    }
    let block_size = u32::from_le_bytes(field(header, 12));
    if block_size != BLOCK_SIZE {
        return Err(Error::BlockSize(block_size));
    }
    let size = u64::from_le_bytes(field(header, 16));
    if size > MAX_SIZE {
        return Err(Error::TooLarge(size));
    }
    let identity = Identity {
        generation: u64::from_le_bytes(field(header, 24)),
        build: BuildId::new(field(header, 32)).ok_or(Error::NoIdentity)?,
        base: BuildId::new(field(header, 48)).ok_or(Error::NoIdentity)?,
    };
    let entries = u64::from_le_bytes(field(header, 64));
    if entries > size.div_ceil(PAGE) {
        return Err(Error::TooManyEntries { entries, size });
    }
    Ok((Mapping::new(identity, size), entries))
}

fn encode_entry(entry: &Entry) -> [u8; ENTRY] {
    let (build, at) = match entry.source {
        Source::Zero => (NIL, 0),
        Source::Build { build, at } => (*build.as_bytes(), at),
    };
    let mut bytes = [0; ENTRY];
    bytes[..8].copy_from_slice(&entry.offset.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.len.to_le_bytes());
    bytes[16..32].copy_from_slice(&build);
    bytes[32..].copy_from_slice(&at.to_le_bytes());
    bytes
}

/// The entry with this index.
fn decode_entry(bytes: &[u8; ENTRY], index: usize) -> Result<Entry, Error> {
    let at = u64::from_le_bytes(field(bytes, 32));
    let source = match BuildId::new(field(bytes, 16)) {
        Some(build) => Source::Build { build, at },
        None if at == 0 => Source::Zero,
        None => {
            let source = Flaw::Misplaced;
            return Err(Error::Entry { index, source });
        }
    };
    Ok(Entry {
        offset: u64::from_le_bytes(field(bytes, 0)),
        len: u64::from_le_bytes(field(bytes, 8)),
        source,
    })
}

/// The `N` bytes that begin at `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
