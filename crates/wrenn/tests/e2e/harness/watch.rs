//! A test that hangs ends the whole suite, and is named: else nothing would be said until somebody's patience ended.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take; the longest of every day takes less than half of it.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// The same for those that are too long for every day.
const LONG_LIMIT: Duration = Duration::from_secs(90 * 60);
/// How often that is looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// The tests under way, and since when.
static BEGUN: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());
static WATCHER: Once = Once::new();

thread_local! {
    /// Each test has a thread of its own, which has its name and ends with it.
    static WATCHED: Watched = Watched::begin();
}

/// Watches the test that calls this until it ends.
pub(crate) fn watch() {
    WATCHED.with(|_| {});
    WATCHER.call_once(|| drop(thread::spawn(look)));
}

/// A test that is watched for as long as this lives.
struct Watched(String);

impl Watched {
    fn begin() -> Self {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        begun().insert(name.clone(), Instant::now());
        Self(name)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        begun().remove(&self.0);
    }
}

fn begun() -> std::sync::MutexGuard<'static, BTreeMap<String, Instant>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process when a test takes too long; the world that it runs in takes the rest with it.
fn look() {
    let long = std::env::args().any(|arg| arg.ends_with("ignored"));
    let limit = if long { LONG_LIMIT } else { LIMIT };
    loop {
        thread::sleep(PERIOD);
        let hung: Vec<String> = begun()
            .iter()
            .filter(|(_, since)| since.elapsed() > limit)
            .map(|(name, since)| format!("test {name} hangs: {:?}\n", since.elapsed()))
            .collect();
        if !hung.is_empty() {
            // Not printed: what a test's threads print is kept for the test's end, which does not come.
            drop(std::io::stderr().write_all(hung.concat().as_bytes()));
            std::process::abort();
        }
    }
}
