//! A control plane's database, copied while it is written to.
//!
//! The folder belongs to the control plane's user, and what lies in it may be of somebody's making who broke into it. So
//! SQLite reads it as that user, in a process that has no other right; root only passes on the bytes that come of it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, umask};
use rustix::fs::OFlags;
use wrenn_sys::jail;
use wrenn_sys::program::Program;

use crate::cli::CopyDatabaseArgs;
use crate::commands::server::plane::DATABASE;
use crate::install::SELF;
use crate::report::Advised;

/// How long a copy may take: a database has a row a sandbox.
const LIMIT: Duration = Duration::from_secs(3600);

/// What the name of a copy begins with; the process that makes it follows.
const ASIDE: &str = ".backup-";

/// A copy of the database in a control plane's folder, which has no name any more; none where there is no database.
pub(super) async fn copy(folder: &Path) -> Result<Option<File>> {
    if open(&folder.join(DATABASE))?.is_none() {
        return Ok(None);
    }
    clear(folder).with_context(|| format!("{} cannot be cleared", folder.display()))?;
    let name = format!("{ASIDE}{}", std::process::id());
    let path = folder.join(&name);
    let program = Program::new(SELF)
        .arg("copy-database")
        .arg(folder)
        .arg(name);
    let copied = program.limit(LIMIT).run().await;
    let opened = copied
        .map_err(anyhow::Error::from)
        .and_then(|_| open(&path));
    remove(&path)?;
    opened.map_err(|error| {
        let database = folder.join(DATABASE);
        Advised::new(
            format!("the database {} cannot be copied", database.display()),
            "see that it is whole, by starting its server, and that its disk has room for a copy",
        )
        .because(error)
        .into()
    })
}

/// Removes the copies of those who were killed.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(ASIDE));
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// A plain file that somebody else may have put there; none where there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(flags.cast_signed());
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("{} cannot be read", path.display()))?,
    };
    anyhow::ensure!(file.metadata()?.is_file(), "{} is no file", path.display());
    Ok(Some(file))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// `wrenn copy-database`: the process that does it. For a process with one thread.
pub(crate) fn child(args: &CopyDatabaseArgs) -> Result<()> {
    let owner = fs::metadata(&args.folder)?.uid();
    // SQLite looks at every folder above a file, and those above this one are root's alone.
    std::env::set_current_dir(&args.folder)?;
    rustix::process::chroot(".")?;
    umask(Mode::from_bits_truncate(0o077));
    if owner != 0 {
        jail::drop_privileges(owner)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(wrenn_control::copy_database(
        Path::new(DATABASE),
        &args.name,
    ))?;
    Ok(())
}
