//! Netlink attributes: length, type, value, padded to four bytes. Integers of nf_tables are big endian.

/// A message body, or the inside of a nested attribute, as it is being written.
#[derive(Debug, Default, Clone)]
pub(super) struct Attributes(Vec<u8>);

const HEADER: usize = 4;
const NESTED: u16 = 1 << 15;

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "names are bounded and a rule is a few hundred bytes"
        )]
        let length = (HEADER + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(HEADER), 0);
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut terminated = value.as_bytes().to_vec();
        terminated.push(0);
        self.bytes(kind, &terminated)
    }

    pub(super) fn nested(self, kind: u16, inside: &Self) -> Self {
        self.bytes(kind | NESTED, &inside.0)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// The attributes in what the kernel sent: type without flags, value. Ends at the first that is malformed.
pub(super) fn parse(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(HEADER..length)?;
        bytes = bytes
            .get(length.next_multiple_of(HEADER)..)
            .unwrap_or_default();
        Some((kind & !(3 << 14), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let inside = Attributes::default().text(1, "tap0").number(2, 7);
        let written = Attributes::default().nested(3, &inside).bytes(4, &[9]);
        assert_eq!(written.as_slice().len() % 4, 0);
        let read: Vec<_> = parse(written.as_slice()).collect();
        assert_eq!(read, [(3, inside.as_slice()), (4, &[9][..])]);
        let nested: Vec<_> = parse(read[0].1).collect();
        assert_eq!(nested, [(1, &b"tap0\0"[..]), (2, &[0, 0, 0, 7][..])]);
    }

    #[test]
    fn malformed_attributes_end_the_reading() {
        assert_eq!(parse(&[]).count(), 0);
        assert_eq!(parse(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(parse(&[200, 0, 1, 0, 1, 2]).count(), 0);
    }
}
