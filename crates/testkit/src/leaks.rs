//! What the kernel has, before and after: an operation that leaves something behind is caught by name.
//!
//! ```no_run
//! # use wrenn_testkit::leaks::{Scope, Snapshot};
//! let scope = Scope::everything().only("abc123");
//! let before = Snapshot::take(&scope);
//! // ... the operation and its undoing ...
//! before.assert_nothing_new(&scope);
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How deep folders are walked.
const DEPTH: usize = 12;

/// What a snapshot looks at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    label: Option<String>,
    folders: Vec<PathBuf>,
}

impl Scope {
    /// Processes, namespaces, links, tables of rules, unreachable routes, mounts, loop devices, the device mapper's devices and control groups.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Only what has this in its name; for an instance's own things, beside other tests.
    #[must_use]
    pub fn only(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The files below this folder as well.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }
}

/// What there was at one moment, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at all that the scope names.
    #[must_use]
    pub fn take(scope: &Scope) -> Self {
        let mut found = BTreeSet::new();
        let sources = [
            processes,
            namespaces,
            links,
            tables,
            routes,
            mounts,
            loops,
            disk_devices,
            control_groups,
        ];
        for line in sources.into_iter().flat_map(|source| source()) {
            if scope
                .label
                .as_ref()
                .is_none_or(|label| line.contains(label))
            {
                found.insert(line);
            }
        }
        for folder in &scope.folders {
            walk(folder, DEPTH, &mut |path| {
                found.insert(format!("file {}", path.display()));
            });
        }
        Self(found)
    }

    /// What is there now and was not then.
    #[must_use]
    pub fn new_since(&self, scope: &Scope) -> Vec<String> {
        let now = Self::take(scope);
        now.0.difference(&self.0).cloned().collect()
    }

    /// Fails when something stays that was not there; what the kernel takes away in its own time has two seconds.
    ///
    /// # Panics
    /// With the names of what was left.
    #[track_caller]
    pub fn assert_nothing_new(&self, scope: &Scope) {
        let mut left = self.new_since(scope);
        for _ in 0..40 {
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            left = self.new_since(scope);
        }
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }

    /// The lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Running programs: number, command line, control groups, so that a label in any of them finds them.
fn processes() -> Vec<String> {
    let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    let describe = |pid: String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let groups = read(format!("/proc/{pid}/cgroup")).replace('\n', " ");
        // The kernel's own threads have no command line, and neither have zombies, which own nothing.
        (!line.is_empty()).then(|| format!("process {pid} {line}({groups})"))
    };
    let own = std::process::id().to_string();
    names("/proc")
        .into_iter()
        .filter(|name| is_number(name) && *name != own)
        .filter_map(describe)
        .collect()
}

/// Of the device mapper.
fn disk_devices() -> Vec<String> {
    let device = |node: &String| {
        let name = read(format!("/sys/block/{node}/dm/name"));
        (!name.is_empty()).then(|| format!("disk device {}", name.trim()))
    };
    names("/sys/block").iter().filter_map(device).collect()
}

fn namespaces() -> Vec<String> {
    names("/run/netns")
        .iter()
        .map(|name| format!("namespace {name}"))
        .collect()
}

fn links() -> Vec<String> {
    let listed = output("ip", &["-o", "link", "show"]);
    let describe = |line: &str| {
        let name = line.split(": ").nth(1)?.split('@').next()?;
        let alias = line.split("alias ").nth(1).unwrap_or_default().trim();
        Some(format!("link {name} {alias}"))
    };
    listed.lines().filter_map(describe).collect()
}

fn tables() -> Vec<String> {
    let listed = output("nft", &["list", "tables"]);
    listed.lines().map(|line| format!("nft {line}")).collect()
}

fn routes() -> Vec<String> {
    let listed = output("ip", &["-4", "route", "show", "type", "unreachable"]);
    listed
        .lines()
        .map(|line| format!("route {}", line.trim()))
        .collect()
}

fn mounts() -> Vec<String> {
    let describe = |line: &str| {
        let mut words = line.split(' ').skip(3);
        Some(format!(
            "mount {} from {}",
            words.nth(1)?,
            line.rsplit(' ').nth(1)?
        ))
    };
    read("/proc/self/mountinfo")
        .lines()
        .filter_map(describe)
        .collect()
}

fn loops() -> Vec<String> {
    let backing = |name: &String| {
        let file = read(format!("/sys/block/{name}/loop/backing_file"));
        (!file.is_empty()).then(|| format!("loop device {name} {}", file.trim()))
    };
    names("/sys/block").iter().filter_map(backing).collect()
}

fn control_groups() -> Vec<String> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), DEPTH, &mut |path| {
        if path.is_dir() {
            found.push(format!("control group {}", path.display()));
        }
    });
    found
}

/// The names in a folder; none when there is no such folder.
fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Everything below a folder. Symbolic links are not followed.
fn walk(folder: &Path, depth: usize, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        visit(&path);
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, depth - 1, visit);
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    // What vanishes while it is looked at was no leak.
    fs::read_to_string(path).unwrap_or_default()
}

/// What a program prints. One that is not there would hide leaks, so that is a failure of the test.
#[expect(
    clippy::disallowed_methods,
    reason = "tests look at the kernel by other means than the product"
)]
fn output(program: &str, args: &[&str]) -> String {
    match Command::new(program).args(args).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => panic!("{program} is needed to look for leaks: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_and_what_is_gone_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let scope = Scope::everything().only("no such label").folder(dir.path());
        fs::write(dir.path().join("old"), "").unwrap();
        let before = Snapshot::take(&scope);
        fs::create_dir(dir.path().join("new")).unwrap();
        fs::write(dir.path().join("new/file"), "").unwrap();
        let left = before.new_since(&scope);
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left[1].ends_with("new/file"), "{left:?}");
        fs::remove_dir_all(dir.path().join("new")).unwrap();
        fs::remove_file(dir.path().join("old")).unwrap();
        before.assert_nothing_new(&scope);
    }

    #[test]
    fn a_process_is_found_by_its_command_line() {
        let scope = Scope::everything().only("86399.25");
        let before = Snapshot::take(&scope);
        #[expect(clippy::disallowed_methods, reason = "any process will do")]
        let mut child = Command::new("sleep").arg("86399.25").spawn().unwrap();
        // The kernel shows the command line a moment after the program has begun.
        let mut left = Vec::new();
        for _ in 0..200 {
            left = before.new_since(&scope);
            if !left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        before.assert_nothing_new(&scope);
    }
}
