//! One server for all tests that leave it as it was: a start costs seconds.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Server;

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// The shared server. It ends with the last test that holds it, and a later one starts it anew.
pub(crate) fn shared() -> Arc<Server> {
    // A test that failed while it held the lock has left nothing half.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start());
    *shared = Arc::downgrade(&server);
    server
}
