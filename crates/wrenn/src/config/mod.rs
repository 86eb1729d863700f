//! `wrenn.toml`: what flags say, said once for a machine.
//!
//! Each key stands for a flag and becomes its default. So a flag wins over its `WRENN_*` variable, the variable over the
//! file, and the file over what the program has by itself. All of the file is read and checked at the start, whatever the
//! command needs of it: what is not understood is refused.
//!
//! ```text
//!   keys      which keys there are, and the flag of each
//!   value     how a value is read
//!   founding  variables of the system that came before
//!   standard  variables that the field has in common
//! ```

mod founding;
mod keys;
mod standard;
mod value;

use std::io::ErrorKind;
use std::path::Path;

use toml::{Table, Value};

use crate::report::Advised;
use keys::{KEYS, Key};
use value::Wrong;

/// The machine's own file, read where it exists and no other is named.
pub(crate) const PATH: &str = "/etc/wrenn/wrenn.toml";

/// What a file says, checked, and what was put over it.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    given: Vec<(&'static Key, Vec<String>)>,
}

impl Settings {
    /// Those of the file that was named, or of the machine's own where there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Advised> {
        let path = named.unwrap_or(Path::new(PATH));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::read(&text, path),
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => {
                Ok(Self::default())
            }
            Err(error) => Err(Advised::new(
                format!("the configuration {} cannot be read", path.display()),
                "make it readable for whoever runs this, or name another with --config or WRENN_CONFIG",
            )
            .because(error)),
        }
    }

    /// Those of a text; `path` is where it comes from.
    fn read(text: &str, path: &Path) -> Result<Self, Advised> {
        let mut settings = Self::default();
        let table: Table = toml::from_str(text).map_err(|error| no_toml(path, text, &error))?;
        for (name, value) in table {
            let section = |key: &&Key| key.section() == Some(name.as_str());
            match value {
                Value::Table(inner) if KEYS.iter().any(|key| section(&key)) => {
                    for (last, value) in inner {
                        settings.take(&format!("{name}.{last}"), &value, path)?;
                    }
                }
                value => settings.take(&name, &value, path)?,
            }
        }
        Ok(settings)
    }

    fn take(&mut self, name: &str, value: &Value, path: &Path) -> Result<(), Advised> {
        let key = keys::find(name).ok_or_else(|| unknown(name, path))?;
        let values = (key.read)(value).map_err(|wrong| refused(key, value, wrong, path))?;
        self.given.push((key, values));
        Ok(())
    }

    /// Says something in the place of what the file says.
    fn put(&mut self, key: &'static Key, value: String) {
        self.given.retain(|(given, _)| given.name != key.name);
        self.given.push((key, vec![value]));
    }

    /// What is said under a key, if anything is.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut given = self.given.iter();
        let (_, values) = given.find(|(key, _)| key.name == name)?;
        values.first().map(String::as_str)
    }

    /// A command line whose flags have these defaults.
    pub(crate) fn as_defaults(&self, mut command: clap::Command) -> clap::Command {
        for (key, values) in &self.given {
            let said = |arg: clap::Arg| arg.default_values(values);
            if key.of.is_empty() {
                command = command.mut_arg(key.arg, said);
            }
            for program in key.of {
                command = command.mut_subcommand(program, |one| one.mut_arg(key.arg, said));
            }
        }
        command
    }

    /// Puts what the founding system's variables say over what the file says, for one of our programs. Gives what its
    /// reader should know of those that say nothing here.
    ///
    /// # Errors
    /// One of them means something that this program would have to ignore.
    pub(crate) fn put_founding(
        &mut self,
        program: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, Advised> {
        founding::put(self, program, variable)
    }

    /// Puts what the field's own variables say under what the file says, for one of our programs.
    ///
    /// # Errors
    /// One of them says what this program cannot do.
    pub(crate) fn put_standard(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Advised> {
        standard::put(self, variable)
    }
}

fn no_toml(path: &Path, text: &str, error: &toml::de::Error) -> Advised {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| 1 + before.matches('\n').count());
    Advised::new(
        format!("{}, line {line}: {}", path.display(), error.message()),
        "write it as TOML: `key = value`, texts in quotes, sections in brackets",
    )
}

fn unknown(name: &str, path: &Path) -> Advised {
    let remedy = match keys::nearest(name) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            format!("the keys are {}", names.join(", "))
        }
    };
    Advised::new(format!("`{name}` in {} is no key", path.display()), remedy)
}

fn refused(key: &Key, value: &Value, wrong: Wrong, path: &Path) -> Advised {
    let why = match wrong {
        Wrong::Kind(kind) => format!("it is a {}, and has to be {kind}", value.type_str()),
        Wrong::Value(why) => why,
    };
    Advised::new(
        format!("`{}` in {} is not usable: {why}", key.name, path.display()),
        format!("write it like {} = {}", key.last(), key.example),
    )
}

#[cfg(test)]
mod tests;
