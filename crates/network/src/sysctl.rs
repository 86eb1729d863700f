//! Kernel settings under /proc/sys/net, which shows those of the calling thread's namespace.

use std::{fs, io};

/// Sets one, named by its path below /proc/sys/net. `Ok(false)` when this kernel does not have it.
pub(crate) fn set(name: &str, value: &str) -> io::Result<bool> {
    match fs::write(format!("/proc/sys/net/{name}"), value) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
    }
}

/// Whether a switch is on.
pub(crate) fn is_on(name: &str) -> io::Result<bool> {
    Ok(fs::read_to_string(format!("/proc/sys/net/{name}"))?.trim() != "0")
}
