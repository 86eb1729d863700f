//! Faults on demand, for tests: armed by `WRENN_FAILPOINTS`, and nothing at all otherwise.
//!
//! `WRENN_FAILPOINTS=slot=error,machine=abort` makes the step `slot` fail and ends the process in the step `machine`;
//! `destroy.slot=error*1` makes a step fail the first time only. Two switches stand in the same list: `undo=twice` unmakes
//! everything once more than is needed, and `limit=1500` gives each step that many milliseconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wrenn_sys::process;
use wrenn_vmm::{Identity, Machine};

use crate::operations;

/// How much later a step begins that is made to.
const LATE: Duration = Duration::from_secs(2);

/// How long a process may take to end.
const END: Duration = Duration::from_secs(2);

/// What is understood, for whoever wrote something else.
const FORM: &str = "POINT=error|panic|abort|hang|late|killvm|killpages with *TIMES or without, undo=twice, limit=MILLISECONDS";

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The step fails.
    Error,
    /// The step panics.
    Panic,
    /// The process ends as by SIGKILL.
    Abort,
    /// The step never ends, so that its limit ends it.
    Hang,
    /// The step begins a while later: time for a test to change what it will find.
    Late,
    /// The virtual machine ends as by SIGKILL; the step goes on.
    KillVm,
    /// The process that brings its memory ends as by SIGKILL; the step goes on. Without one it just goes on.
    KillPages,
}

/// The armed points and switches. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Failpoints {
    armed: Arc<Mutex<Armed>>,
}

#[derive(Debug, Default)]
struct Armed {
    points: HashMap<String, Point>,
    undo_twice: bool,
    limit: Option<Duration>,
}

/// A point and how often it still does something; always without a number.
#[derive(Debug)]
struct Point {
    fault: Fault,
    times: Option<u32>,
    hit: bool,
}

impl Failpoints {
    /// What `WRENN_FAILPOINTS` says.
    ///
    /// # Errors
    /// A text that makes no sense: a test that tests nothing is worse than none.
    pub(crate) fn from_env() -> Result<Self, String> {
        let points = Self::default();
        let text = std::env::var("WRENN_FAILPOINTS").unwrap_or_default();
        points
            .arm(&text)
            .map_err(|error| format!("WRENN_FAILPOINTS: {error}"))?;
        Ok(points)
    }

    /// Arms what the text says instead of what was armed.
    ///
    /// # Errors
    /// It makes no sense, or names a point that no operation has. What was armed stays so.
    pub fn arm(&self, text: &str) -> Result<(), String> {
        let mut armed = Armed::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            armed
                .add(part)
                .ok_or_else(|| format!("{part:?} is not one of: {FORM}"))?;
            tracing::warn!(failpoint = part, "armed");
        }
        let known = operations::points();
        if let Some(name) = armed.points.keys().find(|name| !known.contains(*name)) {
            return Err(format!("no operation has a step {name:?}"));
        }
        *self.lock() = armed;
        Ok(())
    }

    /// Whether something came by every point that is armed: else nothing was tested.
    #[must_use]
    pub fn all_hit(&self) -> bool {
        self.lock().points.values().all(|point| point.hit)
    }

    /// A point that may be armed. The error says so.
    pub(crate) async fn hit(
        &self,
        name: &str,
        machine: Option<&dyn Machine>,
    ) -> Result<(), String> {
        let fault = self.lock().take(name);
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
            Some(fault @ (Fault::KillVm | Fault::KillPages)) => {
                let machine =
                    machine.ok_or_else(|| format!("failpoint {name}: there is no VM to kill"))?;
                let killed = match fault {
                    Fault::KillPages => kill_pages(machine.identity()).await,
                    _ => machine.kill().await.map_err(|error| error.to_string()),
                };
                killed.map_err(|error| format!("failpoint {name}: {error}"))
            }
        }
    }

    /// Whether what was unmade is to be unmade once more.
    pub(crate) fn undo_twice(&self) -> bool {
        self.lock().undo_twice
    }

    /// How long each step may take, instead of its own limit.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.lock().limit
    }

    fn lock(&self) -> MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn add(&mut self, part: &str) -> Option<()> {
        match part.split_once('=')? {
            ("undo", "twice") => self.undo_twice = true,
            ("limit", millis) => self.limit = Some(Duration::from_millis(millis.parse().ok()?)),
            (name, fault) => {
                let point = Point::from_name(fault)?;
                self.points.insert(name.to_owned(), point);
            }
        }
        Some(())
    }

    /// What happens at this point, this time.
    fn take(&mut self, name: &str) -> Option<Fault> {
        let point = self.points.get_mut(name)?;
        match &mut point.times {
            None => {}
            Some(0) => return None,
            Some(left) => *left -= 1,
        }
        point.hit = true;
        Some(point.fault)
    }
}

impl Point {
    fn from_name(name: &str) -> Option<Self> {
        let (fault, times) = match name.split_once('*') {
            Some((fault, times)) => (fault, Some(times.parse().ok()?)),
            None => (name, None),
        };
        let fault = match fault {
            "error" => Fault::Error,
            "panic" => Fault::Panic,
            "abort" => Fault::Abort,
            "hang" => Fault::Hang,
            "late" => Fault::Late,
            "killvm" => Fault::KillVm,
            "killpages" => Fault::KillPages,
            _ => return None,
        };
        Some(Self {
            fault,
            times,
            hit: false,
        })
    }
}

async fn kill_pages(identity: &Identity) -> Result<(), String> {
    let Some(pages) = &identity.pages else {
        return Ok(());
    };
    match process::end(pages.pid, &pages.birth, END).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("the page server does not end".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_point_does_what_it_was_armed_with_as_often_as_it_says() {
        let points = Failpoints::default();
        points.arm("slot=error*2,undo=twice,limit=1500").unwrap();
        assert!(!points.all_hit());
        for _ in 0..2 {
            points.hit("slot", None).await.unwrap_err();
        }
        points.hit("slot", None).await.unwrap();
        points.hit("machine", None).await.unwrap();
        assert!(points.all_hit());
        assert!(points.undo_twice());
        assert_eq!(points.limit(), Some(Duration::from_millis(1500)));
        points.arm("slot=error").unwrap();
        for _ in 0..3 {
            points.hit("slot", None).await.unwrap_err();
        }
        assert!(!points.undo_twice() && points.limit().is_none());
    }

    #[test]
    fn what_would_test_nothing_is_refused() {
        for text in [
            "sloth=error",
            "pause.slot=error",
            "slot=eror",
            "slot",
            "slot=error*many",
            "undo=thrice",
            "limit=soon",
        ] {
            let points = Failpoints::default();
            assert!(points.arm(text).is_err(), "{text}");
            assert!(points.lock().points.is_empty(), "{text}");
        }
        for point in operations::points() {
            Failpoints::default().arm(&format!("{point}=hang")).unwrap();
        }
    }
}
