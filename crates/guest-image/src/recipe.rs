//! Recipes: small readable files that say what is in a template.

use std::path::Path;

use serde::{Deserialize, Serialize};
use wrenn_model::TemplateName;

use crate::error::{Error, Result};
use crate::hash;

/// The recipes that come with the program.
const BUILTIN: [(&str, &str); 3] = [
    ("minimal", include_str!("../../../images/minimal.toml")),
    ("python", include_str!("../../../images/python.toml")),
    ("node", include_str!("../../../images/node.toml")),
];

/// A recipe file is no longer than this.
const MAX_FILE: u64 = 1 << 20;

/// How many recipes may stand on each other.
const MAX_DEPTH: usize = 8;

/// The Debian release, where no recipe names one.
const DEFAULT_SUITE: &str = "bookworm";

/// The size of the disk in GiB, where no recipe gives one. It is sparse: what is unused takes no room.
const DEFAULT_SIZE_GIB: u64 = 8;

/// What is in a template, all that it is based on included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The name that its template gets.
    #[serde(skip)]
    pub name: TemplateName,
    /// The Debian release, as "bookworm".
    pub suite: String,
    /// Size of the disk that a guest sees, in GiB.
    pub size_gib: u64,
    /// Debian packages, beyond the smallest system.
    pub packages: Vec<String>,
    /// Users to make.
    pub users: Vec<User>,
    /// Files to write.
    pub files: Vec<File>,
    /// Shell commands to run in the finished tree as root, in this order, with the network of the building machine.
    pub run: Vec<String>,
}

/// A user of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name; the home directory is below /home.
    pub name: String,
    /// User id, and group id as well.
    pub uid: u32,
    /// Login shell.
    #[serde(default = "bash")]
    pub shell: String,
    /// Whether `sudo` works without a password.
    #[serde(default)]
    pub sudo: bool,
}

/// A file of the guest, owned by root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute path; directories above it are made.
    pub path: String,
    /// Permission bits in octal, as "0644".
    #[serde(default = "readable")]
    pub mode: String,
    /// What is in it.
    pub content: String,
}

/// A recipe file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    based_on: Option<String>,
    suite: Option<String>,
    size_gib: Option<u64>,
    packages: Vec<String>,
    run: Vec<String>,
    users: Vec<User>,
    files: Vec<File>,
}

fn bash() -> String {
    "/bin/bash".to_owned()
}

fn readable() -> String {
    "0644".to_owned()
}

impl Recipe {
    /// The names of the recipes that come with the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// The recipe that a caller means: one that comes with the program, or a file, whose name without `.toml` becomes the
    /// template's.
    ///
    /// # Errors
    /// [`Error::UnknownRecipe`], [`Error::BadRecipe`], [`Error::Io`].
    pub fn find(name: &str) -> Result<Self> {
        let Some(stem) = name.strip_suffix(".toml") else {
            return Self::parse(name, builtin(name)?);
        };
        let path = Path::new(name);
        let file = std::fs::metadata(path).map_err(Error::io("read", path))?;
        if file.len() > MAX_FILE {
            return Err(bad(name, "the file is larger than 1 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let stem = Path::new(stem).file_name().unwrap_or_default();
        Self::parse(&stem.to_string_lossy(), &text)
    }

    /// The recipe of this name in a text of TOML. What it is based on comes with the program.
    ///
    /// # Errors
    /// [`Error::BadRecipe`] with the line, [`Error::UnknownRecipe`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let template = name
            .parse::<TemplateName>()
            .map_err(|error| bad(name, error))?;
        let mut texts = vec![parse(name, text)?];
        while let Some(base) = texts.last().and_then(|text| text.based_on.clone()) {
            if texts.len() == MAX_DEPTH {
                return Err(bad(name, "too many recipes stand on each other"));
            }
            texts.push(parse(&base, builtin(&base)?)?);
        }
        let mut recipe = Self {
            name: template,
            suite: DEFAULT_SUITE.to_owned(),
            size_gib: DEFAULT_SIZE_GIB,
            packages: Vec::new(),
            users: Vec::new(),
            files: Vec::new(),
            run: Vec::new(),
        };
        for text in texts.into_iter().rev() {
            recipe.add(text);
        }
        recipe.check().map_err(|reason| bad(name, reason))?;
        Ok(recipe)
    }

    /// Puts a recipe on top of what it is based on.
    fn add(&mut self, text: Text) {
        self.suite = text.suite.unwrap_or_else(|| self.suite.clone());
        self.size_gib = text.size_gib.unwrap_or(self.size_gib);
        self.packages.extend(text.packages);
        self.users.extend(text.users);
        self.files.extend(text.files);
        self.run.extend(text.run);
    }

    /// Refuses what would mean something else to the programs that it is handed to.
    fn check(&self) -> Result<(), String> {
        let refuse = |what: &str, value: &str| Err(format!("{value:?} is no {what}"));
        if !is_word(&self.suite, "-") {
            return refuse("Debian release", &self.suite);
        }
        if !(1..=1024).contains(&self.size_gib) {
            return Err("size_gib must be from 1 to 1024".to_owned());
        }
        for package in &self.packages {
            if !is_word(package, "+-.") {
                return refuse("package name", package);
            }
        }
        for user in &self.users {
            if !is_word(&user.name, "-_") || user.name.len() > 32 {
                return refuse("user name", &user.name);
            }
            if !(1..=65533).contains(&user.uid) {
                return refuse("user id", &user.uid.to_string());
            }
            if !is_plain_path(&user.shell) {
                return refuse("shell", &user.shell);
            }
        }
        for file in &self.files {
            if !is_plain_path(&file.path) {
                return refuse("absolute path", &file.path);
            }
            if !is_mode(&file.mode) {
                return refuse("mode (\"0644\")", &file.mode);
            }
        }
        Ok(())
    }

    /// The key of what it makes: the same content has the same key, under whatever name.
    pub(crate) fn key(&self, format: u32) -> Result<String> {
        hash::json(&(format, self)).map_err(|error| bad(self.name.as_str(), error))
    }
}

fn builtin(name: &str) -> Result<&'static str> {
    BUILTIN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
        .ok_or_else(|| Error::UnknownRecipe {
            name: name.chars().take(64).collect(),
            known: Recipe::names().collect::<Vec<_>>().join(", "),
        })
}

fn parse(name: &str, text: &str) -> Result<Text> {
    toml::from_str(text).map_err(|error| bad(name, error))
}

fn bad(recipe: &str, reason: impl ToString) -> Error {
    Error::BadRecipe {
        recipe: recipe.to_owned(),
        reason: reason.to_string().trim_end().to_owned(),
    }
}

/// Lowercase letters, digits and some more; begins with a letter or digit.
fn is_word(text: &str, more: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain) && text.chars().all(|c| plain(c) || more.contains(c))
}

