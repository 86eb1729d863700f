//! Terminals.

/// How many characters a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// In a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}
