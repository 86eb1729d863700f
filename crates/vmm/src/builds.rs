//! VMM builds: a VMM with everything that it loads, copied aside and named by its content.
//!
//! Jails see the copy, never the host's folders. So an upgrade of the host's packages changes nothing under a VM that
//! runs, and a state that one build saved is loaded by the same.
//!
//! A build's marker says how it is run, and hard links to the marker say who needs the build: it stays as long as there
//! is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wrenn_model::Mismatch;
use wrenn_sys::durable;

use crate::Error;

/// Where builds are kept, in a driver's state folder.
pub(crate) const BUILDS: &str = "vmm-builds";
/// What keeps a VM's build, in the VM's folder.
pub(crate) const KEPT: &str = "build";
/// The marker, in the build's folder. No part of what the build's name is the sum of.
const MARKER: &str = "build.json";

/// The files of a build, by their place in its folder.
pub(crate) type Files = BTreeMap<PathBuf, PathBuf>;

/// A build, whole and on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Build {
    /// Its folder.
    pub(crate) dir: PathBuf,
    /// SHA-256 of its files and their names, in hexadecimal.
    pub(crate) hash: String,
    /// Where the dynamic loader has to be found, if the program wants one.
    pub(crate) loader: Option<PathBuf>,
}

/// What the files alone do not tell.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    loader: Option<PathBuf>,
}

/// The builds that are kept here.
#[derive(Debug)]
pub(crate) struct Builds {
    dir: PathBuf,
    current: Build,
    /// Held while a link is made, and from when links are counted until their build is out of reach.
    links: Mutex<()>,
}

impl Builds {
    /// Copies the files of the host's VMM under `dir`, unless the same build is there.
    pub(crate) async fn open(
        files: Files,
        loader: Option<PathBuf>,
        dir: PathBuf,
    ) -> Result<Self, Error> {
        let opened = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&dir)?;
            let current = copy(&files, loader, &dir)?;
            Ok(Self {
                dir,
                current,
                links: Mutex::new(()),
            })
        });
        let opened = opened.await.map_err(io::Error::other).flatten();
        opened.map_err(Error::io("copying the VMM aside"))
    }

    /// The one of this host.
    pub(crate) fn current(&self) -> &Build {
        &self.current
    }

    /// The build of this name.
    pub(crate) fn find(&self, hash: &str) -> Result<Build, Error> {
        let absent = || Error::Mismatch(Mismatch::Build(hash.to_owned()));
        if !is_hash(hash) {
            return Err(absent());
        }
        let dir = self.dir.join(hash);
        let marker = match fs::read(dir.join(MARKER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(absent()),
            other => other.and_then(|text| Ok(serde_json::from_slice::<Marker>(&text)?)),
        };
        let Marker { loader } = marker.map_err(Error::io(format!("the marker of build {hash}")))?;
        let hash = hash.to_owned();
        Ok(Build { dir, hash, loader })
    }

    /// Whether the build of this name is here.
    pub(crate) fn can_be_found(&self, hash: &str) -> Result<(), Mismatch> {
        match self.find(hash) {
            Ok(_) => Ok(()),
            Err(Error::Mismatch(mismatch)) => Err(mismatch),
            Err(error) => {
                // A build that can't be read is none.
                tracing::error!(build = hash, ?error, "a VMM build is damaged");
                Err(Mismatch::Build(hash.to_owned()))
            }
        }
    }

    /// Makes a link that keeps the build of this name.
    pub(crate) fn keep(&self, hash: &str, link: &Path) -> Result<Build, Error> {
        let _held = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let build = self.find(hash)?;
        let marker = build.dir.join(MARKER);
        let linked = match fs::hard_link(&marker, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => same(&marker, link),
            other => other,
        };
        linked.map_err(Error::io(format!(
            "keeping build {hash} by {}",
            link.display()
        )))?;
        Ok(build)
    }

    /// The same as [`Builds::collect`], off the runtime's threads.
    pub(crate) async fn collect_all(builds: &Arc<Self>) -> Result<(), Error> {
        let builds = Arc::clone(builds);
        let collected = tokio::task::spawn_blocking(move || builds.collect());
        let collected = collected.await.map_err(io::Error::other).flatten();
        collected.map_err(Error::io("removing VMM builds"))
    }

    /// Removes what nobody needs, and what an interrupted copy or removal left.
    fn collect(&self) -> io::Result<()> {
        for hash in hashes(&self.dir)? {
            if self.put_aside(&hash)? {
                tracing::info!(build = &hash[..12], "nothing needs this VMM build any more");
            }
        }
        for name in entries(&self.dir)? {
            if name.starts_with('.') {
                durable::remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Takes a build out of reach if nobody needs it. What has its name is always whole.
    fn put_aside(&self, hash: &str) -> io::Result<bool> {
        let _held = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.dir.join(hash);
        if hash == self.current.hash || fs::metadata(dir.join(MARKER))?.nlink() > 1 {
            return Ok(false);
        }
        durable::publish(&dir, &self.dir.join(format!(".{hash}.old")))?;
        Ok(true)
    }
}

/// Fails unless both names are one file's.
fn same(marker: &Path, link: &Path) -> io::Result<()> {
    let id = |path| fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()));
    if id(marker)? == id(link)? {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "the link keeps another build",
    ))
}

