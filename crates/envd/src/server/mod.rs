//! The server on the guest's port: HTTP/1.1 and h2c, plain routes and Connect services side by side.

pub(crate) mod answer;
mod gate;
mod init;
mod linger;
mod listen;
mod metrics;
mod revoked;
mod routes;

use std::sync::Arc;

pub(crate) use listen::{runtime, serve};
pub(crate) use routes::router;

use crate::machine::Machine;
use crate::process::Processes;
use crate::session::Sessions;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) processes: Arc<Processes>,
    /// What `/init` may change beside the session.
    pub(crate) machine: Machine,
    metrics: metrics::Meter,
    /// One `/init` at a time.
    initialising: tokio::sync::Mutex<()>,
}

impl Server {
    /// A server of a guest that is nobody's yet.
    pub(crate) fn new(processes: Arc<Processes>, machine: Machine) -> Arc<Self> {
        Arc::new(Self {
            sessions: Arc::default(),
            processes,
            machine,
            metrics: metrics::Meter::default(),
            initialising: tokio::sync::Mutex::default(),
        })
    }
}
