//! Bytes as JSON can carry them: text where they are UTF-8, base64 where they are not, never a character cut in two.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// A piece of a stream, in one of both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Base64(String),
}

/// One stream's chunks. At most three bytes, the beginning of a character, wait for the next chunk.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    begun: Vec<u8>,
}

impl Pieces {
    /// The next chunk, as far as its characters are whole.
    pub(super) fn push(&mut self, chunk: Bytes) -> Option<Piece> {
        let joined: Bytes = if self.begun.is_empty() {
            chunk
        } else {
            [std::mem::take(&mut self.begun), chunk.into()]
                .concat()
                .into()
        };
        let (whole, begun) = joined.split_at(joined.len() - unfinished(&joined));
        self.begun = begun.to_vec();
        piece(whole)
    }

    /// What is left at the end of the stream.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        piece(&std::mem::take(&mut self.begun))
    }
}

fn piece(bytes: &[u8]) -> Option<Piece> {
    if bytes.is_empty() {
        return None;
    }
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => Piece::Text(text.to_owned()),
        Err(_) => Piece::Base64(STANDARD.encode(bytes)),
    })
}

/// How many bytes at the end are the beginning of a character that could still become one.
fn unfinished(bytes: &[u8]) -> usize {
    let last_three = &bytes[bytes.len().saturating_sub(3)..];
    let Some(back) = last_three
        .iter()
        .rev()
        .position(|byte| *byte & 0xc0 != 0x80)
    else {
        return 0;
    };
    let tail = &bytes[bytes.len() - back - 1..];
    match std::str::from_utf8(tail) {
        Err(error) if error.error_len().is_none() => tail.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Piece> {
        let mut pieces = Pieces::default();
        let mut all: Vec<Piece> = chunks
            .iter()
            .filter_map(|chunk| pieces.push(Bytes::copy_from_slice(chunk)))
            .collect();
        all.extend(pieces.finish());
        all
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn characters_stay_whole() {
        assert_eq!(split(&[b"ab", b"", b"c"]), [text("ab"), text("c")]);
        assert_eq!(
            split(&[b"a\xe2", b"\x82", b"\xacb"]),
            [text("a"), text("€b")]
        );
        assert_eq!(split(&[b"\xf0\x9f\x98", b"\x80"]), [text("😀")]);
    }

    #[test]
    fn what_is_no_text_is_base64() {
        assert_eq!(split(&[b"\xff\xfe"]), [Piece::Base64("//4=".into())]);
        // A character that never ends.
        assert_eq!(
            split(&[b"a\xe2\x82"]),
            [text("a"), Piece::Base64("4oI=".into())]
        );
        // A lone continuation, a surrogate, an overlong form: none of them waits.
        for bad in [&b"\x80"[..], b"\xed\xa0", b"\xc0\xaf"] {
            assert!(matches!(split(&[bad])[..], [Piece::Base64(_)]), "{bad:?}");
        }
    }

    /// However a text is cut, its pieces are texts and make the same text.
    #[test]
    fn every_cut_of_a_text_is_harmless() {
        let whole = "aß€😀\u{301}z";
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let bytes = whole.as_bytes();
                let joined: String =
                    split(&[&bytes[..first], &bytes[first..second], &bytes[second..]])
                        .into_iter()
                        .map(|piece| match piece {
                            Piece::Text(text) => text,
                            Piece::Base64(text) => panic!("{text}"),
                        })
                        .collect();
                assert_eq!(joined, whole);
            }
        }
    }
}
