//! A generation: a paused sandbox as one thing, its disk, its memory and what they depend on.
//!
//! A sandbox's [`Generations`] stand in its folder, each a directory with one [`Manifest`]. The [`Next`] one is captured
//! aside, made durable, and published by one rename; from then on nobody writes it. What it costs is what the guest wrote
//! since it was resumed: memory image, layer and their tables of sums are reflinks of those of its parent.
//!
//! A [`Generation`] is held against its manifest twice: [`check`](Generation::check) looks at all that shows without
//! reading pages, before a VMM starts; [`verify`](Generation::verify) reads every block. It leaves the machine as an
//! archive ([`export`](Generation::export), [`import`](Generations::import)).

pub mod archive;
mod error;
mod files;
mod generation;
mod generations;
mod id;
mod layout;
pub mod manifest;
mod next;
mod sums;
mod verify;

pub use error::Error;
pub use generation::Generation;
pub use generations::Generations;
pub use id::{GenerationId, InvalidId};
pub use layout::Layout;
pub use manifest::{Facts, Manifest};
pub use next::{Next, Written};
pub use sums::{PageSums, Root};
pub use verify::{Verified, base_root};
