//! What every test stands on: a `wrenn up` of its own or a shared one, sandboxes that end with the test, plain HTTP.

mod apart;
mod attack;
mod http;
mod leaks;
mod memory;
mod neighbour;
mod sandbox;
mod server;
mod shared;
mod small_disk;
mod vmm;
mod watch;
mod witness;

pub(crate) use apart::Apart;
pub(crate) use attack::{Attack, python, python_with};
pub(crate) use http::{Answer, request};
pub(crate) use leaks::{kernel_scope, scope};
pub(crate) use memory::{Memory, resident_memory};
pub(crate) use neighbour::assert_undisturbed;
pub(crate) use sandbox::{TestSandbox, assert_invalid_state, shell, start};
pub(crate) use server::{Server, signal, wrenn};
pub(crate) use shared::shared;
pub(crate) use small_disk::SmallDisk;
pub(crate) use vmm::{kill_machine, kill_vmm, signal_vmm, stop_machine};
pub(crate) use witness::{Witness, random};

use std::future::Future;
use std::time::{Duration, Instant};

/// The memory of a test's guest, in MiB: enough for the template, little enough for ten at once.
pub(crate) const MEMORY: i64 = 256;

/// Asks until there is an answer; panics after `limit`.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            begun.elapsed() < limit,
            "{what} did not come within {limit:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
