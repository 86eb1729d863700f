//! Teams: whose sandboxes are, and what each may have.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::Fault;

use crate::{Timestamp, check, whole};

/// What a team may have. What is absent has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max_sandboxes": 20, "max_vcpus": 16, "max_memory_mb": 16384, "max_storage_mb": 102400, "creates_per_min": 60}))]
pub struct TeamLimits {
    /// Sandboxes that are pending, run or are paused.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    pub max_sandboxes: Option<i64>,
    /// Virtual CPUs of those that are pending or run.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    pub max_vcpus: Option<i64>,
    /// Guest memory of the same, in MiB.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    pub max_memory_mb: Option<i64>,
    /// Disk of all that are not gone, in MiB: what their guests wrote, and their pauses. Where there is more, no sandbox is
    /// made; those that are there go on.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    pub max_storage_mb: Option<i64>,
    /// Sandboxes made in any minute.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    pub creates_per_min: Option<i64>,
}

/// What a [`TeamLimits`] asks for, in the same order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskedLimits {
    /// Sandboxes.
    pub sandboxes: Option<u32>,
    /// Virtual CPUs.
    pub vcpus: Option<u32>,
    /// MiB of guest memory.
    pub memory_mb: Option<u32>,
    /// MiB of disk.
    pub storage_mb: Option<u32>,
    /// Sandboxes made in any minute.
    pub creates_per_min: Option<u32>,
}

impl TeamLimits {
    /// Whether it keeps the contract.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<AskedLimits, Fault> {
        Ok(AskedLimits {
            sandboxes: count("max_sandboxes", self.max_sandboxes)?,
            vcpus: count("max_vcpus", self.max_vcpus)?,
            memory_mb: count("max_memory_mb", self.max_memory_mb)?,
            storage_mb: count("max_storage_mb", self.max_storage_mb)?,
            creates_per_min: count("creates_per_min", self.creates_per_min)?,
        })
    }
}

fn count(field: &str, given: Option<i64>) -> Result<Option<u32>, Fault> {
    let count = given.map(u32::try_from).transpose();
    count.map_err(|_| {
        check::refuse(
            format!("{field} is {}", given.unwrap_or_default()),
            format!("give 0 to {}, or leave it out for no limit", u32::MAX),
        )
    })
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    /// Its name.
    #[schema(example = "red")]
    pub name: String,
    /// What it may have.
    pub limits: TeamLimits,
    /// When it was made; absent of the team `default`, which there always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_no_limit_and_zero_is_one() {
        let limits: TeamLimits = serde_json::from_str(r#"{"max_vcpus":0}"#).unwrap();
        let asked = limits.check().unwrap();
        assert_eq!((asked.sandboxes, asked.vcpus), (None, Some(0)));
        for bad in [-1, 1 << 32] {
            let limits = TeamLimits {
                creates_per_min: Some(bad),
                ..TeamLimits::default()
            };
            let refused = limits.check().unwrap_err();
            assert!(refused.message.contains("creates_per_min"), "{refused}");
        }
    }
}
