//! Faults on demand, for tests: armed by `WRENN_FAILPOINTS`, and nothing at all otherwise.
//!
//! `WRENN_FAILPOINTS=slot=error,machine=abort` makes the step `slot` fail and ends the process in the step `machine`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use wrenn_vmm::Machine;

/// How much later a step begins that is made to.
const LATE: Duration = Duration::from_secs(2);

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The step fails.
    Error,
    /// The step panics.
    Panic,
    /// The process ends as by SIGKILL.
    Abort,
    /// The step never ends.
    Hang,
    /// The step begins a while later: time for a test to change what it will find.
    Late,
    /// The virtual machine ends as by SIGKILL; the step goes on.
    KillVm,
}

/// The armed points by name.
#[derive(Debug, Default)]
pub(crate) struct Failpoints {
    armed: Mutex<HashMap<String, Fault>>,
}

impl Failpoints {
    /// What `WRENN_FAILPOINTS` says. A text that makes no sense is refused, since a test that tests nothing is worse.
    pub(crate) fn from_env() -> Result<Self, String> {
        let points = Self::default();
        let text = std::env::var("WRENN_FAILPOINTS").unwrap_or_default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, fault) = part
                .split_once('=')
                .and_then(|(name, fault)| Some((name, Fault::from_name(fault)?)))
                .ok_or_else(|| {
                    format!(
                        "WRENN_FAILPOINTS: {part:?} is not NAME=error|panic|abort|hang|late|killvm"
                    )
                })?;
            tracing::warn!(name, ?fault, "failpoint armed");
            points.lock().insert(name.to_owned(), fault);
        }
        Ok(points)
    }

    /// A point that may be armed. The error says so.
    pub(crate) async fn hit(
        &self,
        name: &str,
        machine: Option<&dyn Machine>,
    ) -> Result<(), String> {
        let fault = self.lock().get(name).copied();
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(format!("failpoint {name}")),
            Some(Fault::Panic) => panic!("failpoint {name}"),
            Some(Fault::Abort) => std::process::abort(),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Late) => {
                tokio::time::sleep(LATE).await;
                Ok(())
            }
            Some(Fault::KillVm) => match machine {
                Some(machine) => machine.kill().await.map_err(|error| error.to_string()),
                None => Err(format!("failpoint {name}: there is no VM to kill")),
            },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Fault>> {
        self.armed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Fault {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "error" => Self::Error,
            "panic" => Self::Panic,
            "abort" => Self::Abort,
            "hang" => Self::Hang,
            "late" => Self::Late,
            "killvm" => Self::KillVm,
            _ => return None,
        })
    }
}
