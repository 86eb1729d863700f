//! What the tests of slots share: an instance of its own for each test, and guests on its slots.
#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use nix::unistd::{Uid, setfsuid};
use tempfile::TempDir;
use wrenn_model::{InstanceId, NetworkPolicy, VmId};
use wrenn_network::{
    Config, GATEWAY_ADDRESS, GUEST_ADDRESS, GUEST_MAC, GUEST_PREFIX, Limits, Network, Slot,
    SlotIndexes, SlotPlan,
};
use wrenn_sys::netns;
use wrenn_testkit::guest::{FakeGuest, Identity};
use wrenn_testkit::leaks::{Scope, Snapshot};
use wrenn_testkit::world;

/// How long a test waits for what must not come.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// How long a test waits for what must come.
pub(crate) const LONG: Duration = Duration::from_secs(5);

/// A network of its own, with nothing in it yet.
pub(crate) struct Bed {
    pub(crate) instance: InstanceId,
    pub(crate) network: Network,
    pub(crate) state: TempDir,
    indexes: Mutex<SlotIndexes>,
    before: Snapshot,
}

/// A slot with a guest in it.
pub(crate) struct Inhabited {
    pub(crate) slot: Slot,
    pub(crate) guest: FakeGuest,
}

impl Bed {
    pub(crate) async fn make() -> Self {
        Self::make_with(|_| ()).await
    }

    pub(crate) async fn make_with(change: impl FnOnce(&mut Config)) -> Self {
        world::require();
        let instance = InstanceId::random();
        let state = tempfile::tempdir().unwrap();
        let mut config = config(&instance, &state);
        change(&mut config);
        let before = Snapshot::take(&scope(&instance));
        let network = Network::open(config).await.unwrap();
        let indexes = Mutex::new(SlotIndexes::new([]));
        Self {
            instance,
            network,
            state,
            indexes,
            before,
        }
    }

    pub(crate) fn config(&self) -> Config {
        config(&self.instance, &self.state)
    }

    pub(crate) fn scope(&self) -> Scope {
        scope(&self.instance)
    }

    pub(crate) fn plan(&self) -> SlotPlan {
        let index = self.indexes.lock().unwrap().allocate().unwrap();
        self.network.plan(index, &VmId::random())
    }

    pub(crate) async fn inhabited(&self) -> Inhabited {
        self.inhabited_under(&NetworkPolicy::default()).await
    }

    pub(crate) async fn inhabited_under(&self, policy: &NetworkPolicy) -> Inhabited {
        let mut slot = self.network.create(&self.plan(), policy).await.unwrap();
        let guest = start_guest(&mut slot).await;
        Inhabited { slot, guest }
    }

    /// Takes everything away and looks for what is left.
    pub(crate) async fn close(self) {
        self.network.close().await.unwrap();
        self.before.assert_nothing_new(&scope(&self.instance));
    }
}

impl Inhabited {
    pub(crate) fn host_ip(&self) -> Ipv4Addr {
        self.slot.plan().host_ip
    }

    /// Runs `work` in the slot's namespace, where only the agent should be.
    pub(crate) fn inside<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        netns::enter_blocking(netns::open(&self.slot.plan().label)?, work)
    }

    /// Turns the kernel's own check of sources off in the slot, which would hide what the rules let through.
    pub(crate) fn trust_all_sources(&self) {
        let switch = "/proc/sys/net/ipv4/conf/all/rp_filter";
        self.inside(move || std::fs::write(switch, "0")).unwrap();
    }
}

pub(crate) async fn start_guest(slot: &mut Slot) -> FakeGuest {
    let identity = Identity {
        address: GUEST_ADDRESS,
        prefix: GUEST_PREFIX,
        gateway: GATEWAY_ADDRESS,
        mac: GUEST_MAC,
    };
    FakeGuest::start(slot.take_tap().unwrap(), identity)
        .await
        .unwrap()
}

/// Connects from the host's namespace as this user, on a thread of its own.
pub(crate) fn connect_as(
    uid: u32,
    to: impl Into<SocketAddr>,
    limit: Duration,
) -> io::Result<TcpStream> {
    let to = to.into();
    let attempt = move || {
        // The user of a socket is who opened it; this changes it for the thread alone.
        setfsuid(Uid::from_raw(uid));
        TcpStream::connect_timeout(&to, limit)
    };
    std::thread::spawn(attempt).join().unwrap()
}

/// Changes the world around the product by `ip`.
#[expect(
    clippy::disallowed_methods,
    reason = "tests use other means than the product"
)]
pub(crate) fn ip(arguments: &str) {
    let mut command = std::process::Command::new("ip");
    let status = command.args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Whether a datagram comes within `limit`.
pub(crate) fn received(socket: &UdpSocket, limit: Duration) -> bool {
    socket.set_read_timeout(Some(limit)).unwrap();
    socket.recv(&mut [0; 64]).is_ok()
}

fn config(instance: &InstanceId, state: &TempDir) -> Config {
    Config {
        instance: instance.clone(),
        state_dir: state.path().to_owned(),
        ranges: None,
        resolvers: Vec::new(),
        uplink: None,
        opened: Vec::new(),
        limits: Limits::default(),
    }
}

fn scope(instance: &InstanceId) -> Scope {
    Scope::everything().only(instance.as_str())
}
