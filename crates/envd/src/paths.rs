//! Paths as callers write them.

use std::path::{Component, Path, PathBuf};

/// `path` as an absolute one: `~` is `home`, and what does not start at the root starts there too. `.` and `..` are taken
/// out by name, so that the answer to a caller is the path that it meant.
pub(crate) fn resolve(path: &str, home: &Path) -> PathBuf {
    let joined = match path.strip_prefix('~') {
        Some("") => home.to_path_buf(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => home.join(path),
    };
    let mut clean = PathBuf::from("/");
    for component in joined.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_against_home() {
        let home = Path::new("/home/user");
        for (path, expected) in [
            ("/etc/hosts", "/etc/hosts"),
            ("a/b", "/home/user/a/b"),
            ("~", "/home/user"),
            ("~/x", "/home/user/x"),
            ("~x", "/home/user/~x"),
            ("../../../x", "/x"),
            ("/a/./b/../c/", "/a/c"),
            ("", "/home/user"),
        ] {
            assert_eq!(resolve(path, home), Path::new(expected), "{path}");
        }
    }
}
