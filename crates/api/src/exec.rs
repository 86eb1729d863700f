//! Running a command and waiting for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::Fault;

use crate::text::{Argument, Variables};
use crate::{check, limits, whole};

/// A command to run to its end. No shell stands in between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cmd": "echo", "args": ["hello"], "timeout_sec": 10}))]
pub struct ExecRequest {
    /// A path, or a name that is looked up in PATH.
    #[schema(min_length = 1, max_length = 4095, pattern = r"^[^\x00]+$")]
    pub cmd: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Argument>, max_items = 4096)]
    pub args: Vec<String>,
    /// Seconds until it is ended with all its children. Absent, zero or less mean 30.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 86400)]
    pub timeout_sec: Option<i64>,
    /// The absolute path of the folder it runs in; the user's home when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4095, pattern = r"^/[^\x00]*$")]
    pub cwd: Option<String>,
    /// Variables on top of the sandbox's own; names and values together have at most 128 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Variables)]
    pub envs: BTreeMap<String, String>,
    /// Who runs it; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^[^:/\x00-\x1f\x7f-\x9f]+$"
    )]
    pub user: Option<String>,
    /// What it reads from its standard input, which is empty when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

impl ExecRequest {
    /// Whether it keeps the contract. Answers with its timeout in seconds.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<u32, Fault> {
        check::command(&self.cmd, &self.args, self.cwd.as_deref())?;
        check::envs(&self.envs)?;
        self.user.as_deref().map_or(Ok(()), check::user_name)?;
        let timeout = check::positive("timeout_sec", self.timeout_sec, limits::EXEC_TIMEOUT_SEC)?;
        Ok(timeout.unwrap_or(limits::EXEC_DEFAULT_TIMEOUT_SEC))
    }
}

/// How the bytes of both streams are written into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Encoding {
    /// As text.
    #[serde(rename = "utf-8")]
    Utf8,
    /// As base64, since at least one of them is no UTF-8, or so full of control characters that JSON would be longer.
    #[serde(rename = "base64")]
    Base64,
}

/// How a command ended and what it printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecResponse {
    /// Where it ran.
    pub sandbox_id: String,
    /// What ran.
    pub cmd: String,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub exit_code: i32,
    /// Milliseconds from its start to its end.
    pub duration_ms: u64,
    /// How both streams are written.
    pub encoding: Encoding,
    /// It was ended at its timeout; what it printed until then is here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// A stream was too long: its head and tail are here, the whole is in a file in the guest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The file in the guest that holds all of the standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_file: Option<String>,
    /// The file in the guest that holds all of the standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_file: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<ExecRequest, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_command_alone_is_enough() {
        assert_eq!(parse(r#"{"cmd":"true"}"#).unwrap().check().unwrap(), 30);
        assert_eq!(
            parse(r#"{"cmd":"true","timeout_sec":5}"#)
                .unwrap()
                .check()
                .unwrap(),
            5
        );
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for bad in [
            r#"{}"#,
            r#"{"cmd":1}"#,
            r#"{"cmd":"a","shell":true}"#,
            r#"{"cmd":"a","timeout_sec":6.5}"#,
            r#"{"cmd":"a","args":"b"}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in [
            r#"{"cmd":""}"#,
            r#"{"cmd":"a","timeout_sec":86401}"#,
            r#"{"cmd":"a","cwd":"tmp"}"#,
            r#"{"cmd":"a","user":""}"#,
            r#"{"cmd":"a","envs":{"A=B":"c"}}"#,
        ] {
            assert!(parse(bad).unwrap().check().is_err(), "{bad}");
        }
    }
}
