//! Templates: what a sandbox is made from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// Where a template comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TemplateType {
    /// Built from a recipe.
    Base,
    /// Taken from a sandbox.
    Snapshot,
}

/// Something that a sandbox can be made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// Its name.
    #[schema(example = "minimal")]
    pub name: String,
    /// Where it comes from.
    #[serde(rename = "type")]
    pub kind: TemplateType,
    /// Virtual CPUs of its sandboxes; absent when each sandbox chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Memory of its sandboxes in MiB; absent when each sandbox chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// Bytes that it takes on the disk, holes not counted.
    pub size_bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
}
