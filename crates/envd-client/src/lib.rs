//! Calls to the guest agent, from the host.
//!
//! Whatever runs in a guest may have taken its agent over, so every answer is hostile until it has been looked at: headers,
//! messages and bodies have caps, every wait has an end unless the caller owns it, nothing is decompressed, texts come
//! without control characters, and no answer makes this crate panic.
//!
//! The Connect protocol is spoken here by hand: it is one header and five bytes of framing, and in return each cap stands in
//! plain sight.

mod client;
mod connector;
mod error;
mod files;
mod introduced;
mod message;
mod process;
mod rpc;
mod transport;

pub use client::EnvdClient;
pub use connector::{Connector, Stream};
pub use error::{Error, RefusedCode};
pub use files::FileStream;
pub use introduced::Introduced;
pub use process::{ProcessEvent, ProcessInfo, ProcessStream, Spool, Start};
pub use wrenn_envd_api::{InitRequest, Metrics, Secret};
