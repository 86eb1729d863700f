//! Links, addresses and routes of one namespace, by rtnetlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage, Stats64,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::AbortHandle;

use crate::error::{Doing, Error};
use wrenn_model::Subnet;

/// Who made a route, as `ip route` shows it: a number that nobody else uses.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(119);

/// A connection to the kernel for the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Links {
    handle: Handle,
    connection: AbortHandle,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    pub(crate) mtu: u32,
}

/// An IPv4 route of any table but the kernel's own of local addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: Subnet,
    pub(crate) metric: u32,
    /// The interfaces that it leads to.
    pub(crate) out: Vec<u32>,
    /// Made by an instance of Wrenn.
    pub(crate) ours: bool,
}

impl Links {
    /// Opens a connection in the namespace of the calling thread. A runtime must be entered.
    pub(crate) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection).abort_handle();
        Ok(Self { handle, connection })
    }

    /// Makes a veth pair, its other end in the namespace `peer_namespace`.
    pub(crate) async fn add_veth(
        &self,
        name: &str,
        peer: &str,
        peer_namespace: BorrowedFd<'_>,
        mtu: u32,
    ) -> Result<(), Error> {
        let peer = LinkMessageBuilder::<LinkUnspec>::default()
            .name(peer)
            .mtu(mtu)
            .setns_by_fd(peer_namespace.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .mtu(mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let made = self.handle.link().add(pair).execute().await;
        made.doing(|| format!("making the interface {name}"))
    }

    /// The link of this name, if there is one.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Link>, Error> {
        let mut found = self.handle.link().get().match_name(name).execute();
        match found.try_next().await {
            Ok(link) => Ok(link.map(Link::from)),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => {
                Ok(None)
            }
            Err(error) => Err(error).doing(|| format!("looking for the interface {name}")),
        }
    }

    /// What passed a link so far, as its owner sees it; `None` when there is no such link.
    pub(crate) async fn stats(&self, name: &str) -> Result<Option<Stats64>, Error> {
        let mut found = self.handle.link().get().match_name(name).execute();
        let link = match found.try_next().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => None,
            other => other.doing(|| format!("reading the counters of the interface {name}"))?,
        };
        let attributes = link.into_iter().flat_map(|link| link.attributes);
        Ok(attributes
            .into_iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Stats64(stats) => Some(stats),
                _ => None,
            }))
    }

    /// The link of this name, which must be there.
    pub(crate) async fn index(&self, name: &str) -> Result<u32, Error> {
        match self.find(name).await? {
            Some(link) => Ok(link.index),
            None => Err(io::Error::from_raw_os_error(libc::ENODEV))
                .doing(|| format!("looking for the interface {name}")),
        }
    }

    /// All links.
    pub(crate) async fn links(&self) -> Result<Vec<Link>, Error> {
        let all: Result<Vec<_>, _> = self.handle.link().get().execute().try_collect().await;
        let all = all.doing(|| "listing interfaces".into())?;
        Ok(all.into_iter().map(Link::from).collect())
    }

    pub(crate) async fn set_alias(&self, index: u32, alias: &str) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).alias(alias).build();
        let set = self.handle.link().set(message).execute().await;
        set.doing(|| format!("labelling an interface {alias}"))
    }

    pub(crate) async fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
        let set = self.handle.link().set(message).execute().await;
        set.doing(|| format!("setting an MTU of {mtu}"))
    }

    pub(crate) async fn set_up(&self, index: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index).up().build();
        let set = self.handle.link().set(message).execute().await;
        set.doing(|| "bringing an interface up".into())
    }

    /// Removes a link; one that is gone is fine.
    pub(crate) async fn delete(&self, index: u32) -> Result<(), Error> {
        match self.handle.link().del(index).execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => {
                Ok(())
            }
            other => other.doing(|| "removing an interface".into()),
        }
    }

    pub(crate) async fn add_address(
        &self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), Error> {
        let request = self.handle.address().add(index, address.into(), prefix);
        let added = request.execute().await;
        added.doing(|| format!("adding the address {address}/{prefix}"))
    }

    /// The IPv4 addresses of all interfaces, each with its interface's index.
    pub(crate) async fn addresses(&self) -> Result<Vec<(u32, Subnet)>, Error> {
        let all: Result<Vec<_>, _> = self.handle.address().get().execute().try_collect().await;
        let mut found = Vec::new();
        for message in all.doing(|| "listing addresses".into())? {
            for attribute in &message.attributes {
                if let AddressAttribute::Address(IpAddr::V4(address)) = attribute {
                    let subnet = Subnet::new(*address, message.header.prefix_len);
                    found.push((message.header.index, subnet));
                }
            }
        }
        Ok(found)
    }

    /// A route through a gateway that is a neighbour on the interface.
    pub(crate) async fn add_route(
        &self,
        to: Subnet,
        index: u32,
        gateway: Ipv4Addr,
    ) -> Result<(), Error> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.address(), to.prefix())
            .output_interface(index)
            .gateway(gateway)
            .protocol(PROTOCOL)
            .build();
        let added = self.handle.route().add(route).execute().await;
        added.doing(|| format!("adding the route to {to}"))
    }

    /// A route that refuses what no better route takes. The metric tells whose it is.
    pub(crate) async fn add_unreachable(&self, to: Subnet, metric: u32) -> Result<(), Error> {
        let route = unreachable_route(to, metric);
        let added = self.handle.route().add(route).replace().execute().await;
        added.doing(|| format!("making {to} unreachable"))
    }

    /// Takes such a route away; one that is gone is fine.
    pub(crate) async fn delete_unreachable(&self, to: Subnet, metric: u32) -> Result<(), Error> {
        match self
            .handle
            .route()
            .del(unreachable_route(to, metric))
            .execute()
            .await
        {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ESRCH => {
                Ok(())
            }
            other => other.doing(|| format!("removing the route to {to}")),
        }
    }

    /// All IPv4 routes but those of the table of local addresses.
    pub(crate) async fn routes(&self) -> Result<Vec<Route>, Error> {
        let every = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let all: Result<Vec<_>, _> = self.handle.route().get(every).execute().try_collect().await;
        let all = all.doing(|| "listing routes".into())?;
        let local = |route: &RouteMessage| {
            matches!(
                route.header.kind,
                RouteType::Local | RouteType::Broadcast | RouteType::Multicast
            )
        };
        Ok(all
            .iter()
            .filter(|route| !local(route))
            .map(Route::from)
            .collect())
    }

    /// A neighbour whose hardware address is never asked for.
    pub(crate) async fn add_neighbour(
        &self,
        index: u32,
        address: Ipv4Addr,
        mac: [u8; 6],
    ) -> Result<(), Error> {
        let request = self.handle.neighbours().add(index, address.into());
        let added = request.link_layer_address(&mac).execute().await;
        added.doing(|| format!("adding the neighbour {address}"))
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // The connection's task holds a socket, and with it the namespace.
        self.connection.abort();
    }
}

fn unreachable_route(to: Subnet, metric: u32) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to.address(), to.prefix())
        .kind(RouteType::Unreachable)
        .priority(metric)
        .protocol(PROTOCOL)
        .build()
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            alias: None,
            mtu: 0,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                _ => {}
            }
        }
        link
    }
}

impl From<&RouteMessage> for Route {
    fn from(message: &RouteMessage) -> Self {
        let mut route = Self {
            to: Subnet::new(
                Ipv4Addr::UNSPECIFIED,
                message.header.destination_prefix_length,
            ),
            metric: 0,
            out: Vec::new(),
            ours: message.header.protocol == PROTOCOL,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(to)) => {
                    route.to = Subnet::new(*to, message.header.destination_prefix_length);
                }
                RouteAttribute::Priority(metric) => route.metric = *metric,
                RouteAttribute::Oif(index) => route.out.push(*index),
                RouteAttribute::MultiPath(hops) => {
                    route.out.extend(hops.iter().map(|hop| hop.interface_index));
                }
                _ => {}
            }
        }
        route
    }
}
