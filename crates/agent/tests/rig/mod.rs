//! What the tests of faults have: an agent in a process of its own over the fake VMM, a neighbour that must not be
//! disturbed, and a look at all that the kernel has.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod act;
pub(crate) mod agent;
pub(crate) mod client;
pub(crate) mod lane;
pub(crate) mod pulse;
pub(crate) mod suite;
