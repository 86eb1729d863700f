//! Boot images: what a guest of a shape is when it has come up and nobody has introduced themselves to it. Nothing boots twice:
//! the first creation of a shape has one made, and it and all later ones are restored from that.
//!
//! No process of a user has run in one. It is named by a sum over all that it depends on, so that whatever of that changes makes
//! another; those of shapes that the configuration does not name are a cache, bounded in bytes.

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tracing::Instrument;
use wrenn_guest_image::Template;
use wrenn_model::{ErrorKind, Fault, Platform, SandboxSpec, chain};
use wrenn_snapshot::Generation;

use crate::admission::Purpose;
use crate::capture::IMAGE;
use crate::failure::{Failed, internal};
use crate::library::{Lent, Library, begin, settle};
use crate::spare::{From, Shape, Spare};
use crate::steps::SETTLE;
use crate::{Agent, Host};

/// Raised when images are made in another way of the same things.
const FORMAT: u32 = 1;
/// How long nobody tries again to make one that could not be made: creations boot meanwhile.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Those of a host.
#[derive(Debug)]
pub(crate) struct BootImages {
    pub(crate) library: Library,
    /// How many bytes those that the configuration does not name may take. With none, every creation boots.
    pub(crate) most: u64,
    state: Mutex<State>,
}

type Making = Shared<BoxFuture<'static, Result<(), Fault>>>;

#[derive(Default)]
struct State {
    /// Under way, by name.
    making: HashMap<String, Making>,
    failed: HashMap<String, Instant>,
    used: HashMap<String, Instant>,
    /// Those that are kept whatever they take; not known yet when the agent begins.
    kept: Option<BTreeSet<String>>,
}

