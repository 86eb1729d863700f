//! Protobuf messages and their framing in a Connect stream.

use buffa::{DecodeOptions, Message};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;

use crate::error::Error;
use crate::transport::{Answer, Refusal};

/// The longest message of a stream. Ours carry 64 KiB of output, or a little more. Some of them wait for a slow reader.
const MAX_MESSAGE: usize = 256 << 10;

/// The longest last message: its JSON may take many times its own length when it is read.
const MAX_END: usize = 64 << 10;

/// What a message's lists may take when it is read. An empty element is two bytes of a message and hundreds in memory.
const MAX_ELEMENTS: usize = 4 << 20;

/// Flag of a message that is compressed.
const COMPRESSED: u8 = 0b01;
/// Flag of the last message, which is JSON.
const END: u8 = 0b10;

/// Flags and length.
const PREFIX: usize = 5;

/// Decodes one message of a guest.
pub(crate) fn decode<M: Message>(bytes: &[u8]) -> Result<M, Error> {
    DecodeOptions::new()
        .with_recursion_limit(16)
        .with_unknown_field_limit(64)
        .with_element_memory_limit(MAX_ELEMENTS)
        .decode_from_slice(bytes)
        .map_err(|error| Error::protocol(&error.to_string()))
}

/// One message with its prefix, as the body of a streaming call.
pub(crate) fn enveloped(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &message].concat().into()
}

/// The messages of an answer.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Answer,
    buffer: BytesMut,
}

impl Messages {
    pub(crate) fn new(body: Answer) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; `None` after a good end. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some((flags, message)) = self.take()? {
                return match flags {
                    0 => Ok(Some(message)),
                    END => ended(&message).map(|()| None),
                    flags if flags & COMPRESSED != 0 => Err(Error::protocol(
                        "a compressed message that nobody asked for",
                    )),
                    _ => Err(Error::protocol("unknown flags of a message")),
                };
            }
            let frame = self
                .body
                .frame()
                .await
                .ok_or_else(|| Error::protocol("the stream has no end message"))?;
            if let Ok(data) = frame.map_err(Error::from_transport)?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// A whole message out of the buffer. Its length is judged before the message has come in.
    fn take(&mut self) -> Result<Option<(u8, Bytes)>, Error> {
        let Some((&[flags, a, b, c, d], rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let limit = if flags == END { MAX_END } else { MAX_MESSAGE };
        if length > limit {
            return Err(Error::TooLarge);
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some((flags, self.buffer.split_to(length).freeze())))
    }

    /// Reads the rest of an answer that has told all it had to, so that its connection can be used again. One with more than
    /// a few bytes left is given up instead.
    pub(crate) async fn drain(mut self) {
        let mut left = MAX_MESSAGE;
        while let Some(Ok(frame)) = self.body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length.max(1)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}

/// What the last message says.
fn ended(message: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct End {
        error: Option<Refusal>,
    }
    let end: End =
        serde_json::from_slice(message).map_err(|error| Error::protocol(&error.to_string()))?;
    match end.error {
        None => Ok(()),
        Some(refusal) => Err(refusal.into_error(http::StatusCode::INTERNAL_SERVER_ERROR)),
    }
}
