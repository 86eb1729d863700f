//! Slots without a kernel: entries in the world's table.

use std::fs::File;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use wrenn_agent::{Slot, Slots};
use wrenn_envd_client::{Connector, Stream};
use wrenn_model::{InstanceId, NetworkPolicy, VmId};
use wrenn_network::{Error, Ranges, Refused, SlotPlan, Traffic};

use super::guest;
use super::world::World;

/// How long the kernel takes at the most, in milliseconds.
const SLOW: u64 = 40;

/// See the module.
#[derive(Debug)]
pub(crate) struct SimulatedSlots {
    pub(crate) world: World,
    pub(crate) instance: InstanceId,
}

impl SimulatedSlots {
    /// The kernel takes its time, and may refuse.
    async fn ask(&self, what: &str, plan: &SlotPlan) -> Result<(), Error> {
        let mut dice = self.world.dice(&format!("{what} slot"));
        tokio::time::sleep(dice.millis(SLOW)).await;
        if self.world.strikes(&mut dice, 3) {
            self.world
                .tell(format!("slot {}: {what} is refused", plan.index));
            return Err(Error::Kernel {
                doing: format!("to {what} a slot"),
                source: io::Error::from_raw_os_error(16),
            });
        }
        Ok(())
    }

    fn slot(&self, plan: &SlotPlan, tap: bool) -> Slot {
        let vm = plan
            .label
            .rsplit_once("-vm-")
            .map(|(_, vm)| format!("vm-{vm}"));
        let dialer = Dialer {
            world: self.world.clone(),
            label: plan.label.clone(),
            vm: vm.and_then(|vm| vm.parse().ok()).unwrap(),
        };
        Slot {
            plan: plan.clone(),
            tap: tap.then(|| File::open("/dev/null").unwrap().into()),
            dialer: Arc::new(dialer),
        }
    }
}

#[async_trait]
impl Slots for SimulatedSlots {
    fn ranges(&self) -> Ranges {
        Ranges::default()
    }

    fn plan(&self, index: u16, vm: &VmId) -> SlotPlan {
        let ranges = self.ranges();
        SlotPlan {
            index,
            label: format!("wrenn-{}-{vm}", self.instance),
            veth: format!("w{index}"),
            host_ip: ranges.reachable.address(index),
            veth_host: ranges.veth.address(2 * index),
            veth_slot: ranges.veth.address(2 * index + 1),
        }
    }

    fn check(&self, _: &NetworkPolicy) -> Result<(), Refused> {
        Ok(())
    }

    async fn create(&self, plan: &SlotPlan, _: &NetworkPolicy) -> Result<Slot, Error> {
        self.ask("make", plan).await?;
        {
            let mut state = self.world.lock();
            if state.slots.values().any(|index| *index == plan.index) {
                state.never(format!("the slot {} is made twice", plan.index));
            }
            state.slots.insert(plan.label.clone(), plan.index);
        }
        // What stands half made when the agent ends.
        tokio::time::sleep(self.world.dice("made slot").millis(SLOW)).await;
        Ok(self.slot(plan, true))
    }

    async fn adopt(&self, plan: &SlotPlan, _: &NetworkPolicy) -> Result<Slot, Error> {
        self.ask("adopt", plan).await?;
        if self.world.lock().slots.contains_key(&plan.label) {
            return Ok(self.slot(plan, false));
        }
        Err(Error::Gone {
            label: plan.label.clone(),
            missing: "its namespace",
        })
    }

    async fn change(&self, plan: &SlotPlan, _: &NetworkPolicy) -> Result<(), Error> {
        self.ask("change", plan).await
    }

    async fn remove(&self, plan: &SlotPlan) -> Result<(), Error> {
        self.ask("remove", plan).await?;
        self.world.lock().slots.remove(&plan.label);
        Ok(())
    }

    async fn traffic(&self, _: &SlotPlan) -> Result<Option<Traffic>, Error> {
        Ok(None)
    }

    async fn close(&self) -> Result<(), Error> {
        self.world.lock().slots.clear();
        Ok(())
    }
}

/// Leads to the guest of the slot's machine.
#[derive(Debug)]
struct Dialer {
    world: World,
    label: String,
    vm: VmId,
}

impl Connector for Dialer {
    fn connect(&self, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let stands = self.world.lock().slots.contains_key(&self.label);
        let (world, vm) = (self.world.clone(), self.vm.clone());
        Box::pin(async move {
            if !stands {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(Box::new(guest::connect(world, vm).await?) as Box<dyn Stream>)
        })
    }
}
