//! Asking the machine's own Debian archives, without changing the machine's apt state.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wrenn_sys::program::{self, Output, Program};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// The keys that Debian's archives are signed with. Every Debian system has them, the guest as well.
pub(crate) const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Downloads on a slow line take their time.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The machine's apt settings that say how to reach an archive; the others say what to keep of it, which is ours to say.
const TRANSPORT: [&str; 6] = [
    "Acquire::http",
    "Acquire::ftp",
    "Acquire::ForceIPv",
    "Acquire::Retries",
    "Acquire::Queue-Mode",
    "Acquire::Check-Valid-Until",
];

/// apt with the machine's sources, and with package lists of its own.
#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
    /// What apt said when it could not read every source of the machine: it matters once one of them is missed.
    unread: Option<String>,
}

/// One component of one suite of a Debian archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    uri: String,
    suite: String,
    component: String,
}

impl Apt {
    /// Reads the package lists of all sources of the machine into `dir`, whose contents are the caller's to remove.
    pub(crate) async fn update(dir: &Path, progress: &dyn Progress) -> Result<Self> {
        progress.step("reading the Debian package lists");
        let mut apt = Self {
            dir: dir.to_owned(),
            unread: None,
        };
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(Error::io("make", &path))?;
        }
        let transport = transport(dir).await?;
        let settings = format!(
            "Dir::Etc::parts \"/dev/null\";\nDir::Etc::main \"/dev/null\";\n\
             Dir::State::lists \"{dir}/lists\";\nDir::Cache \"{dir}/cache\";\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n{transport}",
            dir = dir.display(),
        );
        let path = apt.settings();
        fs::write(&path, settings).map_err(Error::io("write", &path))?;
        let update = apt.program("apt-get").args(["update", "--error-on=any"]);
        match update.run_with(|line| progress.detail(line)).await {
            Ok(_) => {}
            Err(program::Error::Failed { said, .. }) => apt.unread = Some(said),
            Err(error) => return Err(Error::program(dir)(error)),
        }
        Ok(apt)
    }

    /// Where the machine gets a Debian release, its updates and its security fixes from.
    pub(crate) async fn sources(&self, suite: &str) -> Result<Vec<Source>> {
        let targets = self
            .program("apt-get")
            .args(["indextargets", "Created-By: Packages", "--format"])
            .arg("$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)")
            .run()
            .await
            .map_err(Error::program(&self.dir))?;
        match (debian_sources(&text(&targets), suite), &self.unread) {
            (Some(sources), _) if !sources.is_empty() => Ok(sources),
            (_, Some(said)) => Err(Error::Archive { said: said.clone() }),
            (_, None) => Err(Error::NoArchive {
                suite: suite.to_owned(),
            }),
        }
    }

    /// The package that a metapackage stands for, by how its name begins; any other package stands for itself.
    pub(crate) async fn real_package(&self, package: &str, begins: &str) -> Result<String> {
        let depends = self
            .program("apt-cache")
            .args(["depends", "--important", package])
            .run()
            .await;
        let shown = depends.map_err(|error| match &self.unread {
            Some(said) => Error::Archive { said: said.clone() },
            None => Error::program(&self.dir)(error),
        })?;
        let real = first_needed(&text(&shown), begins);
        Ok(real.unwrap_or_else(|| package.to_owned()))
    }

    /// Downloads a package into `dir`, its signature checked, and gives its file.
    pub(crate) async fn download(
        &self,
        package: &str,
        dir: &Path,
        progress: &dyn Progress,
    ) -> Result<PathBuf> {
        self.program("apt-get")
            .args(["download", package])
            .current_dir(dir)
            .run_with(|line| progress.detail(line))
            .await
            .map_err(Error::program(dir))?;
        let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
        let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        files
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| Error::Archive {
                said: format!("apt-get downloaded no {package}"),
            })
    }

    /// A file with the machine's way to reach archives (proxy, timeouts), for other programs that use apt.
    pub(crate) fn transport(&self) -> PathBuf {
        self.dir.join("transport.conf")
    }

    fn settings(&self) -> PathBuf {
        self.dir.join("apt.conf")
    }

    fn program(&self, name: &str) -> Program {
        Program::new(name)
            .env("APT_CONFIG", self.settings())
            .limit(LIMIT)
    }
}

impl Source {
    /// As a line of `sources.list`, trusted by Debian's keys alone.
    pub(crate) fn line(&self) -> String {
        let Self {
            uri,
            suite,
            component,
        } = self;
        format!("deb [signed-by={DEBIAN_KEYS}] {uri} {suite} {component}")
    }