/// Copies the files to a folder named by their content. Only a whole one ever has that name.
fn copy(files: &Files, loader: Option<PathBuf>, builds: &Path) -> io::Result<Build> {
    let hash = hash(files)?;
    let dir = builds.join(&hash);
    let build = Build { dir, hash, loader };
    if build.dir.exists() {
        return Ok(build);
    }
    let Build { dir, hash, .. } = &build;
    let aside = builds.join(format!(".{hash}.new"));
    durable::remove(&aside)?;
    let mut folders = BTreeSet::from([aside.clone()]);
    fs::create_dir_all(&aside)?;
    for (to, from) in files {
        let to = aside.join(to);
        let folder = parent(&to).to_owned();
        fs::create_dir_all(&folder)?;
        fs::copy(from, &to)?;
        fs::set_permissions(&to, Permissions::from_mode(0o555))?;
        File::open(&to)?.sync_all()?;
        folders.insert(folder);
    }
    for folder in &folders {
        durable::sync_dir(folder)?;
    }
    mark(&aside, build.loader.clone())?;
    durable::publish(&aside, dir)?;
    Ok(build)
}

/// Syncs the build's folder too.
fn mark(build: &Path, loader: Option<PathBuf>) -> io::Result<()> {
    let marker = serde_json::to_vec(&Marker { loader })?;
    durable::write(&build.join(MARKER), &marker, 0o444)
}

/// The builds that are there.
fn hashes(builds: &Path) -> io::Result<Vec<String>> {
    let mut found = entries(builds)?;
    found.retain(|name| is_hash(name));
    Ok(found)
}

fn entries(dir: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
    let names: io::Result<Vec<_>> = names.collect();
    Ok(names?
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}

/// Names come from manifests, and become paths.
fn is_hash(name: &str) -> bool {
    let hexadecimal = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == 64 && name.bytes().all(hexadecimal)
}

fn hash(files: &Files) -> io::Result<String> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for (name, path) in files {
        let mut file = File::open(path)?;
        sum.update(name.as_os_str().as_encoded_bytes());
        sum.update([0]);
        sum.update(file.metadata()?.len().to_le_bytes());
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => sum.update(&buffer[..read]),
            }
        }
    }
    Ok(sum.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with two builds; the second is the current one.
    fn builds(dir: &Path) -> (Builds, String) {
        let program = std::env::current_exe().unwrap();
        let mut files = Files::from([(PathBuf::from("bin/vmm"), program.clone())]);
        let loader = Some(PathBuf::from("/lib64/loader"));
        let old = copy(&files, loader.clone(), dir).unwrap();
        files.insert("more/name".into(), "/etc/hostname".into());
        let current = copy(&files, loader, dir).unwrap();
        let builds = Builds {
            dir: dir.into(),
            current,
            links: Mutex::new(()),
        };
        (builds, old.hash)
    }

    #[test]
    fn a_build_is_copied_once_and_known_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let (first, old) = builds(dir.path());
        let (again, same) = builds(dir.path());
        assert_eq!((first.current(), &old), (again.current(), &same));
        assert_ne!(old, first.current().hash);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(first.find(&first.current().hash).unwrap(), first.current);
    }

    #[test]
    fn a_build_stays_while_a_link_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        let (builds, old) = builds(&dir.path().join("builds"));
        builds.keep(&old, &link).unwrap();
        builds.keep(&old, &link).unwrap();
        let current = builds.current().hash.clone();
        assert!(builds.keep(&current, &link).is_err(), "it keeps another");
        fs::create_dir(dir.path().join("builds/.half.new")).unwrap();
        builds.collect().unwrap();
        builds.find(&old).unwrap();
        fs::remove_file(&link).unwrap();
        builds.collect().unwrap();
        assert_eq!(entries(&builds.dir).unwrap(), [current]);
        let absent = builds.keep(&old, &link).unwrap_err();
        assert!(matches!(absent, Error::Mismatch(Mismatch::Build(hash)) if hash == old));
    }

    #[test]
    fn only_a_sum_is_the_name_of_a_build() {
        let dir = tempfile::tempdir().unwrap();
        let (builds, old) = builds(dir.path());
        for name in [
            "",
            "..",
            "../x",
            &old[1..],
            &old.to_uppercase(),
            &format!("./{}", &old[2..]),
        ] {
            assert!(
                matches!(builds.find(name), Err(Error::Mismatch(_))),
                "{name}"
            );
        }
    }
}
