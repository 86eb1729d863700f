//! Running a program of the host: with a scrubbed environment, a bound on its time and what it said in the error.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::oom;

/// How much of each stream is kept. What comes after it is read and dropped.
const KEPT: usize = 1 << 20;

/// A program to run: its arguments, its environment (only what is added here, and `PATH`), its time limit.
#[derive(Debug)]
pub struct Program {
    name: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    limit: Duration,
}

/// What a program left when it ended well.
#[derive(Debug)]
pub struct Output {
    /// Its standard output, the first mebibyte.
    pub stdout: Vec<u8>,
    /// Its standard error, the first mebibyte.
    pub stderr: Vec<u8>,
}

/// Why a program did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started at all.
    #[error("{program} could not be started")]
    Start {
        /// Its name.
        program: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It ran too long and was killed.
    #[error("{program} did not end within {limit:?}")]
    TimedOut {
        /// Its name.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// It ended with another status than 0.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        said: String,
    },
}

impl Program {
    /// A program by name (looked up in `PATH`) or path, with a limit of a minute.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            dir: None,
            limit: Duration::from_secs(60),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in this directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Bounds its time.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end. Dropping the future kills it.
    pub async fn run(self) -> Result<Output, Error> {
        self.run_with(|_| ()).await
    }

    /// Runs it to its end and hands each line that it writes to standard error or output to `progress` as it comes.
    pub async fn run_with(self, progress: impl FnMut(&str) + Send) -> Result<Output, Error> {
        let program = self.name.to_string_lossy().into_owned();
        let start = |source| Error::Start {
            program: program.clone(),
            source,
        };
        let mut child = self.command().spawn().map_err(start)?;
        if let Some(pid) = child.id()
            && let Err(error) = oom::do_not_spare(pid)
        {
            tracing::debug!(%error, program, "a program is spared with us");
        }
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(start(std::io::Error::other("no pipes")));
        };
        let progress = Mutex::new(progress);
        let work = async {
            tokio::join!(
                collect(stdout, &progress),
                collect(stderr, &progress),
                child.wait()
            )
        };
        let Ok((stdout, stderr, status)) = tokio::time::timeout(self.limit, work).await else {
            // The child is killed when its handle drops; here so that it is gone before the answer.
            drop(child.kill().await);
            return Err(Error::TimedOut {
                program,
                limit: self.limit,
            });
        };
        let status = status.map_err(start)?;
        if status.success() {
            return Ok(Output { stdout, stderr });
        }
        let said = String::from_utf8_lossy(&stderr);
        let from = said.floor_char_boundary(said.len().saturating_sub(2000));
        Err(Error::Failed {
            program,
            status,
            said: said[from..].trim().to_owned(),
        })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.name);
        command
            .args(&self.args)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C.UTF-8")
            .envs(self.envs.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }
}

async fn collect(mut from: impl AsyncRead + Unpin, progress: &Mutex<impl FnMut(&str)>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut line = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => &buffer[..read],
        };
        kept.extend_from_slice(&read[..read.len().min(KEPT - kept.len())]);
        for byte in read {
            if matches!(byte, b'\n' | b'\r') {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress(&String::from_utf8_lossy(&line));
                line.clear();
            } else if line.len() < 4096 {
                line.push(*byte);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_and_lines_are_told() {
        let mut lines = Vec::new();
        let output = Program::new("sh")
            .args(["-c", "echo one; echo $LEFT two"])
            .env("LEFT", "=")
            .run_with(|line| lines.push(line.to_owned()))
            .await
            .unwrap();
        assert_eq!(output.stdout, b"one\n= two\n");
        assert_eq!(lines, ["one", "= two"]);
    }

    #[tokio::test]
    async fn a_failure_says_what_the_program_said() {
        let error = Program::new("sh")
            .args(["-c", "echo the reason >&2; exit 3"])
            .run()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended() {
        let error = Program::new("sleep")
            .arg("600")
            .limit(Duration::from_millis(50))
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }
}
