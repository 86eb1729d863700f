//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use wrenn_model::{ErrorKind, Fault, TemplateName};
use wrenn_sys::program;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image could not be made, found or removed. [`Error::remedy`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no template of this name in the store.
    #[error("there is no template {0:?}")]
    NoTemplate(TemplateName),
    /// No recipe comes with the program under this name.
    #[error("there is no recipe {name:?}; there are {known}")]
    UnknownRecipe {
        /// What was asked for.
        name: String,
        /// The recipes that there are.
        known: String,
    },
    /// A recipe that cannot be used; the text says where and why.
    #[error("recipe {recipe}: {reason}")]
    BadRecipe {
        /// Its file or name.
        recipe: String,
        /// What is wrong, with the line where the parser knows it.
        reason: String,
    },
    /// A command of a recipe failed, or making its users or files did.
    #[error("recipe {recipe}: {command} failed: {said}")]
    RecipeCommand {
        /// Its name.
        recipe: String,
        /// Which command, as "command 1 of 2".
        command: String,
        /// The end of what it said.
        said: String,
    },
    /// A program of the host that is needed is not installed.
    #[error("the program {program} is not installed")]
    NotInstalled {
        /// Its name.
        program: String,
    },
    /// Packages that building a kernel needs are not installed.
    #[error("building a kernel needs packages that are not installed: {}", packages.join(", "))]
    NoTools {
        /// Their names.
        packages: Vec<&'static str>,
    },
    /// The machine's apt configuration has no Debian source for this suite.
    #[error("this machine's apt sources have no Debian archive for {suite:?}")]
    NoArchive {
        /// The Debian release asked for.
        suite: String,
    },
    /// A Debian archive could not be reached, or refused.
    #[error("the Debian archive could not be read: {said}")]
    Archive {
        /// The end of what apt said.
        said: String,
    },
    /// No room on the file system.
    #[error("no room is left for {}", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// A kernel package whose kernel cannot be used.
    #[error("the kernel of {package} cannot be used: {reason}")]
    BadKernel {
        /// The package.
        package: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A program of the host failed.
    #[error("a program failed")]
    Program(#[source] program::Error),
    /// A file operation failed.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// The operation, as "read".
        doing: &'static str,
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A worker thread ended early.
    #[error("the work was broken off")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What apt and mmdebstrap print when an archive is out of reach.
const UNREACHABLE: [&str; 6] = [
    "Failed to fetch",
    "Could not resolve",
    "Temporary failure resolving",
    "Unable to connect",
    "Could not connect",
    "Unable to fetch some archives",
];

impl Error {
    /// Gives an I/O error its place, for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::DiskFull { path }
                }
                _ => Self::Io {
                    doing,
                    path,
                    source,
                },
            }
        }
    }

    /// Tells the usual failures of a program that wrote below `dir` from the unusual ones, for `map_err`.
    pub(crate) fn program(dir: &Path) -> impl FnOnce(program::Error) -> Self {
        move |error| match error {
            program::Error::Start { program, source }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Self::NotInstalled { program }
            }
            program::Error::Failed { ref said, .. } if not_executed(said).is_some() => {
                Self::NotInstalled {
                    program: not_executed(said).unwrap_or_default().to_owned(),
                }
            }
            program::Error::Failed { ref said, .. } if said.contains("No space left on device") => {
                Self::DiskFull {
                    path: dir.to_owned(),
                }
            }
            program::Error::Failed { said, .. }
                if UNREACHABLE.iter().any(|sign| said.contains(sign)) =>
            {
                Self::Archive { said }
            }
            other => Self::Program(other),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoTemplate(name) => {
                format!("build it with `wrenn template build {name}`, or see `wrenn template ls`")
            }
            Self::UnknownRecipe { .. } => {
                "give one of these names, or the path of a recipe file (*.toml)".to_owned()
            }
            Self::BadRecipe { .. } | Self::RecipeCommand { .. } => {
                "correct the recipe file".to_owned()
            }
            Self::NotInstalled { program } => {
                format!(
                    "install it: apt-get install {}",
                    package_of(program.as_str())
                )
            }
            Self::NoTools { packages } => {
                format!("install them: apt-get install {}", packages.join(" "))
            }
            Self::NoArchive { suite } => format!(
                "add a Debian source for {suite} to /etc/apt/sources.list.d and run apt-get update"
            ),
            Self::Archive { .. } => {
                "check the machine's network, proxy (Acquire::http::Proxy) and apt sources with \
                 `apt-get update`, then try again"
                    .to_owned()
            }
            Self::DiskFull { .. } => {
                "free some room (a template build needs about 2 GiB), then try again".to_owned()
            }
            Self::BadKernel { .. } => {
                "choose another kernel package: --kernel, WRENN_KERNEL_PACKAGE, or kernel in wrenn.toml".to_owned()
            }
            Self::Program(_) | Self::Io { .. } | Self::Interrupted(_) => {
                "see the cause; nothing half made is left, so trying again is safe".to_owned()
            }
        }
    }

    /// The same as a caller of the API may read it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let kind = match self {
            Self::NoTemplate(_) | Self::UnknownRecipe { .. } => ErrorKind::NotFound,
            Self::BadRecipe { .. } | Self::RecipeCommand { .. } => ErrorKind::InvalidRequest,
            Self::DiskFull { .. } => ErrorKind::HostFull,
            Self::Archive { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Fault::new(kind, self.to_string(), self.remedy())
    }
}

/// The program that `unshare` or `setpriv` was to start and did not find.
fn not_executed(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("failed to execute ")?;
    let (program, reason) = rest.split_once(": ")?;
    reason.starts_with("No such file").then_some(program)
}

/// The Debian package that has a program.
fn package_of(program: &str) -> &str {
    match program {
        "mke2fs" => "e2fsprogs",
        "setpriv" | "unshare" => "util-linux",
        "apt-get" | "apt-cache" | "apt-config" => "apt",
        "dpkg-deb" | "dpkg-query" => "dpkg",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrenn_sys::program::Program;

    #[tokio::test]
    async fn usual_failures_are_told_apart() {
        let dir = Path::new("/cache");
        let said =
            |text: &str| Program::new("sh").args(["-c", &format!("echo '{text}' >&2; exit 1")]);
        let error = said("E: No space left on device").run().await.unwrap_err();
        assert!(matches!(Error::program(dir)(error), Error::DiskFull { .. }));
        let error = said("E: Failed to fetch x").run().await.unwrap_err();
        assert!(matches!(Error::program(dir)(error), Error::Archive { .. }));
        let error = said("boo").run().await.unwrap_err();
        assert!(matches!(Error::program(dir)(error), Error::Program(_)));
        let error = said("unshare: failed to execute mmdebstrap: No such file or directory");
        let error = Error::program(dir)(error.run().await.unwrap_err());
        assert!(error.remedy().contains("apt-get install mmdebstrap"));
        let error = Program::new("wrenn-absent").run().await.unwrap_err();
        let error = Error::program(dir)(error);
        assert!(error.remedy().contains("apt-get install wrenn-absent"));
    }

    #[test]
    fn a_missing_template_is_a_not_found() {
        let name: TemplateName = "minimal".parse().unwrap();
        let fault = Error::NoTemplate(name).fault();
        assert_eq!(fault.kind, ErrorKind::NotFound);
        assert!(fault.remedy.contains("wrenn template build minimal"));
    }
}
