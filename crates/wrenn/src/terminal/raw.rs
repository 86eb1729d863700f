//! Our own terminal, lent to a command elsewhere: every key goes to it, and it draws as it likes.

use std::io;

use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use wrenn_client::api::PtySize;

/// The terminal of standard input in raw mode; as it was once this is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Takes every key as it is: Ctrl-C is one of them.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

/// How much the terminal of standard input shows now.
///
/// # Errors
/// When it is none.
pub(crate) fn screen() -> io::Result<PtySize> {
    let size = tcgetwinsize(stdin())?;
    Ok(PtySize {
        cols: size.ws_col.max(1),
        rows: size.ws_row.max(1),
    })
}

impl Drop for Raw {
    fn drop(&mut self) {
        // One that has gone needs nothing any more.
        tcsetattr(stdin(), OptionalActions::Now, &self.before).ok();
    }
}