    /// The same without what is secret in its address.
    pub(crate) fn public_line(&self) -> String {
        let uri = match self.uri.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = host.rsplit('@').next().unwrap_or(host);
                format!("{scheme}://{host}{path}")
            }
            None => self.uri.clone(),
        };
        Self {
            uri,
            ..self.clone()
        }
        .line()
    }
}

/// Takes over how the machine reaches archives, and none of its hooks or preferences.
async fn transport(dir: &Path) -> Result<String> {
    let dump = Program::new("apt-config")
        .args(["dump", "--no-empty"])
        .run()
        .await
        .map_err(Error::program(dir))?;
    let transport: String = text(&dump)
        .lines()
        .filter(|line| TRANSPORT.iter().any(|begins| line.starts_with(begins)))
        .map(|line| format!("{line}\n"))
        .collect();
    let path = dir.join("transport.conf");
    fs::write(&path, &transport).map_err(Error::io("write", &path))?;
    Ok(transport)
}

/// The sources of a release among apt's targets: Debian's own, for the release and its updates, free software only. None
/// when one that may be among them was not read, so that no image lacks its security fixes unnoticed.
fn debian_sources(targets: &str, suite: &str) -> Option<Vec<Source>> {
    let codenames = [
        suite.to_owned(),
        format!("{suite}-updates"),
        format!("{suite}-security"),
    ];
    let wanted = |name| codenames.iter().any(|codename| codename == name);
    let mut sources = Vec::new();
    for line in targets.lines() {
        let fields: Vec<_> = line.split('|').collect();
        let &[origin, codename, component, release, uri] = fields.as_slice() else {
            continue;
        };
        if origin.is_empty() && wanted(release) {
            return None;
        }
        let source = Source {
            uri: uri.to_owned(),
            suite: release.to_owned(),
            component: component.to_owned(),
        };
        let ours = origin == "Debian" && component == "main" && wanted(codename);
        if ours && !sources.contains(&source) {
            sources.push(source);
        }
    }
    Some(sources)
}

fn first_needed(shown: &str, begins: &str) -> Option<String> {
    shown
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("Depends: "))
        .find(|name| name.starts_with(begins))
        .map(str::to_owned)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
Debian|bookworm|main|bookworm|http://user:secret@mirror.test/debian/
Debian|bookworm|contrib|bookworm|http://mirror.test/debian/
Debian|bookworm-updates|main|bookworm-updates|http://mirror.test/debian/
Debian|bookworm-updates|main|bookworm-updates|http://mirror.test/debian/
Debian Backports|bookworm-backports|main|bookworm-backports|http://mirror.test/debian/
Debian|bookworm-security|main|bookworm-security|http://mirror.test/debian-security/
Somebody|bookworm|main|bookworm|http://other.test/
Debian|trixie|main|trixie|http://mirror.test/debian/
||main|somewhere|http://unread.test/
";

    #[test]
    fn only_debians_own_archives_of_the_release_are_taken() {
        let suites: Vec<_> = debian_sources(TARGETS, "bookworm")
            .unwrap()
            .into_iter()
            .map(|source| source.suite)
            .collect();
        assert_eq!(
            suites,
            ["bookworm", "bookworm-updates", "bookworm-security"]
        );
        assert_eq!(debian_sources(TARGETS, "buster"), Some(vec![]));
    }

    #[test]
    fn an_unread_security_archive_is_not_done_without() {
        let unread = format!("{TARGETS}||main|bookworm-security|http://unread.test/\n");
        assert_eq!(debian_sources(&unread, "bookworm"), None);
    }

    #[test]
    fn a_secret_in_an_address_stays_out_of_the_image() {
        let sources = debian_sources(TARGETS, "bookworm").unwrap();
        assert!(sources[0].line().contains("user:secret@mirror.test"));
        assert_eq!(
            sources[0].public_line(),
            format!("deb [signed-by={DEBIAN_KEYS}] http://mirror.test/debian/ bookworm main")
        );
        assert_eq!(sources[1].public_line(), sources[1].line());
    }

    #[test]
    fn a_metapackage_stands_for_its_kernel() {
        let shown = "linux-image-cloud\n  Depends: linux-image-1-cloud\n";
        let first = |shown| first_needed(shown, "linux-image-");
        assert_eq!(first(shown), Some("linux-image-1-cloud".to_owned()));
        let shown = "linux-image-1-cloud\n  Depends: kmod\n |Depends: linux-initramfs-tool\n";
        assert_eq!(first(shown), None);
    }
}
