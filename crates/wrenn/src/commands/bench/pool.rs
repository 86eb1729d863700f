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
    wanted: Counts,
}

/// How many stand ready, and how many VMMs stand by behind them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    ready: u32,
    started: u32,
}

/// A VMM alone.
const STARTED: Counts = Counts {
    ready: 0,
    started: 1,
};

impl<'a> Shape<'a> {
    /// The pool as it stands.
    pub(super) async fn of(bench: &'a Bench) -> Result<Self> {
        let pool = find(bench).await?;
        Ok(Self {
            bench,
            wanted: pool.map_or(Counts::default(), |pool| wanted(&pool)),
        })
    }

    /// Has some stand ready.
    pub(super) async fn warm(&self) -> Result<()> {
        let ready = self.wanted.ready.max(READY);
        self.ask(Counts {
            ready,
            ..self.wanted
        })
        .await
    }

    /// Has one VMM stand by, and nothing stand ready.
    pub(super) async fn start(&self) -> Result<()> {
        self.drain().await?;
        self.ask(STARTED).await
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
                && pool.started >= pool.wanted_started
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
        if find(self.bench)
            .await?
            .is_some_and(|pool| wanted(&pool) != Counts::default())
        {
            self.full().await?;
        }
        Ok(())
    }

    /// Has as many stand ready as before.
    pub(super) async fn restore(&self) -> Result<()> {
        match self.wanted {
            Counts {
                ready: 0,
                started: 0,
            } => self.drain().await,
            wanted => self.ask(wanted).await,
        }
    }

    async fn ask(&self, counts: Counts) -> Result<()> {
        let request = WarmPool {
            template: self.bench.template.clone(),
            vcpus: Some(by_hand::VCPUS.into()),
            memory_mb: Some(MEMORY_MB.into()),
            count: counts.ready.into(),
            started: Some(counts.started.into()),
        };
        self.bench.client.warm_pool(&request).await?;
        Ok(())
    }
}

fn wanted(pool: &Pool) -> Counts {
    Counts {
        ready: pool.wanted,
        started: pool.wanted_started,
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
