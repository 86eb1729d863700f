//! The way to a VMM over any number of connections: a lost one is made anew at the next command.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, broadcast};

use super::client::Client;
use super::codec::Event;
use crate::Error;

/// Events that wait for their listener; of a VMM that floods us the latest count.
const EVENTS: usize = 64;
/// For a command, connecting included. A freeze waits for the disk.
const LIMIT: Duration = Duration::from_secs(10);
/// In the VM's folder.
const NAME: &str = "qmp.sock";

/// See the module.
#[derive(Debug)]
pub(in crate::qemu) struct Link {
    dir: PathBuf,
    events: broadcast::Sender<Event>,
    client: Mutex<Option<Client>>,
    connections: AtomicU64,
}

impl Link {
    /// To the VMM that has its socket in this folder. Nothing is connected yet.
    pub(in crate::qemu) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            events: broadcast::channel(EVENTS).0,
            client: Mutex::new(None),
            connections: AtomicU64::new(0),
        }
    }

    /// The same with its connection, to the VMM's folder by the name that it has now; `None` while a command connects.
    pub(in crate::qemu) fn moved(&self, dir: &Path) -> Option<Self> {
        let client = self.client.try_lock().ok()?.take();
        Some(Self {
            dir: dir.to_owned(),
            events: self.events.clone(),
            client: Mutex::new(client),
            connections: AtomicU64::new(self.connections()),
        })
    }

    /// Where the socket is, whatever the length of the folder's name. Valid as long as the descriptor is open.
    pub(in crate::qemu) fn socket(dir: &Path) -> std::io::Result<(File, PathBuf)> {
        let opened = File::open(dir)?;
        let path = format!("/proc/self/fd/{}/{NAME}", opened.as_raw_fd());
        Ok((opened, path.into()))
    }

    /// The events of all connections.
    pub(in crate::qemu) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// How many connections there have been. Another number than before: events may have been missed.
    pub(in crate::qemu) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Asks, with a limit in time.
    pub(in crate::qemu) async fn command(
        &self,
        command: &'static str,
        arguments: Option<Value>,
    ) -> Result<Value, Error> {
        self.command_with(command, arguments, None).await
    }

    /// Asks, and hands over the descriptor that the command is about.
    pub(in crate::qemu) async fn command_with(
        &self,
        command: &'static str,
        arguments: Option<Value>,
        fd: Option<OwnedFd>,
    ) -> Result<Value, Error> {
        let work = async {
            let client = self.client().await?;
            client.command(command, arguments, fd).await
        };
        match tokio::time::timeout(LIMIT, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut {
                what: format!("QMP {command}"),
                limit: LIMIT,
            }),
        }
    }

    async fn client(&self) -> Result<Client, Error> {
        let mut client = self.client.lock().await;
        if let Some(open) = client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(open.clone());
        }
        // The old one first: QEMU greets nobody while it has a client.
        *client = None;
        let (_dir, path) = Self::socket(&self.dir).map_err(Error::io("opening the VM's folder"))?;
        let stream = UnixStream::connect(&path).await;
        let stream = stream.map_err(Error::io("connecting to the VMM"))?;
        let greeted = Client::greet(stream, self.events.clone()).await?;
        *client = Some(greeted.clone());
        self.connections.fetch_add(1, Ordering::AcqRel);
        Ok(greeted)
    }
}
