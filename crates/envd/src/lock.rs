//! Locks whose holder cannot leave half-made state behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes `mutex`. A panic ends the whole agent in the guest, so poison only shows in tests and means nothing here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
