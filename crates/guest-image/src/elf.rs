//! The little of the ELF format that is needed: what a file is, its sections and its notes. 64-bit, little-endian, x86-64.

/// The machine number of x86-64.
const X86_64: u16 = 62;

/// The type of a program header that holds notes.
const PT_NOTE: u32 = 4;

/// An ELF file in memory. Every offset in it is checked when it is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elf<'a>(&'a [u8]);

impl<'a> Elf<'a> {
    /// The file, if it is ELF for a 64-bit x86.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let elf = Self(bytes);
        let ident = bytes.get(..6)?;
        (ident == b"\x7fELF\x02\x01" && elf.u16(18)? == X86_64).then_some(elf)
    }

    /// The contents of the section of this name.
    pub(crate) fn section(self, name: &str) -> Option<&'a [u8]> {
        let table = self.u64(0x28)?;
        let entry = u64::from(self.u16(0x3a)?);
        let count = u64::from(self.u16(0x3c)?);
        let header = |index: u64| table.checked_add(index * entry);
        let contents = |header: u64| self.slice(self.u64(header + 0x18)?, self.u64(header + 0x20)?);
        let names = contents(header(u64::from(self.u16(0x3e)?))?)?;
        let named = |header: u64| {
            let start = usize::try_from(self.u32(header)?).ok()?;
            names.get(start..)?.split(|byte| *byte == 0).next()
        };
        (0..count)
            .filter_map(header)
            .find(|header| named(*header) == Some(name.as_bytes()))
            .and_then(contents)
    }

    /// Whether a program header has a note of this owner and kind.
    pub(crate) fn has_note(self, owner: &str, kind: u32) -> bool {
        self.notes(owner, kind).is_some()
    }

    fn notes(self, owner: &str, kind: u32) -> Option<()> {
        let table = self.u64(0x20)?;
        let entry = u64::from(self.u16(0x36)?);
        (0..u64::from(self.u16(0x38)?))
            .filter_map(|index| table.checked_add(index * entry))
            .filter(|header| self.u32(*header) == Some(PT_NOTE))
            .filter_map(|header| self.slice(self.u64(header + 8)?, self.u64(header + 32)?))
            .any(|segment| note_in(segment, owner.as_bytes(), kind).is_some())
            .then_some(())
    }

    fn slice(self, offset: u64, length: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        self.0.get(start..end)
    }

    fn array<const N: usize>(self, offset: u64) -> Option<[u8; N]> {
        self.slice(offset, N as u64)?.try_into().ok()
    }

    fn u16(self, offset: u64) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    fn u32(self, offset: u64) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn u64(self, offset: u64) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

/// Goes through a segment's notes: lengths of owner and contents, the kind, then both, each padded to 4.
fn note_in(mut segment: &[u8], owner: &[u8], kind: u32) -> Option<()> {
    loop {
        let (head, rest) = segment.split_first_chunk::<12>()?;
        let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let owner_length = usize::try_from(word(0)?).ok()?;
        let contents_length = usize::try_from(word(4)?).ok()?;
        let named = rest.get(..owner_length)?;
        if word(8)? == kind && named.strip_suffix(b"\0") == Some(owner) {
            return Some(());
        }
        let next = owner_length
            .checked_next_multiple_of(4)?
            .checked_add(contents_length.checked_next_multiple_of(4)?)?;
        segment = rest.get(next..)?;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An ELF file with one section of this name and contents, or one note segment.
    pub(crate) fn with_section(name: &str, contents: &[u8]) -> Vec<u8> {
        let names = [b"\0", name.as_bytes(), b"\0"].concat();
        let mut file = header();
        let names_at = file.len() as u64;
        file.extend(&names);
        let contents_at = file.len() as u64;
        file.extend(contents);
        let table = file.len() as u64;
        file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        file[0x3c] = 2;
        for (name, at, length) in [
            (0_u32, names_at, names.len()),
            (1, contents_at, contents.len()),
        ] {
            let mut section = [0; 64];
            section[..4].copy_from_slice(&name.to_le_bytes());
            section[0x18..0x20].copy_from_slice(&at.to_le_bytes());
            section[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
            file.extend(section);
        }
        file
    }

    pub(crate) fn with_note(owner: &str, kind: u32) -> Vec<u8> {
        let mut file = header();
        let table = file.len() as u64;
        file[0x20..0x28].copy_from_slice(&table.to_le_bytes());
        file[0x38] = 1;
        // A note of somebody else's first, with contents that need padding.
        let mut notes = note("GNU", 3, b"12345");
        notes.extend(note(owner, kind, b"entry..."));
        let mut segment = [0; 56];
        segment[..4].copy_from_slice(&PT_NOTE.to_le_bytes());
        segment[8..16].copy_from_slice(&(table + 56).to_le_bytes());
        segment[32..40].copy_from_slice(&(notes.len() as u64).to_le_bytes());
        file.extend(segment);
        file.extend(notes);
        file
    }

    fn note(owner: &str, kind: u32, contents: &[u8]) -> Vec<u8> {
        let word = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
        let mut note = [
            word(owner.len() + 1),
            word(contents.len()),
            kind.to_le_bytes(),
        ]
        .concat();
        for part in [[owner.as_bytes(), b"\0"].concat(), contents.to_vec()] {
            note.extend(&part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    fn header() -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[18] = 62;
        header[0x36] = 56;
        header[0x3a] = 64;
        header
    }

    #[test]
    fn a_section_is_found_by_name() {
        let file = with_section(".modinfo", b"contents");
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.section(".modinfo"), Some(&b"contents"[..]));
        assert_eq!(elf.section(".text"), None);
    }

    #[test]
    fn a_note_is_found_by_owner_and_kind() {
        let file = with_note("Xen", 18);
        let elf = Elf::parse(&file).unwrap();
        assert!(elf.has_note("Xen", 18));
        assert!(!elf.has_note("Xen", 17));
        assert!(!elf.has_note("GNU", 18));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_or_empty_but_never_a_panic() {
        for file in [with_note("Xen", 18), with_section(".modinfo", b"x")] {
            for length in 0..file.len() {
                if let Some(elf) = Elf::parse(&file[..length]) {
                    elf.section(".modinfo");
                    elf.has_note("Xen", 18);
                }
            }
        }
        assert!(Elf::parse(b"#!/bin/sh").is_none());
    }
}
