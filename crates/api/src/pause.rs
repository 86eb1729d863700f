//! Pausing and resuming: what may be asked, and what is told beside the sandbox.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Sandbox;

/// How to resume. No body at all means `{}`, and so does `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cold": false}))]
pub struct ResumeRequest {
    /// Boot from the disk of the pause; its memory is not looked at, and what ran has ended. The way out where the
    /// host is another one than the one that paused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cold: bool,
}

/// A sandbox after its pause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Paused {
    /// As it is now.
    #[serde(flatten)]
    pub sandbox: Sandbox,
    /// How long each step of the pause took, in their order.
    pub timings: Vec<Timing>,
    /// Bytes of memory that were written. Absent when it was paused before it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Bytes that its disk layer takes. Absent when it was paused before it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
}

/// A sandbox after its resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resumed {
    /// As it is now.
    #[serde(flatten)]
    pub sandbox: Sandbox,
    /// How long each step of the resume took, in their order; none when it ran before it was asked for.
    pub timings: Vec<Timing>,
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    /// The step's name; for people and logs, and no part of the contract.
    #[schema(example = "capture")]
    pub step: String,
    /// Milliseconds, to the microsecond.
    #[schema(example = 14.25)]
    pub ms: f64,
}

impl Timing {
    /// From microseconds.
    #[must_use]
    pub fn from_micros(step: String, micros: u64) -> Self {
        let ms = millis(micros);
        Self { step, ms }
    }
}

/// Milliseconds of microseconds.
#[must_use]
pub fn millis(micros: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 years")]
    let ms = micros as f64;
    ms / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_contract_says_may_be_asked() {
        let parse = |json| serde_json::from_str::<ResumeRequest>(json);
        assert!(!parse("{}").unwrap().cold);
        assert!(parse(r#"{"cold":true}"#).unwrap().cold);
        for bad in [r#"{"cold":1}"#, r#"{"warm":true}"#, r#"{"cold":null}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_step_is_told_in_milliseconds() {
        let timing = Timing::from_micros("capture".into(), 14_250);
        let json = serde_json::to_string(&timing).unwrap();
        assert_eq!(json, r#"{"step":"capture","ms":14.25}"#);
    }
}
