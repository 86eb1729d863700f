//! One slot: a namespace of its own, a veth pair to the host, a TAP for the VM, and the rules between them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use wrenn_sys::{netns, tap};

use crate::error::{Doing, Error};
use crate::links::Links;
use crate::nft::Batch;
use crate::plan::{GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC, GUEST_PREFIX, SlotPlan};
use crate::slot_rules::{self, SlotRules, TAP, UPLINK};
use crate::sysctl;
use wrenn_model::Subnet;

/// A slot that stands. Dropping it takes nothing away: see [`crate::Network::remove`].
#[derive(Debug)]
pub struct Slot {
    plan: SlotPlan,
    tap: Option<OwnedFd>,
}

impl Slot {
    pub(crate) fn adopted(plan: SlotPlan) -> Self {
        Self { plan, tap: None }
    }

    /// Its names and addresses.
    #[must_use]
    pub fn plan(&self) -> &SlotPlan {
        &self.plan
    }

    /// The TAP, for the VMM; once. It is non-blocking, has one queue and virtio-net headers, and goes when its last
    /// holder closes it. An adopted slot has none to give.
    pub fn take_tap(&mut self) -> Option<OwnedFd> {
        self.tap.take()
    }

    /// Connects to the guest from inside the slot.
    #[must_use]
    pub fn dialer(&self) -> SlotDialer {
        SlotDialer {
            namespace: self.plan.label.clone(),
        }
    }
}

/// Connects to a guest's ports from inside its slot. When the slot is removed it connects no more.
#[derive(Clone, Debug)]
pub struct SlotDialer {
    namespace: String,
}

impl SlotDialer {
    /// A connection to the guest's `port`, without delay for small writes. It has no time limit but the kernel's own
    /// of two minutes; the caller bounds it.
    ///
    /// # Errors
    /// `NotFound` when the slot is gone; else what the kernel said.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let namespace = netns::open(&self.namespace)?;
        let stream = netns::enter(namespace, move || begin_connect(port)).await?;
        let stream = TcpStream::from_std(stream)?;
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A socket of the calling thread's namespace whose connection is under way.
fn begin_connect(port: u16) -> io::Result<std::net::TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let guest = SocketAddrV4::new(GUEST_ADDRESS, port);
    match connect(socket.as_raw_fd(), &SockaddrIn::from(guest)) {
        Ok(()) | Err(nix::Error::EINPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// Makes all of a slot. What stands when it fails is the caller's to remove.
pub(crate) async fn make(host: &Links, rules: &SlotRules<'_>, mtu: u32) -> Result<Slot, Error> {
    let plan = rules.plan;
    let (tap, inside) = make_namespace(plan, rules.batch()).await?;
    let namespace =
        netns::open(&plan.label).doing(|| format!("opening the namespace {}", plan.label))?;
    host.add_veth(&plan.veth, UPLINK, namespace.as_fd(), mtu)
        .await?;
    let (inner, outer) = tokio::join!(
        configure_inside(&inside, plan, mtu),
        configure_host(host, plan)
    );
    inner?;
    outer?;
    inside_routes(&inside, plan).await?;
    Ok(Slot {
        plan: plan.clone(),
        tap: Some(tap),
    })
}

/// The namespace with its TAP, settings and rules: nothing is up before the rules stand.
async fn make_namespace(plan: &SlotPlan, rules: Batch) -> Result<(OwnedFd, Links), Error> {
    let runtime = Handle::current();
    let made = netns::create(&plan.label, move || {
        let tap = tap::create(TAP, GATEWAY_MAC)?;
        settings()?;
        rules.commit()?;
        let _entered = runtime.enter();
        Ok((tap, Links::open()?))
    });
    made.await
        .doing(|| format!("making the namespace {}", plan.label))
}

/// Writes all rules inside a slot that stands, unless they stand there already: the kernel takes 20 ms to take the old ones
/// apart, and does so for one slot after the other.
pub(crate) async fn ensure_rules(plan: &SlotPlan, rules: SlotRules<'_>) -> Result<(), Error> {
    let doing = || format!("looking at the rules of {}", plan.label);
    let (sum, namespace) = (rules.sum(), netns::open(&plan.label).doing(doing)?);
    let stand = netns::enter(namespace, move || slot_rules::stand(&sum)).await;
    if stand.doing(doing)? {
        return Ok(());
    }
    write_rules(plan, rules.rewrite()).await
}

/// Writes rules inside a slot that stands.
pub(crate) async fn write_rules(plan: &SlotPlan, rules: Batch) -> Result<(), Error> {
    let doing = || format!("writing the rules of {}", plan.label);
    let namespace = netns::open(&plan.label).doing(doing)?;
    netns::enter(namespace, move || rules.commit())
        .await
        .doing(doing)
}

/// Forwarding first: the kernel sets others back with it.
fn settings() -> io::Result<()> {
    for (name, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "1"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        // The guest learns no address but its gateway's.
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ] {
        sysctl::set(name, value)?;
    }
    Ok(())
}

async fn configure_inside(inside: &Links, plan: &SlotPlan, mtu: u32) -> Result<(), Error> {
    let tap = inside.index(TAP).await?;
    inside.set_mtu(tap, mtu).await?;
    inside
        .add_address(tap, GATEWAY_ADDRESS, GUEST_PREFIX)
        .await?;
    inside.set_up(tap).await?;
    inside.add_neighbour(tap, GUEST_ADDRESS, GUEST_MAC).await?;
    let uplink = inside.index(UPLINK).await?;
    inside.add_address(uplink, plan.veth_slot, 31).await?;
    inside.set_up(uplink).await
}

async fn inside_routes(inside: &Links, plan: &SlotPlan) -> Result<(), Error> {
    let everywhere = Subnet::new(Ipv4Addr::UNSPECIFIED, 0);
    let uplink = inside.index(UPLINK).await?;
    inside.add_route(everywhere, uplink, plan.veth_host).await
}

async fn configure_host(host: &Links, plan: &SlotPlan) -> Result<(), Error> {
    let veth = host.index(&plan.veth).await?;
    host.set_alias(veth, &plan.label).await?;
    let setting = format!("ipv6/conf/{}/disable_ipv6", plan.veth);
    sysctl::set(&setting, "1").doing(|| "turning IPv6 off".into())?;
    host.add_address(veth, plan.veth_host, 31).await?;
    host.set_up(veth).await?;
    host.add_route(Subnet::host(plan.host_ip), veth, plan.veth_slot)
        .await
}

/// Takes all of a slot away, in whatever state it is, and returns when it is gone.
pub(crate) async fn unmake(host: &Links, plan: &SlotPlan) -> Result<(), Error> {
    let name = plan.label.clone();
    let namespace = tokio::task::spawn_blocking(move || netns::remove(&name));
    let (link, namespace) = tokio::join!(unmake_link(host, plan), namespace);
    namespace
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .doing(|| format!("removing the namespace {}", plan.label))?;
    link
}

async fn unmake_link(host: &Links, plan: &SlotPlan) -> Result<(), Error> {
    let Some(link) = host.find(&plan.veth).await? else {
        return Ok(());
    };
    // The short name may be another VM's; one without a label is half-made, and so ours.
    match link.alias {
        Some(alias) if alias != plan.label => Ok(()),
        _ => host.delete(link.index).await,
    }
}