/// An absolute path without "." or "..", an empty component or a control character.
fn is_plain_path(path: &str) -> bool {
    path.len() <= 4095
        && !path.contains(char::is_control)
        && path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/')
                .all(|component| !matches!(component, "" | "." | ".."))
        })
}

fn is_mode(mode: &str) -> bool {
    (3..=4).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_that_comes_along_is_good_and_different() {
        let keys: Vec<_> = Recipe::names()
            .map(|name| Recipe::find(name).unwrap().key(1).unwrap())
            .collect();
        assert!(
            keys.iter()
                .all(|key| keys.iter().filter(|k| *k == key).count() == 1)
        );
    }

    #[test]
    fn a_recipe_has_what_it_is_based_on_first() {
        let text = "based_on = 'minimal'\nsize_gib = 20\npackages = ['tree']\nrun = ['true']";
        let (base, recipe) = (
            Recipe::find("minimal").unwrap(),
            Recipe::parse("x", text).unwrap(),
        );
        assert_eq!(recipe.size_gib, 20);
        assert_eq!(recipe.users, base.users);
        assert_eq!(recipe.packages.first(), base.packages.first());
        assert_eq!(recipe.packages.last().unwrap(), "tree");
        assert_eq!(recipe.run.last().unwrap(), "true");
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let error = Recipe::parse("x", "packages = []\npakages = []\n").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("line 2") && text.contains("pakages"),
            "{text}"
        );
        assert!(Recipe::parse("x", "[[users]]\nname='a'\nuid=1\nhome='/x'\n").is_err());
        assert!(Recipe::parse("x", "[[files]]\npath='/x'\n").is_err());
    }

    #[test]
    fn what_a_program_would_misunderstand_is_refused() {
        for text in [
            "suite = '--mode=root'",
            "size_gib = 0",
            "packages = ['--help']",
            "packages = ['a,b']",
            "packages = ['../x.deb']",
            "[[users]]\nname = 'a b'\nuid = 1000",
            "[[users]]\nname = 'root'\nuid = 0",
            "[[users]]\nname = 'a'\nuid = 1000\nshell = 'sh'",
            "[[files]]\npath = 'etc/x'\ncontent = ''",
            "[[files]]\npath = '/etc/../x'\ncontent = ''",
            "[[files]]\npath = '/etc/x'\ncontent = ''\nmode = 'u+x'",
        ] {
            let error = Recipe::parse("x", text).unwrap_err();
            assert!(matches!(error, Error::BadRecipe { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_recipe_names_the_known_ones() {
        let error = Recipe::find("fedora").unwrap_err();
        assert!(
            error.to_string().contains("minimal, python, node"),
            "{error}"
        );
        let error = Recipe::parse("x", "based_on = 'fedora'").unwrap_err();
        assert!(matches!(error, Error::UnknownRecipe { .. }), "{error}");
        assert!(matches!(Recipe::find("absent.toml"), Err(Error::Io { .. })));
    }

    #[test]
    fn the_name_is_no_part_of_the_key() {
        let key = |name, text| Recipe::parse(name, text).unwrap().key(1).unwrap();
        assert_eq!(key("a", "packages = ['x']"), key("b", "packages = ['x']"));
        assert_ne!(key("a", "packages = ['x']"), key("a", "packages = ['y']"));
    }
}
