//! Copy-on-write disk layers over shared base images, and the volume that they stand on.
//!
//! A sandbox's disk is a [`Layer`]: a small overlay of its own over a base image that all sandboxes share and nobody
//! writes. Making one copies nothing and runs no program; a pause keeps a clone of it, and [`changed`] tells what of a
//! clone is new. All of them stand on the [`Volume`], a file system on which
//! files can share blocks.
//!
//! There are two kinds of layers: [`Qcow2`] files, which the VMM itself understands, and [`dm::DmSnapshot`]s of the device
//! mapper, which are block devices to it.

mod changes;
pub mod dm;
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
