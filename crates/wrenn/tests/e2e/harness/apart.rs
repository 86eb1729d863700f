//! `wrenn agent` and `wrenn server` as two children, the second without any right, over a Unix socket or over TLS.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use wrenn_client::Client;

use super::watch::watch;
use super::{leaks, server, signal};

/// The control plane's user: one that nobody is.
const USER: u32 = 2_000_123_456;

/// An installation in two halves, each of which runs or not. Dropping it ends its sandboxes and checks that nothing is left.
pub(crate) struct Apart {
    dir: TempDir,
    agent: Option<Child>,
    server: Option<Child>,
    url: String,
    /// The agent's port, where it is not a socket.
    tls: Option<u16>,
    /// The server's configuration.
    config: PathBuf,
    installed: Option<Installed>,
}

/// A program that was installed, and what its unit takes from it.
struct Installed {
    config: PathBuf,
    program: PathBuf,
    /// As setpriv takes it.
    bounding_set: String,
}

impl Apart {
    /// An installation of which nothing runs yet.
    pub(crate) fn new() -> Self {
        watch();
        let dir = TempDir::with_prefix("wrenn-e2e-").unwrap();
        // The other user comes as far as its own folder; the agent's is root's.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        chown(&state, Some(USER), Some(USER)).unwrap();
        // It may not be able to reach this one.
        std::fs::copy(env!("CARGO_BIN_EXE_wrenn"), dir.path().join("wrenn")).unwrap();
        Self {
            dir,
            agent: None,
            server: None,
            url: String::new(),
            tls: None,
            config: PathBuf::from("/dev/null"),
            installed: None,
        }
    }

    /// The same of what was installed below `root`, with its configuration, and without some of the agent's capabilities.
    pub(crate) fn installed(root: &Path, bounding_set: &str) -> Self {
        let mut apart = Self::new();
        let installed = Installed {
            config: root.join("etc/wrenn/wrenn.toml"),
            program: root.join("usr/bin/wrenn"),
            bounding_set: bounding_set.to_owned(),
        };
        std::fs::copy(&installed.program, apart.dir.path().join("wrenn")).unwrap();
        // Everybody reads it where it belongs.
        apart.config = apart.dir.path().join("wrenn.toml");
        std::fs::copy(&installed.config, &apart.config).unwrap();
        apart.installed = Some(installed);
        apart
    }

    /// The same, but of which both halves speak TLS on this port. The agent has to join first.
    pub(crate) fn over_tls(port: u16) -> Self {
        let mut apart = Self::new();
        apart.tls = Some(port);
        apart
    }

    /// A one-time token of the control plane, which runs.
    pub(crate) fn invite(&self) -> String {
        let key = self.dir.path().join("state/api-key");
        let key = std::fs::read_to_string(key).unwrap();
        let invited = server::wrenn(&self.data())
            .args([
                "--url",
                &self.url,
                "--api-key",
                key.trim(),
                "host",
                "invite",
            ])
            .output()
            .unwrap();
        assert!(invited.status.success(), "{invited:?}");
        String::from_utf8(invited.stdout).unwrap().trim().to_owned()
    }

