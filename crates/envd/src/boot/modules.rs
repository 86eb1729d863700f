//! Loads the kernel modules that the initramfs brings.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use wrenn_envd_api::guest;

use crate::console;

/// Loads the modules that [`guest::MODULE_ORDER`] names, one file name a line, and removes their files: the initramfs is
/// memory. A kernel that has everything built in comes without a list.
pub(super) fn load_all() -> io::Result<()> {
    let order = Path::new(guest::MODULE_ORDER);
    let names = match fs::read_to_string(order) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let dir = order.parent().unwrap_or(Path::new("/"));
    for name in names.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let path = dir.join(name);
        // The next step tells whether the module was needed.
        if let Err(error) = load(&path) {
            console::log(format_args!("module {name}: {error}"));
        }
        drop(fs::remove_file(&path));
    }
    Ok(())
}

fn load(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    match finit_module(&file, &CString::default(), ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
