//! Slots as the agent uses them: what it asks of a host's network, and no more.
//!
//! [`wrenn_network::Network`] is the real one. A simulation has another, whose slots are entries in a table.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use wrenn_envd_client::{Connector, Stream};
use wrenn_model::{NetworkPolicy, VmId};
use wrenn_network::{Error, Network, Ranges, Refused, SlotDialer, SlotPlan, Traffic};

/// A slot that stands. Dropping it takes nothing away: see [`Slots::remove`].
#[derive(Debug)]
pub struct Slot {
    /// Its names and addresses.
    pub plan: SlotPlan,
    /// The TAP, for the VMM; an adopted slot has none to give.
    pub tap: Option<OwnedFd>,
    /// The way to its guest.
    pub dialer: Arc<dyn Connector>,
}

/// The network of one instance.
#[async_trait]
pub trait Slots: Send + Sync + std::fmt::Debug {
    /// The instance's ranges of addresses.
    fn ranges(&self) -> Ranges;

    /// Names all that a slot will own.
    fn plan(&self, index: u16, vm: &VmId) -> SlotPlan;

    /// Whether this host takes a policy.
    ///
    /// # Errors
    /// The entry of `allow` that is never opened here.
    fn check(&self, policy: &NetworkPolicy) -> Result<(), Refused>;

    /// Makes a slot. When that fails all of it is gone again.
    async fn create(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<Slot, Error>;

    /// Takes up a slot that stands, under this policy, after a restart; [`Error::Gone`] when it does not stand.
    async fn adopt(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<Slot, Error>;

    /// Puts a slot under another policy. When that fails it is under the one that it had.
    async fn change(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<(), Error>;

    /// Takes a slot away, also a half-made one or one that is gone.
    async fn remove(&self, plan: &SlotPlan) -> Result<(), Error>;

    /// What passed through a slot so far; `None` when it is not there.
    async fn traffic(&self, plan: &SlotPlan) -> Result<Option<Traffic>, Error>;

    /// Takes all of the instance's network away.
    async fn close(&self) -> Result<(), Error>;
}

#[async_trait]
impl Slots for Network {
    fn ranges(&self) -> Ranges {
        *Self::ranges(self)
    }

    fn plan(&self, index: u16, vm: &VmId) -> SlotPlan {
        Self::plan(self, index, vm)
    }

    fn check(&self, policy: &NetworkPolicy) -> Result<(), Refused> {
        Self::check(self, policy)
    }

    async fn create(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<Slot, Error> {
        Self::create(self, plan, policy).await.map(Slot::from)
    }

    async fn adopt(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<Slot, Error> {
        Self::adopt(self, plan, policy).await.map(Slot::from)
    }

    async fn change(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<(), Error> {
        Self::change(self, plan, policy).await
    }

    async fn remove(&self, plan: &SlotPlan) -> Result<(), Error> {
        Self::remove(self, plan).await
    }

    async fn traffic(&self, plan: &SlotPlan) -> Result<Option<Traffic>, Error> {
        Self::traffic(self, plan).await
    }

    async fn close(&self) -> Result<(), Error> {
        Self::close(self).await
    }
}

impl From<wrenn_network::Slot> for Slot {
    fn from(mut slot: wrenn_network::Slot) -> Self {
        Self {
            plan: slot.plan().clone(),
            tap: slot.take_tap(),
            dialer: Arc::new(Inside(slot.dialer())),
        }
    }
}

/// Dials from inside the slot's namespace.
#[derive(Debug)]
struct Inside(SlotDialer);

impl Connector for Inside {
    fn connect(&self, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let slot = self.0.clone();
        Box::pin(async move { Ok(Box::new(slot.connect(port).await?) as Box<dyn Stream>) })
    }
}
