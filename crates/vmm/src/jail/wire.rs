//! What agent and zygote say to each other: an order with descriptors one way, JSON lines the other, until the socket closes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::{JailSpec, retry};
use crate::Error;

/// The most descriptors that go into a jail.
pub(super) const MOST_FDS: usize = 8;
/// Those that come before them: where to answer, and the log.
const OWN_FDS: usize = 2;
/// The longest order or answer.
pub(super) const LONGEST: usize = 64 << 10;

/// What is said of a jail that was ordered, a JSON line each. The zygote and its copy write independently.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// The copy has this process number, as the agent sees it.
    Pid(i32),
    /// It went wrong.
    Failed(String),
}

/// One order as the zygote gets it.
pub(super) struct Order {
    pub(super) spec: io::Result<JailSpec>,
    /// Where to tell how it goes. It closes when the copy becomes its program.
    pub(super) answer: OwnedFd,
    /// The program's standard output and error.
    pub(super) log: OwnedFd,
    /// What it finds open.
    pub(super) fds: Vec<OwnedFd>,
}

/// Sends an order, unless the socket is full. Whole or not at all: it keeps messages apart.
pub(super) fn send(
    control: BorrowedFd<'_>,
    text: &[u8],
    own: [BorrowedFd<'_>; OWN_FDS],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let all: Vec<_> = own.iter().chain(fds).copied().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS + OWN_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&all));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    retry(|| rustix::net::sendmsg(control, &[IoSlice::new(text)], &mut ancillary, flags))?;
    Ok(())
}

/// The next order; `None` when nobody is there any more to give one.
pub(super) fn receive(control: &OwnedFd) -> io::Result<Option<Order>> {
    let mut text = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS + OWN_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry(|| {
        rustix::net::recvmsg(
            control,
            &mut [IoSliceMut::new(&mut text)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let mut fds = rights.flatten();
    let missing = || io::Error::other("an order without its descriptors");
    let answer = fds.next().ok_or_else(missing)?;
    let log = fds.next().ok_or_else(missing)?;
    let fds = fds.collect();
    Ok(Some(Order {
        spec: serde_json::from_slice(&text[..received.bytes]).map_err(io::Error::from),
        answer,
        log,
        fds,
    }))
}

/// Says a line to the agent.
pub(super) fn tell(socket: &OwnedFd, what: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    // One write: zygote and copy may speak at once.
    let sent = retry(|| rustix::net::send(socket.as_fd(), &line, SendFlags::NOSIGNAL))?;
    if sent == line.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}

/// Everything that is said until the socket closes.
pub(super) async fn listen(socket: UnixStream) -> io::Result<Vec<u8>> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UnixStream::from_std(socket)?;
    let mut said = Vec::new();
    socket.take(LONGEST as u64).read_to_end(&mut said).await?;
    Ok(said)
}

/// What of it is a process number, and what a failure.
pub(super) fn parse(said: &[u8]) -> Result<(Option<i32>, Option<String>), Error> {
    let (mut pid, mut failure) = (None, None);
    for line in said.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Told::Pid(told)) => pid = Some(told),
            Ok(Told::Failed(why)) => failure = Some(why),
            Err(error) => {
                return Err(Error::Jail(format!(
                    "its helper is not understood: {error}"
                )));
            }
        }
    }
    Ok((pid, failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_in_any_order() {
        let (pid, failure) = parse(b"{\"failed\":\"x\"}\n{\"pid\":7}\n").unwrap();
        assert_eq!((pid, failure.as_deref()), (Some(7), Some("x")));
        assert!(parse(b"").unwrap().0.is_none());
        assert!(parse(b"hello\n").is_err());
    }
}
