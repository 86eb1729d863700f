//! What both sides say, in messages and out of them.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use wrenn_api::{ClientMessage, ServerMessage};
use wrenn_model::{ErrorKind, Fault};

use super::text::Piece;

/// How long a client may take to take its leave.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) type Sink = SplitSink<WebSocket, Message>;
pub(super) type Source = SplitStream<WebSocket>;

/// How a conversation ends.
pub(super) enum Ending {
    /// The command's own end.
    Exit { exit_code: i32, timed_out: bool },
    /// The client wants no more.
    Stop,
    /// There is nobody to say anything to.
    Vanished,
    /// What the command does now is not known from here.
    Lost(Fault),
    /// Something is wrong.
    Refused(Fault),
}

/// Says how it ended, and waits for the client to have read that.
pub(super) async fn farewell(mut sink: Sink, mut source: Source, ending: Ending, going_away: bool) {
    let last = match ending {
        Ending::Vanished => return,
        Ending::Stop => None,
        Ending::Exit {
            exit_code,
            timed_out,
        } => Some(ServerMessage::Exit {
            exit_code,
            timed_out,
        }),
        Ending::Lost(fault) | Ending::Refused(fault) => Some(ServerMessage::Error {
            data: fault.message,
            code: fault.kind.code().to_owned(),
            remedy: fault.remedy,
        }),
    };
    let code = if going_away {
        close_code::AWAY
    } else {
        close_code::NORMAL
    };
    let leave = async {
        if let Some(message) = last {
            tell(&mut sink, &message).await?;
        }
        sink.send(Message::Close(Some(CloseFrame {
            code,
            reason: "".into(),
        })))
        .await?;
        // Closing a socket with unread words in it would take the last message back.
        while let Some(Ok(_)) = source.next().await {}
        Ok::<(), axum::Error>(())
    };
    if !matches!(tokio::time::timeout(FAREWELL, leave).await, Ok(Ok(()))) {
        tracing::debug!("a client left without a word");
    }
}

pub(super) async fn tell(sink: &mut Sink, message: &ServerMessage) -> Result<(), axum::Error> {
    let text = serde_json::to_string(message).map_err(axum::Error::new)?;
    sink.send(Message::Text(text.into())).await
}

pub(super) fn out(piece: Piece) -> ServerMessage {
    let (data, data_b64) = halves(piece);
    ServerMessage::Stdout { data, data_b64 }
}

pub(super) fn err(piece: Piece) -> ServerMessage {
    let (data, data_b64) = halves(piece);
    ServerMessage::Stderr { data, data_b64 }
}

fn halves(piece: Piece) -> (Option<String>, Option<String>) {
    match piece {
        Piece::Text(text) => (Some(text), None),
        Piece::Base64(text) => (None, Some(text)),
    }
}

pub(super) fn parse(text: &str) -> Result<ClientMessage, Ending> {
    serde_json::from_str(text).map_err(|error| {
        wrong(
            format!("the message: {error}"),
            "see ClientMessage in /openapi.yaml",
        )
    })
}

pub(super) fn bytes(data: Option<String>, data_b64: Option<String>) -> Result<Bytes, Ending> {
    match (data, data_b64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(text)) => {
            let decoded = STANDARD
                .decode(text)
                .map_err(|_| wrong("data_b64 is no base64", "encode it by RFC 4648"))?;
            Ok(decoded.into())
        }
        _ => Err(wrong(
            "stdin has no data, or two of them",
            "send data or data_b64",
        )),
    }
}

pub(super) fn wrong(message: impl Into<String>, remedy: &str) -> Ending {
    Ending::Refused(Fault::new(ErrorKind::InvalidRequest, message, remedy))
}

pub(super) fn lost(why: String) -> Ending {
    Ending::Lost(Fault::new(
        ErrorKind::AgentError,
        why,
        "look at the sandbox's status, and run it again",
    ))
}
