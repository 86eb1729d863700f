//! A machine's network: a namespace that only its process holds, behind the slot's TAP.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use wrenn_envd_api::guest;
use wrenn_sys::tap;

use crate::guest::{Identity, carry, configure};

/// How long a machine without traffic sleeps: there may be hundreds.
const WAIT: Duration = Duration::from_millis(200);
/// How often a machine that stands still is looked at again.
const STILL: Duration = Duration::from_millis(1);

/// Takes the calling thread, and so all threads that it makes from now on, into a namespace of their own with the guest's
/// interface in it. What comes back is that interface's wire.
pub(super) fn enter(mac: [u8; 6]) -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let wire = tap::create(guest::INTERFACE, mac)?;
    configure(Identity {
        address: guest::ADDRESS,
        prefix: guest::PREFIX_LEN,
        gateway: guest::GATEWAY,
        mac,
    })?;
    Ok(wire)
}

/// Carries frames between slot and guest for as long as the process lives. A machine that stands still takes none.
pub(super) fn pump(slot: OwnedFd, wire: OwnedFd, still: impl Fn() -> bool + Send + 'static) {
    let (mut slot, mut wire) = (File::from(slot), File::from(wire));
    thread::spawn(move || {
        loop {
            if still() {
                thread::sleep(STILL);
            } else {
                carry(&mut slot, &mut wire, WAIT);
            }
        }
    });
}
