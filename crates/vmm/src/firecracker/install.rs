//! The Firecracker of this host: where it is, and whether it will do.
//!
//! What is there is looked at first, and judged then, by a function that touches nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use wrenn_sys::program::{self, Program};

use crate::elf::{self, Headers};

/// The VMM.
const FIRECRACKER: &str = "firecracker";
/// What puts it into its jail.
const JAILER: &str = "jailer";
/// Where both are looked for before `PATH`.
const PLACE: &str = "/usr/local/bin";
/// The first that can set a guest's clock right as it loads a snapshot (`clock_realtime`).
const OLDEST: Version = Version::new(1, 16, 0);
/// Both tell their version at once.
const LIMIT: Duration = Duration::from_secs(20);

/// Versions that a guest or a local user can get the better of, by the project's security bulletins. Each range is closed
/// at its begin and open at its end, which is the first version that has the cure.
const HOLES: [(Version, Version, &str); 4] = [
    // The jailer follows symbolic links as it fills the jail.
    (
        Version::new(0, 0, 0),
        Version::new(1, 13, 2),
        "CVE-2026-1386",
    ),
    (
        Version::new(1, 14, 0),
        Version::new(1, 14, 1),
        "CVE-2026-1386",
    ),
    // A guest writes behind the queues of a virtio device on the PCI bus.
    (
        Version::new(1, 13, 0),
        Version::new(1, 14, 4),
        "CVE-2026-5747",
    ),
    (
        Version::new(1, 15, 0),
        Version::new(1, 15, 1),
        "CVE-2026-5747",
    ),
];

/// A version of Firecracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Counts what breaks compatibility.
    pub major: u32,
    /// Counts releases.
    pub minor: u32,
    /// Counts mends of a release.
    pub patch: u32,
}

impl Version {
    /// From its three numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The known hole that it has.
    fn hole(self) -> Option<&'static str> {
        let has = |(from, cured, _): &&(Version, Version, &str)| *from <= self && self < *cured;
        HOLES.iter().find(has).map(|(_, _, hole)| *hole)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            patch,
        } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl FromStr for Version {
    type Err = NoVersion;

    /// Three numbers with points between; a `v` before and whatever follows a `-` or `+` are left out.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let numbers = text.split(['-', '+']).next().unwrap_or(text).split('.');
        let numbers: Option<Vec<u32>> = numbers.map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self::new(major, minor, patch)),
            _ => Err(NoVersion),
        }
    }
}

/// A text is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no version: it has not three numbers with points between")]
pub struct NoVersion;

/// A Firecracker that will do, with its jailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The VMM. It is static: it can be run in a jail that has nothing else.
    pub firecracker: PathBuf,
    /// Its jailer, of the same version.
    pub jailer: PathBuf,
    /// The version of both.
    pub version: Version,
    /// It confines itself: a build for musl has a list of the system calls that it may make. In one for glibc that list is
    /// empty, so that it has to be given one (`--seccomp-filter`).
    pub own_filter: bool,
}

/// Why there is no Firecracker on this host that will do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not there.
    #[error(
        "there is no {name} in {PLACE} or PATH. Put firecracker and jailer of one release, {OLDEST} or newer, into {PLACE}"
    )]
    Missing {
        /// `firecracker`, `jailer`, or the path that was given.
        name: String,
    },
    /// It is no program for this machine, or can't be read.
    #[error("{} is no program that can be read. Take the release for this machine's processor", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It could not be asked for its version.
    #[error("{} can not be run. It has to be executable, and of the release for this machine's processor", path.display())]
    CanNotRun {
        /// Where it is.
        path: PathBuf,
        /// How it went.
        source: program::Error,
    },
    /// It needs libraries, which its jail does not have.
    #[error(
        "{} is linked dynamically, and finds no libraries in its jail. Take a release's, or build it static", path.display()
    )]
    Dynamic {
        /// Where it is.
        path: PathBuf,
    },
    /// What it says is no version.
    #[error("{} does not tell its version but: {said}. Take a release's", path.display())]
    Untold {
        /// Where it is.
        path: PathBuf,
        /// The first line that it said, shortened.
        said: String,
    },
    /// Guests or local users can get the better of it.
    #[error("{} is version {found}, which has a known hole ({hole}). Take {OLDEST} or newer", path.display())]
    Vulnerable {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: Version,
        /// The hole's name.
        hole: &'static str,
    },
    /// It lacks what is needed.
    #[error("{} is version {found}. Wrenn needs {OLDEST} or newer", path.display())]
    TooOld {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: Version,
    },
    /// VMM and jailer are of two releases.
    #[error(
        "{} is version {version}, but {} is {jailer_version}. Take both from one release",
        firecracker.display(),
        jailer.display()
    )]
    Differ {
        /// The VMM.
        firecracker: PathBuf,
        /// Its version.
        version: Version,
        /// The jailer.
        jailer: PathBuf,
        /// Its version.
        jailer_version: Version,
    },
}

