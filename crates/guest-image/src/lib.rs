//! What a guest boots from: kernel, initramfs and base images, made from Debian packages without mounting anything on
//! the host.
//!
//! Slow results live in the [`Cache`], by the content of what they were made from; what sandboxes use lives in the store
//! ([`Images`]). Both are filled by one rename, so that a reader sees a whole result or none, whenever a build ends.

mod apt;
mod cache;
mod cpio;
mod elf;
mod error;
mod ext4;
mod folder;
mod hash;
mod images;
mod initramfs;
mod kernel;
mod modules;
mod progress;
mod recipe;
mod rootfs;
mod template;
mod vmlinux;

pub use cache::Cache;
pub use error::{Error, Result};
pub use images::{Images, Reuse};
pub use kernel::{DEFAULT_KERNEL, Kernel};
pub use progress::{Progress, Silent};
pub use recipe::{File, Recipe, User};
pub use template::Template;
