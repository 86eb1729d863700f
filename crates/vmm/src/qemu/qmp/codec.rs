//! Bytes to lines, lines to messages. Nothing here does I/O.

use serde_json::{Map, Value, json};

/// The longest line that is read: the console's whole ring in base64, and room.
const LONGEST_LINE: usize = 256 << 10;
/// How much of a refusal is kept.
const LONGEST_REASON: usize = 500;

/// What makes no sense as QMP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Nonsense {
    #[error("a line longer than {LONGEST_LINE} bytes")]
    TooLong,
    #[error("a line that is no JSON object")]
    NoObject,
    #[error("an object that is neither answer nor event")]
    Unknown,
}

/// Something happened in QEMU.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::qemu) struct Event {
    /// What, in QEMU's words.
    pub(in crate::qemu) name: String,
    /// More about it.
    pub(in crate::qemu) data: Map<String, Value>,
}

/// What QEMU says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    Greeting,
    Answer {
        id: Option<u64>,
        result: Result<Value, String>,
    },
    Event(Event),
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Up to here there is no line end.
    searched: usize,
}

impl Lines {
    /// Takes what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Nonsense> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|b| *b == b'\n');
        let length = end.map_or(self.buffer.len(), |end| self.searched + end);
        if length > LONGEST_LINE {
            return Err(Nonsense::TooLong);
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        let mut line: Vec<u8> = self.buffer.drain(..=length).collect();
        line.pop();
        self.searched = 0;
        Ok(Some(line))
    }
}

/// Understands a line. Nesting is bounded by the JSON reader.
pub(super) fn parse(line: &[u8]) -> Result<Message, Nonsense> {
    let mut object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|_| Nonsense::NoObject)?;
    if let Some(Value::String(name)) = object.remove("event") {
        let data = match object.remove("data") {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        return Ok(Message::Event(Event { name, data }));
    }
    let id = object.get("id").and_then(Value::as_u64);
    if let Some(value) = object.remove("return") {
        return Ok(Message::Answer {
            id,
            result: Ok(value),
        });
    }
    if let Some(error) = object.remove("error") {
        let reason = error
            .get("desc")
            .and_then(Value::as_str)
            .unwrap_or("no reason");
        let reason = reason.chars().take(LONGEST_REASON).collect();
        return Ok(Message::Answer {
            id,
            result: Err(reason),
        });
    }
    if object.contains_key("QMP") {
        return Ok(Message::Greeting);
    }
    Err(Nonsense::Unknown)
}

/// A command as a line.
pub(super) fn command(id: u64, name: &str, arguments: Option<Value>) -> Vec<u8> {
    let mut command = json!({"execute": name, "id": id});
    if let Some(arguments) = arguments {
        command["arguments"] = arguments;
    }
    let mut line = command.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"{\"QMP\":{}}\r\n{\"event\":\"STOP\"}\n{\"return\":{},\"id\":4}\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.next().unwrap() {
                    seen.push(parse(&line).unwrap());
                }
            }
            assert_eq!(seen.len(), 3, "pieces of {size}");
            assert_eq!(seen[0], Message::Greeting);
            assert_eq!(
                seen[2],
                Message::Answer {
                    id: Some(4),
                    result: Ok(json!({}))
                }
            );
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut lines = Lines::default();
        for _ in 0..LONGEST_LINE / 1024 {
            lines.push(&[b'x'; 1024]);
            assert_eq!(lines.next(), Ok(None));
        }
        lines.push(b"x");
        assert_eq!(lines.next(), Err(Nonsense::TooLong));
        let mut lines = Lines::default();
        lines.push(&[b'x'; LONGEST_LINE + 1]);
        lines.push(b"\n");
        assert_eq!(lines.next(), Err(Nonsense::TooLong));
    }

    #[test]
    fn garbage_is_no_message() {
        assert_eq!(parse(b""), Err(Nonsense::NoObject));
        assert_eq!(parse(b"\xff\xfe"), Err(Nonsense::NoObject));
        assert_eq!(parse(b"[1]"), Err(Nonsense::NoObject));
        assert_eq!(parse(b"{\"hello\":1}"), Err(Nonsense::Unknown));
        let deep = [b"{\"return\":".as_slice(), &[b'['; 100_000]].concat();
        assert_eq!(parse(&deep), Err(Nonsense::NoObject));
    }

    #[test]
    fn a_refusal_is_shortened() {
        let long = "y".repeat(10_000);
        let line = json!({"error": {"class": "GenericError", "desc": long}, "id": 1}).to_string();
        let Message::Answer {
            result: Err(reason),
            ..
        } = parse(line.as_bytes()).unwrap()
        else {
            panic!("no refusal");
        };
        assert_eq!(reason.len(), LONGEST_REASON);
    }

    #[test]
    fn a_command_is_one_line() {
        let line = command(7, "stop", Some(json!({"text": "a\nb"})));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(line.ends_with(b"\n"));
    }
}