/// Finds this host's Firecracker, or takes the one named, and the jailer that belongs to it.
///
/// # Errors
/// Nothing is there, or what is there will not do; each says what to do.
pub async fn installed(binary: Option<&Path>) -> Result<Installed, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::iter::once(PLACE.into())
        .chain(std::env::split_paths(&path))
        .collect();
    let firecracker = match binary {
        Some(path) => first([path.to_owned()], &path.to_string_lossy())?,
        None => first(
            places.iter().map(|place| place.join(FIRECRACKER)),
            FIRECRACKER,
        )?,
    };
    let elsewhere = places.iter().map(|place| place.join(JAILER));
    let jailer = first(beside(&firecracker).into_iter().chain(elsewhere), JAILER)?;
    judge(look(firecracker).await?, look(jailer).await?)
}

/// Where the jailer may be beside it: as in a release, where both names go on with the version, or by its plain name.
fn beside(firecracker: &Path) -> Vec<PathBuf> {
    let name = firecracker.file_name().unwrap_or_default();
    let names = [
        name.to_string_lossy().replacen(FIRECRACKER, JAILER, 1),
        JAILER.to_owned(),
    ];
    let paths = names.iter().map(|name| firecracker.with_file_name(name));
    paths.filter(|path| path != firecracker).collect()
}

fn first(places: impl IntoIterator<Item = PathBuf>, name: &str) -> Result<PathBuf, Error> {
    let found = places.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Error::Missing { name: name.into() })
}

/// What can be seen of a program.
#[derive(Debug, Clone)]
struct Look {
    path: PathBuf,
    /// It needs a dynamic loader.
    dynamic: bool,
    /// It was linked with the GNU C library.
    gnu: bool,
    /// What it answers to `--version`.
    said: String,
}

async fn look(path: PathBuf) -> Result<Look, Error> {
    let Headers { interpreter, gnu } = match elf::headers(&path) {
        Ok(headers) => headers,
        Err(source) => return Err(Error::Unreadable { path, source }),
    };
    let asked = Program::new(&path).arg("--version").limit(LIMIT).run();
    let said = match asked.await {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(source) => return Err(Error::CanNotRun { path, source }),
    };
    Ok(Look {
        path,
        dynamic: interpreter.is_some(),
        gnu,
        said,
    })
}

/// Only the VMM has to be static: the jailer is outside the jail until it becomes the VMM.
fn judge(firecracker: Look, jailer: Look) -> Result<Installed, Error> {
    let version = told(&firecracker)?;
    let path = || firecracker.path.clone();
    if let Some(hole) = version.hole() {
        return Err(Error::Vulnerable {
            path: path(),
            found: version,
            hole,
        });
    }
    if version < OLDEST {
        return Err(Error::TooOld {
            path: path(),
            found: version,
        });
    }
    if firecracker.dynamic {
        return Err(Error::Dynamic { path: path() });
    }
    let jailer_version = told(&jailer)?;
    if jailer_version != version {
        return Err(Error::Differ {
            firecracker: firecracker.path,
            version,
            jailer: jailer.path,
            jailer_version,
        });
    }
    Ok(Installed {
        firecracker: firecracker.path,
        jailer: jailer.path,
        version,
        own_filter: !firecracker.gnu,
    })
}

