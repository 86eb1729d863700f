//! The data directory: whether nobody but root can change it, and who serves it now.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wrenn_sys::reflink;

use super::finding::Finding;
use super::told;

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    dir: PathBuf,
    state: State,
    /// Whether Wrenn was started on it.
    used: bool,
    served_by: Option<i32>,
    /// Whether files there can share blocks, where that can be tried.
    reflinks: Option<bool>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Absent,
    There {
        uid: u32,
        mode: u32,
        /// A folder above it that others than root may change.
        loose: Option<PathBuf>,
    },
    Unseen(String),
}

impl Facts {
    pub(super) fn look(dir: &Path) -> Self {
        let state = State::look(dir);
        Self {
            dir: dir.to_owned(),
            used: dir.join("instance").exists(),
            served_by: holder(&dir.join("lock")),
            reflinks: match state {
                State::There { .. } => reflink::supports_reflink(dir).ok(),
                _ => None,
            },
            state,
        }
    }

    /// Whether Wrenn was never started on it, as far as can be seen.
    pub(super) fn is_new(&self) -> bool {
        !self.used && !matches!(self.state, State::Unseen(_))
    }

    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![self.judge_state()];
        if let State::There { .. } = self.state {
            let found = match self.served_by {
                Some(pid) => format!("by process {pid}"),
                None => "by nobody now".to_owned(),
            };
            findings.push(Finding::ok("in use", found));
        }
        findings.extend(self.reflinks.map(|shared| {
            let found = if shared {
                "files there share blocks"
            } else {
                "files there can't share blocks: the store is an XFS image, store.img"
            };
            Finding::ok("store", found)
        }));
        findings
    }

    fn judge_state(&self) -> Finding {
        const CHECK: &str = "data directory";
        let dir = self.dir.display();
        let (uid, mode, loose) = match &self.state {
            State::Absent => {
                let found = format!("{dir} is not there yet; the first start makes it");
                return Finding::ok(CHECK, found);
            }
            State::Unseen(why) => {
                return Finding::hidden(CHECK, &format!("{dir} can't be looked at ({why})"));
            }
            State::There { uid, mode, loose } => (uid, mode, loose),
        };
        if *uid != 0 || mode & 0o022 != 0 {
            return Finding::warning(
                CHECK,
                format!(
                    "{dir} can be changed by others than root: they could become root through it"
                ),
                format!("`chown root {dir} && chmod 0700 {dir}`, after a look at what is in it"),
            );
        }
        if let Some(above) = loose {
            let above = above.display();
            return Finding::warning(
                CHECK,
                format!(
                    "{above}, above {dir}, can be changed by others than root, who could exchange it"
                ),
                format!(
                    "`chown root {above} && chmod go-w {above}`, or choose another directory with --dir"
                ),
            );
        }
        if mode & 0o077 != 0 {
            return Finding::warning(
                CHECK,
                format!("others may look into {dir}"),
                format!("`chmod 0700 {dir}`"),
            );
        }
        Finding::ok(CHECK, format!("{dir}, root's alone"))
    }
}

impl State {
    fn look(dir: &Path) -> Self {
        let meta = match fs::metadata(dir) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Absent,
            Err(error) => return Self::Unseen(error.to_string()),
        };
        let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let above = real.ancestors().skip(1);
        let loose = above
            .into_iter()
            .find(|path| fs::metadata(path).is_ok_and(|meta| is_loose(meta.uid(), meta.mode())));
        Self::There {
            uid: meta.uid(),
            mode: meta.mode() & 0o7777,
            loose: loose.map(Path::to_owned),
        }
    }
}

/// Whether others than root may exchange what is in a folder. In one with the sticky bit they can't.
fn is_loose(uid: u32, mode: u32) -> bool {
    uid != 0 || (mode & 0o022 != 0 && mode & 0o1000 == 0)
}

/// The process that has locked a file. Asking the lock itself would take it for an instant, and a start that fell into
/// that would fail.
fn holder(lock: &Path) -> Option<i32> {
    let meta = fs::metadata(lock).ok()?;
    let dev = meta.dev();
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let file = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    parse_locks(&told("/proc/locks")?, &file)
}

/// A line is `1: FLOCK  ADVISORY  WRITE 708 00:1a:2345 0 EOF`.
fn parse_locks(locks: &str, file: &str) -> Option<i32> {
    locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, of, ..] = fields.as_slice() else {
            return None;
        };
        (*of == file).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
impl Facts {
    /// One that is as it should be.
    pub(super) fn usual() -> Self {
        Self {
            dir: "/var/lib/wrenn".into(),
            state: State::There {
                uid: 0,
                mode: 0o700,
                loose: None,
            },
            used: true,
            served_by: Some(708),
            reflinks: Some(false),
        }
    }

    /// One that the first start makes.
    pub(super) fn absent() -> Self {
        Self {
            state: State::Absent,
            used: false,
            reflinks: None,
            ..Self::usual()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_directory_that_others_may_change_or_see_is_warned_of() {
        let verdict = |uid, mode, loose: Option<&str>| {
            let loose = loose.map(PathBuf::from);
            let facts = Facts {
                state: State::There { uid, mode, loose },
                ..Facts::usual()
            };
            facts.judge_state().verdict
        };
        assert_eq!(verdict(1000, 0o700, None), Verdict::Warning);
        assert_eq!(verdict(0, 0o770, None), Verdict::Warning);
        assert_eq!(verdict(0, 0o755, None), Verdict::Warning);
        assert_eq!(verdict(0, 0o700, Some("/srv")), Verdict::Warning);
        assert_eq!(verdict(0, 0o700, None), Verdict::Ok);
        assert!(is_loose(0, 0o777) && is_loose(5, 0o755));
        assert!(!is_loose(0, 0o1777) && !is_loose(0, 0o755));
    }

    #[test]
    fn it_says_who_serves_it() {
        let found: Vec<_> = Facts::usual()
            .judge()
            .into_iter()
            .map(|f| f.found)
            .collect();
        assert_eq!(
            found[..2],
            ["/var/lib/wrenn, root's alone", "by process 708"]
        );
        assert!(Facts::absent().is_new() && !Facts::usual().is_new());
    }

    #[test]
    fn the_holder_of_a_lock_is_found_without_taking_it() {
        let locks = "1: POSIX  ADVISORY  WRITE 9 00:1a:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 708 fe:01:77 0 EOF\n";
        assert_eq!(parse_locks(locks, "fe:01:77"), Some(708));
        assert_eq!(parse_locks(locks, "00:1a:77"), None);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = fs::File::create(&path).unwrap();
        assert_eq!(holder(&path), None);
        file.lock().unwrap();
        assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
    }
}
