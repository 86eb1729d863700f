//! Running a command to its end.

use axum::Json as Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wrenn_api::{Encoding, ExecRequest, ExecResponse};
use wrenn_control::Command;

use super::described::OfSandbox;
use crate::auth::Mine;
use crate::extract::{Id, Json};
use crate::refusal::Answer;

/// Runs a command to its end and answers with what it printed.
///
/// No shell stands in between: `cmd` is looked up in PATH and gets `args` as they are. A command that outlives its
/// timeout is ended with all its children, and the answer is 200 with `timed_out`.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/exec", operation_id = "exec", tag = "commands", params(OfSandbox),
    request_body = ExecRequest, responses((status = 200, description = "It ended.", body = ExecResponse))
)]
pub(super) async fn exec(
    Mine(sandboxes): Mine,
    Id(id): Id,
    Json(request): Json<ExecRequest>,
) -> Answer<Body<ExecResponse>> {
    let timeout_sec = request.check()?;
    let command = Command {
        cmd: request.cmd.clone(),
        args: request.args,
        timeout_sec,
        cwd: request.cwd,
        envs: request.envs,
        user: request.user,
    };
    let outcome = sandboxes
        .exec(&id, command, request.stdin.map(String::into_bytes))
        .await?;
    let (stdout, stderr, encoding) = texts(outcome.stdout, outcome.stderr);
    Ok(Body(ExecResponse {
        sandbox_id: id.into(),
        cmd: request.cmd,
        stdout,
        stderr,
        exit_code: outcome.exit_code,
        duration_ms: outcome.duration_ms,
        encoding,
        timed_out: outcome.timed_out,
        truncated: outcome.stdout_file.is_some() || outcome.stderr_file.is_some(),
        stdout_file: outcome.stdout_file,
        stderr_file: outcome.stderr_file,
    }))
}

/// Both streams as texts: as they are when both are that, else both in base64.
fn texts(stdout: Vec<u8>, stderr: Vec<u8>) -> (String, String, Encoding) {
    match (String::from_utf8(stdout), String::from_utf8(stderr)) {
        (Ok(stdout), Ok(stderr)) if is_short_in_json(&stdout) && is_short_in_json(&stderr) => {
            (stdout, stderr, Encoding::Utf8)
        }
        (stdout, stderr) => {
            let encode = |text: Result<String, std::string::FromUtf8Error>| match text {
                Ok(text) => STANDARD.encode(text),
                Err(error) => STANDARD.encode(error.as_bytes()),
            };
            (encode(stdout), encode(stderr), Encoding::Base64)
        }
    }
}

/// Whether JSON does not blow it up: a control character takes six bytes there. Base64 adds a third to whatever it is.
fn is_short_in_json(text: &str) -> bool {
    let escaped = |byte: &u8| *byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t');
    let more = 5 * text.bytes().filter(|byte| escaped(byte)).count();
    more <= text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_have_one_encoding() {
        let (out, err, encoding) = texts("ü".into(), Vec::new());
        assert_eq!(
            (out.as_str(), err.as_str(), encoding),
            ("ü", "", Encoding::Utf8)
        );
        let (out, err, encoding) = texts(b"ok".to_vec(), vec![0xff]);
        assert_eq!(
            (out.as_str(), err.as_str(), encoding),
            ("b2s=", "/w==", Encoding::Base64)
        );
        let coloured = b"\x1b[32mwell\x1b[0m\n".to_vec();
        assert_eq!(texts(coloured, Vec::new()).2, Encoding::Utf8);
        assert_eq!(texts(vec![0; 9], Vec::new()).2, Encoding::Base64);
    }
}
