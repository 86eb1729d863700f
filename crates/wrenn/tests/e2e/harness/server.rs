//! A `wrenn up` as a child process.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wrenn_client::Client;

use super::leaks;
use super::watch::watch;

/// A server with a data directory of its own. Dropping it ends its sandboxes and checks that nothing is left.
pub(crate) struct Server {
    dir: TempDir,
    /// What `wrenn up` finds in its environment.
    env: Vec<(&'static str, PathBuf)>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// A new installation, serving.
    pub(crate) fn start() -> Self {
        Self::start_in(&std::env::temp_dir())
    }

    /// The same below another folder.
    pub(crate) fn start_in(folder: &Path) -> Self {
        assert_inside_the_world();
        let dir = TempDir::with_prefix_in("wrenn-e2e-", folder).unwrap();
        let mut server = Self::in_dir(dir);
        server.resume();
        server
    }

    /// A new installation whose `wrenn up` finds this in its environment.
    pub(crate) fn start_with_env(env: &[(&'static str, PathBuf)]) -> Self {
        assert_inside_the_world();
        let mut server = Self::in_dir(TempDir::with_prefix("wrenn-e2e-").unwrap());
        server.env = env.to_vec();
        server.resume();
        server
    }

    /// An installation whose data directory somebody makes first, serving.
    pub(crate) fn start_on(make: impl FnOnce(&Path)) -> Self {
        assert_inside_the_world();
        let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
        let mut server = Self::in_dir(dir);
        make(&server.data());
        server.resume();
        server
    }

    fn in_dir(dir: TempDir) -> Self {
        watch();
        Self {
            dir,
            env: Vec::new(),
            running: None,
        }
    }

    /// A new installation whose store alone is a folder elsewhere.
    pub(crate) fn start_with_store(store: &Path) -> Self {
        Self::start_with_store_and_env(store, &[])
    }

    /// The same, whose `wrenn up` finds this in its environment.
    pub(crate) fn start_with_store_and_env(store: &Path, env: &[(&'static str, PathBuf)]) -> Self {
        assert_inside_the_world();
        let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
        let mut server = Self::in_dir(dir);
        server.env = env.to_vec();
        std::fs::create_dir(server.data()).unwrap();
        std::os::unix::fs::symlink(store, server.data().join("store")).unwrap();
        server.resume();
        server
    }

    /// Starts `wrenn up` on the same data directory.
    pub(crate) fn resume(&mut self) {
        self.resume_with("");
    }

    /// The same with faults armed, as `WRENN_FAILPOINTS` takes them.
    pub(crate) fn resume_with(&mut self, failpoints: &str) {
        assert!(self.running.is_none());
        self.running = Some(Running::start(&self.data(), failpoints, &self.env));
    }

    /// Waits for its end; a server that aborts by an armed fault.
    pub(crate) fn dies(&mut self) {
        let (status, _) = self.running.take().unwrap().end();
        assert!(!status.success(), "the server ended well");
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Has the next `wrenn up` find this there instead.
    pub(crate) fn set_env(&mut self, name: &'static str, value: &str) {
        self.env.retain(|(ours, _)| *ours != name);
        self.env.push((name, value.into()));
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn url(&self) -> &str {
        &self.running.as_ref().expect("the server runs").url
    }

    /// The agent's process, which is `wrenn up` itself.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").child.id()
    }

    /// The control plane's process, a child of the agent's.
    pub(crate) fn control_plane(&self) -> u32 {
        control_plane(self.pid()).expect("the control plane runs")
    }

    pub(crate) fn key(&self) -> String {
        std::fs::read_to_string(self.data().join("api-key"))
            .unwrap()
            .trim()
            .to_owned()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.url(), Some(&self.key())).unwrap()
    }

    /// The CLI as this server's user.
    pub(crate) fn cli(&self) -> Command {
        let mut command = wrenn(&self.data());
        command.arg("--url").arg(self.url());
        command
    }

    /// SIGKILL: no time for anything.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// SIGTERM; gives how it ended and what it said.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, String) {
        let running = self.running.take().unwrap();
        signal(&running.child, "TERM");
        running.end()
    }

    /// `wrenn down` beside whatever runs.
    pub(crate) fn down(&mut self) -> Output {
        let output = wrenn(&self.data())
            .args(["down", "--json"])
            .output()
            .unwrap();
        if let Some(running) = self.running.take() {
            let (status, said) = running.end();
            assert!(
                status.success(),
                "`wrenn up` ends well after `wrenn down`: {status}: {said}"
            );
        }
        output
    }

    /// The log of the last `wrenn up`.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log(&self.data())).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let output = self.down();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
            return;
        }
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        leaks::check(&self.data());
    }
}

impl Running {
    fn start(data: &Path, failpoints: &str, env: &[(&str, PathBuf)]) -> Self {
        // As `wrenn up` makes it: what works in a folder for everyone may not work there.
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true).mode(0o700).create(data).unwrap();
        let log = std::fs::File::create(log(data)).unwrap();
        let mut child = wrenn(data)
            .args([
                "up",
                "--addr",
                "127.0.0.1:0",
                "--json",
                "--log",
                "info,wrenn=debug",
            ])
            .env("WRENN_FAILPOINTS", failpoints)
            // What stands ready takes time and memory that most tests have no use for.
            .env("WRENN_BOOT_IMAGES_MB", "0")
            .env("WRENN_READY_SLOTS", "0")
            .envs(env.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        let mut text = String::new();
        let begun = Instant::now();
        for line in BufReader::new(stdout).lines() {
            text.push_str(&line.unwrap());
            if let Ok(serving) = serde_json::from_str::<serde_json::Value>(&text) {
                let url = serving["url"].as_str().unwrap().to_owned();
                eprintln!("serving at {url} after {:?}", begun.elapsed());
                let log = self::log(data);
                return Self { child, url, log };
            }
        }
        let status = child.wait().unwrap();
        let log = std::fs::read_to_string(super::server::log(data)).unwrap();
        panic!("`wrenn up` ended before it served: {status}\n{text}\n{log}");
    }

    fn end(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(30) {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("`wrenn up` does not end; its log:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut said = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (self.child.wait().unwrap(), said)
    }
}

/// The child of a `wrenn up` that runs as `wrenn server`. The helpers of VMMs are children too.
fn control_plane(up: u32) -> Option<u32> {
    let mut processes = std::fs::read_dir("/proc").unwrap();
    processes.find_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let parent = fields.split(' ').nth(1)?;
        // One that has ended has no words.
        (parent == up.to_string() && words.contains("\0server\0")).then_some(pid)
    })
}

fn assert_inside_the_world() {
    assert_eq!(
        std::env::var("WRENN_WORLD").as_deref(),
        Ok("1"),
        "run these tests inside the world: scripts/in-world cargo test -p wrenn --test e2e"
    );
}

/// The log stands beside the data directory, which `wrenn` makes and owns.
fn log(data: &Path) -> PathBuf {
    data.with_extension("log")
}

/// The binary, with a data directory and nothing of the caller's environment that would change what it does.
pub(crate) fn wrenn(data: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is run as a user runs it"
    )]
    let mut command = Command::new(env!("CARGO_BIN_EXE_wrenn"));
    for name in ["WRENN_URL", "WRENN_API_KEY", "ADDR", "RUST_LOG"] {
        command.env_remove(name);
    }
    // The machine's own configuration is another installation's.
    command.env("WRENN_CONFIG", "/dev/null");
    command.arg("--dir").arg(data).stdin(Stdio::null());
    command
}

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test's helper")]
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}
