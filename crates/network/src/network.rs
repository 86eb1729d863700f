//! The network of one instance: its ranges, its table of rules, and the making and taking away of slots.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use futures::{StreamExt, stream};
use tracing::{info, warn};
use wrenn_model::{InstanceId, NetworkPolicy, Subnet, VmId};
use wrenn_sys::netns;

use crate::claim::{self, Turn};
use crate::egress::Bounds;
use crate::error::{Doing, Error, Refused};
use crate::host_rules::HostRules;
use crate::limits::Limits;
use crate::links::{Link, Links};
use crate::nft::{self, Batch, Family};
use crate::plan::{SlotPlan, host_table, label_prefix, veth_prefix};
use crate::range::Ranges;
use crate::slot::{self, Slot};
use crate::slot_rules::SlotRules;
use crate::{forwarding, resolvers};

/// How many slots are swept at the same time.
const SWEPT_AT_ONCE: usize = 16;

/// What packets are never larger than, and never need be.
const MTU: std::ops::RangeInclusive<u32> = 1280..=1500;

/// What an instance's network is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose network it is; in the name of all that is made.
    pub instance: InstanceId,
    /// Where the chosen ranges are recorded. It must be there.
    pub state_dir: PathBuf,
    /// The ranges to use. `None`: the recorded, or the first that are free.
    pub ranges: Option<Ranges>,
    /// Who answers guests' questions for names. Empty: whom the host asks. The first one is used.
    pub resolvers: Vec<Ipv4Addr>,
    /// The interface to the internet. `None`: each that a default route leads to.
    pub uplink: Option<String>,
    /// The private ranges of which policies may open parts. None: guests reach nothing private.
    pub opened: Vec<Subnet>,
    /// How much each guest may use.
    pub limits: Limits,
}

/// Something that guests will miss, though their sandboxes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// There is no default route and no interface is configured.
    #[error(
        "this host has no default route: guests will not reach the internet; configure an uplink"
    )]
    NoUplink,
    /// The host asks for names on loopback only.
    #[error(
        "this host has no resolver beyond loopback: guests will not resolve names; configure one"
    )]
    NoResolver,
}

/// One instance's network. All that it makes stays when it is dropped; [`Network::close`] takes it away.
#[derive(Debug)]
pub struct Network {
    instance: InstanceId,
    ranges: Ranges,
    bounds: Bounds,
    limits: Limits,
    links: Links,
    mtu: u32,
    warnings: Vec<Warning>,
}

