//! Which ranges an instance has: the configured, the recorded, or the first that nothing else on the host uses.
//!
//! Unreachable routes over both ranges are the claim. Their metric is the instance's number, so that each instance knows
//! its own, and one instance at a time looks and claims.

use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wrenn_model::{InstanceId, Subnet};
use wrenn_sys::durable;

use crate::error::{Doing, Error};
use crate::links::{Link, Links};
use crate::plan::veth_prefix;
use crate::range::{Range, Ranges};

/// How long another instance may take to set up its network.
const PATIENCE: Duration = Duration::from_secs(10);

/// The right to change this host's network, for one process at a time. It goes with the process.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held for its name alone")] UnixListener);

impl Turn {
    /// An abstract socket name belongs to the network namespace, which is just what is to be changed.
    pub(crate) async fn take() -> Result<Self, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let name = SocketAddr::from_abstract_name("wrenn-network");
            match name.and_then(|name| UnixListener::bind_addr(&name)) {
                Ok(socket) => return Ok(Self(socket)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).doing(|| "taking turns".into()),
            }
            if Instant::now() > until {
                return Err(Error::Busy);
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The record's name in the state directory.
const RECORD: &str = "ranges";

/// Chooses the ranges, records them, then makes them unreachable but for the slots to come.
pub(crate) async fn claim(
    links: &Links,
    instance: &InstanceId,
    configured: Option<Ranges>,
    resolvers: &[Ipv4Addr],
    state_dir: &Path,
) -> Result<Ranges, Error> {
    let path = state_dir.join(RECORD);
    let recorded = read(&path)?;
    let all = links.links().await?;
    let prefix = veth_prefix(instance);
    let own = |link: &&Link| link.name.starts_with(&prefix);
    let slots_stand = all.iter().any(|link| own(&link));
    let mut taken = Taken::new(links, instance, &all, &prefix).await?;
    taken.add_resolvers(resolvers);
    let ranges = match (recorded, configured) {
        (Some(recorded), Some(wanted)) if slots_stand && recorded != wanted => {
            return Err(Error::RangesHaveSlots {
                veth: recorded.veth,
                reachable: recorded.reachable,
            });
        }
        (Some(recorded), _) if slots_stand => recorded,
        (_, Some(wanted)) => taken.check(wanted)?,
        (Some(recorded), None) if taken.check(recorded).is_ok() => recorded,
        (_, None) => taken.first_free()?,
    };
    if let Some(old) = recorded.filter(|old| *old != ranges) {
        release(links, instance, &old).await?;
    }
    // What is written already needs no room on the disk.
    if recorded != Some(ranges) {
        write(&path, &ranges)?;
    }
    for range in [ranges.veth, ranges.reachable] {
        links
            .add_unreachable(range.subnet(), metric(instance))
            .await?;
    }
    Ok(ranges)
}

/// The ranges that [`claim`] would choose where none are configured. Nothing is changed.
pub(crate) async fn preview(
    links: &Links,
    instance: &InstanceId,
    resolvers: &[Ipv4Addr],
    state_dir: &Path,
) -> Result<Ranges, Error> {
    let recorded = read(&state_dir.join(RECORD))?;
    let all = links.links().await?;
    let mut taken = Taken::new(links, instance, &all, &veth_prefix(instance)).await?;
    taken.add_resolvers(resolvers);
    match recorded.map(|recorded| taken.check(recorded)) {
        Some(Ok(recorded)) => Ok(recorded),
        _ => taken.first_free(),
    }
}

/// The ranges that were recorded; none when nothing is yet.
pub(crate) fn recorded(state_dir: &Path) -> Result<Option<Ranges>, Error> {
    read(&state_dir.join(RECORD))
}

/// Takes the claim back.
pub(crate) async fn release(
    links: &Links,
    instance: &InstanceId,
    ranges: &Ranges,
) -> Result<(), Error> {
    for range in [ranges.veth, ranges.reachable] {
        links
            .delete_unreachable(range.subnet(), metric(instance))
            .await?;
    }
    Ok(())
}

/// The instance's id read as a number of base 36: each has its own, and all fit into a route's metric.
pub(crate) fn metric(instance: &InstanceId) -> u32 {
    u32::from_str_radix(instance.as_str(), 36).unwrap_or(u32::MAX)
}

/// What others have on this host.
struct Taken(Vec<(Subnet, String)>);

impl Taken {
    async fn new(
        links: &Links,
        instance: &InstanceId,
        all: &[Link],
        own_prefix: &str,
    ) -> Result<Self, Error> {
        let name = |index: u32| {
            all.iter()
                .find(|link| link.index == index)
                .map(|link| link.name.as_str())
        };
        let own = |index: &u32| name(*index).is_some_and(|name| name.starts_with(own_prefix));
        let mut taken = Vec::new();
        for (index, subnet) in links.addresses().await? {
            if !own(&index) {
                taken.push((subnet, name(index).unwrap_or("an interface").to_owned()));
            }
        }
        for route in links.routes().await? {
            let mine = route.ours && route.metric == metric(instance) || route.out.iter().any(own);
            // The default route leads everywhere and says nothing about what is there.
            if !mine && route.to.prefix() > 0 {
                let by = route.out.first().and_then(|index| name(*index));
                taken.push((
                    route.to,
                    format!("a route by {}", by.unwrap_or("no interface")),
                ));
            }
        }
        Ok(Self(taken))
    }

    fn add_resolvers(&mut self, resolvers: &[Ipv4Addr]) {
        let hosts = resolvers.iter().copied().map(Subnet::host);
        self.0
            .extend(hosts.map(|resolver| (resolver, "a resolver".to_owned())));
    }

    fn check(&self, ranges: Ranges) -> Result<Ranges, Error> {
        if ranges.veth == ranges.reachable {
            return Err(Error::RangesOverlap(ranges.veth));
        }
        for range in [ranges.veth, ranges.reachable] {
            let overlap = self
                .0
                .iter()
                .find(|(subnet, _)| subnet.overlaps(range.subnet()));
            if let Some((taken, by)) = overlap {
                return Err(Error::RangeInUse {
                    range,
                    taken: *taken,
                    by: by.clone(),
                });
            }
        }
        Ok(ranges)
    }

    fn first_free(&self) -> Result<Ranges, Error> {
        Ranges::candidates()
            .find(|pair| self.check(*pair).is_ok())
            .ok_or(Error::NoFreeRange)
    }
}

/// The recorded ranges; `None` when nothing is recorded yet.
fn read(path: &Path) -> Result<Option<Ranges>, Error> {
    let unusable = |source| Error::Record {
        path: path.to_owned(),
        source,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
    };
    let mut lines = text.lines().map(str::parse::<Range>);
    match (lines.next(), lines.next(), lines.next()) {
        (Some(Ok(veth)), Some(Ok(reachable)), None) => Ok(Some(Ranges { veth, reachable })),
        _ => Err(unusable(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not name two ranges",
        ))),
    }
}

/// Two lines: the range of the veth pairs, the range of the host's addresses for guests.
fn write(path: &Path, ranges: &Ranges) -> Result<(), Error> {
    let text = format!("{}\n{}\n", ranges.veth, ranges.reachable);
    durable::write(path, text.as_bytes(), 0o644).map_err(|source| Error::Record {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn taken(subnets: &[(&str, u8)]) -> Taken {
        let parse = |(address, prefix): &(&str, u8)| {
            (
                Subnet::new(address.parse().unwrap(), *prefix),
                "test".to_owned(),
            )
        };
        Taken(subnets.iter().map(parse).collect())
    }

    #[test]
    fn the_first_pair_that_nothing_overlaps_is_taken() {
        assert_eq!(taken(&[]).first_free().unwrap(), Ranges::default());
        let next = taken(&[("10.11.5.0", 24)]).first_free().unwrap();
        assert_eq!(next.veth, Range::new(10, 14));
        let private = taken(&[("10.0.0.0", 8)]).first_free().unwrap();
        assert_eq!(private.veth, Range::new(172, 17));
        let none = taken(&[("10.0.0.0", 8), ("172.16.0.0", 12), ("100.64.0.0", 10)]);
        assert!(matches!(none.first_free(), Err(Error::NoFreeRange)));
        let mut resolver = taken(&[]);
        resolver.add_resolvers(&[Ipv4Addr::new(10, 12, 0, 53)]);
        assert_eq!(resolver.first_free().unwrap().veth, Range::new(10, 14));
    }

    #[test]
    fn the_record_is_read_back_and_a_broken_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECORD);
        assert_eq!(read(&path).unwrap(), None);
        write(&path, &Ranges::default()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Ranges::default()));
        for broken in [
            "",
            "10.12.0.0/16\n",
            "10.12.0.0/16\nx\n",
            "10.12.0.0/16\n10.11.0.0/16\nmore\n",
        ] {
            std::fs::write(&path, broken).unwrap();
            assert!(
                matches!(read(&path), Err(Error::Record { .. })),
                "{broken:?}"
            );
        }
    }

    #[test]
    fn each_instance_has_a_metric_of_its_own() {
        let metrics =
            ["000001", "abc123", "abc124", "zzzzzz"].map(|id| metric(&id.parse().unwrap()));
        assert_eq!(metrics[3], 36_u32.pow(6) - 1);
        assert!(metrics.is_sorted_by(|a, b| a < b));
    }
}
