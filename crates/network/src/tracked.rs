//! The kernel's table of connections. Every namespace has entries of its own, and one limit is all of the machine's.

use std::{fs, io};

/// How full the host's table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// Connections that stand in it, and what UDP has in their place.
    pub count: u64,
    /// How many may; 0 for any number.
    pub most: u64,
}

impl Tracked {
    /// That of the calling thread's namespace. `None` on a kernel that tracks nothing.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn now() -> io::Result<Option<Self>> {
        let (count, most) = (read("nf_conntrack_count")?, read("nf_conntrack_max")?);
        Ok(count.zip(most).map(|(count, most)| Self { count, most }))
    }
}

fn read(name: &str) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")) {
        Ok(text) => text.trim().parse().map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
