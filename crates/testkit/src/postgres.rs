//! A PostgreSQL for tests, from Debian's packages: a cluster of its own in a temporary folder, on a Unix socket alone. It ends
//! with the process that started it, however that ends.

#![expect(
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a fixture runs programs plainly and stops at the first surprise"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

const KEEPER: &str = include_str!("postgres/keeper.sh");

/// A cluster. Dropped, it is gone.
#[derive(Debug)]
pub struct Cluster {
    keeper: Child,
    /// Both ends of the conversation with its keeper.
    talk: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    folder: String,
    databases: AtomicU32,
}

impl Cluster {
    /// A new one, which serves. Root makes one of the user `postgres`, anybody else one of its own.
    #[must_use]
    pub fn start() -> Self {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "sh",
            ]);
            command
        } else {
            Command::new("sh")
        };
        let mut keeper = command
            .args(["-c", KEEPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Who ends the tests, be it with their whole group, leaves it the time to clean up.
            .process_group(0)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (keeper.stdin.take().unwrap(), keeper.stdout.take().unwrap());
        let mut stdout = BufReader::new(stdout);
        let folder = line(&mut stdout);
        Self {
            keeper,
            talk: Mutex::new(Some((stdin, stdout))),
            folder,
            databases: AtomicU32::new(0),
        }
    }

    /// The one that the tests of this process share, made when it is first asked for.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The address of a new, empty database in it.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.tell(&format!("database test{number}"));
        format!(
            "postgres:///test{number}?host={}&user=postgres",
            self.folder
        )
    }

    /// Where its socket is; of its user alone, until somebody opens it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        Path::new(&self.folder)
    }

    /// Ends it, and every connection to it.
    pub fn stop(&self) {
        self.tell("stop");
    }

    /// Serves from here on at the port of loopback that it answers, too, to who comes in TLS and knows a password. Its
    /// certificate is `server.crt` in its folder; `stranger.crt` there is somebody else's.
    pub fn over_tls(&self) -> u16 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        self.tell(&format!("over_tls {port}"));
        port
    }

    /// Serves again after [`Self::stop`], with what it had.
    pub fn restart(&self) {
        self.tell("start");
    }

    fn tell(&self, words: &str) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let (stdin, stdout) = talk.as_mut().unwrap();
        writeln!(stdin, "{words}").unwrap();
        assert_eq!(line(stdout), "done", "{words}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its keeper reads the end of its input.
        self.talk
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(self.keeper.wait());
    }
}

fn line(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.ends_with('\n'), "PostgreSQL's keeper has ended");
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_cluster_stops_and_serves_again_and_leaves_nothing() {
        let cluster = Cluster::start();
        let folder = cluster.folder.clone();
        let socket = Path::new(&folder).join(".s.PGSQL.5432");
        assert!(cluster.database().contains("/test0?"));
        assert!(UnixStream::connect(&socket).is_ok());
        cluster.stop();
        assert!(UnixStream::connect(&socket).is_err());
        cluster.restart();
        assert!(UnixStream::connect(&socket).is_ok());
        drop(cluster);
        assert!(!Path::new(&folder).exists());
    }
}
