//! One connection: a task owns the socket, commands come to it by a queue, one at a time is under way.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::codec::{self, Event, Lines, Message};
use crate::Error;

/// Commands that wait their turn.
const QUEUE: usize = 16;
/// For QEMU to take a command out of the socket.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// A connection that has been greeted.
#[derive(Debug, Clone)]
pub(super) struct Client {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    command: &'static str,
    arguments: Option<Value>,
    /// Goes with the command.
    fd: Option<OwnedFd>,
    answer: oneshot::Sender<Result<Value, String>>,
}

impl Client {
    /// Takes up the conversation on a connected socket. Events go to `events`. The caller bounds the time.
    pub(super) async fn greet(
        stream: UnixStream,
        events: broadcast::Sender<Event>,
    ) -> Result<Self, Error> {
        let mut connection = Connection {
            stream,
            lines: Lines::default(),
            events,
            last: 0,
        };
        if connection.message().await? != Message::Greeting {
            return Err(Error::Protocol("no greeting".into()));
        }
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            if let Err(error) = connection.serve(queue).await {
                tracing::debug!(%error, "the connection to a VMM has ended");
            }
        });
        let client = Self { requests };
        client.command("qmp_capabilities", None, None).await?;
        Ok(client)
    }

    /// Whether there is no use in asking any more.
    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Asks, hands over the descriptor that the command is about, and waits for the answer. The caller bounds the time.
    pub(super) async fn command(
        &self,
        command: &'static str,
        arguments: Option<Value>,
        fd: Option<OwnedFd>,
    ) -> Result<Value, Error> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            command,
            arguments,
            fd,
            answer,
        };
        let lost = || Error::Protocol(format!("the connection was lost at {command}"));
        self.requests.send(request).await.map_err(|_| lost())?;
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(said)) => Err(Error::Refused { command, said }),
            Err(_) => Err(lost()),
        }
    }
}

struct Connection {
    stream: UnixStream,
    lines: Lines,
    events: broadcast::Sender<Event>,
    /// The last command's number.
    last: u64,
}

impl Connection {
    async fn serve(&mut self, mut queue: mpsc::Receiver<Request>) -> Result<(), Error> {
        loop {
            tokio::select! {
                request = queue.recv() => match request {
                    Some(request) => self.exchange(request).await?,
                    None => return Ok(()),
                },
                message = self.message() => self.unasked(message?),
            }
        }
    }

    /// Sends a command and reads until its answer is there, or nobody waits for it any more.
    async fn exchange(&mut self, request: Request) -> Result<(), Error> {
        let Request {
            command,
            arguments,
            fd,
            mut answer,
        } = request;
        self.last += 1;
        let line = codec::command(self.last, command, arguments);
        let written = tokio::time::timeout(WRITE_LIMIT, self.write(&line, fd)).await;
        written
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(Error::io("writing to the VMM"))?;
        loop {
            let message = tokio::select! {
                message = self.message() => message?,
                // Its answer is known by its number and dropped when it comes.
                () = answer.closed() => return Ok(()),
            };
            match message {
                Message::Answer { id, result } if id == Some(self.last) => {
                    // Who asked may have gone meanwhile.
                    drop(answer.send(result));
                    return Ok(());
                }
                other => self.unasked(other),
            }
        }
    }

    async fn write(&mut self, line: &[u8], fd: Option<OwnedFd>) -> io::Result<()> {
        let sent = match fd {
            Some(fd) => send_with(&self.stream, line, &fd).await?,
            None => 0,
        };
        self.stream.write_all(&line[sent..]).await
    }

    fn unasked(&self, message: Message) {
        if let Message::Event(event) = message {
            // Nobody listening is fine.
            drop(self.events.send(event));
        }
    }

    /// The next message. Losing this future loses nothing.
    async fn message(&mut self) -> Result<Message, Error> {
        let mut buffer = [0; 8 << 10];
        loop {
            let nonsense = |nonsense: codec::Nonsense| Error::Protocol(nonsense.to_string());
            if let Some(line) = self.lines.next().map_err(nonsense)? {
                return codec::parse(&line).map_err(nonsense);
            }
            let read = self.stream.read(&mut buffer).await;
            match read.map_err(Error::io("reading from the VMM"))? {
                0 => return Err(Error::Protocol("it hung up".into())),
                read => self.lines.push(&buffer[..read]),
            }
        }
    }
}

/// Sends the beginning of a line, and a descriptor with it. Answers with the length of the beginning.
async fn send_with(stream: &UnixStream, line: &[u8], fd: &OwnedFd) -> io::Result<usize> {
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::net::sendmsg(stream, &[IoSlice::new(line)], &mut control, flags);
        Ok(sent?)
    };
    stream.async_io(Interest::WRITABLE, send).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client, and the other end of its socket, on which the greeting has been exchanged.
    async fn pair() -> (Client, UnixStream, broadcast::Receiver<Event>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (events, listener) = broadcast::channel(8);
        let other = tokio::spawn(async move {
            theirs.write_all(b"{\"QMP\":{}}\r\n").await.unwrap();
            hear(&mut theirs, "qmp_capabilities").await;
            theirs
                .write_all(b"{\"return\":{},\"id\":1}\r\n")
                .await
                .unwrap();
            theirs
        });
        let client = Client::greet(ours, events).await.unwrap();
        (client, other.await.unwrap(), listener)
    }

    /// Reads until this was asked.
    async fn hear(other: &mut UnixStream, command: &str) {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(command) {
            assert_ne!(other.read_buf(&mut heard).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn events_and_late_answers_do_not_disturb_an_answer() {
        let (client, mut other, mut events) = pair().await;
        let asked = tokio::spawn(async move { client.command("stop", None, None).await });
        hear(&mut other, "stop").await;
        other
            .write_all(
                b"{\"return\":\"late\",\"id\":0}\n{\"event\":\"STOP\"}\n{\"return\":\"right\",\"id\":2}\n",
            )
            .await
            .unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), Value::from("right"));
        assert_eq!(events.recv().await.unwrap().name, "STOP");
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_does_not_block_the_next() {
        let (client, mut other, _events) = pair().await;
        let patience = Duration::from_millis(20);
        let first = tokio::time::timeout(patience, client.command("stop", None, None)).await;
        assert!(first.is_err());
        let second = tokio::spawn(async move { client.command("cont", None, None).await });
        hear(&mut other, "cont").await;
        other
            .write_all(b"{\"return\":\"first\",\"id\":2}\n{\"return\":\"second\",\"id\":3}\n")
            .await
            .unwrap();
        assert_eq!(second.await.unwrap().unwrap(), Value::from("second"));
    }

    #[tokio::test]
    async fn nonsense_ends_the_connection_and_every_command() {
        let (client, mut other, _events) = pair().await;
        other.write_all(b"garbage\n").await.unwrap();
        let error = client.command("stop", None, None).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        tokio::time::timeout(Duration::from_secs(5), client.requests.closed())
            .await
            .unwrap();
        assert!(client.is_closed());
    }
}
