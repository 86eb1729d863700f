//! Bytes as blocks that are zero and blocks that are not.

/// The size of a block, in bytes.
pub(crate) const BLOCK: usize = 4096;

const _: () = assert!(BLOCK as u64 == crate::PAGE);

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Neighbouring blocks that are all zero, or none of which is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) zero: bool,
}

/// The runs of `bytes`, which begin at a block's start. They alternate; only the last one may end inside a block.
pub(crate) fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Run<'_>> {
    std::iter::from_fn(move || {
        let zero = is_zero(bytes.chunks(BLOCK).next()?);
        let len: usize = bytes
            .chunks(BLOCK)
            .take_while(|block| is_zero(block) == zero)
            .map(<[u8]>::len)
            .sum();
        let (run, rest) = bytes.split_at(len);
        bytes = rest;
        Some(Run { bytes: run, zero })
    })
}

/// Whether a block, or the piece of one, is all zero. Equality of slices is the C library's `memcmp`: fast in every build,
/// and over at the first byte that differs.
fn is_zero(block: &[u8]) -> bool {
    *block == ZEROS[..block.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(bytes: &[u8]) -> Vec<(usize, bool)> {
        runs(bytes).map(|run| (run.bytes.len(), run.zero)).collect()
    }

    #[test]
    fn runs_alternate_and_cover_everything() {
        assert_eq!(shape(&[]), []);
        assert_eq!(shape(&[0; 3]), [(3, true)]);
        let mut bytes = vec![0; 5 * BLOCK + 100];
        // The first byte of the second block, the last one of the third, and the last one of all.
        for at in [BLOCK, 3 * BLOCK - 1, 5 * BLOCK + 99] {
            bytes[at] = 1;
        }
        let expected = [
            (BLOCK, true),
            (2 * BLOCK, false),
            (2 * BLOCK, true),
            (100, false),
        ];
        assert_eq!(shape(&bytes), expected);
        assert_eq!(
            runs(&bytes)
                .map(|run| run.bytes)
                .collect::<Vec<_>>()
                .concat(),
            bytes
        );
    }
}
