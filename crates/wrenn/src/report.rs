//! Failures as people and programs read them: what happened, why, what to do.

use std::fmt;
use std::process::ExitCode;

use serde_json::json;
use wrenn_model::Fault;

use crate::terminal::escaped_text;

/// A failure together with what the reader can do about it.
#[derive(Debug)]
pub(crate) struct Advised {
    message: String,
    remedy: String,
    source: Option<anyhow::Error>,
}

impl Advised {
    /// A failure that ends here.
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: remedy.into(),
            source: None,
        }
    }

    /// The same with its cause.
    pub(crate) fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advised {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Tells a failure on standard error.
pub(crate) fn failure(error: &anyhow::Error, as_json: bool) {
    let text = if as_json {
        as_document(error)
    } else {
        as_lines(error)
    };
    eprintln!("{}", escaped_text(&text));
}

/// The exit code of a failure: 1; a reader of our output that went away is none.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let closed = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    ExitCode::from(u8::from(!closed))
}

/// The failure as people read it.
pub(crate) fn as_lines(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in causes(error) {
        text.push_str("\n  because: ");
        text.push_str(&cause);
    }
    if let Some(remedy) = remedy(error) {
        text.push_str("\n  what to do: ");
        text.push_str(&remedy);
    }
    if let Some(seconds) = retry_after_sec(error) {
        text.push_str(&format!("\n  try again: in {seconds} s"));
    }
    if let Some(id) = api(error)
        .map(|api| &api.request_id)
        .filter(|id| !id.is_empty())
    {
        text.push_str(&format!("\n  request: {id}"));
    }
    text
}

/// The form of the REST API's errors, also for what never reached the server.
fn as_document(error: &anyhow::Error) -> String {
    let (api, fault) = (api(error), fault(error));
    let code = api
        .map(|api| api.code.as_str())
        .or(fault.map(|fault| fault.kind.code()));
    let retryable = api
        .map(|api| api.retryable)
        .or(fault.map(|fault| fault.kind.retryable()));
    json!({ "error": {
        "code": code.unwrap_or("client_error"),
        "message": error.to_string(),
        "causes": causes(error),
        "remedy": remedy(error),
        "retryable": retryable.unwrap_or_default(),
        "retry_after_sec": retry_after_sec(error),
        "request_id": api.map(|api| api.request_id.as_str()),
    }})
    .to_string()
}

/// What is behind the failure, without what has been said already.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(&cause);
            causes.push(cause);
        }
    }
    causes
}

/// What the reader can do about it.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<String> {
    let told = error.chain().find_map(|cause| {
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            return Some(advised.remedy.clone());
        }
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return Some(fault.remedy.clone());
        }
        let client = cause.downcast_ref::<wrenn_client::Error>()?;
        client.remedy().map(str::to_owned)
    });
    told.or_else(|| {
        is_full(error).then(|| {
            "make room on the disk: `df -h` and `df -i` tell what is used up; sandboxes that run go on meanwhile"
                .to_owned()
        })
    })
}

/// Whether a disk without room, or without inodes, is behind it.
fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    })
}

fn retry_after_sec(error: &anyhow::Error) -> Option<u32> {
    api(error)?.retry_after_sec
}

fn api(error: &anyhow::Error) -> Option<&wrenn_client::ApiError> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<wrenn_client::Error>()?.api())
}

/// What an agent said without a server between.
fn fault(error: &anyhow::Error) -> Option<&Fault> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_why_and_what_to_do() {
        let error = anyhow::Error::from(
            Advised::new("the port is taken", "choose another with --addr")
                .because(std::io::Error::other("address in use")),
        );
        assert_eq!(
            as_lines(&error),
            "error: the port is taken\n  because: address in use\n  what to do: choose another with --addr"
        );
        let document: serde_json::Value = serde_json::from_str(&as_document(&error)).unwrap();
        assert_eq!(document["error"]["code"], "client_error");
        assert_eq!(document["error"]["remedy"], "choose another with --addr");
    }

    #[test]
    fn what_an_agent_said_keeps_its_kind() {
        let fault = Fault::new(
            wrenn_model::ErrorKind::Conflict,
            "it was replaced",
            "try again",
        );
        let error = anyhow::Error::from(fault).context("it was not verified");
        let document: serde_json::Value = serde_json::from_str(&as_document(&error)).unwrap();
        let told = ["code", "remedy"].map(|part| document["error"][part].as_str().unwrap());
        assert_eq!(told, ["conflict", "try again"]);
        assert_eq!(document["error"]["retryable"], true);
    }
}
