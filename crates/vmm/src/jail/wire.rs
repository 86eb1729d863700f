//! How agent and helper talk: one message with descriptors one way, JSON lines the other, until the socket closes.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::io::AsyncReadExt;
use wrenn_sys::process::{self, Process};

use super::{JailSpec, Told, retry};
use crate::Error;

/// The most descriptors that go into a jail.
const MOST_FDS: usize = 8;
/// The longest spec or answer.
const LONGEST: usize = 64 << 10;
/// For all of it, from the start of the helper to the VMM's own start.
const LIMIT: Duration = Duration::from_secs(10);

/// A program to be started in a jail.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Our own executable; it is run with the argument `jail` and must call [`super::main`].
    pub helper: &'a Path,
    /// The jail.
    pub spec: &'a JailSpec,
    /// What the program finds open, from [`super::FIRST_FD`] up.
    pub fds: &'a [BorrowedFd<'a>],
    /// Its standard output and error.
    pub log: OwnedFd,
}

/// A program that runs in a jail.
#[derive(Debug)]
pub struct Jailed {
    /// Its process, a child of ours.
    pub process: Process,
}

impl Launch<'_> {
    /// Starts it. On failure no process is left that is not in the jail's cgroup.
    pub async fn start(self) -> Result<Jailed, Error> {
        match tokio::time::timeout(LIMIT, self.launch()).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut {
                what: "making the jail".into(),
                limit: LIMIT,
            }),
        }
    }

    async fn launch(self) -> Result<Jailed, Error> {
        let (ours, theirs) = UnixStream::pair().map_err(Error::io("a socket for the jail"))?;
        let mut helper = process::spawn_helper(self.helper, "jail", theirs.into(), self.log)
            .map_err(Error::io(format!("running {}", self.helper.display())))?;
        send(&ours, self.spec, self.fds).map_err(Error::io("sending the jail's description"))?;
        let said = listen(ours).await;
        let status = helper
            .wait()
            .await
            .map_err(Error::io("the jail's helper"))?;
        let (pid, failure) = parse(&said.map_err(Error::io("listening to the jail's helper"))?)?;
        // Also after a failure: what was our child has to be reaped.
        let process = pid
            .map(Process::open)
            .transpose()
            .map_err(Error::io("watching the VMM"))?
            .flatten();
        match (process, failure) {
            (_, Some(failure)) => Err(Error::Jail(failure)),
            (Some(process), None) => Ok(Jailed { process }),
            (None, None) => Err(Error::Jail(format!("its helper said nothing ({status})"))),
        }
    }
}

fn send(socket: &UnixStream, spec: &JailSpec, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(spec)?;
    if text.len() > LONGEST || fds.len() > MOST_FDS {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    let sent = retry(|| {
        rustix::net::sendmsg(
            socket,
            &[IoSlice::new(&text)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    let mut socket = socket;
    socket.write_all(&text[sent..])?;
    socket.shutdown(std::net::Shutdown::Write)
}

/// The helper's side of [`send`].
pub(super) fn receive(socket: &OwnedFd) -> io::Result<(JailSpec, Vec<OwnedFd>)> {
    let mut text = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut text)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    text.truncate(received.bytes);
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let rest = UnixStream::from(socket.try_clone()?);
    let room = LONGEST - text.len();
    (&rest).take(room as u64).read_to_end(&mut text)?;
    Ok((serde_json::from_slice(&text)?, fds))
}

/// Says a line to the agent.
pub(super) fn tell(socket: &OwnedFd, what: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    // One write: both sides of the copy may speak at once.
    let sent = retry(|| rustix::net::send(socket.as_fd(), &line, SendFlags::NOSIGNAL))?;
    if sent == line.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}

/// Everything that is said until the socket closes.
async fn listen(socket: UnixStream) -> io::Result<Vec<u8>> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UnixStream::from_std(socket)?;
    let mut said = Vec::new();
    socket.take(LONGEST as u64).read_to_end(&mut said).await?;
    Ok(said)
}

fn parse(said: &[u8]) -> Result<(Option<i32>, Option<String>), Error> {
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
