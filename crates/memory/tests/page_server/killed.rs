//! A VMM that dies, at any moment, with its memory.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use wrenn_memory::page_server::{End, PageServer, parse_regions};
use wrenn_sys::uffd::Userfault;
use wrenn_testkit::guest_memory::GuestMemory;

use super::images::{as_written, both};
use super::{Came, MIB, PAGE};

const SOCKET: &str = "PLAYED_VMM_SOCKET";
const LEN: u64 = 64 * MIB;

/// Not a test: the VMM that is killed.
#[test]
#[ignore = "it is another test's other half"]
fn played_vmm() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    let socket = UnixStream::connect(socket).unwrap();
    let guest = GuestMemory::of(LEN);
    guest.hand_over(&socket);
    // Until it is killed.
    for turn in 0.. {
        let page = turn * 4099 % (LEN / PAGE);
        guest.touch(page * PAGE);
        if turn % 16 == 0 {
            guest.give_back(page * PAGE, PAGE);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a fixture runs programs plainly")]
fn start(listener: &UnixListener, socket: &std::path::Path) -> (Child, UnixStream) {
    let vmm = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::played_vmm", "--ignored"])
        .env(SOCKET, socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (vmm, listener.accept().unwrap().0)
}

/// What a VMM hands over.
fn received(peer: &UnixStream) -> (Userfault, Vec<u8>) {
    let mut list = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut list)];
    let read = recvmsg(peer, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor: OwnedFd = descriptors.next().unwrap().next().unwrap();
    drop(descriptors);
    list.truncate(read.bytes);
    (Userfault::received(descriptor).unwrap(), list)
}

#[test]
fn a_vmm_that_is_killed_at_any_moment_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    for image in both(LEN) {
        for round in 0..12 {
            let (mut vmm, peer) = start(&listener, &socket);
            let (userfault, list) = received(&peer);
            let regions = parse_regions(&list, LEN).unwrap();
            let image = &*image;
            let came: Came = thread::scope(|scope| {
                let server = scope.spawn(move || {
                    let first = (0..LEN).step_by(4096 * 3).collect();
                    let server = PageServer::new(&userfault, &regions, image, &as_written, first);
                    match round % 2 {
                        0 => server.serve(&peer),
                        _ => server.on_demand().serve(&peer),
                    }
                });
                thread::sleep(Duration::from_millis(round * 2));
                vmm.kill().unwrap();
                server.join().unwrap()
            });
            vmm.wait().unwrap();
            let end = came.unwrap().end;
            let may_be_filled = round % 2 == 0 && round > 0;
            assert!(
                end == End::Gone || (may_be_filled && end == End::Filled),
                "{end:?} in round {round}"
            );
        }
    }
}
