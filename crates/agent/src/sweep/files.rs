//! What lies in a data directory: folders of sandboxes and virtual machines, and what was being made.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wrenn_model::leftover::{Kind, Leftover, Owner};
use wrenn_model::{SandboxId, VmId};
use wrenn_sys::durable;

/// Where files are made aside and then renamed, below the store.
const MAKERS: [&str; 8] = [
    "memory",
    "templates",
    "kernels",
    "initramfs",
    "vmm-builds",
    "lent",
    "snapshots",
    "boot-images",
];

/// Folders, and files that nobody has touched since `began`.
pub(super) fn leftovers(data: &Path, store: &Path, began: SystemTime) -> io::Result<Vec<Leftover>> {
    let mut found = sandboxes(&store.join("sandboxes"))?;
    found.extend(spares(&store.join("spares"))?);
    for library in ["snapshots", "boot-images"] {
        found.extend(half_made(&store.join(library), began)?);
    }
    let makers = MAKERS.map(|folder| store.join(folder));
    for path in entries(data)?.into_iter().filter(|path| aside(path)) {
        found.extend(temporary(path, began));
    }
    for folder in makers {
        let hidden = entries(&folder)?.into_iter().filter(|path| hidden(path));
        found.extend(hidden.filter_map(|path| temporary(path, began)));
    }
    Ok(found)
}

fn sandboxes(folder: &Path) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        // What has no sandbox's name was made by somebody else.
        let Some(id) = name(&path).parse::<SandboxId>().ok() else {
            continue;
        };
        for part in entries(&path)? {
            if name(&part).parse::<VmId>().is_ok() {
                let owner = Owner::PartOf(id.clone(), name(&part).to_owned());
                found.push(file(Kind::VmFolder, part, owner));
            }
        }
        found.push(file(Kind::SandboxFolder, path, Owner::Sandbox(id)));
    }
    Ok(found)
}

/// The names of those that have such a folder.
pub(super) fn spare_names(store: &Path) -> io::Result<HashSet<String>> {
    let folders = entries(&store.join("spares"))?;
    Ok(folders.iter().map(|path| name(path).to_owned()).collect())
}

/// Folders of virtual machines that no sandbox has, named by them.
fn spares(folder: &Path) -> io::Result<Vec<Leftover>> {
    let named = |path: &PathBuf| name(path).parse::<VmId>().is_ok();
    let spares = entries(folder)?.into_iter().filter(named);
    Ok(spares
        .map(|path| {
            let owner = Owner::Vm(name(&path).to_owned());
            file(Kind::VmFolder, path, owner)
        })
        .collect())
}

/// Generations of a library that a former agent began, and names under which it came to none.
fn half_made(library: &Path, began: SystemTime) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for path in entries(library)?.into_iter().filter(|path| !hidden(path)) {
        found.extend(temporary(path.join("next"), began));
        if entries(&path.join("generations"))?.is_empty() {
            found.extend(temporary(path, began));
        }
    }
    Ok(found)
}

/// Generations that were begun. Without an agent nobody goes on with them; with one they are their sandbox's task's.
pub(super) fn begun(sandboxes: &Path) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for path in entries(sandboxes)? {
        let next = path.join("next");
        if let Ok(id) = name(&path).parse::<SandboxId>()
            && next.is_dir()
        {
            let owner = Owner::PartOf(id, "next".to_owned());
            found.push(file(Kind::Generation, next, owner));
        }
    }
    Ok(found)
}

/// A file that lies at this path.
pub(super) fn file(kind: Kind, path: PathBuf, owner: Owner) -> Leftover {
    Leftover::new(kind, path.display().to_string(), owner, || async move {
        tokio::task::spawn_blocking(move || durable::remove(&path)).await??;
        Ok(())
    })
}

fn temporary(path: PathBuf, began: SystemTime) -> Option<Leftover> {
    let touched = touched(&path)?;
    (touched < began).then(|| file(Kind::Temporary, path, Owner::Nobody))
}

/// When a file was last written or renamed; none when it is gone.
fn touched(path: &Path) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;

    let meta = fs::symlink_metadata(path).ok()?;
    let seconds = u64::try_from(meta.ctime()).ok()?;
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Some(meta.modified().ok()?.max(changed))
}

/// Whether a file has a name that files have until they are whole.
fn aside(path: &Path) -> bool {
    name(path) == "journal.new" || hidden(path) && name(path).ends_with(".new")
}

fn hidden(path: &Path) -> bool {
    name(path).starts_with('.') && name(path) != ".lock"
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

/// What is in a folder; nothing when it is none.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_what_was_being_made_are_found_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (data, store) = (dir.path(), dir.path().join("store"));
        let (sandbox, vm) = (SandboxId::random(), VmId::random());
        for folder in [
            format!("store/sandboxes/{sandbox}/{vm}"),
            format!("store/sandboxes/{sandbox}/generations"),
            "store/sandboxes/somebody-else".to_owned(),
            "store/memory".to_owned(),
            "store/templates/.making-1-2".to_owned(),
            "store/templates/minimal".to_owned(),
        ] {
            fs::create_dir_all(data.join(folder)).unwrap();
        }
        for name in [
            "journal.new",
            ".ranges.new",
            "journal.damaged",
            "instance",
            "store/memory/.new-1-0",
            "store/memory/empty-256",
            "store/templates/.lock",
        ] {
            fs::write(data.join(name), "").unwrap();
        }
        let soon = SystemTime::now() + Duration::from_secs(10);
        let found = leftovers(data, &store, soon).unwrap();
        let mut names: Vec<_> = found
            .iter()
            .map(|left| {
                left.name
                    .strip_prefix(data.to_str().unwrap())
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        let mut expected = [
            "/.ranges.new".to_owned(),
            "/journal.new".to_owned(),
            "/store/memory/.new-1-0".to_owned(),
            format!("/store/sandboxes/{sandbox}"),
            format!("/store/sandboxes/{sandbox}/{vm}"),
            "/store/templates/.making-1-2".to_owned(),
        ];
        expected.sort();
        assert_eq!(names, expected);
        // What is being made now is somebody's.
        let past = SystemTime::now() - Duration::from_secs(10);
        let found = leftovers(data, &store, past).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
