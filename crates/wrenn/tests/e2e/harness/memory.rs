//! What the server takes of the host's memory.

use super::Server;

/// The processes of a server, whose memory is watched from a moment on.
pub(crate) struct Memory {
    pids: [u32; 2],
    before: u64,
}

impl Memory {
    /// Watches a server from now on.
    pub(crate) fn of(server: &Server) -> Self {
        let pids = [server.pid(), server.control_plane()];
        for pid in pids {
            // Sets the highest mark back to what is taken now: proc_pid_clear_refs(5).
            std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        }
        let before = bytes(pids, "VmRSS");
        Self { pids, before }
    }

    /// Panics when at any moment it took more than `limit` bytes beyond what it had.
    #[track_caller]
    pub(crate) fn assert_grew_less_than(&self, limit: u64) {
        let most = bytes(self.pids, "VmHWM");
        let grown = most.saturating_sub(self.before);
        eprintln!(
            "the server grew by {} MiB over {} MiB",
            grown >> 20,
            self.before >> 20
        );
        assert!(grown < limit, "{grown} bytes over {}", self.before);
    }
}

/// What a server's two processes take now, in bytes.
pub(crate) fn resident_memory(server: &Server) -> u64 {
    bytes([server.pid(), server.control_plane()], "VmRSS")
}

/// Of the processes together.
fn bytes(pids: [u32; 2], name: &str) -> u64 {
    let of = |pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() << 10
    };
    pids.into_iter().map(of).sum()
}
