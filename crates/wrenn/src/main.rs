//! Self-hosted microVM sandboxes.

fn main() {}
