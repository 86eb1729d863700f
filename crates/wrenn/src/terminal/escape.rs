//! Untrusted text made visible: what a terminal would obey is written out instead.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal does something else with it than show one glyph: control characters, and the marks that reorder
/// the text around them.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write_out(c: char, to: &mut String) {
    // Writing to a String cannot fail.
    let written = match c {
        '\r' => write!(to, "\\r"),
        c if c.is_ascii() => write!(to, "\\x{:02x}", u32::from(c)),
        c => write!(to, "\\u{{{:x}}}", u32::from(c)),
    };
    debug_assert!(written.is_ok());
}

/// Text for one cell or line: nothing in it moves the cursor.
pub(crate) fn escaped_cell(text: &str) -> Cow<'_, str> {
    escape(text, |c| match c {
        '\n' => Some("\\n"),
        '\t' => Some("\\t"),
        _ => None,
    })
}

/// Text of several lines: newlines and tabs stay.
pub(crate) fn escaped_text(text: &str) -> Cow<'_, str> {
    escape(text, |c| match c {
        '\n' => Some("\n"),
        '\t' => Some("\t"),
        _ => None,
    })
}

fn escape(text: &str, special: impl Fn(char) -> Option<&'static str>) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match special(c) {
            Some(instead) => out.push_str(instead),
            None if is_active(c) => write_out(c, &mut out),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// JSON in which also the characters that JSON leaves alone are escaped.
pub(crate) fn json_harmless(json: &str) -> Cow<'_, str> {
    if !json.chars().any(|c| is_active(c) && c != '\n') {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_active(c) && c != '\n' {
            let written = write!(out, "\\u{:04x}", u32::from(c));
            debug_assert!(written.is_ok());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Escapes a stream of bytes that comes in pieces: a character cut in two is put together again, a carriage return
/// before a newline is dropped, bytes that are no UTF-8 are written as `\xNN`.
#[derive(Debug, Default)]
pub(crate) struct Escaper {
    /// The beginning of a character or of a line end; three bytes at the most.
    pending: Vec<u8>,
}

impl Escaper {
    /// What may be shown after this piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.pending);
        bytes.extend_from_slice(piece);
        let keep = unfinished(&bytes);
        self.pending = bytes.split_off(bytes.len() - keep);
        show(&bytes)
    }

    /// What remains at the stream's end.
    pub(crate) fn finish(&mut self) -> String {
        show(&std::mem::take(&mut self.pending))
    }
}

/// How many bytes at the end wait for what comes next.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if length > back { back } else { 0 };
    }
    0
}

fn show(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().replace("\r\n", "\n");
        out.push_str(&escaped_text(&valid));
        for byte in chunk.invalid() {
            let written = write!(out, "\\x{byte:02x}");
            debug_assert!(written.is_ok());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        assert_eq!(
            escaped_text("a\tb\n\x1b[2J\u{9b}x\u{202e}"),
            "a\tb\n\\x1b[2J\\u{9b}x\\u{202e}"
        );
        assert_eq!(escaped_cell("a\nb"), "a\\nb");
        assert_eq!(escaped_text("plain ä"), "plain ä");
        assert_eq!(json_harmless("{\n\"\u{9b}\"}"), "{\n\"\\u009b\"}");
    }

    #[test]
    fn a_stream_is_put_together() {
        let mut escaper = Escaper::default();
        assert_eq!(escaper.push(b"a\xc3"), "a");
        assert_eq!(escaper.push(b"\xa4\r"), "ä");
        assert_eq!(escaper.push(b"\nb\xff\r"), "\nb\\xff");
        assert_eq!(escaper.finish(), "\\r");
    }

    proptest! {
        #[test]
        fn no_piece_is_lost_or_active(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 0..20)) {
            let mut escaper = Escaper::default();
            let mut shown: String = pieces.iter().map(|piece| escaper.push(piece)).collect();
            shown.push_str(&escaper.finish());
            prop_assert_eq!(&shown, &show(&pieces.concat()));
            prop_assert!(!shown.chars().any(|c| is_active(c) && c != '\n' && c != '\t'));
        }
    }
}
