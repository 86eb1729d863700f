//! Who is who between hosts: the control plane's own certificate authority, the identities that it gives, and the one-time
//! tokens by which a host's agent comes to one. Pure: nothing here opens a file or a socket.
//!
//! The control plane is a client and nothing else, an agent a server and nothing else; both stand in their certificates'
//! extended key usage, which TLS holds them to. So an agent's identity, stolen, commands no other agent.
//!
//! A token has an id and a secret, which never goes over the wire: the agent's request and the control plane's answer each
//! carry an HMAC under it ([`JoinRequest`], [`JoinAnswer`]). So joining needs no TLS, and neither side believes a third one.

mod authority;
mod error;
mod identity;
mod join;
mod name;
mod token;

pub use authority::{AGENT_VALID, Authority};
pub use error::Error;
pub use identity::{ALPN, Identity};
pub use join::{JoinAnswer, JoinRequest, Joining};
pub use name::{HostName, InvalidHostName};
pub use token::{InvalidToken, Token};
