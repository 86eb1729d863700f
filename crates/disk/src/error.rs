//! What can go wrong with disks.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use wrenn_sys::program;

use crate::qcow2;

/// Why a disk operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's disk has no room for what the volume needs.
    #[error("the host's disk is full: {needed} bytes are needed, {free} are free")]
    HostFull {
        /// How many bytes the volume had to get, or to have free.
        needed: u64,
        /// How many there are.
        free: u64,
    },
    /// Somebody still uses the volume.
    #[error("the volume at {} is still in use", root.display())]
    Busy {
        /// Where it is mounted.
        root: PathBuf,
    },
    /// The volume was unmounted, but another mount namespace still has it.
    #[error("the volume was unmounted at {}, but another mount namespace still has it", root.display())]
    Held {
        /// Where it was mounted.
        root: PathBuf,
    },
    /// The volume was closed.
    #[error("the volume is closed")]
    Closed,
    /// The volume's directory holds files, but its file system cannot share blocks; mounting over them would hide them.
    #[error("{} is not empty and its file system has no reflinks", root.display())]
    Occupied {
        /// The directory.
        root: PathBuf,
    },
    /// There is a file where a new one was to be made.
    #[error("{} is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The base image is larger than the disk that it was to back.
    #[error("the base image has {base} bytes, more than the disk's {virtual_size}")]
    BaseTooLarge {
        /// The size of the base image, in bytes.
        base: u64,
        /// The size that the disk was to have, in bytes.
        virtual_size: u64,
    },
    /// The base image has not the disk's size, or its size is no whole number of chunks.
    #[error(
        "the base image has {base} bytes, and the disk {virtual_size}: they have to be the same whole number of 4 KiB"
    )]
    BaseSize {
        /// The size of the base image, in bytes.
        base: u64,
        /// The size that the disk was to have, in bytes.
        virtual_size: u64,
    },
    /// The host has no free loop device.
    #[error("the host has no free loop device for {}", path.display())]
    NoLoopDevice {
        /// The file that was to become one.
        path: PathBuf,
    },
    /// What was written to the layer has nowhere to be, and its device gives errors only.
    #[error("the layer in {} had no room left and is invalid", overlay.display())]
    Invalidated {
        /// Its file.
        overlay: PathBuf,
    },
    /// What stands in the file is no snapshot's store of ours.
    #[error("{} is no snapshot's store: {what}", path.display())]
    NoStore {
        /// The file.
        path: PathBuf,
        /// What of it is not as it would be.
        what: &'static str,
    },
    /// The layer cannot be described by a qcow2 header.
    #[error("the layer does not fit the format")]
    Format(#[from] qcow2::Invalid),
    /// A program of the host failed.
    #[error("the volume's file system could not be made or grown")]
    Program(#[from] program::Error),
    /// The kernel refused.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// What turns the kernel's answer into an error that says what was tried on which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// The same of a file that was to become a loop device.
    pub(crate) fn attaching(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match Errno::from_io_error(&source) {
            Some(Errno::BUSY) => Self::NoLoopDevice {
                path: path.to_owned(),
            },
            _ => Self::io("attach", path)(source),
        }
    }
}
