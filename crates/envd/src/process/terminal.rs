//! A command's terminal: a pseudo-terminal of which it has one end and this agent the other.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, OFlags, Uid, fchown, fcntl_setfl};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::net::unix::pipe::{Receiver, Sender};
use wrenn_envd_api::process::PTY;

use crate::users::User;

/// What a terminal has whose caller does not say.
const USUAL: Size = Size { cols: 80, rows: 24 };

/// How many characters it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    cols: u16,
    rows: u16,
}

impl Size {
    /// The size that a caller asks for; 0 is what is usual, and what is too large the largest.
    pub(crate) fn asked(pty: &PTY) -> Self {
        let (cols, rows) = pty
            .size
            .as_option()
            .map_or((0, 0), |size| (size.cols, size.rows));
        let within = |asked: u32, usual| match asked {
            0 => usual,
            asked => u16::try_from(asked).unwrap_or(u16::MAX),
        };
        Self {
            cols: within(cols, USUAL.cols),
            rows: within(rows, USUAL.rows),
        }
    }
}

/// This agent's end.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    /// A new one of this size, and the command's end, which is `user`'s.
    pub(super) fn open(size: Size, user: &User) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags)?;
        unlockpt(&own)?;
        let theirs = ioctl_tiocgptpeer(&own, flags)?;
        fchown(
            &theirs,
            Some(Uid::from_raw(user.uid)),
            Some(Gid::from_raw(user.gid)),
        )?;
        // Of the file that all descriptors below share.
        fcntl_setfl(&own, OFlags::RDWR | OFlags::NONBLOCK)?;
        let terminal = Self(own);
        terminal.resize(size)?;
        Ok((terminal, theirs))
    }

    /// Gives it another size, of which the kernel tells whoever has it in the foreground by SIGWINCH.
    pub(super) fn resize(&self, size: Size) -> io::Result<()> {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.0, size)?)
    }

    /// Where what is typed is written. It is no pipe, but takes bytes and tells when it has room as one does.
    pub(super) fn keyboard(&self) -> io::Result<Sender> {
        Sender::from_file_unchecked(self.another()?)
    }

    /// Where what is shown is read, likewise. When nobody has the other end any more, it is an error.
    pub(super) fn screen(&self) -> io::Result<Receiver> {
        Receiver::from_file_unchecked(self.another()?)
    }

    fn another(&self) -> io::Result<File> {
        Ok(self.0.try_clone()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrenn_envd_api::process::pty;

    #[test]
    fn a_size_that_is_not_said_is_the_usual_one() {
        let asked = |cols, rows| {
            let size = pty::Size {
                cols,
                rows,
                ..Default::default()
            };
            Size::asked(&PTY {
                size: size.into(),
                ..Default::default()
            })
        };
        assert_eq!(Size::asked(&PTY::default()), USUAL);
        assert_eq!(asked(0, 50), Size { cols: 80, rows: 50 });
        let largest = u16::MAX;
        assert_eq!(
            asked(70_000, 1),
            Size {
                cols: largest,
                rows: 1
            }
        );
    }
}