    /// Joins the control plane with a token, as a host on the loopback.
    pub(crate) fn join(&self, token: &str) -> Output {
        server::wrenn(&self.data())
            .args(["agent", "join", &self.url, "--address", "127.0.0.1"])
            .env("WRENN_JOIN_TOKEN", token)
            .output()
            .unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The control plane's own folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Loses all that it had, as with its disk. Nothing of it runs.
    pub(crate) fn forget(&self) {
        assert!(self.agent.is_none() && self.server.is_none());
        let down = server::wrenn(&self.data()).arg("down").output().unwrap();
        assert!(down.status.success(), "{down:?}");
        std::fs::remove_dir_all(self.data()).unwrap();
        std::fs::remove_dir_all(self.state()).unwrap();
        std::fs::create_dir(self.state()).unwrap();
        chown(self.state(), Some(USER), Some(USER)).unwrap();
    }

    /// `wrenn` for the agent.
    fn agent_program(&self) -> Command {
        let Some(installed) = &self.installed else {
            return server::wrenn(&self.data());
        };
        #[expect(clippy::disallowed_methods, reason = "as a service manager would")]
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", &installed.bounding_set])
            .arg(&installed.program)
            .arg("--dir")
            .arg(self.data())
            .env("WRENN_CONFIG", &installed.config)
            .stdin(Stdio::null());
        command
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("rpc/agent.sock")
    }

    pub(crate) fn client(&self) -> Client {
        let key = std::fs::read_to_string(self.dir.path().join("state/api-key")).unwrap();
        Client::new(&self.url, Some(key.trim())).unwrap()
    }

    /// Starts the agent and waits until it answers.
    pub(crate) fn start_agent(&mut self) {
        assert!(self.agent.is_none());
        std::fs::create_dir_all(self.data()).unwrap();
        let mut command = self.agent_program();
        command.args(["agent", "--json", "--log", "info,wrenn=debug"]);
        match self.tls {
            Some(port) => {
                command.args(["--listen-tls", &format!("127.0.0.1:{port}")]);
            }
            None => {
                command.args(["--server-user", &USER.to_string(), "--server-socket"]);
                command.arg(self.socket());
            }
        }
        self.agent = Some(self.spawn(command, "agent").0);
    }

    /// Starts the control plane and waits until it serves.
    pub(crate) fn start_server(&mut self) {
        assert!(self.server.is_none());
        let user = USER.to_string();
        #[expect(clippy::disallowed_methods, reason = "as a service manager would")]
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
            .args(["--bounding-set", "-all", "--inh-caps", "-all"])
            .arg(self.dir.path().join("wrenn"))
            .args(["server", "--json", "--addr", "127.0.0.1:0", "--agent"])
            .arg(match self.tls {
                Some(port) => format!("tls:127.0.0.1:{port}"),
                None => format!("unix:{}", self.socket().display()),
            })
            .arg("--state")
            .arg(self.dir.path().join("state"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("WRENN_CONFIG", &self.config)
            .stdin(Stdio::null());
        let (child, told) = self.spawn(command, "server");
        self.server = Some(child);
        self.url = told["url"].as_str().unwrap().to_owned();
    }

    /// SIGKILL.
    pub(crate) fn kill_agent(&mut self) {
        kill(self.agent.take().unwrap());
    }

    /// SIGKILL.
    pub(crate) fn kill_server(&mut self) {
        kill(self.server.take().unwrap());
    }

    /// SIGTERM; it ends well.
    pub(crate) fn stop_server(&mut self) {
        let mut child = self.server.take().unwrap();
        signal(&child, "TERM");
        assert!(child.wait().unwrap().success());
    }

    /// Waits for the first thing that it says.
    fn spawn(&self, mut command: Command, name: &str) -> (Child, serde_json::Value) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log(name))
            .unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut text = String::new();
        for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
            text.push_str(&line.unwrap());
            if let Ok(told) = serde_json::from_str(&text) {
                return (child, told);
            }
        }
        let status = child.wait().unwrap();
        let log = std::fs::read_to_string(self.log(name)).unwrap();
        panic!("`wrenn {name}` ended before it served: {status}\n{text}\n{log}");
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join(Path::new(name).with_extension("log"))
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

impl Drop for Apart {
    fn drop(&mut self) {
        let down = server::wrenn(&self.data())
            .args(["down", "--json"])
            .output();
        for child in [self.server.take(), self.agent.take()]
            .into_iter()
            .flatten()
        {
            kill(child);
        }
        if std::thread::panicking() {
            for name in ["agent", "server"] {
                let log = std::fs::read_to_string(self.log(name)).unwrap_or_default();
                eprintln!("the {name}'s log:\n{log}");
            }
            return;
        }
        let down = down.unwrap();
        let said = String::from_utf8_lossy(&down.stderr);
        assert!(down.status.success(), "{said}");
        leaks::check(&self.data());
    }
}
