//! From what a caller asked for to a running command.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tokio::net::unix::pipe::{Receiver, Sender};

use super::terminal::{Size, Terminal};
use crate::session::Session;
use crate::sys::spawn::{Image, SpawnError};
use crate::users::User;

/// Where programs are looked for if nobody says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a terminal understands if nobody says otherwise: what nearly every one does today.
const TERM: &str = "xterm-256color";

/// What a caller asks for.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: Option<String>,
    pub(crate) user: User,
    /// Whether input will be sent; otherwise the command reads an end of file. Of a terminal there always is.
    pub(crate) stdin: bool,
    /// It has a terminal of this size in the place of pipes.
    pub(crate) terminal: Option<Size>,
}

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("no program was named")]
    NoProgram,
    #[error("an argument or variable has a NUL byte in it")]
    Nul(#[from] NulError),
    #[error("{} is not a directory", .0.display())]
    NoDirectory(PathBuf),
    #[error("{0}")]
    Spawn(String, #[source] SpawnError),
    #[error("could not prepare the process")]
    Prepare(#[source] io::Error),
}

/// The agent's ends of a command's pipes, or of its terminal.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<Sender>,
    pub(super) stdout: Receiver,
    /// A terminal shows both in one.
    pub(super) stderr: Option<Receiver>,
    pub(super) terminal: Option<Terminal>,
}

/// A command that is ready to be made.
#[derive(Debug)]
pub(super) struct Prepared {
    program: String,
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    user: User,
    /// The command's ends; closed here once it has them.
    stdio: [OwnedFd; 3],
    /// They are its terminal.
    on_terminal: bool,
}

impl Command {
    /// Checks and gathers everything that can be before there is a process.
    pub(super) fn prepare(self, session: &Session) -> Result<(Prepared, Pipes), LaunchError> {
        if self.program.is_empty() {
            return Err(LaunchError::NoProgram);
        }
        let cwd = self.directory(session)?;
        let env = self.environment(session);
        let path = env.get("PATH").map_or(PATH, String::as_str);
        let candidates = candidates(&self.program, path)?;
        let strings = |name: &String, value: &String| CString::new(format!("{name}={value}"));
        let env = env
            .iter()
            .map(|(name, value)| strings(name, value))
            .collect::<Result<_, _>>()?;
        let args = std::iter::once(&self.program)
            .chain(&self.args)
            .map(|arg| CString::new(arg.as_bytes()))
            .collect::<Result<_, _>>()?;
        let cwd = CString::new(cwd.as_os_str().as_bytes())?;
        let made = match self.terminal {
            Some(size) => terminal(&self.user, size),
            None => pipes(&self.user, self.stdin),
        };
        let (stdio, pipes) = made.map_err(LaunchError::Prepare)?;
        let prepared = Prepared {
            program: self.program,
            candidates,
            args,
            env,
            cwd,
            user: self.user,
            stdio,
            on_terminal: self.terminal.is_some(),
        };
        Ok((prepared, pipes))
    }

    /// The directory that was asked for; else the default, else the home directory, else the root.
    fn directory(&self, session: &Session) -> Result<PathBuf, LaunchError> {
        let home = &self.user.home;
        if let Some(cwd) = self.cwd.as_deref().filter(|cwd| !cwd.is_empty()) {
            let cwd = crate::paths::resolve(cwd, home);
            return if cwd.is_dir() {
                Ok(cwd)
            } else {
                Err(LaunchError::NoDirectory(cwd))
            };
        }
        let default = session.default_workdir.as_ref().filter(|dir| dir.is_dir());
        Ok(default
            .or(Some(home).filter(|home| home.is_dir()))
            .map_or_else(|| PathBuf::from("/"), Clone::clone))
    }

    /// What every process has, then what `/init` gave, then what the caller gave.
    fn environment(&self, session: &Session) -> BTreeMap<String, String> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut env = BTreeMap::from([
            own("WRENN_SANDBOX", "true"),
            own("WRENN_SANDBOX_ID", &session.sandbox_id),
            own("WRENN_TEMPLATE_ID", &session.template_id),
            own("HOME", &self.user.home.to_string_lossy()),
            own("USER", &self.user.name),
            own("LOGNAME", &self.user.name),
            own("SHELL", &self.user.shell),
            own("PATH", PATH),
            own("LANG", "C.UTF-8"),
        ]);
        if self.terminal.is_some() {
            env.extend([own("TERM", TERM)]);
        }
        env.extend(session.env.clone());
        env.extend(self.env.iter().cloned());
        env
    }
}

impl Prepared {
    /// Makes the process. Blocks until it executes its program.
    pub(super) fn spawn(&self, group: &impl AsFd) -> Result<i32, LaunchError> {
        let [stdin, stdout, stderr] = &self.stdio;
        let image = Image {
            candidates: &self.candidates,
            args: &self.args,
            env: &self.env,
            cwd: &self.cwd,
            uid: self.user.uid,
            gid: self.user.gid,
            groups: &self.user.groups,
            stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            on_terminal: self.on_terminal,
        };
        crate::sys::spawn::spawn(&image, group.as_fd())
            .map_err(|error| LaunchError::Spawn(self.program.clone(), error))
    }
}

/// The files that may be meant by `program`: itself if it has a slash, else one in each directory of `path`.
fn candidates(program: &str, path: &str) -> Result<Vec<CString>, NulError> {
    if program.contains('/') {
        return Ok(vec![CString::new(program)?]);
    }
    path.split(':')
        .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(program))
        .map(|file| CString::new(file.as_os_str().as_bytes()))
        .collect()
}

/// Three descriptors for the command and the other ends of them.
fn pipes(user: &User, stdin: bool) -> io::Result<([OwnedFd; 3], Pipes)> {
    let (stdout, own_stdout) = pipe(user)?;
    let (stderr, own_stderr) = pipe(user)?;
    let (own_stdin, stdin) = if stdin {
        let (reader, writer) = pipe(user)?;
        (reader, Some(Sender::from_owned_fd(writer)?))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let pipes = Pipes {
        stdin,
        stdout: Receiver::from_owned_fd(stdout)?,
        stderr: Some(Receiver::from_owned_fd(stderr)?),
        terminal: None,
    };
    Ok(([own_stdin, own_stdout, own_stderr], pipes))
}

/// The same of a terminal, which is all three.
fn terminal(user: &User, size: Size) -> io::Result<([OwnedFd; 3], Pipes)> {
    let (terminal, theirs) = Terminal::open(size, user)?;
    let pipes = Pipes {
        stdin: Some(terminal.keyboard()?),
        stdout: terminal.screen()?,
        stderr: None,
        terminal: Some(terminal),
    };
    Ok(([theirs.try_clone()?, theirs.try_clone()?, theirs], pipes))
}

/// A pipe that belongs to `user`, who may then open /dev/stdout and its kin anew.
fn pipe(user: &User) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    if user.uid != 0 {
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(user.uid),
            rustix::fs::Gid::from_raw(user.gid),
        );
        rustix::fs::fchown(&reader, Some(uid), Some(gid))?;
    }
    Ok((reader, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_up() {
        let found = candidates("ls", "/usr/bin::/bin").unwrap();
        let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(found, ["/usr/bin/ls", "./ls", "/bin/ls"]);
        assert_eq!(
            candidates("./ls", "/bin").unwrap(),
            [CString::new("./ls").unwrap()]
        );
        assert!(candidates("a\0b", "/bin").is_err());
    }
}
