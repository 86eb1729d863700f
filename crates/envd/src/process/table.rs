//! All commands that run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::time::Instant;
use wrenn_envd_api::process::ProcessConfig;
use wrenn_envd_api::process::process_selector::Selector;

use super::cgroup::Groups;
use super::ended::Ended;
use super::followers::{Event, Followers};
use super::handle::{Killed, Process};
use super::launch::{Command, LaunchError};
use super::output::{Source, Watch};
use super::reaper::Reaper;
use super::spool::Spool;
use crate::lock::lock;
use crate::session::Session;

/// The commands that run, by pid, and what it takes to make more.
#[derive(Debug)]
pub(crate) struct Processes {
    running: Mutex<HashMap<u32, Arc<Process>>>,
    ended: Ended,
    pub(super) reaper: Arc<Reaper>,
    groups: Groups,
}

/// A command with all that belongs to it here.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) command: Command,
    /// The command as the caller worded it, for lists.
    pub(super) config: ProcessConfig,
    pub(super) tag: Option<String>,
    /// When it is killed.
    pub(super) deadline: Option<Instant>,
    pub(super) spools: [Option<Spool>; 2],
}

impl Processes {
    /// An empty table.
    pub(crate) fn new(reaper: Arc<Reaper>, groups: Groups) -> Arc<Self> {
        Arc::new(Self {
            running: Mutex::default(),
            ended: Ended::default(),
            reaper,
            groups,
        })
    }

    /// Starts a command; its first follower misses nothing. Blocks for as long as the kernel takes to execute the program.
    ///
    /// From here on the command is looked after, whether or not anybody waits for this call's answer.
    pub(super) fn launch(
        self: &Arc<Self>,
        launch: Launch,
        session: &Session,
    ) -> Result<(Arc<Process>, mpsc::Receiver<Event>), LaunchError> {
        let (prepared, pipes) = launch.command.prepare(session)?;
        let group = Arc::new(self.groups.create().map_err(LaunchError::Prepare)?);
        let made = self.reaper.spawn(|| prepared.spawn(&*group));
        let (pid, exit) = match made {
            Ok(made) => made,
            Err(error) => {
                self.groups.retire(group);
                return Err(error);
            }
        };
        let pid = pid.unsigned_abs();
        let process = Arc::new(Process::new(
            pid,
            launch.tag,
            launch.config,
            group,
            pipes.stdin,
            pipes.terminal,
        ));
        let events = process.followers.join();
        lock(&self.running).insert(pid, Arc::clone(&process));
        // After the insertion: a guest that was renewed meanwhile has looked through the table before.
        if session.void.is_cancelled() {
            process.forget_environment();
        }
        let [stdout, stderr] = launch.spools;
        let watch = Watch {
            process: Arc::clone(&process),
            exit,
            stdout: Source::new(Some(pipes.stdout), stdout),
            stderr: Source::new(pipes.stderr, stderr),
        };
        self.look_after(watch, launch.deadline);
        Ok((process, events))
    }

    /// The running command that the caller means.
    pub(super) fn by_pid(&self, pid: u32) -> Option<Arc<Process>> {
        lock(&self.running).get(&pid).cloned()
    }

    /// The running command with this tag.
    pub(super) fn by_tag(&self, tag: &str) -> Option<Arc<Process>> {
        lock(&self.running)
            .values()
            .find(|process| process.tag.as_deref() == Some(tag))
            .cloned()
    }

    /// The pid and the followers of the command that the caller means: one that runs, else one that ended lately.
    pub(super) fn followed(&self, selector: &Selector) -> Option<(u32, Arc<Followers>)> {
        let running = match selector {
            Selector::Pid(pid) => self.by_pid(*pid),
            Selector::Tag(tag) => self.by_tag(tag),
        };
        if let Some(process) = running {
            return Some((process.pid, Arc::clone(&process.followers)));
        }
        self.ended.find(|pid, tag| match selector {
            Selector::Pid(meant) => pid == *meant,
            Selector::Tag(meant) => tag == Some(meant),
        })
    }

    /// All of them, by pid.
    pub(super) fn list(&self) -> Vec<Arc<Process>> {
        let mut list: Vec<_> = lock(&self.running).values().cloned().collect();
        list.sort_unstable_by_key(|process| process.pid);
        list
    }

    /// Forgets what callers so far gave the running commands as variables: the guest is another's from now on.
    pub(crate) fn forget_environments(&self) {
        for process in lock(&self.running).values() {
            process.forget_environment();
        }
    }

    /// Where the commands run.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    fn look_after(self: &Arc<Self>, watch: Watch, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            let (table, process) = (Arc::clone(self), Arc::clone(&watch.process));
            tokio::spawn(async move {
                tokio::select! {
                    () = process.ended() => {}
                    // A command that ended at this very moment is not there to be killed.
                    () = tokio::time::sleep_until(deadline) => drop(process.kill(Killed::TimedOut, &table.reaper)),
                }
            });
        }
        let table = Arc::clone(self);
        tokio::spawn(async move {
            let process = Arc::clone(&watch.process);
            watch.run(&table.groups, || table.forget(&process)).await;
        });
    }

    /// Takes an ended command off the table, unless its pid already belongs to another. Only its end is kept.
    fn forget(&self, process: &Arc<Process>) {
        self.ended.keep(process);
        let mut running = lock(&self.running);
        if running
            .get(&process.pid)
            .is_some_and(|entry| Arc::ptr_eq(entry, process))
        {
            running.remove(&process.pid);
        }
    }
}
