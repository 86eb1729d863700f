//! The control plane as a program of its own: started, watched, started again when it ends.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::sync::watch;
use wrenn_sys::oom;
use wrenn_sys::process::spawn_service;

/// After its first end it is started again at once, and then after pauses that double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// One that served for so long ends for another reason than the one before.
const SETTLED: Duration = Duration::from_secs(60);
/// How long it may take to end when it is told to: longer than it gives its own calls.
const END_LIMIT: Duration = Duration::from_secs(17);

/// The control plane, and how it is started.
#[derive(Debug)]
pub(super) struct Service {
    program: PathBuf,
    args: Vec<OsString>,
    /// All of its environment: other users cannot see it, as they can its arguments.
    vars: Vec<(&'static str, OsString)>,
    /// Held here too: while there is no control plane, callers wait for the next one.
    listener: TcpListener,
    child: Option<Child>,
    serves: watch::Sender<bool>,
}

/// It ended before it ever served; it has said why.
#[derive(Debug, thiserror::Error)]
#[error("the control plane did not start")]
pub(super) struct NeverServed;

impl Service {
    pub(super) fn new(
        program: PathBuf,
        args: Vec<OsString>,
        vars: Vec<(&'static str, OsString)>,
        listener: TcpListener,
    ) -> Self {
        Self {
            program,
            args,
            vars,
            listener,
            child: None,
            serves: watch::Sender::new(false),
        }
    }

    /// Becomes true when it serves for the first time.
    pub(super) fn serves(&self) -> watch::Receiver<bool> {
        self.serves.subscribe()
    }

    /// Has it run, again and again. Dropping the future leaves it running: see [`Self::end`].
    ///
    /// To be polled by the thread that lives as long as the process: the kernel ends the control plane with the thread that
    /// started it.
    ///
    /// # Errors
    /// When it cannot be started at all, or the first one never serves: [`NeverServed`].
    pub(super) async fn keep(&mut self) -> Result<Infallible> {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let status = self.run_once().await?;
            if !*self.serves.borrow() {
                return Err(NeverServed.into());
            }
            if begun.elapsed() > SETTLED {
                pause = FIRST_PAUSE;
            }
            tracing::error!(%status, again_in = ?pause, "the control plane has ended by itself");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    async fn run_once(&mut self) -> Result<std::process::ExitStatus> {
        let listener = OwnedFd::from(self.listener.try_clone()?);
        let vars = self.vars.iter().map(|(name, value)| (name, value));
        let child = spawn_service(&self.program, "wrenn", &self.args, vars, listener)
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        let child = self.child.insert(child);
        // It is started anew when it ends; sandboxes do not feel it.
        if let Some(pid) = child.id()
            && let Err(error) = oom::do_not_spare(pid)
        {
            tracing::warn!(%error, "the control plane is spared with the agent when memory ends");
        }
        let mut said = child.stdout.take();
        let serves = &self.serves;
        let first_word = async move {
            if let Some(said) = &mut said
                && said.read_u8().await.is_ok()
            {
                serves.send_replace(true);
            }
            // Read to the end, so that it can always write.
            if let Some(mut said) = said {
                drop(tokio::io::copy(&mut said, &mut tokio::io::sink()).await);
            }
            std::future::pending().await
        };
        let status = tokio::select! {
            status = child.wait() => status?,
            never = first_word => never,
        };
        self.child = None;
        Ok(status)
    }

    /// Tells it to end, and waits until it has: what is under way may end. Dropping the future with the service kills it.
    pub(super) async fn end(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        // Nobody else waits for it, so that the number is still its own.
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::TERM)?;
        }
        if tokio::time::timeout(END_LIMIT, child.wait()).await.is_err() {
            tracing::warn!("the control plane does not end: it is killed");
            child.kill().await?;
        }
        self.child = None;
        Ok(())
    }
}
