//! The answer of an upload.

use serde::{Deserialize, Serialize};

/// One written file, in the answer of `POST /files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The last part of the path.
    pub name: String,
    /// The whole path, absolute.
    pub path: String,
    /// What stands there.
    #[serde(rename = "type")]
    pub kind: FileKind,
}

/// The kinds of entries that an upload makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
}
