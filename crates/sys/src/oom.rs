//! Whom the kernel ends first when the host has no memory left: `/proc/PID/oom_score_adj`, see proc_pid_oom_score_adj(5).

use std::fs;
use std::io;
use std::path::PathBuf;

/// How readily a process is ended: -1000 never, 0 by what it uses, 1000 first of all.
pub type Score = i16;

/// The score of a process.
pub fn score(pid: u32) -> io::Result<Score> {
    let text = fs::read_to_string(path(pid))?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/oom_score_adj"))
}

/// Gives a process a score; all that it starts from then on has it too. To lower one is for root alone.
pub fn set_score(pid: u32, score: Score) -> io::Result<()> {
    fs::write(path(pid), score.to_string())
}

/// Gives the caller a score, also where it does not know its own number: in a PID namespace without a `/proc` of its own.
pub fn set_own_score(score: Score) -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", score.to_string())
}

/// Takes from a child what it has from us, where we are one that the kernel spares: it does not go for what we start.
pub fn do_not_spare(child: u32) -> io::Result<()> {
    if score(std::process::id())? < 0 {
        set_score(child, 0)?;
    }
    Ok(())
}

fn path(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/oom_score_adj"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_set_and_read() {
        #[expect(clippy::disallowed_methods, reason = "a process to adjust")]
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        set_score(child.id(), 321).unwrap();
        let told = score(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told, 321);
        assert!(set_score(child.id(), 0).is_err());
    }
}
