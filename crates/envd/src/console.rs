//! Sparse notes on the guest's console.

use std::fmt;
use std::io::Write;

/// Writes one line. A console that cannot be written to must not stop anything.
pub(crate) fn log(message: fmt::Arguments<'_>) {
    drop(writeln!(std::io::stderr(), "envd: {message}"));
}