/// Both write their name and `v`, and the version after it, in their first line.
fn told(look: &Look) -> Result<Version, Error> {
    let line = look.said.lines().next().unwrap_or_default();
    let word = line.split(' ').nth(1).filter(|word| word.starts_with('v'));
    let version = word.and_then(|word| word.parse().ok());
    version.ok_or_else(|| Error::Untold {
        path: look.path.clone(),
        said: line.chars().take(80).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn static_one(name: &str, said: &str) -> Look {
        Look {
            path: Path::new("/opt").join(name),
            dynamic: false,
            gnu: false,
            said: said.to_owned(),
        }
    }

    /// A Firecracker and a jailer of these versions.
    fn pair(firecracker: &str, jailer: &str) -> Result<Installed, Error> {
        judge(
            static_one(
                "firecracker",
                &format!("Firecracker v{firecracker}\n\nmore\n"),
            ),
            static_one("jailer", &format!("Jailer v{jailer}\n\n")),
        )
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text: &str| text.parse::<Version>();
        assert_eq!(version("1.16.1"), Ok(Version::new(1, 16, 1)));
        assert_eq!(version("v1.17.0-dev+x"), Ok(Version::new(1, 17, 0)));
        assert!(version("1.9.1").unwrap() < version("1.16.0").unwrap());
        for wrong in ["", "v", "1.16", "1.16.0.1", "1.x.0", "1.-1.0"] {
            assert_eq!(version(wrong), Err(NoVersion), "{wrong}");
        }
        let same = "1.16.1";
        assert_eq!(version(same).unwrap().to_string(), same);
    }

    #[test]
    fn a_release_will_do_and_a_build_for_glibc_needs_a_filter() {
        let installed = pair("1.16.1", "1.16.1").unwrap();
        assert_eq!(installed.version, Version::new(1, 16, 1));
        assert_eq!(installed.jailer, Path::new("/opt/jailer"));
        assert!(installed.own_filter);
        let mut gnu = static_one("firecracker", "Firecracker v1.16.1\n");
        gnu.gnu = true;
        let installed = judge(gnu, static_one("jailer", "Jailer v1.16.1\n")).unwrap();
        assert!(!installed.own_filter);
    }

    #[test]
    fn versions_with_known_holes_are_refused_by_name() {
        for (version, name) in [
            ("0.25.2", "CVE-2026-1386"),
            ("1.13.1", "CVE-2026-1386"),
            ("1.13.2", "CVE-2026-5747"),
            ("1.14.0", "CVE-2026-1386"),
            ("1.14.3", "CVE-2026-5747"),
            ("1.15.0", "CVE-2026-5747"),
        ] {
            let error = pair(version, version).unwrap_err();
            let named = matches!(error, Error::Vulnerable { hole, .. } if hole == name);
            assert!(named, "{version}: {error}");
        }
    }

    #[test]
    fn versions_that_lack_what_is_needed_are_too_old() {
        for version in ["1.14.4", "1.15.1"] {
            let error = pair(version, version).unwrap_err();
            assert!(matches!(error, Error::TooOld { .. }), "{version}: {error}");
            assert!(error.to_string().contains("1.16.0"), "{error}");
        }
        pair("1.16.0", "1.16.0").unwrap();
        pair("2.0.0", "2.0.0").unwrap();
    }

    #[test]
    fn what_needs_libraries_or_another_jailer_or_tells_nothing_is_refused() {
        let jailer = static_one("jailer", "Jailer v1.16.1\n");
        let mut dynamic = static_one("firecracker", "Firecracker v1.16.1\n");
        dynamic.dynamic = true;
        let error = judge(dynamic, jailer.clone()).unwrap_err();
        assert!(matches!(error, Error::Dynamic { .. }), "{error}");
        let error = pair("1.16.1", "1.16.0").unwrap_err();
        assert!(matches!(error, Error::Differ { .. }), "{error}");
        for said in ["", "Firecracker", "Firecracker vX\n", "usage: 1.16.1"] {
            let error = judge(static_one("firecracker", said), jailer.clone()).unwrap_err();
            assert!(matches!(error, Error::Untold { .. }), "{said}: {error}");
        }
    }

    #[test]
    fn the_jailer_of_a_release_has_its_firecrackers_name() {
        let beside = |path: &str| beside(Path::new(path)).into_iter().next();
        let release = beside("/opt/firecracker-v1.16.1-x86_64");
        assert_eq!(release, Some("/opt/jailer-v1.16.1-x86_64".into()));
        assert_eq!(beside("/opt/firecracker"), Some("/opt/jailer".into()));
        assert_eq!(beside("/opt/vmm"), Some("/opt/jailer".into()));
    }

    #[tokio::test]
    async fn what_is_not_there_or_no_program_is_named() {
        let error = installed(Some(Path::new("/absent/vmm"))).await.unwrap_err();
        assert!(matches!(&error, Error::Missing { name } if name == "/absent/vmm"));
        assert!(error.to_string().contains(PLACE), "{error}");

        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("firecracker");
        for path in [&script, &dir.path().join("jailer")] {
            fs::write(path, "#!/bin/sh\necho Firecracker v1.16.1\n").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        let error = installed(Some(&script)).await.unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_does_not_answer_is_named() {
        let error = look("/bin/false".into()).await.unwrap_err();
        assert!(matches!(error, Error::CanNotRun { .. }), "{error}");
    }
}
