//! Pools: what a host has stand ready for creations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::{Fault, InvalidName, TemplateName};

use crate::check::{self, refuse};
use crate::{limits, whole};

/// A pool to have stand ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"template": "minimal", "vcpus": 1, "memory_mb": 512, "count": 4}))]
pub struct WarmPool {
    /// What its sandboxes are made from.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    pub template: String,
    /// Virtual CPUs of each. Absent, zero or less mean what a sandbox has when nothing is said; a snapshot's are its own.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 4_294_967_295_i64)]
    pub vcpus: Option<i64>,
    /// Memory of each in MiB, likewise.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 4_294_967_295_i64)]
    pub memory_mb: Option<i64>,
    /// How many are to stand ready: at least one, where `started` names none.
    #[serde(deserialize_with = "whole::required")]
    #[schema(minimum = 0, maximum = 1000)]
    pub count: i64,
    /// How many virtual machine monitors are to stand by behind them, which have only to load a boot image. Absent means none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 0, maximum = 1000)]
    pub started: Option<i64>,
}

/// What a [`WarmPool`] that keeps the contract asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedPool {
    /// What its sandboxes are made from.
    pub template: TemplateName,
    /// Virtual CPUs; `None` for the default.
    pub vcpus: Option<u32>,
    /// Memory in MiB; `None` for the default.
    pub memory_mb: Option<u32>,
    /// How many are to stand ready.
    pub count: u32,
    /// How many virtual machine monitors are to stand by behind them.
    pub started: u32,
}

impl WarmPool {
    /// Whether it keeps the contract. Answers with what had to be read out of texts and numbers.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<AskedPool, Fault> {
        let template = self.template.parse().map_err(|error: InvalidName| {
            refuse(
                error.to_string(),
                "list the templates with GET /v1/snapshots",
            )
        })?;
        let count = check::up_to("count", self.count, limits::POOL_COUNT)?;
        let started = self.started.unwrap_or(0);
        let started = check::up_to("started", started, limits::POOL_COUNT)?;
        if count == 0 && started == 0 {
            return Err(refuse(
                "neither count nor started is more than 0",
                "ask for at least one; DELETE /v1/pools gives back what stands ready",
            ));
        }
        Ok(AskedPool {
            template,
            vcpus: check::positive("vcpus", self.vcpus, u32::MAX)?,
            memory_mb: check::positive("memory_mb", self.memory_mb, u32::MAX)?,
            count,
            started,
        })
    }
}

/// What stands ready of one shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// What its sandboxes are made from.
    #[schema(example = "minimal")]
    pub template: String,
    /// Virtual CPUs of each.
    pub vcpus: u32,
    /// Memory of each in MiB.
    pub memory_mb: u32,
    /// How many are to stand ready.
    pub wanted: u32,
    /// How many do.
    pub ready: u32,
    /// How many virtual machine monitors are to stand by behind them.
    pub wanted_started: u32,
    /// How many were started and wait for what to run.
    pub started: u32,
    /// Whether there is a boot image: without one its sandboxes boot.
    pub image: bool,
    /// Bytes that the boot image takes on the disk.
    pub image_bytes: u64,
    /// Creations that found something ready, since the agent began.
    pub hits: u64,
    /// Those that did not.
    pub misses: u64,
    /// The host's configuration names it.
    pub configured: bool,
}

/// What stands ready on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pools {
    /// Each shape that has something ready, or was asked for.
    pub pools: Vec<Pool>,
    /// Network slots that stand ready.
    pub slots: u32,
    /// Bytes that all boot images take.
    pub image_bytes: u64,
    /// Bytes that they may take.
    pub image_bytes_max: u64,
}

/// What was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drained {
    /// Sandboxes and virtual machine monitors that stood ready.
    pub drained: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Option<AskedPool> {
        let request: WarmPool = serde_json::from_str(json).ok()?;
        request.check().ok()
    }

    #[test]
    fn a_shape_and_a_count_are_a_pool() {
        let pool = asked(r#"{"template":"minimal","vcpus":2,"count":4}"#).unwrap();
        assert_eq!(pool.template.as_str(), "minimal");
        assert_eq!((pool.vcpus, pool.memory_mb), (Some(2), None));
        assert_eq!((pool.count, pool.started), (4, 0));
    }

    #[test]
    fn what_only_stands_by_is_a_pool_as_well() {
        for (json, counts) in [
            (r#"{"template":"minimal","count":0,"started":1}"#, (0, 1)),
            (
                r#"{"template":"minimal","count":2,"started":1000}"#,
                (2, 1000),
            ),
            (r#"{"template":"minimal","count":1,"started":null}"#, (1, 0)),
        ] {
            let pool = asked(json).unwrap();
            assert_eq!((pool.count, pool.started), counts, "{json}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for bad in [
            "{}",
            r#"{"template":"minimal"}"#,
            r#"{"count":1}"#,
            r#"{"template":"../x","count":1}"#,
            r#"{"template":"minimal","count":0}"#,
            r#"{"template":"minimal","count":0,"started":0}"#,
            r#"{"template":"minimal","count":1,"started":-1}"#,
            r#"{"template":"minimal","count":1,"started":1001}"#,
            r#"{"template":"minimal","started":1}"#,
            r#"{"template":"minimal","count":1001}"#,
            r#"{"template":"minimal","count":null}"#,
            r#"{"template":"minimal","count":1,"size":1}"#,
        ] {
            assert_eq!(asked(bad), None, "{bad}");
        }
    }
}
