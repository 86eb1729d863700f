//! Named network namespaces, as `ip netns` knows them: a file under `/run/netns` with the namespace bound to it.
//!
//! A thread that changed its namespace is never used for anything else: each entry takes a thread of its own, which ends
//! with the work. Sockets, TAPs and netlink connections stay in the namespace in which they were opened, so the work
//! opens them and hands them back.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::oneshot;

/// Where named namespaces stand.
pub const DIR: &str = "/run/netns";

/// The file that stands for the namespace of this name.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Makes a namespace, names it, and runs `work` inside. When any of it fails nothing is left of the namespace.
///
/// # Errors
/// `AlreadyExists` for a name that is taken; else what the kernel or `work` said.
pub async fn create<T, F>(name: &str, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let path = path(name);
    on_own_thread(move || {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(DIR)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)?;
        let made = bind_new(&path).and_then(|()| work());
        if made.is_err() {
            // The error that led here is the one to tell.
            drop(unbind(&path));
        }
        made
    })
    .await
}

/// Opens a namespace by name. It lives as long as the descriptor does, also without its name.
///
/// # Errors
/// `NotFound` when there is none; `InvalidInput` when the name stands but no namespace is bound to it.
pub fn open(name: &str) -> io::Result<OwnedFd> {
    let file = File::open(path(name))?;
    let kind = rustix::fs::fstatfs(&file)?.f_type;
    if kind != libc::NSFS_MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name has no namespace",
        ));
    }
    Ok(file.into())
}

/// Runs `work` inside a namespace and returns what it returned.
///
/// # Errors
/// When the thread can't be started or the namespace can't be entered; else what `work` said.
pub async fn enter<T, F>(namespace: OwnedFd, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    on_own_thread(move || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        drop(namespace);
        work()
    })
    .await
}

/// As [`enter`], for callers that may block.
///
/// # Errors
/// As [`enter`].
pub fn enter_blocking<T, F>(namespace: OwnedFd, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let thread = thread::Builder::new().name("netns".into()).spawn(move || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        drop(namespace);
        work()
    })?;
    thread.join().map_err(|_| panicked())?
}

/// Takes the name away, also of a half-made one; that it is gone already is fine. The namespace ends with its last socket.
///
/// # Errors
/// What the kernel said.
pub fn remove(name: &str) -> io::Result<()> {
    unbind(&path(name))
}

/// The names of all namespaces that begin with `prefix`.
///
/// # Errors
/// When the directory can't be read; that it is absent is no error.
pub fn list(prefix: &str) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(DIR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && name.starts_with(prefix)
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Moves this thread into a new namespace and binds it to the file.
fn bind_new(path: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    mount(
        Some("/proc/thread-self/ns/net"),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    Ok(())
}

fn unbind(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // EINVAL: the file stands, but nothing is bound to it yet.
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn on_own_thread<T, F>(work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("netns".into()).spawn(move || {
        // A caller that stopped waiting wants no answer; what the work opened closes with it.
        drop(sender.send(work()));
    })?;
    receiver.await.map_err(|_| panicked())?
}

fn panicked() -> io::Error {
    io::Error::other("the work in a namespace panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inode of the namespace that the calling thread is in.
    fn current() -> io::Result<PathBuf> {
        fs::read_link("/proc/thread-self/ns/net")
    }

    fn fresh() -> String {
        format!(
            "wrenn-test-{}-{:?}",
            std::process::id(),
            thread::current().id()
        )
        .replace(['(', ')'], "")
    }

    #[tokio::test]
    async fn a_namespace_is_made_entered_and_removed() {
        let name = fresh();
        let outside = current().unwrap();
        let inside = create(&name, current).await.unwrap();
        assert_ne!(outside, inside);
        assert_eq!(enter(open(&name).unwrap(), current).await.unwrap(), inside);
        assert_eq!(
            enter_blocking(open(&name).unwrap(), current).unwrap(),
            inside
        );
        assert_eq!(current().unwrap(), outside);
        let taken = create(&name, || Ok(())).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(list(&name).unwrap(), [name.as_str()]);
        remove(&name).unwrap();
        remove(&name).unwrap();
        assert_eq!(open(&name).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(list(&name).unwrap().is_empty());
    }

    #[tokio::test]
    async fn work_that_fails_leaves_no_namespace() {
        let name = fresh();
        let failed = create(&name, || -> io::Result<()> { Err(io::Error::other("no")) }).await;
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert!(!path(&name).exists());
    }

    #[tokio::test]
    async fn a_name_without_namespace_is_told_and_removed() {
        let name = fresh();
        create(&name, || Ok(())).await.unwrap();
        umount2(&path(&name), MntFlags::MNT_DETACH).unwrap();
        assert_eq!(open(&name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        remove(&name).unwrap();
        assert!(!path(&name).exists());
    }
}
