//! For tests: the world, a guest without a VM, a guest's memory, a collector of traces, a leak checker, a file system, a database, a fake
//! agent, a fake VMM, what tests of faults do. Never in the product.

pub mod act;
pub mod agent;
pub mod collector;
pub mod database;
pub mod guest;
pub mod guest_memory;
pub mod identity;
pub mod leaks;
pub mod postgres;
pub mod vmm;
pub mod world;
pub mod xfs;