impl State {
    /// The names of those that go, until the others take no more than this: first what was not used for longest.
    fn beyond(&self, sizes: Vec<(String, u64)>, most: u64) -> Vec<String> {
        let Some(kept) = &self.kept else {
            return Vec::new();
        };
        let mut cached: Vec<_> = sizes
            .into_iter()
            .filter(|(name, _)| !kept.contains(name) && !self.making.contains_key(name))
            .collect();
        // What nobody has used since the agent began comes first, then by time.
        cached.sort_by_key(|(name, _)| self.used.get(name).copied());
        let mut sum: u64 = cached.iter().map(|(_, bytes)| bytes).sum();
        let mut beyond = Vec::new();
        for (name, bytes) in cached {
            if sum <= most {
                break;
            }
            sum -= bytes;
            beyond.push(name);
        }
        beyond
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("making", &self.making.len())
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

impl BootImages {
    pub(crate) fn of(library: Library, most: u64) -> Self {
        Self {
            library,
            most,
            state: Mutex::default(),
        }
    }

    /// What all images take of the disk, in bytes, and each by its name.
    pub(crate) fn sizes(&self) -> Vec<(String, u64)> {
        let names = self.library.names().unwrap_or_default();
        let sizes = names.into_iter().filter_map(|name| {
            let image = self.library.get(&name).ok().flatten()?;
            Some((name, image.allocated().ok()?))
        });
        sizes.collect()
    }

    /// The names of those that go, until the others take no more than they may.
    fn beyond(&self) -> Vec<String> {
        let sizes = self.sizes();
        self.lock().beyond(sizes, self.most)
    }

    /// Takes one away, unless somebody makes it anew. Says whether it is gone.
    fn drop_image(&self, name: &str) -> bool {
        let Some(claimed) = self.library.claim(name) else {
            return false;
        };
        let removed = claimed.remove();
        match &removed {
            Ok(()) => tracing::info!(name, "a boot image was dropped for others"),
            Err(error) => tracing::warn!(name, %error, "a boot image stays"),
        }
        removed.is_ok()
    }

    fn failed_lately(&self, name: &str) -> bool {
        let mut state = self.lock();
        state.failed.retain(|_, at| at.elapsed() < AFTER_FAILURE);
        state.failed.contains_key(name)
    }

    /// It is not under way any more. That there was no room for it says nothing about the next try.
    fn made(&self, name: &str, failed: Option<&Fault>) {
        self.lock().making.remove(name);
        match failed.map(|fault| fault.kind) {
            None => self.used(name),
            Some(ErrorKind::HostBusy | ErrorKind::HostFull | ErrorKind::Unavailable) => {}
            Some(_) => self.failed(name),
        }
    }

    fn failed(&self, name: &str) {
        self.lock().failed.insert(name.to_owned(), Instant::now());
    }

    fn used(&self, name: &str) {
        self.lock().used.insert(name.to_owned(), Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// The name of a shape's boot image, which is made where it is not there; `None` where creations are to boot.
    pub(crate) async fn boot_image(&self, shape: &Shape, template: &Template) -> Option<String> {
        let images = &self.host.boot_images;
        if images.most == 0 {
            return None;
        }
        let name = self.host.image_name(shape, template);
        if self.has_image(&name).await {
            images.used(&name);
            return Some(name);
        }
        if images.failed_lately(&name) {
            return None;
        }
        match self.making(&name, shape, template).await {
            Ok(()) => Some(name),
            Err(_) => None,
        }
    }

    /// Sees to it that these are kept, whatever others there are, and no more than these. What was kept before is a part of the
    /// cache now.
    pub(crate) async fn keep_images(&self, names: BTreeSet<String>) {
        let changed = {
            let mut state = self.host.boot_images.lock();
            let changed = state.kept.as_ref() != Some(&names);
            if changed {
                // How much the others may take does not matter to them any more.
                state.failed.retain(|name, _| !names.contains(name));
                state.kept = Some(names);
            }
            changed
        };
        if changed {
            self.evict_images().await;
        }
    }

    /// Joins whoever makes it, or begins to. Whoever asks may go away: it is made all the same.
    fn making(&self, name: &str, shape: &Shape, template: &Template) -> Making {
        let images = &self.host.boot_images;
        let mut state = images.lock();
        if let Some(making) = state.making.get(name) {
            return making.clone();
        }
        let (agent, name) = (self.clone(), name.to_owned());
        let (shape, template) = (shape.clone(), template.clone());
        let named = name.clone();
        let work = async move {
            let began = Instant::now();
            let making = AssertUnwindSafe(agent.make_image(&name, &shape, &template));
            let made = making.catch_unwind().await;
            let made = made.unwrap_or_else(|_| Err(internal("it panicked")));
            match &made {
                Ok(()) => {
                    tracing::info!(?shape, took = ?began.elapsed(), "a boot image was made");
                }
                Err(fault) => {
                    tracing::warn!(?shape, %fault, "no boot image could be made: creations boot");
                }
            }
            let images = &agent.host.boot_images;
            images.made(&name, made.as_ref().err());
            if agent.evict_images().await.contains(&name) {
                tracing::warn!(
                    ?shape,
                    "a boot image has no room beside the others: creations boot"
                );
                images.failed(&name);
            }
            made
        };
        // No request's: whoever asked first may be gone by the time that it is made.
        let task = self.spares.spawn(work.in_current_span());
        let making = task
            .map(|made| made.unwrap_or_else(|error| Err(internal(error))))
            .boxed()
            .shared();
        state.making.insert(named, making.clone());
        making
    }

    async fn make_image(
        &self,
        name: &str,
        shape: &Shape,
        template: &Template,
    ) -> Result<(), Fault> {
        let host = &self.host;
        let spec = shape.spec();
        let place = host.admit(&spec).await?;
        let waiting = host.admission.queue(&spec, Purpose::Create)?;
        let (turn, _) = waiting.turn().await?;
        let from = From::Template(template);
        let spare = Spare::make(SETTLE, host, &self.workshop(), shape, from, place).await;
        let spare = spare.map_err(|error| error.fault("no boot image was made"))?;
        let published = self.publish_image(name, &spare).await;
        spare.unmake().await;
        drop(turn);
        published
    }

    async fn publish_image(&self, name: &str, spare: &Spare) -> Result<(), Fault> {
        let claimed = self.host.boot_images.library.claim(name);
        let claimed = claimed.ok_or_else(|| internal("two make one boot image"))?;
        let (claimed, into) = begin(claimed).await?;
        let captured = spare.capture(&self.host, IMAGE, into).await;
        let captured = captured.ok_or_else(|| internal("there is nothing to capture"))?;
        settle(claimed, captured.as_ref().ok().map(Generation::id)).await;
        captured
            .map(drop)
            .map_err(|error| error.fault("no boot image was made"))
    }

    async fn has_image(&self, name: &str) -> bool {
        let (library, vmm) = (self.host.boot_images.library.clone(), self.host.vmm.clone());
        let name = name.to_owned();
        let looked = tokio::task::spawn_blocking(move || match library.get(&name) {
            Ok(Some(image)) => {
                matches!(image.damage(), Ok(None))
                    && vmm.can_restore(&image.manifest().platform).is_ok()
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(name, error = chain(&error), "a boot image is made anew");
                false
            }
        });
        looked.await.unwrap_or(false)
    }

    /// Takes away what the cache may not take any more; gives the names.
    async fn evict_images(&self) -> Vec<String> {
        let agent = self.clone();
        let evicted = tokio::task::spawn_blocking(move || {
            let images = &agent.host.boot_images;
            let mut beyond = images.beyond();
            beyond.retain(|name| images.drop_image(name));
            beyond
        });
        evicted.await.unwrap_or_default()
    }
}

impl Host {
    /// A boot image's files, as far as they are what was saved. One that is damaged is marked, and made anew by the next who asks.
    pub(crate) async fn lend_image(&self, name: &str) -> Option<Lent> {
        let generations = self.boot_images.library.generations(name);
        let looked = tokio::task::spawn_blocking(move || {
            let current = generations.current()?;
            if let Some(image) = current {
                generations.examine(image.id(), Generation::check)?;
            }
            Ok::<_, wrenn_snapshot::Error>(generations)
        });
        let lent = match looked.await {
            Ok(Ok(generations)) => self.lend(generations).await,
            Ok(Err(error)) => Err(Failed::from(error).fault()),
            Err(error) => Err(internal(error)),
        };
        lent.unwrap_or_else(|fault| {
            tracing::error!(name, %fault, "a boot image is no use: creations boot");
            None
        })
    }

    /// The same of the one that a sandbox would be restored from.
    pub(crate) async fn lend_image_of(self: &Arc<Self>, spec: &SandboxSpec) -> Result<Lent, Fault> {
        let shape = Shape::of(spec);
        let template = self.base_template(&shape.template).await?;
        let lent = self.lend_image(&self.image_name(&shape, &template)).await;
        lent.ok_or_else(|| no_image(&shape))
    }

    /// A sum over all that an image depends on. The rate of the clock is none of it: it differs a little at each start of the
    /// host, and is held against the image before it is restored.
    pub(crate) fn image_name(&self, shape: &Shape, template: &Template) -> String {
        let platform = Platform {
            tsc_khz: 0,
            host_cpu: String::new(),
            ..self.vmm.platform().clone()
        };
        let depends = serde_json::json!({
            "format": FORMAT,
            "template": template.image_id,
            "kernel": self.boot.kernel_name(),
            "initrd": self.boot.initrd_name(),
            "platform": platform,
            "vcpus": shape.vcpus,
            "memory_mib": shape.memory.0,
        });
        let sum = blake3::hash(depends.to_string().as_bytes()).to_hex();
        sum[..32].to_owned()
    }
}

pub(crate) fn no_image(shape: &Shape) -> Fault {
    Fault::new(
        ErrorKind::AgentError,
        format!("there is no boot image of {}", shape.template),
        "see the agent's log: creations of it boot meanwhile",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<(String, u64)> {
        names.iter().map(|name| ((*name).to_owned(), 10)).collect()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_no_more_than_must() {
        let mut state = State::default();
        let sizes = named(&["a", "b", "c", "d", "kept", "made"]);
        // Nobody knows yet what is kept.
        assert!(state.beyond(sizes.clone(), 0).is_empty());
        state.kept = Some(BTreeSet::from(["kept".to_owned()]));
        let making = futures::future::pending().boxed().shared();
        state.making.insert("made".to_owned(), making);
        let began = Instant::now();
        // `d` was not used since the agent began.
        for (after, name) in ["b", "c", "a"].into_iter().enumerate() {
            let used = began + Duration::from_secs(after as u64);
            state.used.insert(name.to_owned(), used);
        }
        let beyond = |most| state.beyond(sizes.clone(), most);
        assert_eq!(beyond(40), [""; 0]);
        assert_eq!(beyond(39), ["d"]);
        assert_eq!(beyond(20), ["d", "b"]);
        assert_eq!(beyond(10), ["d", "b", "c"]);
        assert_eq!(beyond(9), ["d", "b", "c", "a"]);
    }
}
