//! Where a guest's memory lies: in its VMM's address space, and in the image.

use serde::Deserialize;
use wrenn_sys::extents::Extent;

use crate::PAGE;

/// The most regions that a VMM may name. Firecracker has one, or two where there is a gap for devices.
const MOST: usize = 64;

/// A piece of a guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Where its VMM has it.
    pub address: u64,
    /// How long it is.
    pub len: u64,
    /// Where it stands in the image.
    pub offset: u64,
}

/// Why what a VMM said of its memory makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// It is not what Firecracker sends.
    #[error("the VMM's list of memory regions cannot be read")]
    Form(#[from] serde_json::Error),
    /// A region, or all of them, can not be.
    #[error("the VMM's memory regions make no sense: {0}")]
    Sense(&'static str),
}

/// A region as Firecracker sends it (`GuestRegionUffdMapping`), sizes in bytes.
#[derive(Debug, Deserialize)]
struct Sent {
    base_host_virt_addr: u64,
    size: u64,
    offset: u64,
    page_size: u64,
}

/// Reads the list that Firecracker sends, for an image of so many bytes. A VMM may have been broken into: nothing of it is believed.
///
/// # Errors
/// It is no such list; regions are not made of whole pages, lie outside of the image, or over each other.
pub fn parse_regions(list: &[u8], image: u64) -> Result<Vec<Region>, RegionError> {
    let sent: Vec<Sent> = serde_json::from_slice(list)?;
    if sent.is_empty() || sent.len() > MOST {
        return Err(RegionError::Sense("there are none, or too many"));
    }
    let mut regions = Vec::new();
    for one in sent {
        if one.page_size != PAGE {
            return Err(RegionError::Sense("pages are not of 4 KiB"));
        }
        let aligned = [one.base_host_virt_addr, one.size, one.offset];
        if one.size == 0 || aligned.iter().any(|number| number % PAGE != 0) {
            return Err(RegionError::Sense("one is not made of whole pages"));
        }
        if one
            .offset
            .checked_add(one.size)
            .is_none_or(|end| end > image)
        {
            return Err(RegionError::Sense("one lies outside of the image"));
        }
        if one.base_host_virt_addr.checked_add(one.size).is_none() {
            return Err(RegionError::Sense("one lies at no address"));
        }
        regions.push(Region {
            address: one.base_host_virt_addr,
            len: one.size,
            offset: one.offset,
        });
    }
    let over = |start: fn(&Region) -> u64| {
        let mut sorted = regions.clone();
        sorted.sort_by_key(start);
        sorted
            .windows(2)
            .any(|two| start(&two[0]) + two[0].len > start(&two[1]))
    };
    if over(|region| region.address) || over(|region| region.offset) {
        return Err(RegionError::Sense("two lie over each other"));
    }
    Ok(regions)
}

impl Region {
    /// Where its VMM has it.
    #[must_use]
    pub fn addresses(&self) -> Extent {
        Extent {
            start: self.address,
            len: self.len,
        }
    }

    /// Where a page of it stands in the image.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let at = address
            .checked_sub(self.address)
            .filter(|at| *at < self.len)?;
        Some(self.offset + at)
    }

    /// Where its VMM has what stands there in the image.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        let at = offset
            .checked_sub(self.offset)
            .filter(|at| *at < self.len)?;
        Some(self.address + at)
    }

    /// What of a range of addresses is in it, where that stands in the image.
    pub(super) fn offsets(&self, range: Extent) -> Option<Extent> {
        let start = range.start.max(self.address);
        let end = range
            .start
            .saturating_add(range.len)
            .min(self.address + self.len);
        (start < end).then(|| Extent {
            start: self.offset + (start - self.address),
            len: end - start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn list(regions: &[(u64, u64, u64)]) -> String {
        let one = |(address, size, offset): &(u64, u64, u64)| {
            format!(
                r#"{{"base_host_virt_addr":{address},"size":{size},"offset":{offset},"page_size":4096,"page_size_kib":4096}}"#
            )
        };
        format!(
            "[{}]",
            regions.iter().map(one).collect::<Vec<_>>().join(",")
        )
    }

    #[test]
    fn what_firecracker_sends_is_read() {
        let sent = list(&[(0x7f00_0000_0000, MIB, 0), (0x7f10_0000_0000, MIB, MIB)]);
        let regions = parse_regions(sent.as_bytes(), 2 * MIB).unwrap();
        assert_eq!(regions[1].offset_of(0x7f10_0000_1000), Some(MIB + 4096));
        assert_eq!(regions[1].address_of(MIB + 4096), Some(0x7f10_0000_1000));
        assert_eq!(regions[0].offset_of(0x7f10_0000_1000), None);
        let removed = Extent {
            start: 0x7f00_0000_0000 - 4096,
            len: 8192,
        };
        let expected = Extent {
            start: 0,
            len: 4096,
        };
        assert_eq!(regions[0].offsets(removed), Some(expected));
        assert_eq!(regions[1].offsets(removed), None);
    }

    #[test]
    fn nothing_else_is_believed() {
        let refused = |sent: &str| parse_regions(sent.as_bytes(), 4 * MIB).is_err();
        assert!(refused(""));
        assert!(refused("[]"));
        assert!(refused("{}"));
        for regions in [
            &[(4096, MIB, 4 * MIB)][..],
            &[(4096, 5 * MIB, 0)],
            &[(4096, 0, 0)],
            &[(4097, MIB, 0)],
            &[(4096, 100, 0)],
            &[(4096, MIB, 1)],
            &[(u64::MAX - 4095, MIB, 0)],
            &[(4096, MIB, u64::MAX - 4095)],
            &[(4096, MIB, 0), (8192, MIB, MIB)],
            &[(4096, MIB, 0), (8 * MIB, MIB, 4096)],
        ] {
            assert!(refused(&list(regions)), "{regions:?}");
        }
        let huge =
            list(&[(2 * MIB, 2 * MIB, 0)]).replace("\"page_size\":4096", "\"page_size\":2097152");
        assert!(refused(&huge));
    }
}
