//! How errors are told to callers.

use std::error::Error;

use connectrpc::{ConnectError, ErrorCode};

use crate::caller::UserError;

/// An error with everything that led to it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A call without a user, as a Connect error.
pub(crate) fn rpc_user(error: &UserError) -> ConnectError {
    let code = match error {
        UserError::Unknown(_) => ErrorCode::Unauthenticated,
        UserError::Accounts(_) => ErrorCode::Internal,
    };
    ConnectError::new(code, chain(error))
}
