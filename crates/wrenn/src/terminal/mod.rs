//! What reaches the person at the terminal. Text that a guest or another caller wrote is made harmless first.

mod escape;
mod raw;
mod size;
mod table;

pub(crate) use escape::{Escaper, escaped_cell, escaped_text};
pub(crate) use raw::{Raw, screen};
pub(crate) use size::size;
pub(crate) use table::Table;

use std::io::IsTerminal;

/// Whether standard output is a terminal, and so interprets what it is sent.
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Prints a value as JSON, one document on lines of its own. JSON escapes control characters by itself; C1 controls and
/// direction marks are escaped here as well.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    print_line(&escape::json_harmless(&json))
}

/// Prints a line. A reader that went away, as in `wrenn sandbox ls | head -1`, is an error and not a panic.
pub(crate) fn print_line(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
