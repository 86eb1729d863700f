//! What a VMM itself says: a named pipe in the VM's folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use wrenn_model::VmId;

use crate::pipe::{self, Pipe};

/// In the VM's folder.
pub(crate) const NAME: &str = "vmm.log";
/// How much of the end is kept, in bytes.
const KEPT: usize = 2 << 10;

/// The reading end.
#[derive(Debug)]
pub(crate) struct Log {
    vm: VmId,
    pipe: Pipe,
    kept: Vec<u8>,
    /// It says more than what is worth an operator's while.
    chatty: bool,
}

impl Log {
    /// Makes the pipe. The second value is the writing end, for the VMM.
    pub(crate) fn create(vm: &VmId, dir: &Path) -> io::Result<(Self, OwnedFd)> {
        let path = dir.join(NAME);
        let log = Self::over(vm, Pipe::create(&path)?);
        Ok((log, pipe::open(&path)?.into()))
    }

    /// Takes up a pipe that is there.
    pub(crate) fn open(vm: &VmId, dir: &Path) -> io::Result<Self> {
        Ok(Self::over(vm, Pipe::open(&dir.join(NAME))?))
    }

    fn over(vm: &VmId, pipe: Pipe) -> Self {
        Self {
            vm: vm.clone(),
            pipe,
            kept: Vec::new(),
            chatty: false,
        }
    }

    /// The same of a VMM that tells of everything that it does.
    pub(crate) fn chatty(self) -> Self {
        Self {
            chatty: true,
            ..self
        }
    }

    /// Reads what there is, passes it to our own log, and answers with the end of all that was ever said.
    pub(crate) fn drain(&mut self) -> String {
        let new = self.pipe.drain().unwrap_or_else(|error| {
            tracing::debug!(vm = %self.vm, %error, "the VMM's log can not be read");
            Vec::new()
        });
        if !new.is_empty() {
            let said = String::from_utf8_lossy(&new[new.len().saturating_sub(KEPT)..]);
            let said = said.trim_end().escape_debug();
            match self.chatty {
                true => tracing::debug!(vm = %self.vm, %said, "the VMM says"),
                false => tracing::info!(vm = %self.vm, %said, "the VMM says"),
            }
        }
        self.kept.extend(new);
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
        String::from_utf8_lossy(&self.kept).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
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
