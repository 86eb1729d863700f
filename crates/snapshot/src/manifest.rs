//! What a generation says about itself.
//!
//! A manifest is a line of JSON and a line with the BLAKE3 of the first, in hexadecimal. It is the only file that a
//! generation's other files are held against, so that none of them can be exchanged alone.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use wrenn_model::{Platform, SandboxSpec};

use crate::id::GenerationId;
use crate::layout::Layout;
use crate::sums::Root;
use crate::{Error, files};

/// The version that is written and read.
const VERSION: u32 = 1;

/// The largest manifest that is read, in bytes.
pub(crate) const MAX_LEN: usize = 1 << 20;

/// The length of the second line: a BLAKE3 in hexadecimal.
const SUM_LEN: usize = 64;

/// What a generation is, and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// Which generation of its sandbox it is.
    pub id: GenerationId,
    /// 16 random bytes in hexadecimal: one pair of disk and memory, in whatever file or archive.
    pub build: String,
    /// The generation that its VM was resumed from, if any.
    pub parent: Option<GenerationId>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// The sandbox as its creator asked for it.
    pub spec: SandboxSpec,
    /// Where the VM ran.
    pub platform: Platform,
    /// The guest's kernel: its hash or version.
    pub kernel: String,
    /// The guest agent: its hash or version.
    pub envd: String,
    /// The device state.
    pub state: State,
    /// The memory image.
    pub memory: Image,
    /// The disk's layer.
    pub layer: Layer,
    /// The image under the layer.
    pub base: Base,
}

/// A saved device state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Its length, in bytes.
    pub len: u64,
    /// Its BLAKE3, in hexadecimal.
    pub sum: String,
}

/// A sparse file with sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its length and where it has data.
    pub layout: Layout,
    /// The root of its sums.
    pub root: Root,
    /// How many bytes of data this generation wrote to it; the rest is shared with its parent.
    pub written: u64,
}

/// The disk's layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Its file.
    pub image: Image,
    /// The size of the disk that the guest sees, in bytes.
    pub virtual_size: u64,
}

/// The image under the disk's layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Its length, in bytes.
    pub len: u64,
    /// The root of the sums of its blocks, if whoever saved the generation knew it.
    pub root: Option<Root>,
}

/// What a manifest says that its generation's files do not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The sandbox as its creator asked for it.
    pub spec: SandboxSpec,
    /// Where the VM ran.
    pub platform: Platform,
    /// The guest's kernel: its hash or version.
    pub kernel: String,
    /// The guest agent: its hash or version.
    pub envd: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// What a generation's files are.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) id: GenerationId,
    pub(crate) build: String,
    pub(crate) parent: Option<GenerationId>,
    pub(crate) state: State,
    pub(crate) memory: Image,
    pub(crate) layer: Layer,
    pub(crate) base: Base,
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It is longer than any is.
    #[error("it is longer than {MAX_LEN} bytes")]
    TooLong,
    /// It is not what was written.
    #[error("its sum is not that of its contents")]
    Sum,
    /// It has another version.
    #[error("it has version {0}, and {VERSION} is known")]
    Version(u32),
    /// Its sum is right and it is no manifest.
    #[error("it says nothing that is understood")]
    Json(#[from] serde_json::Error),
    /// It is that of another generation.
    #[error("it is that of generation {0}")]
    Other(GenerationId),
    /// It changed since it was read first.
    #[error("it changed since it was read first")]
    Changed,
    /// What it says cannot be.
    #[error("it contradicts itself in its {0}")]
    Contradiction(&'static str),
}

impl Manifest {
    pub(crate) fn new(facts: Facts, contents: Contents) -> Self {
        Self {
            version: VERSION,
            id: contents.id,
            build: contents.build,
            parent: contents.parent,
            created_ms: facts.created_ms,
            spec: facts.spec,
            platform: facts.platform,
            kernel: facts.kernel,
            envd: facts.envd,
            state: contents.state,
            memory: contents.memory,
            layer: contents.layer,
            base: contents.base,
        }
    }

    /// The same files as another sandbox's generation, or as nobody's.
    pub(crate) fn of_another(self, id: GenerationId, spec: SandboxSpec, created_ms: i64) -> Self {
        Self {
            id,
            parent: None,
            created_ms,
            spec,
            ..self
        }
    }

    /// The file's contents.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec(self).map_err(Invalid::Json)?;
        bytes.push(b'\n');
        let sum = blake3::hash(&bytes).to_hex();
        bytes.extend_from_slice(sum.as_bytes());
        bytes.push(b'\n');
        if bytes.len() > MAX_LEN {
            return Err(Invalid::TooLong.into());
        }
        Ok(bytes)
    }

    /// Reads a file's contents.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }

        if bytes.len() > MAX_LEN {
            return Err(Invalid::TooLong);
        }
        let (body, sum) = bytes
            .strip_suffix(b"\n")
            .and_then(|lines| lines.split_at_checked(lines.len().checked_sub(SUM_LEN)?))
            .ok_or(Invalid::Sum)?;
        if blake3::hash(body).to_hex().as_bytes() != sum {
            return Err(Invalid::Sum);
        }
        let Versioned { version } = serde_json::from_slice(body)?;
        if version != VERSION {
            return Err(Invalid::Version(version));
        }
        Ok(serde_json::from_slice(body)?)
    }

    /// Reads a generation's manifest.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(files::MANIFEST);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::Missing {
                file: files::MANIFEST,
            },
            _ => Error::io("open", &path)(error),
        })?;
        let mut bytes = Vec::new();
        file.take(MAX_LEN as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        Ok(Self::from_bytes(&bytes)?)
    }
}