impl Network {
    /// Sets the host up for slots, or takes up what stands: claims the ranges, writes the host's rules, turns
    /// forwarding on. Slots that stand go on working throughout.
    ///
    /// # Errors
    /// [`Error::NotPrivate`], [`Error::RangeInUse`], [`Error::RangesHaveSlots`], [`Error::NoFreeRange`]; else what the
    /// kernel said.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let links = Links::open().doing(|| "opening a netlink socket".into())?;
        let turn = Turn::take().await?;
        let resolver = resolvers::choose(&config.resolvers);
        let uplinks = uplinks(&links, config.uplink).await?;
        let claimed = claim::claim(
            &links,
            &config.instance,
            config.ranges,
            resolver.as_slice(),
            &config.state_dir,
        );
        let ranges = claimed.await?;
        let bounds = Bounds::new(&ranges, config.opened).map_err(Error::NotPrivate)?;
        let names: Vec<_> = uplinks.iter().map(|link| link.name.clone()).collect();
        let rules = HostRules {
            table: &host_table(&config.instance),
            comment: forwarding::remembered().doing(|| "reading the rules".into())?,
            veth_prefix: &veth_prefix(&config.instance),
            ranges: &ranges,
            bounds: &bounds,
            uplinks: &names,
            resolver,
        };
        rules
            .batch()
            .commit()
            .doing(|| "writing the host's rules".into())?;
        forwarding::turn_on().doing(|| "turning forwarding on".into())?;
        drop(turn);
        let warnings = warnings(&uplinks, resolver);
        info!(veth = %ranges.veth, reachable = %ranges.reachable, uplinks = ?names, ?resolver, "network ready");
        Ok(Self {
            instance: config.instance,
            ranges,
            bounds,
            limits: config.limits,
            links,
            mtu: smallest_mtu(&uplinks),
            warnings,
        })
    }

    /// The instance's ranges.
    #[must_use]
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// What guests will miss on this host; the caller's to tell.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Names all that a slot will own. `index` comes from [`crate::SlotIndexes`].
    #[must_use]
    pub fn plan(&self, index: u16, vm: &VmId) -> SlotPlan {
        SlotPlan::new(&self.instance, &self.ranges, index, vm)
    }

    /// Whether this host takes a policy.
    ///
    /// # Errors
    /// The entry of `allow` that asks for what is never opened, or was not opened by the operator.
    pub fn check(&self, policy: &NetworkPolicy) -> Result<(), Refused> {
        self.bounds.check(policy)
    }

    /// Makes a slot. When that fails all of it is gone again.
    ///
    /// # Errors
    /// What the kernel said; a name that is taken is an error and stays whose it is.
    pub async fn create(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<Slot, Error> {
        if netns::path(&plan.label).exists() {
            return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists))
                .doing(|| format!("making the namespace {}", plan.label));
        }
        let made = slot::make(&self.links, &self.rules(plan, policy), self.mtu).await;
        if made.is_err()
            && let Err(error) = self.remove(plan).await
        {
            warn!(label = plan.label, %error, "a slot that could not be made could not be removed either");
        }
        made
    }

    /// Takes up a slot that stands, after a restart, and writes its rules anew where others stand: it may have been made
    /// under others, and another policy. Its connections go on where that lets them. Its TAP is the VMM's.
    ///
    /// # Errors
    /// [`Error::Gone`] when its namespace or its interface does not stand; else what the kernel said.
    pub async fn adopt(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<Slot, Error> {
        let gone = |missing| Error::Gone {
            label: plan.label.clone(),
            missing,
        };
        netns::open(&plan.label).map_err(|_| gone("its namespace"))?;
        match self.links.find(&plan.veth).await? {
            Some(link) if link.alias.as_deref() == Some(&plan.label) => {}
            _ => return Err(gone("its interface")),
        }
        slot::ensure_rules(plan, self.rules(plan, policy)).await?;
        Ok(Slot::adopted(plan.clone()))
    }

    /// Puts a slot under another policy, in one transaction: what it forbids stops with the next packet, and no packet
    /// meets half of it.
    ///
    /// # Errors
    /// What the kernel said; then the slot is under the policy that it had.
    pub async fn change(&self, plan: &SlotPlan, policy: &NetworkPolicy) -> Result<(), Error> {
        slot::write_rules(plan, self.rules(plan, policy).change()).await
    }

    fn rules<'a>(&'a self, plan: &'a SlotPlan, policy: &'a NetworkPolicy) -> SlotRules<'a> {
        SlotRules {
            plan,
            bounds: &self.bounds,
            limits: &self.limits,
            policy,
        }
    }

    /// Takes a slot away, also a half-made one or one that is gone. When it returns nothing of it stands, but for the
    /// TAP that a VMM still holds.
    ///
    /// # Errors
    /// What the kernel said; it may be called again.
    pub async fn remove(&self, plan: &SlotPlan) -> Result<(), Error> {
        slot::unmake(&self.links, plan).await
    }

    /// The labels of all slots of this instance that stand, whole or in part.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn leftovers(&self) -> Result<Vec<String>, Error> {
        let mut labels: BTreeSet<_> = self.namespaces()?.into_iter().collect();
        labels.extend(self.own_links().await?.into_iter().map(label));
        Ok(labels.into_iter().collect())
    }

    /// Removes all slots of this instance but those of these VMs, and tells their labels.
    ///
    /// # Errors
    /// The first that was met; the others were tried.
    pub async fn sweep(&self, keep: &[VmId]) -> Result<Vec<String>, Error> {
        let keep: BTreeSet<_> = keep
            .iter()
            .map(|vm| format!("{}{vm}", label_prefix(&self.instance)))
            .collect();
        let mut swept = BTreeSet::new();
        let links = self.own_links().await?;
        let doomed: Vec<_> = links
            .into_iter()
            .filter(|link| {
                link.alias
                    .as_ref()
                    .is_none_or(|alias| !keep.contains(alias))
            })
            .collect();
        let indexes: Vec<_> = doomed.iter().map(|link| link.index).collect();
        let links_gone = stream::iter(indexes)
            .map(|index| self.links.delete(index))
            .buffer_unordered(SWEPT_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        swept.extend(doomed.into_iter().map(label));
        for name in self.namespaces()? {
            if !keep.contains(&name) {
                netns::remove(&name).doing(|| format!("removing the namespace {name}"))?;
                swept.insert(name);
            }
        }
        links_gone.into_iter().collect::<Result<(), _>>()?;
        Ok(swept.into_iter().collect())
    }

    /// Takes all of this instance's network away: slots, rules, routes; and turns forwarding off again when it was off
    /// and no other instance stands.
    ///
    /// # Errors
    /// What the kernel said; it may be called again.
    pub async fn close(&self) -> Result<(), Error> {
        self.sweep(&[]).await?;
        let _turn = Turn::take().await?;
        let table = host_table(&self.instance);
        forwarding::turn_back(&table).doing(|| "turning forwarding off".into())?;
        let mut batch = Batch::default();
        if nft::tables(Family::Ip)
            .doing(|| "reading the rules".into())?
            .iter()
            .any(|stands| stands.name == table)
        {
            batch.delete_table(Family::Ip, &table);
        }
        batch
            .commit()
            .doing(|| "removing the host's rules".into())?;
        claim::release(&self.links, &self.instance, &self.ranges).await
    }

    fn namespaces(&self) -> Result<Vec<String>, Error> {
        netns::list(&label_prefix(&self.instance)).doing(|| "listing namespaces".into())
    }

    async fn own_links(&self) -> Result<Vec<Link>, Error> {
        let prefix = veth_prefix(&self.instance);
        let mut links = self.links.links().await?;
        links.retain(|link| link.name.starts_with(&prefix));
        Ok(links)
    }
}

