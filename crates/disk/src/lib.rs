//! Copy-on-write disk layers over shared base images, and the volume that they stand on.
//!
//! A sandbox's disk is a [`Layer`]: a small overlay of its own over a base image that all sandboxes share and nobody
//! writes. Making one copies nothing and runs no program; a pause keeps a clone of it, and [`changed`] tells what of a
//! clone is new. All of them stand on the [`Volume`], a file system on which
//! files can share blocks.

mod changes;
mod error;
mod image;
mod layer;
mod leftovers;
pub mod qcow2;
mod volume;

pub use changes::changed;
pub use error::Error;
pub use layer::{Disk, Layer, Qcow2, create_overlay, usage};
pub use leftovers::leftovers;
pub use volume::{Grown, Space, Volume, VolumeConfig};
