//! Files in a guest.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::Fault;

use crate::{absolute_path, user_name};

/// Which file to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"path": "/etc/hostname"}))]
pub struct ReadFileRequest {
    /// The absolute path of a regular file.
    #[schema(max_length = 4095, pattern = r"^/[^\x00]*$")]
    pub path: String,
    /// Whose rights count; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^[^:/\x00-\x1f\x7f-\x9f]+$"
    )]
    pub user: Option<String>,
}

impl ReadFileRequest {
    /// Whether it keeps the contract.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<(), Fault> {
        absolute_path(&self.path)?;
        self.user.as_deref().map_or(Ok(()), user_name)
    }
}

/// The parts of a multipart upload. For the document only: the server reads them as they come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"path": "/tmp/data.bin", "file": "anything"}))]
pub struct WriteFileForm {
    /// The absolute path to write to.
    #[schema(max_length = 4095, pattern = r"^/[^\x00]*$")]
    pub path: String,
    /// Whose rights count and whose file it becomes; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 64, pattern = r"^[^:/\x00-\x1f\x7f-\x9f]+$")]
    pub user: Option<String>,
    /// The content.
    #[schema(value_type = String, format = Binary)]
    pub file: Vec<u8>,
}
