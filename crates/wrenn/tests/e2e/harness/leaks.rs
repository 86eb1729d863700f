//! What the kernel still has of an installation after `wrenn down`: it must be nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Panics when something stands that carries the installation's instance id or its data directory's path.
pub(crate) fn check(data: &Path) {
    let instance = fs::read_to_string(data.join("instance")).unwrap();
    let instance = instance.trim();
    let path = data.to_str().unwrap();
    let left: Vec<String> = [
        names("network namespace", Path::new("/run/netns"), instance),
        files("link", "/sys/class/net", "ifalias", instance),
        files("loop device", "/sys/block", "loop/backing_file", path),
        files("process", "/proc", "cgroup", instance),
        cgroups(Path::new("/sys/fs/cgroup"), instance, 4),
        lines(
            "mount",
            &fs::read_to_string("/proc/self/mountinfo").unwrap(),
            path,
        ),
        lines("nft object", &nft_tables(), instance),
    ]
    .concat();
    assert!(
        left.is_empty(),
        "`wrenn down` left of {instance}:\n{}",
        left.join("\n")
    );
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// Entries of a directory by their name.
fn names(what: &str, dir: &Path, part: &str) -> Vec<String> {
    let found = entries(dir)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(part));
    found
        .map(|path| format!("{what} {}", path.display()))
        .collect()
}

/// Entries of a directory by the content of a file in each.
fn files(what: &str, dir: &str, file: &str, part: &str) -> Vec<String> {
    let has =
        |path: &PathBuf| fs::read_to_string(path.join(file)).is_ok_and(|text| text.contains(part));
    let found = entries(Path::new(dir)).into_iter().filter(has);
    found
        .map(|path| format!("{what} {}", path.display()))
        .collect()
}

fn cgroups(dir: &Path, part: &str, depth: u32) -> Vec<String> {
    let below = entries(dir)
        .into_iter()
        .filter(|path| path.is_dir() && !path.is_symlink());
    below
        .flat_map(|path| match path.to_string_lossy().contains(part) {
            true => vec![format!("cgroup {}", path.display())],
            false if depth > 0 => cgroups(&path, part, depth - 1),
            false => Vec::new(),
        })
        .collect()
}

fn lines(what: &str, text: &str, part: &str) -> Vec<String> {
    let found = text.lines().filter(|line| line.contains(part));
    found.map(|line| format!("{what} {line}")).collect()
}

fn nft_tables() -> String {
    #[expect(clippy::disallowed_methods, reason = "a test's helper")]
    let output = Command::new("nft")
        .args(["list", "tables"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
