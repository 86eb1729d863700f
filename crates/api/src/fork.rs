//! Forking a sandbox: what may be asked, and what came of each child.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::Fault;

use crate::check;
use crate::text::Labels;
use crate::{ErrorInfo, Sandbox, Timing, limits, whole};

/// The children to make. No body at all means `{}`, and so does `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"count": 2, "metadata": {"team": "red"}, "timeout_sec": 300}))]
pub struct ForkSandbox {
    /// How many; 1 when absent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(minimum = 1, maximum = 100)]
    pub count: Option<i64>,
    /// Labels of each child, in the place of the source's; the source's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Labels>)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds without activity after which `on_timeout` happens to a child. Absent, zero or less mean the source's; at most
    /// 30 days.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 2_592_000)]
    pub timeout_sec: Option<i64>,
}

/// What a [`ForkSandbox`] that keeps the contract asks for, besides labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedFork {
    /// How many children.
    pub count: u32,
    /// Seconds without activity after which `on_timeout` happens; `None` for the source's.
    pub timeout_sec: Option<u32>,
}

impl ForkSandbox {
    /// Whether it keeps the contract. Answers with what had to be read out of numbers.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<AskedFork, Fault> {
        self.metadata.as_ref().map_or(Ok(()), check::metadata)?;
        Ok(AskedFork {
            count: check::between("count", self.count.unwrap_or(1), limits::FORK_CHILDREN)?,
            timeout_sec: check::positive("timeout_sec", self.timeout_sec, u32::MAX)?,
        })
    }
}

/// What came of a fork.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Forked {
    /// What came of each child, in their order. One at the least runs.
    pub results: Vec<ForkResult>,
    /// How long each step took on the source's part, in their order.
    pub timings: Vec<Timing>,
    /// Milliseconds for which the source stood still; 0 for a paused one.
    #[schema(example = 21.5)]
    pub frozen_ms: f64,
}

/// What came of one child: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForkResult {
    /// It runs.
    Sandbox(Box<Sandbox>),
    /// It is not there, and why.
    Error(ErrorInfo),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Option<AskedFork> {
        let request: ForkSandbox = serde_json::from_str(json).ok()?;
        request.check().ok()
    }

    #[test]
    fn one_child_is_made_where_nothing_is_said() {
        let one = AskedFork {
            count: 1,
            timeout_sec: None,
        };
        for json in ["{}", r#"{"count":null}"#, r#"{"count":1,"timeout_sec":0}"#] {
            assert_eq!(asked(json), Some(one), "{json}");
        }
        assert_eq!(asked(r#"{"count":100}"#).unwrap().count, 100);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for bad in [
            r#"{"count":0}"#,
            r#"{"count":-1}"#,
            r#"{"count":101}"#,
            r#"{"count":1.5}"#,
            r#"{"metadata":{"a=b":""}}"#,
            r#"{"template":"minimal"}"#,
        ] {
            assert_eq!(asked(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_result_is_a_sandbox_or_an_error() {
        let error = ForkResult::Error(ErrorInfo {
            code: "resource_exhausted".into(),
            message: "m".into(),
            remedy: "r".into(),
            retryable: true,
            request_id: "req-1".into(),
        });
        let json = serde_json::to_value(&error).unwrap();
        assert_eq!(json["error"]["code"], "resource_exhausted");
        assert_eq!(serde_json::from_value::<ForkResult>(json).unwrap(), error);
    }
}
