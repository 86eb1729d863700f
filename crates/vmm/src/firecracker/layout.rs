//! What a VM has in its folder, and where its jail has it.
//!
//! ```text
//! the VM's folder          in the jail           who may do what
//! (the kernel, the initrd) /kernel /initrd       read
//! (a generation's state)   /state                read
//! captured.state, .memory  /captured.*           write: what a pause saves
//! vmm.log, metrics         /log /metrics         write: pipes
//! pages.sock               /pages.sock           connect
//! (the disk's device)      /disk                 read and write
//! ```

use super::pages;
use crate::{builds, console, log};

/// The jail's mount point, in the VM's folder.
pub(super) const ROOT: &str = "root";
/// The guest's serial line, a pipe in the VM's folder.
pub(super) const SERIAL: &str = "serial";
/// What it counts, a pipe in the VM's folder.
pub(super) const METRICS: &str = "metrics";
/// What a pause saves of devices and virtual CPUs, in the VM's folder.
pub(super) const STATE: &str = "captured.state";
/// What a pause saves of the memory, in the VM's folder.
pub(super) const MEMORY: &str = "captured.memory";
/// Everything that a VM has in its folder.
pub(super) const ALL: [&str; 11] = [
    ROOT,
    SERIAL,
    METRICS,
    STATE,
    MEMORY,
    pages::ROOT,
    pages::SOCKET,
    pages::DONE,
    log::NAME,
    console::NAME,
    builds::KEPT,
];
