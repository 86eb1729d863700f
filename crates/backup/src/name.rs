//! The names that files have in a backup: relative, and of plain parts alone, so that none leads out of where it belongs.

use std::path::{Component, Path, PathBuf};

use crate::Error;

/// The longest name, in bytes.
const LONGEST: usize = 4096;

/// A checked name: the tree that it belongs to, and its path there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Checks a name.
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let plain = |part| matches!(part, Component::Normal(_));
        let path = Path::new(name);
        // Written in one way only: no part is doubled or empty, and none is a dot.
        let same = path.components().collect::<PathBuf>().as_os_str() == name;
        let parts = path.components().count();
        if name.len() <= LONGEST && parts > 1 && same && path.components().all(plain) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::Invalid("name of a file"))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The tree, and the path in it.
    pub(crate) fn split(&self) -> (&str, &Path) {
        let (tree, path) = self.0.split_once('/').unwrap_or((&self.0, ""));
        (tree, Path::new(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_tree() {
        for good in ["data/journal", "data/store/a b/ä", "data/..."] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let name = Name::new("data/a/b").unwrap();
        assert_eq!(name.split(), ("data", Path::new("a/b")));
        for bad in [
            "",
            "data",
            "data/",
            "/data/a",
            "data//a",
            "data/./a",
            "data/../a",
            "../a",
            "data/a/..",
            "data/a/",
            &format!("data/{}", "a".repeat(LONGEST)),
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
