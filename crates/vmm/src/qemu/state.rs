//! What the devices and virtual CPUs are: saved by a VMM that is not trusted, loaded by another.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::MemfdFlags;
use serde_json::{Value, json};
use wrenn_sys::process::Process;

use super::args;
use super::qmp::Link;
use crate::Error;

/// No state is longer. One of 9 KB was seen with one virtual CPU.
pub(super) const LARGEST: u64 = 16 << 20;
/// For a state to be loaded, which takes milliseconds. One that is damaged may keep QEMU busy for ever.
const LOAD_LIMIT: Duration = Duration::from_secs(10);
/// So often it is asked at once whether it has, which takes less than a timer's shortest time, and then at each [`POLL`].
const EAGER: usize = 8;
/// See [`EAGER`].
const POLL: Duration = Duration::from_millis(2);

/// Has the state of a VM that stands still written to memory of ours, and reads it back.
pub(super) async fn save(link: &Link) -> Result<Vec<u8>, Error> {
    let making = || Error::io("making room for the device state");
    let room = rustix::fs::memfd_create("device-state", MemfdFlags::CLOEXEC);
    let room = File::from(room.map_err(|errno| making()(errno.into()))?);
    // QEMU takes a descriptor only for just what it opens the file for.
    let door = File::options()
        .write(true)
        .open(format!("/proc/self/fd/{}", room.as_raw_fd()))
        .map_err(making())?;
    write_to(link, door.into()).await?;
    let mut state = Vec::new();
    let read = (&room).take(LARGEST + 1).read_to_end(&mut state);
    read.map_err(Error::io("reading the device state"))?;
    if state.is_empty() || state.len() as u64 > LARGEST {
        return Err(Error::Protocol(
            "the device state is empty or endless".into(),
        ));
    }
    Ok(state)
}

async fn write_to(link: &Link, door: OwnedFd) -> Result<(), Error> {
    let added = link.command_with("add-fd", None, Some(door)).await?;
    let set = added.get("fdset-id").and_then(Value::as_u64);
    let set = set.ok_or_else(|| Error::Protocol("a descriptor without a number".into()))?;
    // Of all commands that save a state the only one that leaves out the memory. Xen has no part in it.
    let arguments = json!({"filename": format!("/dev/fdset/{set}"), "live": false});
    let saved = link
        .command("xen-save-devices-state", Some(arguments))
        .await;
    let removed = link
        .command("remove-fd", Some(json!({"fdset-id": set})))
        .await;
    saved.and(removed).map(drop)
}

/// Loads the state in the jail. The virtual CPUs stand still then.
pub(super) async fn load(process: &Process, link: &Link) -> Result<(), Error> {
    let loaded = tokio::time::timeout(LOAD_LIMIT, incoming(link));
    tokio::select! {
        loaded = loaded => loaded.unwrap_or_else(|_| Err(Error::TimedOut {
            what: "loading a saved state".into(),
            limit: LOAD_LIMIT,
        })),
        _ = process.ended() => Err(Error::Gone),
    }
}

async fn incoming(link: &Link) -> Result<(), Error> {
    let state = json!({"uri": format!("file:/{}", args::STATE)});
    link.command("migrate-incoming", Some(state)).await?;
    let mut asked = 0;
    loop {
        asked += 1;
        let answer = link.command("query-status", None).await?;
        match answer.get("status").and_then(Value::as_str) {
            Some("inmigrate") if asked <= EAGER => {}
            Some("inmigrate") => tokio::time::sleep(POLL).await,
            Some("paused") => return Ok(()),
            _ => {
                let said = "it is of a VM that had ended".into();
                return Err(Error::Restore { said });
            }
        }
    }
}
