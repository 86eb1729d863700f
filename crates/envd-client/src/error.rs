//! Why a call failed.

use std::error::Error as StdError;
use std::io;

use http::StatusCode;

/// The longest text of a guest that is passed on, in characters.
const MAX_MESSAGE: usize = 512;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or it ended before the answer did.
    #[error("the guest agent cannot be reached")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The guest agent said no.
    #[error("the guest agent refused: {message}")]
    Refused {
        /// Its reason, as the Connect protocol names it.
        code: RefusedCode,
        /// Its words: capped, without control characters.
        message: String,
    },
    /// The answer, or a command's end, did not come in time.
    #[error("the guest agent did not answer in time")]
    TimedOut,
    /// The answer is larger than this call takes.
    #[error("the guest agent's answer is too large")]
    TooLarge,
    /// The answer makes no sense.
    #[error("the guest agent's answer is malformed: {0}")]
    Protocol(String),
    /// The content to be sent could not be read. The guest keeps what it had.
    #[error("the content could not be read")]
    Content(#[source] io::Error),
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// The error codes of the Connect protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum RefusedCode {
            $($(#[$doc])* $code,)*
        }

        impl RefusedCode {
            /// The code of this name on the wire.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$code),)* _ => None }
            }
        }
    };
}

codes! {
    /// The caller hung up.
    Canceled = "canceled",
    /// No code fits.
    Unknown = "unknown",
    /// The request itself is wrong, whatever the guest's state.
    InvalidArgument = "invalid_argument",
    /// It is not there.
    NotFound = "not_found",
    /// It is there already.
    AlreadyExists = "already_exists",
    /// The user may not.
    PermissionDenied = "permission_denied",
    /// Out of memory, disk, processes.
    ResourceExhausted = "resource_exhausted",
    /// The guest's state does not allow it.
    FailedPrecondition = "failed_precondition",
    /// Something else got in the way.
    Aborted = "aborted",
    /// Outside of what there is.
    OutOfRange = "out_of_range",
    /// This agent cannot do it.
    Unimplemented = "unimplemented",
    /// The agent did not do what it should.
    Internal = "internal",
    /// Not now.
    Unavailable = "unavailable",
    /// Something is lost.
    DataLoss = "data_loss",
    /// The token is missing or wrong.
    Unauthenticated = "unauthenticated",
}

impl RefusedCode {
    /// What a plain HTTP status means.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::PermissionDenied,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::CONFLICT => Self::AlreadyExists,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE => {
                Self::ResourceExhausted
            }
            StatusCode::NOT_IMPLEMENTED => Self::Unimplemented,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_client_error() => Self::InvalidArgument,
            status if status.is_server_error() => Self::Internal,
            _ => Self::Unknown,
        }
    }
}

impl Error {
    /// The failure of a request or of reading a body.
    pub(crate) fn from_transport(error: impl StdError + Send + Sync + 'static) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(current) = cause {
            if let Some(hyper) = current.downcast_ref::<hyper::Error>() {
                if hyper.is_parse_too_large() {
                    return Self::TooLarge;
                }
                if hyper.is_parse() {
                    return Self::protocol(&hyper.to_string());
                }
            }
            // What is wrong within a body is told as one of these: the length of a piece, trailers without end.
            if let Some(io) = current.downcast_ref::<io::Error>()
                && matches!(
                    io.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                )
            {
                return Self::protocol(&io.to_string());
            }
            cause = current.source();
        }
        Self::Unreachable(Box::new(error))
    }

    pub(crate) fn protocol(reason: &str) -> Self {
        Self::Protocol(printable(reason))
    }
}

/// `text` as it may be shown and logged: capped, control characters replaced. Of a long one the middle goes: it begins with
/// what it is about, and ends with why.
pub(crate) fn printable(text: &str) -> String {
    let tame = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let length = text.chars().count();
    if length <= MAX_MESSAGE {
        return text.chars().map(tame).collect();
    }
    let head = MAX_MESSAGE / 2;
    let tail = text.chars().skip(length - (MAX_MESSAGE - head - 1));
    let kept = text.chars().take(head).chain(['…']).chain(tail);
    kept.map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_words_are_tamed() {
        assert_eq!(printable("a\x1b[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(printable(&"é".repeat(9_999)).chars().count(), MAX_MESSAGE);
        let fits = "é".repeat(MAX_MESSAGE);
        assert_eq!(printable(&fits), fits);
    }

    #[test]
    fn a_long_path_hides_no_reason() {
        let told = printable(&format!("/{}: File name too long", "0".repeat(4094)));
        assert!(told.starts_with("/000"), "{told}");
        assert!(told.ends_with("0: File name too long"), "{told}");
    }

    #[test]
    fn statuses_mean_codes() {
        for (status, code) in [
            (400, RefusedCode::InvalidArgument),
            (401, RefusedCode::Unauthenticated),
            (404, RefusedCode::NotFound),
            (406, RefusedCode::InvalidArgument),
            (500, RefusedCode::Internal),
            (503, RefusedCode::Unavailable),
            (507, RefusedCode::ResourceExhausted),
            (302, RefusedCode::Unknown),
        ] {
            assert_eq!(
                RefusedCode::from_status(StatusCode::from_u16(status).unwrap()),
                code
            );
        }
    }
}
