//! The little of the ELF format that says how a program is started. 64-bit, little-endian.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// `PT_INTERP` of the ELF specification: the path of the dynamic loader.
const INTERPRETER: u64 = 3;
/// `PT_NOTE` of the ELF specification.
const NOTES: u64 = 4;
/// Longer than any path, and than the notes of any program.
const LONGEST: u64 = 4096;
/// How the GNU C library's start code marks a program: a note of 16 bytes of the owner "GNU", kind 1. No other C library does.
const ABI_TAG: &[u8] = b"\x04\0\0\0\x10\0\0\0\x01\0\0\0GNU\0";

/// What a program's headers tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Headers {
    /// The dynamic loader that it names. `None`: it is static.
    pub(crate) interpreter: Option<PathBuf>,
    /// It was linked with the GNU C library.
    pub(crate) gnu: bool,
}

/// Reads them. A file that is no ELF program is an error.
pub(crate) fn headers(program: &Path) -> io::Result<Headers> {
    let mut file = File::open(program)?;
    let mut read = |at: u64, length: u64| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        (&mut file).take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let header = read(0, 64)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(io::Error::other("no 64-bit ELF file"));
    }
    let (table, entry, count) = (
        number(&header, 32, 8)?,
        number(&header, 54, 2)?,
        number(&header, 56, 2)?,
    );
    let (mut interpreter, mut gnu) = (None, false);
    for index in 0..count {
        let segment = read(table.saturating_add(index * entry), 56)?;
        let kind = number(&segment, 0, 4)?;
        if kind != INTERPRETER && kind != NOTES {
            continue;
        }
        let (at, length) = (number(&segment, 8, 8)?, number(&segment, 32, 8)?);
        let contents = read(at, length.min(LONGEST))?;
        if kind == NOTES {
            gnu |= contents.windows(ABI_TAG.len()).any(|note| note == ABI_TAG);
        } else {
            let path = String::from_utf8_lossy(&contents);
            interpreter = Some(path.trim_end_matches('\0').into());
        }
    }
    Ok(Headers { interpreter, gnu })
}

fn number(bytes: &[u8], at: usize, length: usize) -> io::Result<u64> {
    let field = bytes
        .get(at..at + length)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let digits = field.iter().rev();
    Ok(digits.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_dynamic_program_names_its_loader_and_its_library() {
        let own = headers(&std::env::current_exe().unwrap()).unwrap();
        let loader = own.interpreter.unwrap();
        assert!(loader.exists(), "{}", loader.display());
        assert!(own.gnu);
    }

    #[test]
    fn a_program_that_names_neither_is_static_and_no_gnu_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        // Its header alone, with no segments.
        let mut program = fs::read(std::env::current_exe().unwrap()).unwrap();
        program.truncate(64);
        program[56..58].fill(0);
        fs::write(&path, &program).unwrap();
        let (interpreter, gnu) = (None, false);
        assert_eq!(headers(&path).unwrap(), Headers { interpreter, gnu });
        // Segments that are not there.
        program[56] = 1;
        fs::write(&path, &program).unwrap();
        assert!(headers(&path).is_err());
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(headers(&path).is_err());
    }
}
