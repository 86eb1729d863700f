//! The kernel's tables for a guest's memory, which count for its cgroup as that memory does.

use wrenn_model::MiB;

/// How much memory one byte of tables is for: an entry of 8 bytes for each page of 4 KiB, once in the VMM's own tables and once in
/// KVM's. An emulated guest has the former alone.
const FOR_EACH: u64 = 4096 / 8 / 2;

/// A guest's memory and the tables of all of it, in bytes.
#[must_use]
pub fn with_tables(guest: MiB) -> u64 {
    guest.bytes() + guest.bytes() / FOR_EACH
}

/// The largest guest whose memory fits into so many bytes with its tables.
#[must_use]
pub fn without_tables(bytes: u64) -> MiB {
    // In whole MiB, of which each has a whole number of bytes of tables.
    let most = bytes / with_tables(MiB(1));
    MiB(u32::try_from(most).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_guest_fits_and_one_more_mib_does_not() {
        // 8 bytes for each of its 262,144 pages, twice.
        assert_eq!(with_tables(MiB(1024)), (1024 << 20) + (4 << 20));
        for bytes in [0, (1 << 20) - 1, 1 << 20, 5 << 30, (64 << 30) + 12345] {
            let guest = without_tables(bytes);
            assert!(with_tables(guest) <= bytes);
            assert!(with_tables(MiB(guest.0 + 1)) > bytes);
        }
    }
}
