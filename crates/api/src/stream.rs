//! The messages of a streamed command, one JSON text a WebSocket message.
//!
//! ```text
//! client: start | connect ─► (stdin | close_stdin | signal | resize)* ─► stop?
//! server:                    start ─► (stdout | stderr)* ─► exit | error, then it closes
//! ```
//!
//! `connect` takes a command up that runs already, from now on: one that was detached, or one whose sandbox was paused
//! under its stream and has been resumed. Closing such a connection leaves the command running; `stop` ends it.
//!
//! A binary message of the client is standard input too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::{Fault, TerminalSize};

use crate::text::{Argument, Variables};
use crate::{check, limits, whole};

/// What to run; the first message of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartCommand {
    /// A path, or a name that is looked up in PATH.
    #[schema(
        min_length = 1,
        max_length = 4095,
        pattern = r"^[^\x00]+$",
        example = "sh"
    )]
    pub cmd: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Argument>, max_items = 4096)]
    pub args: Vec<String>,
    /// Seconds until it is ended. Absent, zero or less mean no limit.
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
    /// Its standard input stays open for `stdin` messages; otherwise it is empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
    /// It goes on when this connection ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detach: bool,
    /// It has a terminal of this size, as an interactive program wants it: `stdin` messages are what is typed there, whatever
    /// `stdin` says here, and `stdout` messages what it shows. `TERM` is `xterm-256color` where `envs` says nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<PtySize>,
}

/// How many characters a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cols": 80, "rows": 24}))]
pub struct PtySize {
    /// In a line.
    #[schema(minimum = 1, maximum = 65535)]
    pub cols: u16,
    /// Lines.
    #[schema(minimum = 1, maximum = 65535)]
    pub rows: u16,
}

impl PtySize {
    /// Whether it keeps the contract.
    ///
    /// # Errors
    /// `invalid_request`, naming the rule.
    pub fn check(self) -> Result<TerminalSize, Fault> {
        let Self { cols, rows } = self;
        if cols == 0 || rows == 0 {
            return Err(check::refuse(
                format!("a terminal of {cols} columns and {rows} rows shows nothing"),
                "give it 1 to 65535 of both",
            ));
        }
        Ok(TerminalSize { cols, rows })
    }
}

impl StartCommand {
    /// Whether it keeps the contract. Answers with its timeout in seconds, 0 for none.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<u32, Fault> {
        check::command(&self.cmd, &self.args, self.cwd.as_deref())?;
        check::envs(&self.envs)?;
        self.user.as_deref().map_or(Ok(()), check::user_name)?;
        let timeout = check::positive("timeout_sec", self.timeout_sec, limits::EXEC_TIMEOUT_SEC)?;
        Ok(timeout.unwrap_or(0))
    }
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// Run this. Once, and before all else.
    Start(StartCommand),
    /// Follow a command that runs already. Instead of `start`.
    Connect {
        /// Its process id in the guest.
        #[schema(minimum = 1)]
        pid: u32,
    },
    /// Bytes for its standard input, as text or as base64.
    Stdin {
        /// Text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        /// Any bytes, in base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_b64: Option<String>,
    },
    /// Its standard input has ended. That of a terminal does not: what programs take for its end is Ctrl-D, byte 4.
    CloseStdin,
    /// Its terminal has another size from now on.
    Resize {
        /// Characters in a line.
        #[schema(minimum = 1, maximum = 65535)]
        cols: u16,
        /// Lines.
        #[schema(minimum = 1, maximum = 65535)]
        rows: u16,
    },
    /// Send it a signal.
    Signal {
        /// A Linux signal number, 1 to 64.
        #[schema(minimum = 1, maximum = 64)]
        signal: i32,
    },
    /// End it, with all its children.
    Stop,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// It runs.
    Start {
        /// Its process id in the guest.
        pid: u32,
    },
    /// It printed to its standard output: text, or base64 where the bytes are no UTF-8.
    Stdout {
        /// Text; never a character cut in two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        /// Any bytes, in base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_b64: Option<String>,
    },
    /// It printed to its standard error, likewise.
    Stderr {
        /// Text; never a character cut in two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        /// Any bytes, in base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_b64: Option<String>,
    },
    /// It ended. Nothing follows.
    Exit {
        /// Its exit code; 128 and the signal's number when a signal ended it.
        exit_code: i32,
        /// It was ended at its timeout.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        timed_out: bool,
    },
    /// It did not start, was lost, or its sandbox was paused (`invalid_state`): then it goes on after the resume, and
    /// `connect` takes it up again. Nothing follows.
    Error {
        /// What happened.
        data: String,
        /// A stable name for programs; `docs/errors.md` lists them.
        code: String,
        /// What the caller can do about it.
        remedy: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_the_contract_writes_them() {
        let start: ClientMessage =
            serde_json::from_str(r#"{"type":"start","cmd":"sh","args":["-c","ls"]}"#).unwrap();
        let ClientMessage::Start(command) = start else {
            panic!("no start")
        };
        assert_eq!(command.args, ["-c", "ls"]);
        assert_eq!(command.check().unwrap(), 0);
        for (text, message) in [
            (r#"{"type":"stop"}"#, ClientMessage::Stop),
            (
                r#"{"type":"connect","pid":7}"#,
                ClientMessage::Connect { pid: 7 },
            ),
            (r#"{"type":"close_stdin"}"#, ClientMessage::CloseStdin),
            (
                r#"{"type":"resize","cols":132,"rows":50}"#,
                ClientMessage::Resize {
                    cols: 132,
                    rows: 50,
                },
            ),
            (
                r#"{"type":"signal","signal":2}"#,
                ClientMessage::Signal { signal: 2 },
            ),
        ] {
            assert_eq!(
                serde_json::from_str::<ClientMessage>(text).unwrap(),
                message
            );
        }
        for bad in [
            r#"{"type":"start"}"#,
            r#"{"type":"pty"}"#,
            r#"{"type":"connect"}"#,
            r#"{"type":"connect","pid":-1}"#,
            r#"{"type":"connect","pid":1,"cmd":"a"}"#,
            r#"{"type":"start","cmd":"a","pty":{}}"#,
            r#"{"type":"start","cmd":"a","pty":{"cols":80,"rows":65536}}"#,
            r#"{"type":"resize","cols":80}"#,
            r#"{}"#,
        ] {
            assert!(serde_json::from_str::<ClientMessage>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_are_written_as_the_contract_says() {
        let text = |message: &ServerMessage| serde_json::to_string(message).unwrap();
        assert_eq!(
            text(&ServerMessage::Start { pid: 7 }),
            r#"{"type":"start","pid":7}"#
        );
        assert_eq!(
            text(&ServerMessage::Stdout {
                data: Some("hi".into()),
                data_b64: None
            }),
            r#"{"type":"stdout","data":"hi"}"#
        );
        assert_eq!(
            text(&ServerMessage::Exit {
                exit_code: 0,
                timed_out: false
            }),
            r#"{"type":"exit","exit_code":0}"#
        );
    }
}
