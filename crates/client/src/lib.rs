//! A typed client of the REST API.
//!
//! One [`Client`] keeps its connections open and is cheap to clone. What is large streams: [`Client::write_file`] takes
//! a stream of chunks, [`Client::read_file`] gives one, and [`Client::exec_stream`] speaks to a running command.

mod error;
mod events;
mod exec_stream;
mod files;
mod hosts;
mod keys;
mod once;
mod pools;
mod sandboxes;
mod templates;
mod transport;

pub use error::{ApiError, Error};
pub use events::{EventStream, Told};
pub use exec_stream::{ExecControl, ExecEvent, ExecEvents};
pub use files::FileContent;
pub use transport::Client;
pub use wrenn_api as api;

/// What a call gives.
pub type Result<T> = std::result::Result<T, Error>;
