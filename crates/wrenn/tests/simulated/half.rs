//! One half of the simulation: a runtime of its own, so that it can die at any await point while the others live on.
//!
//! All halves run on one thread, a pass each in turn. Their clocks are paused; the pacer alone moves them.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// See the module.
#[derive(Debug)]
pub(crate) struct Half {
    runtime: Runtime,
    idle: Arc<Idle>,
}

/// Whether a runtime has nothing left to run.
#[derive(Debug, Default)]
struct Idle {
    now: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Idle {
    /// The runtime is about to park: whoever waits for that goes on instead, after one look at what came from outside.
    fn reached(&self) {
        self.now.store(true, Ordering::Relaxed);
        if let Some(waiting) = self.waiting.lock().unwrap().take() {
            waiting.wake();
        }
    }
}

impl Half {
    /// One whose clock shows this time.
    pub(crate) fn new(time: Instant) -> Self {
        let idle = Arc::<Idle>::default();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            // One for file work, and one for who reads generations slowly and sleeps in between.
            .max_blocking_threads(2)
            .on_thread_park({
                let idle = idle.clone();
                move || idle.reached()
            })
            .build()
            .unwrap();
        let half = Self { runtime, idle };
        half.advance(time - half.time());
        half
    }

    fn time(&self) -> Instant {
        self.runtime
            .block_on(async { tokio::time::Instant::now().into_std() })
    }

    /// Begins something in it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }

    /// Runs what can run, and then looks once at what has come by sockets, timers and threads.
    pub(crate) fn pass(&self) {
        self.idle.now.store(false, Ordering::Relaxed);
        let until_idle = poll_fn(|context| {
            if self.idle.now.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *self.idle.waiting.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        });
        self.runtime.block_on(until_idle);
    }

    /// Whether other threads have woken something that has not run yet.
    pub(crate) fn woken(&self) -> bool {
        self.runtime.metrics().global_queue_depth() > 0
    }

    /// What something that has come to its end came to.
    pub(crate) fn finish<T>(&self, done: JoinHandle<T>) -> T {
        self.runtime.block_on(done).unwrap()
    }

    /// Moves its clock.
    pub(crate) fn advance(&self, by: Duration) {
        self.runtime.block_on(tokio::time::advance(by));
    }
}
