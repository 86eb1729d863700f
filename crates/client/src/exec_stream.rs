//! A command that streams, over a WebSocket: its output as it comes, its input and signals as they are sent.
//!
//! Nothing is buffered here: a reader that stops reading stops the command at its next write.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use wrenn_api::{ClientMessage, PtySize, ServerMessage, StartCommand};

use crate::error::{ApiError, Error};
use crate::sandboxes::at;
use crate::transport::whole;
use crate::{Client, Result};

/// The largest message that is taken. The server's own are much smaller.
const MESSAGE_LIMIT: usize = 4 << 20;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What a running command tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// It runs.
    Start {
        /// Its process id in the guest.
        pid: u32,
    },
    /// A piece of its standard output: the guest's own bytes.
    Stdout(Bytes),
    /// A piece of its standard error: the guest's own bytes.
    Stderr(Bytes),
    /// It has ended; nothing comes after this.
    Exit {
        /// Its exit code; 128 and the signal's number when a signal ended it.
        exit_code: i32,
        /// It was ended at its time limit.
        timed_out: bool,
    },
}

impl Client {
    /// Starts a command and gives its two sides. Dropping both ends the command, unless `detach` was asked.
    pub async fn exec_stream(
        &self,
        id: &str,
        start: &StartCommand,
    ) -> Result<(ExecControl, ExecEvents)> {
        self.converse(id, &ClientMessage::Start(start.clone()))
            .await
    }

    /// Takes up a command that runs already, by its process id in the guest, and gives its two sides; what it printed
    /// before is not told again. Dropping both leaves it running.
    pub async fn exec_attach(&self, id: &str, pid: u32) -> Result<(ExecControl, ExecEvents)> {
        self.converse(id, &ClientMessage::Connect { pid }).await
    }

    async fn converse(&self, id: &str, first: &ClientMessage) -> Result<(ExecControl, ExecEvents)> {
        let socket = self.upgrade(&at(id, "/exec/stream")).await?;
        let (sink, stream) = socket.split();
        let mut control = ExecControl {
            client: self.clone(),
            sink,
        };
        control.send(first).await?;
        Ok((
            control,
            ExecEvents {
                client: self.clone(),
                stream,
            },
        ))
    }

    /// A WebSocket at `path`. A refusal comes as the error it is, since nothing has been upgraded yet.
    async fn upgrade(&self, path: &str) -> Result<Socket> {
        let nonce = generate_key();
        let request = self
            .request(Method::GET, path)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &nonce);
        let answer = self.send(request, whole(Bytes::new())).await?;
        let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
        let expected = derive_accept_key(nonce.as_bytes());
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted.is_none_or(|accepted| accepted.as_bytes() != expected.as_bytes())
        {
            return Err(self.contract("it does not open the WebSocket"));
        }
        let upgraded = hyper::upgrade::on(answer)
            .await
            .map_err(|error| self.broken(error))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        Ok(Socket::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await)
    }
}

/// The side of a command that takes.
#[derive(Debug)]
pub struct ExecControl {
    client: Client,
    sink: SplitSink<Socket, Message>,
}

impl ExecControl {
    /// Sends bytes to its standard input; waits while the command does not read.
    pub async fn stdin(&mut self, bytes: Bytes) -> Result<()> {
        self.put(Message::Binary(bytes)).await
    }

    /// Ends its standard input.
    pub async fn close_stdin(&mut self) -> Result<()> {
        self.send(&ClientMessage::CloseStdin).await
    }

    /// Gives its terminal another size.
    pub async fn resize(&mut self, size: PtySize) -> Result<()> {
        let PtySize { cols, rows } = size;
        self.send(&ClientMessage::Resize { cols, rows }).await
    }

    /// Sends it a signal, by its Linux number.
    pub async fn signal(&mut self, signal: i32) -> Result<()> {
        self.send(&ClientMessage::Signal { signal }).await
    }

    /// Ends it, with all that it started. What it still prints is not told; its end is.
    pub async fn stop(&mut self) -> Result<()> {
        self.send(&ClientMessage::Stop).await
    }

    async fn send(&mut self, message: &ClientMessage) -> Result<()> {
        let json = serde_json::to_string(message)
            .map_err(|error| self.client.contract(error.to_string()))?;
        self.put(Message::text(json)).await
    }

    async fn put(&mut self, message: Message) -> Result<()> {
        self.sink
            .send(message)
            .await
            .map_err(|error| self.client.broken(error))
    }
}

/// The side of a command that tells.
#[derive(Debug)]
pub struct ExecEvents {
    client: Client,
    stream: SplitStream<Socket>,
}

impl ExecEvents {
    /// The next event. After [`ExecEvent::Exit`] there is none, and asking is an error.
    pub async fn next(&mut self) -> Result<ExecEvent> {
        loop {
            let message = match self.stream.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(self.client.broken(error)),
                None => {
                    return Err(self
                        .client
                        .broken("the server closed the stream before the command ended"));
                }
            };
            match message {
                Message::Text(text) => return self.event(&text),
                Message::Close(frame) => {
                    let reason = frame
                        .map(|frame| frame.reason.to_string())
                        .unwrap_or_default();
                    return Err(self
                        .client
                        .broken(format!("the server closed the stream: {reason}")));
                }
                _ => {}
            }
        }
    }

    fn event(&self, text: &str) -> Result<ExecEvent> {
        let message =
            serde_json::from_str(text).map_err(|error| self.client.contract(error.to_string()))?;
        Ok(match message {
            ServerMessage::Start { pid } => ExecEvent::Start { pid },
            ServerMessage::Stdout { data, data_b64 } => {
                ExecEvent::Stdout(self.bytes(data, data_b64)?)
            }
            ServerMessage::Stderr { data, data_b64 } => {
                ExecEvent::Stderr(self.bytes(data, data_b64)?)
            }
            ServerMessage::Exit {
                exit_code,
                timed_out,
            } => ExecEvent::Exit {
                exit_code,
                timed_out,
            },
            ServerMessage::Error { data, code, remedy } => {
                return Err(Error::Api(Box::new(ApiError::of_stream(
                    data, code, remedy,
                ))));
            }
        })
    }

    fn bytes(&self, text: Option<String>, base64: Option<String>) -> Result<Bytes> {
        match (text, base64) {
            (Some(text), None) => Ok(text.into()),
            (None, Some(base64)) => match STANDARD.decode(base64) {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(self.client.contract(error.to_string())),
            },
            _ => Err(self
                .client
                .contract("a piece of output that is neither text nor base64")),
        }
    }
}
