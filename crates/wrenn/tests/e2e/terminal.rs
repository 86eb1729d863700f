//! A terminal of a real guest, lent to one of ours by the command line.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, tcgetattr};

use crate::harness::{Server, TestSandbox, shared};

/// The terminal of a user who runs something.
struct Desk {
    screen: File,
    shown: String,
    child: Child,
}

impl Desk {
    /// Runs this command of the sandbox with `--tty`.
    fn run(server: &Server, id: &str, command: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 30,
            ws_col: 90,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let cli = server.cli();
        // It is the terminal of its session, as that of a login is.
        #[expect(clippy::disallowed_methods, reason = "a user starts it")]
        let mut user = Command::new("setsid");
        user.arg("--ctty")
            .arg(cli.get_program())
            .args(cli.get_args());
        user.args(["sandbox", "exec", "--tty", id, "--"])
            .args(command);
        for (name, value) in cli.get_envs() {
            match value {
                Some(value) => user.env(name, value),
                None => user.env_remove(name),
            };
        }
        user.env("TERM", "vt220");
        let ours = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = user.stdin(ours()).stdout(ours()).stderr(ours()).spawn();
        Self {
            screen: pty.master.into(),
            shown: String::new(),
            child: child.unwrap(),
        }
    }

    fn types(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until it has shown this since it was last asked.
    fn shows(&mut self, text: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap();
            let ready = poll(&mut [PollFd::new(&self.screen, PollFlags::IN)], Some(&left)).unwrap();
            assert!(ready > 0, "{text:?} is not in {:?}", self.shown);
            let mut piece = [0; 4096];
            let read = self.screen.read(&mut piece).unwrap_or(0);
            assert!(read > 0, "it ended at {:?}", self.shown);
            self.shown
                .push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }
}

#[tokio::test]
async fn a_shell_is_used_as_at_its_own_screen() {
    let server = shared();
    let sandbox = TestSandbox::create(&server.client()).await;
    let mut desk = Desk::run(&server, &sandbox.id, &["sh", "-i"]);
    desk.types("stty size; echo is-$TERM\n");
    desk.shows("30 90\r\n");
    desk.shows("is-vt220\r\n");
    // Ctrl-C is the guest's: it ends what runs in front there, and the shell goes on.
    desk.types("sleep 4741\n");
    desk.shows("sleep 4741");
    std::thread::sleep(Duration::from_millis(500));
    desk.types("\x03");
    desk.types("echo status-$?\n");
    desk.shows("status-130\r\n");
    let larger = rustix::termios::Winsize {
        ws_row: 40,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&desk.screen, larger).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    desk.types("stty size\n");
    desk.shows("40 120\r\n");
    desk.types("exit 7\n");
    assert_eq!(desk.child.wait().unwrap().code(), Some(7));

    // Told to end from elsewhere, it gives the terminal back as it was.
    let mut desk = Desk::run(&server, &sandbox.id, &["sh", "-i"]);
    desk.types("echo is-$TERM\n");
    desk.shows("is-vt220\r\n");
    let lent = tcgetattr(&desk.screen).unwrap().local_modes;
    assert!(!lent.intersects(LocalModes::ICANON | LocalModes::ECHO));
    let pid = Pid::from_raw(desk.child.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(desk.child.wait().unwrap().code(), Some(125));
    let back = tcgetattr(&desk.screen).unwrap().local_modes;
    assert!(back.contains(LocalModes::ICANON | LocalModes::ECHO));
    sandbox.delete().await;
}
