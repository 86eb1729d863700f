//! From a distribution's compressed kernel (bzImage) to the ELF file inside it, which a VMM starts directly.

use std::io::Read;

use crate::elf::Elf;

/// No kernel is larger, unpacked.
const MAX_KERNEL: usize = 256 << 20;

/// How an LZ4 legacy frame begins, and the most that one of its blocks unpacks to.
const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const LZ4_BLOCK: usize = 8 << 20;

/// How a zstd frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The note that holds a kernel's entry point for direct start (PVH): its owner and kind (`XEN_ELFNOTE_PHYS32_ENTRY`).
const PVH_NOTE: (&str, u32) = ("Xen", 18);

/// The kernel inside a bzImage; says what is wrong with one that is not usable.
pub(crate) fn extract(image: &[u8]) -> Result<Vec<u8>, String> {
    let payload = payload(image).ok_or("it is no bzImage")?;
    let kernel = unpack(payload)?;
    check(&kernel)?;
    Ok(kernel)
}

/// Says what is wrong with a kernel that can't be started directly.
pub(crate) fn check(kernel: &[u8]) -> Result<(), String> {
    let elf = Elf::parse(kernel).ok_or("it is not for a 64-bit x86")?;
    if elf.has_note(PVH_NOTE.0, PVH_NOTE.1) {
        Ok(())
    } else {
        Err("it has no entry point for direct start (CONFIG_PVH)".to_owned())
    }
}

/// The compressed kernel, by the offsets of the boot protocol's header: it stands `payload_offset` behind the sectors of
/// the real-mode code, and ends with its unpacked length, which no unpacker wants.
fn payload(image: &[u8]) -> Option<&[u8]> {
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let setup_sectors = usize::from(*image.get(0x1f1)?);
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    let length = word(0x24c)?.checked_sub(4)?;
    image.get(start..start.checked_add(length)?)
}

fn unpack(payload: &[u8]) -> Result<Vec<u8>, String> {
    if let Some(blocks) = payload.strip_prefix(&LZ4_MAGIC) {
        unpack_lz4(blocks)
    } else if payload.starts_with(&ZSTD_MAGIC) {
        unpack_zstd(payload)
    } else {
        Err("it is compressed neither with LZ4 nor with zstd".to_owned())
    }
}

/// An LZ4 legacy frame without its magic: blocks, each after its compressed length.
fn unpack_lz4(mut blocks: &[u8]) -> Result<Vec<u8>, String> {
    let mut kernel = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while let Some((length, rest)) = blocks.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (packed, rest) = rest
            .split_at_checked(length)
            .ok_or("its LZ4 data is cut off")?;
        let unpacked = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|error| format!("its LZ4 data is damaged: {error}"))?;
        if kernel.len() + unpacked > MAX_KERNEL {
            return Err("it is larger than a kernel can be".to_owned());
        }
        kernel.extend_from_slice(&block[..unpacked]);
        blocks = rest;
    }
    Ok(kernel)
}

fn unpack_zstd(payload: &[u8]) -> Result<Vec<u8>, String> {
    let mut kernel = Vec::new();
    let decoder = ruzstd::decoding::StreamingDecoder::new(payload)
        .map_err(|error| format!("its zstd data is damaged: {error}"))?;
    decoder
        .take(MAX_KERNEL as u64 + 1)
        .read_to_end(&mut kernel)
        .map_err(|error| format!("its zstd data is damaged: {error}"))?;
    if kernel.len() > MAX_KERNEL {
        return Err("it is larger than a kernel can be".to_owned());
    }
    Ok(kernel)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::elf::tests::{with_note, with_section};

    /// A bzImage of one setup sector more than the boot sector, with this payload 16 bytes behind them.
    pub(crate) fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 16;
        let length = u32::try_from(payload.len() + 4).unwrap();
        image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        image.extend(payload);
        image.extend([0xaa; 4]);
        image
    }

    pub(crate) fn lz4(data: &[u8]) -> Vec<u8> {
        let mut frame = LZ4_MAGIC.to_vec();
        for block in data.chunks(LZ4_BLOCK) {
            let packed = lz4_flex::block::compress(block);
            frame.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
            frame.extend(packed);
        }
        frame
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress_to_vec(data, level)
    }

    /// A kernel of more than one LZ4 block.
    fn kernel() -> Vec<u8> {
        let mut kernel = with_note("Xen", 18);
        let filling =
            (0..9_u32 << 18).flat_map(|word| (word.wrapping_mul(7919) >> 9).to_le_bytes());
        kernel.extend(filling);
        kernel
    }

    #[test]
    fn both_compressions_come_back_whole() {
        let kernel = kernel();
        assert!(kernel.len() > LZ4_BLOCK);
        assert_eq!(extract(&image(&lz4(&kernel))).unwrap(), kernel);
        assert_eq!(extract(&image(&zstd(&kernel))).unwrap(), kernel);
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let reason = |image: &[u8]| extract(image).unwrap_err();
        assert!(reason(b"MZ").contains("no bzImage"));
        assert!(reason(&image(b"\x1f\x8b gzip")).contains("neither"));
        assert!(reason(&image(&lz4(b"not ELF"))).contains("64-bit"));
        assert!(reason(&image(&lz4(&with_section("x", b"")))).contains("CONFIG_PVH"));
    }

    #[test]
    fn a_damaged_payload_is_an_error() {
        for mut packed in [lz4(&kernel()), zstd(&kernel())] {
            packed.truncate(packed.len() / 2);
            assert!(extract(&image(&packed)).is_err());
        }
    }
}
