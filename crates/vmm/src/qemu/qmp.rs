//! QEMU's control protocol: JSON lines over a Unix socket. Whoever answers may be a guest that broke out.

mod client;
mod codec;
mod link;

pub(super) use codec::Event;
pub(super) use link::Link;
