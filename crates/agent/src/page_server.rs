//! One of us in a jail that brings a guest's memory: the page server of [`wrenn_memory`] over a generation's image and its sums.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use wrenn_memory::page_server::{End, PageServer, Region, Served, parse_regions};
use wrenn_model::chain;
use wrenn_snapshot::PageSums;
use wrenn_sys::jail::take_handed;
use wrenn_sys::uffd::Userfault;
use wrenn_vmm::firecracker::PageOrder;

/// How it is called where processes are listed.
const NAME: &CStr = c"wrenn-pages";
/// The longest list of regions, in bytes.
const LONGEST: usize = 16 << 10;
/// What an offset takes where what was touched is noted.
const OFFSET: usize = 8;
/// The most that is read of that, in bytes.
const MOST_TOUCHED: u64 = 128 << 10;

/// Does what it is told until nobody waits for pages any more. To be called by [`wrenn_vmm::jail::main`].
///
/// # Errors
/// Whoever waits for a page waits for ever now: the virtual machine has to be ended.
pub fn serve_pages(order: &str) -> io::Result<()> {
    let order: PageOrder = serde_json::from_str(order)?;
    rustix::thread::set_name(NAME)?;
    let listener = UnixListener::from(take_handed(order.listener)?);
    let image = File::from(take_handed(order.image)?);
    let sums = PageSums::of(File::from(take_handed(order.sums)?));
    let touched = File::from(take_handed(order.touched)?);
    let mut done = File::from(take_handed(order.done)?);
    let (peer, _) = listener.accept()?;
    // There is one memory, and it was handed over.
    drop(listener);
    let (memory, regions) = receive(&peer, image.metadata()?.len())?;
    let noted = noted(&touched);
    let check = |at: u64, bytes: &[u8]| sums.hold(at, bytes);
    let server = PageServer::new(&memory, &regions, &image, &check, noted);
    let served = server
        .serve(&peer)
        .map_err(|error| io::Error::other(chain(&error)))?;
    if served.end == End::Filled {
        // Where there is no room for these, the guest has its memory all the same.
        let told = done.write_all(b"1").and_then(|()| note(&touched, &served));
        if let Err(error) = told {
            eprintln!("what was done is not written down: {error}");
        }
    }
    Ok(())
}

/// What Firecracker sends first: where its guest's memory lies, and the descriptor by which that is filled.
fn receive(peer: &UnixStream, image: u64) -> io::Result<(Userfault, Vec<Region>)> {
    let mut text = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let received = recvmsg(peer, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let mut handed: Vec<OwnedFd> = rights.flatten().collect();
    let (Some(memory), true) = (handed.pop(), handed.is_empty()) else {
        return Err(io::Error::other(
            "the VMM handed over no memory, or too much",
        ));
    };
    let regions = parse_regions(&text[..received.bytes], image);
    let regions = regions.map_err(|error| io::Error::other(chain(&error)))?;
    Ok((Userfault::received(memory)?, regions))
}

/// What was noted before of what is touched first. What makes no sense is nothing.
fn noted(touched: &File) -> Vec<u64> {
    let len = touched.metadata().map_or(0, |meta| meta.len());
    let mut bytes = vec![0; usize::try_from(len.min(MOST_TOUCHED)).unwrap_or(0)];
    if touched.read_exact_at(&mut bytes, 0).is_err() {
        return Vec::new();
    }
    let offsets = bytes.as_chunks::<OFFSET>().0.iter();
    offsets.map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

/// Notes it, unless just that is there. Clones at once write it over each other: each offset is one of theirs.
fn note(touched: &File, served: &Served) -> io::Result<()> {
    if noted(touched) == served.first {
        return Ok(());
    }
    let offsets = served.first.iter().flat_map(|at| at.to_le_bytes());
    touched.write_all_at(&offsets.collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::AsFd;

    /// What is heard of a VMM that sends this, with so many descriptors.
    fn heard(sent: &[u8], handed: usize) -> io::Result<(Userfault, Vec<Region>)> {
        let (vmm, ours) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        let fds = vec![file.as_fd(); handed];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if handed > 0 {
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let parts = [IoSlice::new(sent)];
        sendmsg(&vmm, &parts, &mut ancillary, SendFlags::empty()).unwrap();
        receive(&ours, 1 << 20)
    }

    #[test]
    fn a_vmm_that_says_something_else_is_not_served() {
        let regions =
            br#"[{"base_host_virt_addr":4096,"size":1048576,"offset":0,"page_size":4096}]"#;
        let refused = |sent: &[u8], handed| heard(sent, handed).map(drop).unwrap_err().to_string();
        for (sent, handed, why) in [
            (&regions[..], 0, "handed over no memory"),
            (regions, 2, "or too much"),
            (&regions[..40], 1, "cannot be read"),
            (b"hello", 1, "cannot be read"),
            (&[b'['; LONGEST], 1, "cannot be read"),
            (
                br#"[{"base_host_virt_addr":4096,"size":2097152,"offset":0,"page_size":4096}]"#,
                1,
                "outside of the image",
            ),
        ] {
            let said = refused(sent, handed);
            assert!(said.contains(why), "{said}, not {why}");
        }
        // What it hands over is none by which memory is filled.
        heard(regions, 1).unwrap_err();
    }

    #[test]
    fn what_was_noted_is_read_and_nonsense_is_nothing() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = named.as_file();
        assert!(noted(file).is_empty());
        let served = Served {
            end: End::Filled,
            first: vec![4096, 0, 1 << 40],
            faults: 3,
        };
        note(file, &served).unwrap();
        assert_eq!(noted(file), served.first);
        file.write_all_at(&[1; 5], 24).unwrap();
        assert_eq!(noted(file), served.first, "what is cut off does not count");
        // What has not changed is not written: this one could not be.
        note(&File::open(named.path()).unwrap(), &served).unwrap();
        let more = Served {
            first: vec![4096, 0, 1 << 40, 8192],
            ..served
        };
        note(file, &more).unwrap();
        assert_eq!(noted(file), more.first);
        file.set_len(1 << 30).unwrap();
        assert!(noted(file).len() as u64 * 8 <= MOST_TOUCHED);
    }
}