/// A link that got no label before its making broke off goes by its name.
fn label(link: Link) -> String {
    link.alias.unwrap_or(link.name)
}

pub(crate) async fn uplinks(links: &Links, configured: Option<String>) -> Result<Vec<Link>, Error> {
    let mut all = links.links().await?;
    if let Some(name) = configured {
        all.retain(|link| link.name == name);
        if all.is_empty() {
            // It may come up later; the rules go by its name.
            all.push(Link {
                index: 0,
                name,
                alias: None,
                mtu: *MTU.end(),
            });
        }
        return Ok(all);
    }
    let routes = links.routes().await?;
    let to_everywhere = |index| {
        routes
            .iter()
            .any(|route| route.to.prefix() == 0 && route.out.contains(&index))
    };
    all.retain(|link| to_everywhere(link.index));
    Ok(all)
}

fn smallest_mtu(uplinks: &[Link]) -> u32 {
    let smallest = uplinks.iter().map(|link| link.mtu).min();
    smallest
        .unwrap_or(*MTU.end())
        .clamp(*MTU.start(), *MTU.end())
}

fn warnings(uplinks: &[Link], resolver: Option<Ipv4Addr>) -> Vec<Warning> {
    let uplink = uplinks.is_empty().then_some(Warning::NoUplink);
    let resolver = resolver.is_none().then_some(Warning::NoResolver);
    uplink.into_iter().chain(resolver).collect()
}
