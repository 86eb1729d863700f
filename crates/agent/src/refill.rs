//! Keeps pools full, behind everything that somebody waits for, and gives back what of them is worn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use wrenn_model::{ErrorKind, Fault};

use crate::Agent;
use crate::boot_images::no_image;
use crate::failure::internal;
use crate::pools::{Level, PoolState};
use crate::spare::{From, PoolSize, Shape, Spare, Workshop};
use crate::steps::{FILL, STAND_BY};

/// How often it is looked at what stands ready, if nothing happens to it.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long it rests while somebody waits for their turn to start.
pub(crate) const GIVE_WAY: Duration = Duration::from_millis(50);
/// How long after a creation it rests: what that has taken has a first command to run.
const QUIET: Duration = Duration::from_millis(400);
/// How long one creation after the other can hold it up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long somebody waits for a pool that they have warmed.
const WARM_LIMIT: Duration = Duration::from_secs(300);

impl Agent {
    /// Makes the boot images that the configuration names, and keeps pools full, until the agent is taken down.
    pub(crate) async fn keep_pools(&self) {
        self.recovered().await;
        for size in &self.host.warm.shapes {
            self.host.pools.configure(size.clone());
        }
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.closing.is_cancelled() {
            let rest = self.host.pools.rests().unwrap_or(Duration::MAX);
            tokio::select! {
                biased;
                _ = looks.tick() => self.look_at_pools().await,
                () = self.host.pools.changed.notified() => {}
                () = tokio::time::sleep(rest) => {}
                () = self.closing.cancelled() => {}
            }
            self.fill_pools().await;
        }
    }

    /// Has as many stand ready as are to.
    async fn fill_pools(&self) {
        let mut lacking = Instant::now();
        while let Some((shape, level)) = self.host.pools.lacking() {
            if self.closing.is_cancelled() {
                return;
            }
            let used = self.host.pools.was_asked_within(QUIET) && lacking.elapsed() < PATIENCE;
            if used || self.host.admission.has_waiting() {
                tokio::time::sleep(GIVE_WAY).await;
                continue;
            }
            let (agent, what) = (self.clone(), shape.clone());
            // The agent's end waits for what is being made.
            let filling = self
                .spares
                .spawn(async move { agent.fill(&what, level).await });
            if let Err(fault) = filling.await.unwrap_or_else(|error| Err(internal(error))) {
                tracing::info!(?shape, %fault, "nothing can stand ready for now");
                self.host.pools.failed(&shape, fault);
            }
            lacking = Instant::now();
        }
    }

    /// Gives back what is worn: too old, of another image, dead, or more than is wanted. The boot images of the shapes that the
    /// configuration names are there, also of a template that was built anew, and are kept.
    async fn look_at_pools(&self) {
        let mut worn = self.host.pools.dead().await;
        let (mut images, mut named) = (HashMap::new(), Vec::new());
        for pool in self.host.pools.states() {
            if let Ok(template) = self.host.base_template(&pool.shape.template).await {
                let image = self.host.image_name(&pool.shape, &template);
                if pool.configured {
                    named.push((pool.shape.clone(), template, image.clone()));
                }
                images.insert(pool.shape, image);
            }
        }
        worn.extend(self.host.pools.worn(|shape| images.get(shape).cloned()));
        unmake_all(worn).await;
        let kept = named.iter().map(|(_, _, image)| image.clone());
        self.keep_images(kept.collect()).await;
        for (shape, template, _) in &named {
            self.boot_image(shape, template).await;
        }
    }

    /// Has one more stand ready.
    async fn fill(&self, shape: &Shape, level: Level) -> Result<(), Fault> {
        let host = &self.host;
        let template = self.host.base_template(&shape.template).await?;
        let image = self.boot_image(shape, &template).await;
        let image = image.ok_or_else(|| no_image(shape))?;
        let lent = host.lend_image(&image).await;
        let lent = lent.ok_or_else(|| no_image(shape))?;
        // Nobody gives a place back for this.
        let place = host.admit_plainly(&shape.spec()).await?;
        let from = From::Lent(&lent);
        let plan = match level {
            Level::Ready => FILL,
            Level::Started => STAND_BY,
        };
        let spare = Spare::make(plan, host, &self.workshop(), shape, from, place).await;
        let spare = spare.map_err(|error| error.fault("nothing stands ready"))?;
        if let Err(unwanted) = host.pools.add(shape, level, image, spare) {
            unwanted.unmake().await;
        }
        Ok(())
    }

    /// Has so many of a shape stand ready, and returns when they do. What can not be is told, and has changed nothing.
    pub(crate) async fn warm(&self, size: PoolSize) -> Result<PoolState, Fault> {
        self.check_ready()?;
        let shape = &size.shape;
        self.check_size(&shape.spec())?;
        let template = self.host.base_template(&shape.template).await?;
        if self.boot_image(shape, &template).await.is_none() {
            return Err(no_image(shape));
        }
        let former = self.host.pools.warm(size.clone());
        let full = tokio::time::timeout(WARM_LIMIT, self.full(&size)).await;
        let full = full.unwrap_or_else(|_| Err(too_many(None)));
        if full.is_err() {
            self.host.pools.unwarm(&size, former);
        }
        full
    }

    /// Waits until so many of a shape stand ready, or no more can.
    async fn full(&self, size: &PoolSize) -> Result<PoolState, Fault> {
        let pools = &self.host.pools;
        loop {
            let states = pools.states();
            let state = states.into_iter().find(|state| state.shape == size.shape);
            match state {
                Some(state) if state.ready >= size.ready && state.started >= size.started => {
                    return Ok(state);
                }
                _ => {}
            }
            if let Some(why) = pools.in_vain(&size.shape) {
                return Err(too_many(Some(why)));
            }
            tokio::time::sleep(GIVE_WAY).await;
        }
    }

    /// Gives back what stands ready of some shapes, of which no more are made.
    pub(crate) async fn drain(&self, which: impl Fn(&Shape) -> bool) -> Result<u32, Fault> {
        self.check_ready()?;
        let drained = self.host.pools.drain(which);
        let count = u32::try_from(drained.len()).unwrap_or(u32::MAX);
        unmake_all(drained).await;
        Ok(count)
    }

    /// Where what stands ready is made.
    pub(crate) fn workshop(&self) -> Workshop {
        Workshop {
            host: Arc::downgrade(&self.host),
            table: self.table.clone(),
            tasks: self.spares.clone(),
            closing: self.closing.clone(),
        }
    }
}

pub(crate) async fn unmake_all(spares: Vec<Spare>) {
    let unmade = spares.into_iter().map(Spare::unmake);
    futures::future::join_all(unmade).await;
}

/// What to tell who asked for more than can stand ready, and why no more can.
fn too_many(why: Option<Fault>) -> Fault {
    let message = "not so many can stand ready now";
    match why {
        Some(why) => Fault {
            message: format!("{message}: {}", why.message),
            ..why
        },
        None => Fault::new(
            ErrorKind::HostBusy,
            message,
            "see `wrenn pool ls`; ask for fewer, or destroy sandboxes",
        ),
    }
}
