//! The guest agent's only `unsafe`: making a process, configuring a network interface, feeding the random number
//! generator. Everything else goes through safe wrappers.

pub(crate) mod entropy;
pub(crate) mod filter;
pub(crate) mod interface;
pub(crate) mod spawn;
