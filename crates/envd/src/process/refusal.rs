//! Which Connect code tells what.

use std::io;

use connectrpc::{ConnectError, ErrorCode};

use super::handle::ReachError;
use super::launch::LaunchError;
use crate::sys::spawn::SpawnError;

/// Why a command was not started: the caller's mistake, or the guest's lack.
pub(super) fn refused(error: &LaunchError) -> ConnectError {
    let code = match &error {
        LaunchError::NoProgram | LaunchError::Nul(_) | LaunchError::NoDirectory(_) => {
            ErrorCode::InvalidArgument
        }
        LaunchError::Spawn(_, SpawnError::Execute(source) | SpawnError::Directory(source)) => {
            match source.kind() {
                io::ErrorKind::NotFound => ErrorCode::NotFound,
                io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
                _ => ErrorCode::InvalidArgument,
            }
        }
        LaunchError::Spawn(
            _,
            SpawnError::Clone(_) | SpawnError::Terminal(_) | SpawnError::Identity(_),
        )
        | LaunchError::Prepare(_) => ErrorCode::ResourceExhausted,
    };
    ConnectError::new(code, crate::errors::chain(error))
}

/// Why a command did not get input or a signal.
pub(super) fn unreached(error: &ReachError) -> ConnectError {
    let code = match error {
        ReachError::Ended => ErrorCode::NotFound,
        ReachError::InputClosed | ReachError::NoTerminal | ReachError::Endless => {
            ErrorCode::FailedPrecondition
        }
        ReachError::NoSignal(_) => ErrorCode::InvalidArgument,
        ReachError::Refused(_) => ErrorCode::Internal,
    };
    ConnectError::new(code, crate::errors::chain(error))
}
