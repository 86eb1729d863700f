//! Those who call the control plane, what they were told, and what they may rely on since.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wrenn_control::{ControlPlane, Deleted, NewSandbox, Wait};
use wrenn_model::{Fault, NetworkPolicy, OnTimeout, SandboxId};

use super::dice::Dice;
use super::world::World;

/// All callers. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    world: World,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    known: Vec<Known>,
    waiting: usize,
}

/// A sandbox that somebody was told of.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) id: SandboxId,
    pub(crate) on_timeout: OnTimeout,
    pub(crate) timeout: Duration,
    /// When it was told to run; none when it was only accepted.
    pub(crate) runs_since: Option<Duration>,
    pub(crate) to_go: bool,
    pub(crate) gone: bool,
}

/// What somebody wants.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Create(NewSandbox, Wait),
    Destroy(SandboxId),
    Pause(SandboxId),
    Resume(SandboxId),
    Ping(SandboxId),
    Network(SandboxId, NetworkPolicy),
    Get(SandboxId),
}

/// Somebody who waits for an answer.
struct Waiting(Callers);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Callers {
    pub(crate) fn new(world: World) -> Self {
        let book = Arc::default();
        Self { world, book }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Whether anybody waits for an answer.
    pub(crate) fn wait(&self) -> bool {
        self.lock().waiting > 0
    }

    /// All that somebody was told of.
    pub(crate) fn known(&self) -> Vec<Known> {
        self.lock().known.clone()
    }

    /// What somebody wants next.
    pub(crate) fn wish(&self, dice: &mut Dice) -> Wish {
        let known: Vec<_> = self
            .known()
            .into_iter()
            .filter(|known| !known.gone)
            .collect();
        let kind = dice.below(100);
        // The youngest is asked for most: what was begun is to be met by what follows.
        let latest = known.last().filter(|_| dice.percent(40));
        let Some(one) = latest.or_else(|| dice.pick(&known)).filter(|_| kind >= 25) else {
            return wish_for_a_new_one(dice);
        };
        let id = one.id.clone();
        match kind {
            25..35 => Wish::Destroy(id),
            35..55 => Wish::Pause(id),
            55..75 => Wish::Resume(id),
            75..88 => Wish::Ping(id),
            88..94 => Wish::Network(id, policy(dice)),
            _ => Wish::Get(id),
        }
    }

    /// Somebody asks for it, and waits for the answer.
    pub(crate) fn ask(
        &self,
        wish: Wish,
    ) -> impl FnOnce(ControlPlane) -> futures::future::BoxFuture<'static, ()> + use<> {
        self.lock().waiting += 1;
        let waiting = Waiting(self.clone());
        if let Wish::Destroy(id) = &wish {
            self.change(id, |known| known.to_go = true);
        }
        move |control| {
            Box::pin(async move {
                let this = &waiting.0;
                let told = this.fulfil(&control, wish.clone()).await;
                match told {
                    Ok(told) => this.world.tell(format!("{wish}: {told}")),
                    Err(fault) => this
                        .world
                        .tell(format!("{wish}: {}: {}", fault.kind, fault.message)),
                }
            })
        }
    }

    async fn fulfil(&self, control: &ControlPlane, wish: Wish) -> Result<String, Fault> {
        let sandboxes = control.sandboxes();
        match wish {
            Wish::Create(new, wait) => {
                let (on_timeout, timeout) = (new.on_timeout, new.timeout_sec.unwrap_or_default());
                let made = sandboxes.create(new, wait).await?.sandbox;
                let now = self.world.lock().now;
                let known = Known {
                    id: made.id.clone(),
                    on_timeout,
                    timeout: Duration::from_secs(timeout.into()),
                    runs_since: (wait == Wait::Running).then_some(now),
                    to_go: false,
                    gone: false,
                };
                self.lock().known.push(known);
                Ok(format!("{} {}", made.id, made.status))
            }
            Wish::Destroy(id) => {
                let deleted = sandboxes.delete(&id).await?;
                if deleted == Deleted::Gone {
                    self.change(&id, |known| known.gone = true);
                    self.world.lock().gone(&id);
                }
                Ok(format!("{deleted:?}"))
            }
            Wish::Pause(id) => {
                let before = self.world.lock().fate(&id).captures;
                let paused = sandboxes.pause(&id).await?;
                // The first capture since is the oldest that it can have become.
                let mut state = self.world.lock();
                let fate = state.fate(&id);
                if fate.captures > before && paused.memory_bytes.is_some() {
                    fate.kept = fate.kept.max(before + 1);
                }
                Ok(paused.sandbox.status.to_string())
            }
            Wish::Resume(id) => Ok(sandboxes
                .resume(&id, false)
                .await?
                .sandbox
                .status
                .to_string()),
            Wish::Ping(id) => sandboxes.ping(&id).await.map(|()| "done".to_owned()),
            Wish::Network(id, policy) => {
                sandboxes.set_network(&id, policy).await?;
                Ok("done".to_owned())
            }
            Wish::Get(id) => Ok(sandboxes.get(&id).await?.status.to_string()),
        }
    }

    fn change(&self, id: &SandboxId, change: impl FnOnce(&mut Known)) {
        let mut book = self.lock();
        if let Some(known) = book.known.iter_mut().find(|known| known.id == *id) {
            change(known);
        }
    }
}

fn wish_for_a_new_one(dice: &mut Dice) -> Wish {
    let on_timeout = [
        OnTimeout::None,
        OnTimeout::None,
        OnTimeout::Pause,
        OnTimeout::Destroy,
    ];
    let new = NewSandbox {
        vcpus: Some(1),
        timeout_sec: Some(if dice.percent(50) { 30 } else { 600 }),
        on_timeout: *dice.pick(&on_timeout).unwrap(),
        auto_resume: dice.percent(50),
        ..NewSandbox::default()
    };
    let wait = if dice.percent(60) {
        Wait::Running
    } else {
        Wait::Accepted
    };
    Wish::Create(new, wait)
}

fn policy(dice: &mut Dice) -> NetworkPolicy {
    NetworkPolicy {
        internet: dice.percent(50),
        ..NetworkPolicy::default()
    }
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(new, wait) => write!(
                f,
                "create, {} after {} s, {wait:?}",
                new.on_timeout.as_str(),
                new.timeout_sec.unwrap_or_default()
            ),
            Self::Destroy(id) => write!(f, "destroy {id}"),
            Self::Pause(id) => write!(f, "pause {id}"),
            Self::Resume(id) => write!(f, "resume {id}"),
            Self::Ping(id) => write!(f, "ping {id}"),
            Self::Network(id, _) => write!(f, "network of {id}"),
            Self::Get(id) => write!(f, "get {id}"),
        }
    }
}
