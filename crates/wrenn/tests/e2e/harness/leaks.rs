//! What the kernel has of an installation: nothing after `wrenn down`, and of its sandboxes what is theirs.

use std::path::Path;
use std::time::Duration;

use wrenn_testkit::leaks::{Scope, Snapshot};

use super::Server;

/// All that the instance has in the kernel and in its store.
pub(crate) fn scope(server: &Server) -> Scope {
    kernel_scope(server).folder(server.data().join("store/sandboxes"))
}

/// All that the instance has in the kernel: a paused sandbox has nothing there.
pub(crate) fn kernel_scope(server: &Server) -> Scope {
    let instance = std::fs::read_to_string(server.data().join("instance")).unwrap();
    Scope::everything().only(instance.trim())
}

/// Panics when something stands that carries the installation's instance id or its data directory's path.
pub(crate) fn check(data: &Path) {
    let instance = std::fs::read_to_string(data.join("instance")).unwrap();
    for label in [instance.trim(), data.to_str().unwrap()] {
        let scope = Scope::everything().only(label);
        // What the kernel takes away in its own time has two seconds.
        let mut left = Snapshot::take(&scope);
        for _ in 0..40 {
            if left.lines().next().is_none() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
            left = Snapshot::take(&scope);
        }
        let left: Vec<_> = left.lines().collect();
        assert!(
            left.is_empty(),
            "`wrenn down` left of {label}:\n  {}",
            left.join("\n  ")
        );
    }
}
