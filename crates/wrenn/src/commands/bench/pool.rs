//! What stands ready for creates, so that they find it full, or nothing at all.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use wrenn_client::api::{Pool, WarmPool};

use super::Bench;
use super::by_hand;

const MEMORY_MB: u32 = by_hand::MEMORY.0;
/// How many are to stand ready where nobody has said more.
const READY: u32 = 2;
/// How long a pool may take to be full again.
const FILLING: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long it is left alone then: what has filled it is over.
const REST: Duration = Duration::from_millis(300);

/// The pool of what is measured; it goes back to what it was by [`Self::restore`].
pub(super) struct Shape<'a> {
    bench: &'a Bench,
    wanted: u32,
}

impl<'a> Shape<'a> {
    /// The pool as it stands.
    pub(super) async fn of(bench: &'a Bench) -> Result<Self> {
        let pool = find(bench).await?;
        Ok(Self {
            bench,
            wanted: pool.map_or(0, |pool| pool.wanted),
        })
    }

    /// Has some stand ready.
    pub(super) async fn warm(&self) -> Result<()> {
        let wanted = self.wanted.max(READY);
        self.bench.client.warm_pool(&self.asked(wanted)).await?;
        Ok(())
    }

    /// Gives back all, and has no more made.
    pub(super) async fn drain(&self) -> Result<()> {
        let Bench {
            client, template, ..
        } = self.bench;
        client
            .drain_pools(Some(template), Some(by_hand::VCPUS), Some(MEMORY_MB))
            .await?;
        Ok(())
    }

    /// Waits until it is full and nobody works on it. Gives how many creates have found something ready so far.
    pub(super) async fn full(&self) -> Result<u64> {
        let begun = Instant::now();
        loop {
            if let Some(pool) = find(self.bench).await?
                && pool.ready >= pool.wanted
            {
                tokio::time::sleep(REST).await;
                return Ok(pool.hits);
            }
            if begun.elapsed() > FILLING {
                bail!("the pool of {} does not get full", self.bench.template);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it is full, if anything is to stand ready.
    pub(super) async fn settled(&self) -> Result<()> {
        if find(self.bench).await?.is_some_and(|pool| pool.wanted > 0) {
            self.full().await?;
        }
        Ok(())
    }

    /// Has as many stand ready as before.
    pub(super) async fn restore(&self) -> Result<()> {
        match self.wanted {
            0 => self.drain().await,
            wanted => {
                self.bench.client.warm_pool(&self.asked(wanted)).await?;
                Ok(())
            }
        }
    }

    fn asked(&self, count: u32) -> WarmPool {
        WarmPool {
            template: self.bench.template.clone(),
            vcpus: Some(by_hand::VCPUS.into()),
            memory_mb: Some(MEMORY_MB.into()),
            count: count.into(),
            started: None,
        }
    }
}

async fn find(bench: &Bench) -> Result<Option<Pool>> {
    let pools = bench.client.pools().await?.pools;
    let is_meant = |pool: &Pool| {
        pool.template == bench.template
            && pool.vcpus == by_hand::VCPUS
            && pool.memory_mb == MEMORY_MB
    };
    Ok(pools.into_iter().find(is_meant))
}
