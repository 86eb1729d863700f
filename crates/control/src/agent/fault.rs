//! The agent's errors in our words.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use buffa::Message as _;
use connectrpc::{ConnectError, ErrorCode};
use wrenn_hostagent_api::ErrorDetail;
use wrenn_model::{ErrorKind, Fault};

const DETAIL: &str = "hostagent.v1.ErrorDetail";

/// What a host's agent said went wrong; by its detail where there is one, else by its code.
pub fn from_agent(error: ConnectError) -> Fault {
    let detail = error
        .details
        .iter()
        .filter(|detail| detail.type_url.ends_with(DETAIL))
        .find_map(|detail| decode(detail.value.as_deref()?));
    match detail.filter(|detail| ErrorKind::from_name(&detail.code).is_some()) {
        Some(detail) => from_detail(detail, error.message),
        None => without_detail(&error),
    }
}

/// What went wrong by its detail, which may be a part of an answer.
pub(super) fn from_detail(detail: ErrorDetail, message: Option<String>) -> Fault {
    let kind = ErrorKind::from_name(&detail.code).unwrap_or(ErrorKind::AgentError);
    Fault::new(
        kind,
        message.unwrap_or_else(|| kind.to_string()),
        detail.remedy,
    )
    .retry_after(detail.retry_after_sec)
}

fn decode(value: &str) -> Option<ErrorDetail> {
    let bytes = STANDARD_NO_PAD
        .decode(value)
        .or_else(|_| STANDARD.decode(value))
        .ok()?;
    ErrorDetail::decode_from_slice(&bytes).ok()
}

/// Most often the connection's own troubles, whose texts are for the log.
fn without_detail(error: &ConnectError) -> Fault {
    tracing::debug!(%error, "the agent, or the way to it, failed");
    let told = || {
        error
            .message
            .clone()
            .unwrap_or_else(|| error.code.as_str().to_owned())
    };
    match error.code {
        ErrorCode::Unavailable | ErrorCode::Canceled => Fault::new(
            ErrorKind::Unavailable,
            "the host agent does not answer",
            "ask again shortly; if it stays so, see whether the agent runs",
        ),
        ErrorCode::DeadlineExceeded => Fault::new(
            ErrorKind::Timeout,
            "the host agent did not answer in time",
            "ask again; if it stays so, see what keeps the host busy",
        ),
        ErrorCode::NotFound => Fault::new(ErrorKind::NotFound, told(), "list what there is"),
        ErrorCode::InvalidArgument | ErrorCode::OutOfRange => {
            Fault::new(ErrorKind::InvalidRequest, told(), "correct the request")
        }
        ErrorCode::FailedPrecondition | ErrorCode::Aborted => Fault::new(
            ErrorKind::Conflict,
            told(),
            "ask again when the other operation has ended",
        ),
        ErrorCode::AlreadyExists => {
            Fault::new(ErrorKind::AlreadyExists, told(), "choose another name")
        }
        ErrorCode::PermissionDenied => Fault::new(ErrorKind::Forbidden, told(), "use another user"),
        ErrorCode::ResourceExhausted => {
            Fault::new(ErrorKind::QuotaExhausted, told(), "free something, or wait")
        }
        ErrorCode::Unimplemented => Fault::new(
            ErrorKind::NotSupported,
            "this host agent cannot do that",
            "see that server and agent are of one version",
        ),
        _ => Fault::new(
            ErrorKind::AgentError,
            told(),
            "look into the host agent's log",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_through_with_its_remedy() {
        for kind in ErrorKind::ALL {
            let detail = ErrorDetail {
                code: kind.name().to_owned(),
                remedy: "do this".to_owned(),
                retryable: kind.retryable(),
                retry_after_sec: Some(7),
                ..Default::default()
            };
            let error = ConnectError::internal("that happened")
                .with_detail(connectrpc::ErrorDetail::from_message(DETAIL, &detail));
            assert_eq!(
                from_agent(error),
                Fault::new(*kind, "that happened", "do this").retry_after(7)
            );
        }
    }

    #[test]
    fn without_a_detail_the_code_decides() {
        for (code, kind) in [
            (ErrorCode::NotFound, ErrorKind::NotFound),
            (ErrorCode::InvalidArgument, ErrorKind::InvalidRequest),
            (ErrorCode::FailedPrecondition, ErrorKind::Conflict),
            (ErrorCode::AlreadyExists, ErrorKind::AlreadyExists),
            (ErrorCode::PermissionDenied, ErrorKind::Forbidden),
            (ErrorCode::ResourceExhausted, ErrorKind::QuotaExhausted),
            (ErrorCode::Unavailable, ErrorKind::Unavailable),
            (ErrorCode::DeadlineExceeded, ErrorKind::Timeout),
            (ErrorCode::Unimplemented, ErrorKind::NotSupported),
            (ErrorCode::Internal, ErrorKind::AgentError),
            (ErrorCode::Unknown, ErrorKind::AgentError),
        ] {
            assert_eq!(
                from_agent(ConnectError::new(code, "x")).kind,
                kind,
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_detail_that_makes_no_sense_is_as_none() {
        let mut detail = connectrpc::ErrorDetail::from_message(DETAIL, &ErrorDetail::default());
        detail.value = Some("%%%".into());
        let error = ConnectError::not_found("x").with_detail(detail);
        assert_eq!(from_agent(error).kind, ErrorKind::NotFound);
    }
}
