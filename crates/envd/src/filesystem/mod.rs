//! The guest's directory tree, as the Connect service `filesystem.Filesystem` shows and changes it.

mod entry;
mod ops;
mod rpc;

pub(crate) use rpc::FilesystemService;
