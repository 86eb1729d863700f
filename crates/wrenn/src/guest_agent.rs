//! The guest agent, carried inside this program, so that one file is all there is to install.

/// The static program that becomes `/init` and PID 1 of every guest.
pub(crate) const BINARY: &[u8] = include_bytes!(env!("WRENN_ENVD"));
