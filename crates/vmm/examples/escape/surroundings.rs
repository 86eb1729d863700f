//! What a program finds around itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::fs::Access;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

/// Who it is, what it inherited, what bounds it.
pub(crate) fn all() -> Value {
    let limit = |resource| {
        let limit = getrlimit(resource);
        json!([limit.current, limit.maximum])
    };
    let umask = rustix::process::umask(0.into());
    let host = rustix::system::uname();
    json!({
        "pid": std::process::id(),
        "parent": rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()),
        "uids": [rustix::process::getuid().as_raw(), rustix::process::geteuid().as_raw()],
        "gids": [rustix::process::getgid().as_raw(), rustix::process::getegid().as_raw()],
        "groups": rustix::process::getgroups().map(|groups| groups.len()).unwrap_or(usize::MAX),
        "environment": std::env::vars().collect::<BTreeMap<_, _>>(),
        "descriptors": descriptors(),
        "umask": umask.as_raw_mode(),
        "host": host.nodename().to_string_lossy(),
        "directory": std::env::current_dir().unwrap_or_default(),
        "core": limit(Resource::Core),
        "open files": limit(Resource::Nofile),
        "file size": limit(Resource::Fsize),
    })
}

/// The numbers of all descriptors.
fn descriptors() -> Vec<i32> {
    let open = |fd: &i32| {
        // SAFETY: The call only tells whether the number is a descriptor's.
        unsafe { libc::fcntl(*fd, libc::F_GETFD) != -1 }
    };
    (0..4096).filter(open).collect()
}

/// Every name that it can find, with what it may do there: `r`, `w`, `x`.
pub(crate) fn files() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(Path::new("/"), &mut found);
    found
}

fn walk(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let may = |letter, access| match rustix::fs::access(&path, access) {
            Ok(()) => letter,
            Err(_) => "-",
        };
        let rights = [
            may("r", Access::READ_OK),
            may("w", Access::WRITE_OK),
            may("x", Access::EXEC_OK),
        ];
        found.insert(path.to_string_lossy().into_owned(), rights.concat());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, found);
        }
    }
}
