//! The host side's system calls, in small modules. All `unsafe` of the host side stands here, each block with its reason.
//! Nothing in this crate knows what a sandbox is.

pub mod cgroup;
pub mod clock;
pub mod dm;
pub mod durable;
pub mod extents;
pub mod fiemap;
pub mod jail;
pub mod loopdev;
pub mod netns;
pub mod oom;
pub mod pagemap;
pub mod process;
pub mod program;
pub mod reflink;
pub mod seccomp;
pub mod tap;
pub mod tcp;
pub mod uffd;
pub mod wall;
