//! For tests: the world, a leak checker, a fake VMM. Never in the product.

pub mod agent;
