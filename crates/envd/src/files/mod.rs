//! `GET` and `POST /files`: content in and out, streamed.

mod download;
mod incoming;
mod query;
mod upload;

pub(crate) use download::download;
pub(crate) use query::FileQuery;
pub(crate) use upload::upload;

use std::io;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::caller::UserError;
use crate::server::answer::refuse;

/// Why a file call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{0}")]
    Invalid(&'static str),
    #[error("{0}")]
    NotAcceptable(&'static str),
    #[error("{} is a directory", .0.display())]
    IsDirectory(std::path::PathBuf),
    #[error("{} is not a regular file", .0.display())]
    NotRegular(std::path::PathBuf),
    #[error(transparent)]
    User(#[from] UserError),
    #[error("the upload broke off")]
    BrokenOff,
    #[error("{}", .0.display())]
    Io(std::path::PathBuf, #[source] io::Error),
}

impl FileError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::IsDirectory(_) | Self::NotRegular(_) | Self::BrokenOff => {
                StatusCode::BAD_REQUEST
            }
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::User(UserError::Unknown(_)) => StatusCode::UNAUTHORIZED,
            Self::User(UserError::Accounts(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Io(_, error) => match error.kind() {
                io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    StatusCode::INSUFFICIENT_STORAGE
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    StatusCode::FORBIDDEN
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                    StatusCode::BAD_REQUEST
                }
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }
}

impl IntoResponse for FileError {
    fn into_response(self) -> Response {
        refuse(self.status(), crate::errors::chain(&self))
    }
}
