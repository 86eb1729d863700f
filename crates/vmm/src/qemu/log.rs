//! What QEMU itself says: a named pipe in the VM's folder. The kernel bounds it, nobody blocks on it, and the next
//! agent can open it again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::CWD;
use wrenn_model::VmId;

/// In the VM's folder.
pub(super) const NAME: &str = "vmm.log";
/// How much of the end is kept.
const KEPT: usize = 2 << 10;
/// The most that is read at once: what the pipe holds.
const LONGEST: u64 = 64 << 10;

/// The reading end.
#[derive(Debug)]
pub(super) struct Log {
    vm: VmId,
    pipe: File,
    kept: Vec<u8>,
}

impl Log {
    /// Makes the pipe. The second value is the writing end, for QEMU.
    pub(super) fn create(vm: &VmId, dir: &Path) -> io::Result<(Self, OwnedFd)> {
        let path = dir.join(NAME);
        rustix::fs::mkfifoat(CWD, &path, 0o600.into())?;
        let log = Self::open(vm, dir)?;
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        Ok((log, options.open(&path)?.into()))
    }

    /// Takes up a pipe that is there.
    pub(super) fn open(vm: &VmId, dir: &Path) -> io::Result<Self> {
        // For writing too, so that it has no end when QEMU has none of it open.
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK);
        let pipe = options.open(dir.join(NAME))?;
        Ok(Self {
            vm: vm.clone(),
            pipe,
            kept: Vec::new(),
        })
    }

    /// Reads what there is, passes it to our own log, and answers with the end of all that was ever said.
    pub(super) fn drain(&mut self) -> String {
        let mut new = Vec::new();
        match (&self.pipe).take(LONGEST).read_to_end(&mut new) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::debug!(vm = %self.vm, %error, "the VMM's log can not be read");
            }
            _ => {}
        }
        if !new.is_empty() {
            let said = String::from_utf8_lossy(&new[new.len().saturating_sub(KEPT)..]);
            tracing::info!(vm = %self.vm, said = %said.trim_end().escape_debug(), "the VMM says");
        }
        self.kept.extend(new);
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
        String::from_utf8_lossy(&self.kept).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn it_never_blocks_and_is_bounded_and_can_be_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let vm = VmId::random();
        let (mut log, pipe) = Log::create(&vm, dir.path()).unwrap();
        assert_eq!(log.drain(), "");
        let mut pipe = File::from(pipe);
        pipe.write_all(b"first\n").unwrap();
        drop(log);
        let mut log = Log::open(&vm, dir.path()).unwrap();
        assert_eq!(log.drain(), "first");
        let flood = vec![b'x'; 4096];
        let refused = (0..1000)
            .find_map(|_| pipe.write_all(&flood).err())
            .unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(log.drain().len(), KEPT);
    }
}
