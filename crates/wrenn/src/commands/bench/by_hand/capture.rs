//! A pause by hand: what has to be done, by plain loops and system calls one after the other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wrenn_sys::extents::Extent;
use wrenn_sys::{pagemap, reflink};

use super::qmp::Qmp;

/// How much is copied at once, in bytes.
const COPY: usize = 1 << 20;

/// A VM that stands still, as files that share one folder.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The guest's memory.
    pub(super) memory: PathBuf,
    /// The state of devices and virtual CPUs.
    pub(super) state: PathBuf,
    /// The disk's layer.
    pub(super) layer: PathBuf,
}

impl Files {
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            memory: folder.join("memory"),
            state: folder.join("state"),
            layer: folder.join("layer"),
        }
    }
}

/// What a pause by hand took.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Captured {
    /// From the first command to the rename.
    pub(in super::super) took: Duration,
    /// Until it was on the platter too.
    pub(in super::super) fsync: Duration,
    /// The memory that the guest had written since it was started, in bytes.
    pub(in super::super) dirtied: u64,
}

/// A VM that runs, and where its image and its layer are.
pub(super) struct Source<'a> {
    pub(super) pid: i32,
    pub(super) qmp: &'a mut Qmp,
    pub(super) image: &'a Path,
    pub(super) overlay: &'a Path,
}

/// Freezes the VM and saves it into `aside`, which becomes `folder`.
pub(super) fn capture(source: Source<'_>, aside: &Path, folder: &Path) -> Result<Captured> {
    std::fs::create_dir(aside)?;
    let files = Files::of(aside);
    let begun = Instant::now();
    source.qmp.run("stop", json!({}))?;
    source.qmp.run(
        "xen-save-devices-state",
        json!({ "filename": files.state, "live": false }),
    )?;
    let whole = mapping(source.pid, source.image)?;
    let pages = pagemap::private(source.pid, whole)?;
    let memory = clone(source.image, &files.memory)?;
    copy(source.pid, whole, &pages, &memory)?;
    let layer = clone(source.overlay, &files.layer)?;
    std::fs::rename(aside, folder)?;
    let took = begun.elapsed();
    let begun = Instant::now();
    memory.sync_all()?;
    layer.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(Captured {
        took,
        fsync: begun.elapsed(),
        dirtied: pages.iter().map(|piece| piece.len).sum(),
    })
}

/// Makes `to` share all blocks of `from`.
pub(super) fn clone(from: &Path, to: &Path) -> io::Result<File> {
    let target = OpenOptions::new().write(true).create_new(true).open(to)?;
    reflink::clone(&File::open(from)?, &target)?;
    Ok(target)
}

/// Copies a process's pages to where they belong in the image.
fn copy(pid: i32, whole: Extent, pages: &[Extent], image: &File) -> io::Result<()> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut buffer = vec![0; COPY];
    for piece in pages {
        let mut at = piece.start;
        while at < piece.end() {
            let rest = usize::try_from(piece.end() - at).unwrap_or(COPY);
            let bytes = &mut buffer[..rest.min(COPY)];
            memory.read_exact_at(bytes, at)?;
            image.write_all_at(bytes, at - whole.start)?;
            at += bytes.len() as u64;
        }
    }
    Ok(())
}

/// Where a process has mapped an image.
fn mapping(pid: i32, image: &Path) -> Result<Extent> {
    let meta = image.metadata()?;
    let inode = meta.ino().to_string();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line = maps
        .lines()
        .find(|line| line.split_ascii_whitespace().nth(4) == Some(&inode));
    let range = line
        .and_then(|line| line.split_ascii_whitespace().next()?.split_once('-'))
        .context("QEMU by hand has not mapped its memory")?;
    let [start, end] = [range.0, range.1].map(|number| u64::from_str_radix(number, 16));
    let (start, len) = (start?, end? - u64::from_str_radix(range.0, 16)?);
    ensure!(
        len == meta.len(),
        "QEMU by hand has mapped a part of its memory"
    );
    Ok(Extent { start, len })
}
