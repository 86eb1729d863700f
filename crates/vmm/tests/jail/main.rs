//! The jail, with a shell and with a program of ours in the VMM's place. Wants root.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod cell;
mod escape;
mod shell;
