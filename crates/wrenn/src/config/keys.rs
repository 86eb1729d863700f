//! Which keys there are.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use wrenn_agent::{MemoryOvercommit, PoolSize, VmmChoice};
use wrenn_control::{AgentAddress, DatabaseUrl};
use wrenn_model::Subnet;

use super::value::{self, Read};
use crate::traces::Endpoint;

/// How far apart a key and what was meant to be one may be, in letters.
const NEAR: usize = 3;

/// A key of the file.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name, after that of its section.
    pub(super) name: &'static str,
    /// The flag that it stands for, by clap's name for it.
    pub(super) arg: &'static str,
    /// The programs that have the flag; all commands where none is named.
    pub(super) of: &'static [&'static str],
    pub(super) read: Read,
    /// A value that could stand there.
    pub(super) example: &'static str,
}

impl Key {
    /// The section that it stands in, if in any.
    pub(super) fn section(&self) -> Option<&'static str> {
        self.name.split_once('.').map(|(section, _)| section)
    }

    /// Its name within its section.
    pub(super) fn last(&self) -> &'static str {
        last(self.name)
    }
}

const ALL: &[&str] = &[];
const SERVING: &[&str] = &["up", "server"];
const HOSTING: &[&str] = &["up", "agent"];
const PROGRAMS: &[&str] = &["up", "agent", "server"];
const AGENT: &[&str] = &["agent"];
const SERVER: &[&str] = &["server"];

/// Every key.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    Key { name: "dir", arg: "dir", of: ALL, read: value::path, example: "\"/var/lib/wrenn\"" },
    Key { name: "cache", arg: "cache", of: ALL, read: value::path, example: "\"/var/cache/wrenn\"" },
    Key { name: "kernel", arg: "kernel", of: ALL, read: value::text::<String>, example: "\"linux-source\"" },
    Key { name: "url", arg: "url", of: ALL, read: value::url, example: "\"http://127.0.0.1:8080\"" },
    Key { name: "log", arg: "log", of: ALL, read: value::filter, example: "\"info\"" },
    Key { name: "log_json", arg: "log_json", of: ALL, read: value::switch, example: "true" },
    Key { name: "api.addr", arg: "addr", of: SERVING, read: value::text::<SocketAddr>, example: "\"127.0.0.1:8080\"" },
    Key { name: "api.listen_public", arg: "listen_public", of: SERVING, read: value::switch, example: "false" },
    Key { name: "database.url", arg: "database_url", of: SERVING, read: value::text::<DatabaseUrl>, example: "\"postgres:///wrenn?host=/run/postgresql\"" },
    Key { name: "keep.stopped", arg: "keep_stopped", of: SERVING, read: value::number::<NonZeroU16>, example: "7" },
    Key { name: "keep.events", arg: "keep_events", of: SERVING, read: value::number::<NonZeroU16>, example: "30" },
    Key { name: "keep.audit", arg: "keep_audit", of: SERVING, read: value::number::<NonZeroU16>, example: "365" },
    Key { name: "guests.vmm", arg: "vmm", of: HOSTING, read: value::text::<VmmChoice>, example: "\"auto\"" },
    Key { name: "guests.firecracker", arg: "firecracker", of: HOSTING, read: value::path, example: "\"/usr/local/bin/firecracker\"" },
    Key { name: "guests.memory", arg: "memory_mb", of: HOSTING, read: value::number::<u32>, example: "16384" },
    Key { name: "guests.memory_overcommit", arg: "memory_overcommit", of: HOSTING, read: value::number::<MemoryOvercommit>, example: "1.5" },
    Key { name: "guests.allow_private", arg: "allow_private", of: HOSTING, read: value::list::<Subnet>, example: "[\"192.168.7.0/24\"]" },
    Key { name: "guests.pool", arg: "pools", of: HOSTING, read: value::list::<PoolSize>, example: "[\"minimal:1:512=2\"]" },
    Key { name: "guests.boot_images", arg: "boot_images_mb", of: HOSTING, read: value::number::<u32>, example: "4096" },
    Key { name: "guests.ready_slots", arg: "ready_slots", of: HOSTING, read: value::number::<u8>, example: "2" },
    Key { name: "traces.otlp_endpoint", arg: "otlp_endpoint", of: PROGRAMS, read: value::text::<Endpoint>, example: "\"http://127.0.0.1:4318\"" },
    Key { name: "agent.server_user", arg: "server_user", of: AGENT, read: value::text::<String>, example: "\"wrenn\"" },
    Key { name: "agent.server_socket", arg: "server_socket", of: AGENT, read: value::path, example: "\"/run/wrenn/agent.sock\"" },
    Key { name: "agent.listen_tls", arg: "listen_tls", of: AGENT, read: value::text::<SocketAddr>, example: "\"10.0.0.5:7443\"" },
    Key { name: "server.agent", arg: "agent", of: SERVER, read: value::text::<AgentAddress>, example: "\"unix:/run/wrenn/agent.sock\"" },
    Key { name: "server.state", arg: "state", of: SERVER, read: value::path, example: "\"/var/lib/wrenn-server\"" },
];

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key or section that was most likely meant: written nearly like this one, or rightly in another section.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let sections = KEYS.iter().filter_map(Key::section);
    let names = KEYS.iter().map(|key| key.name).chain(sections);
    let apart = |other: &str| {
        let whole = strsim::osa_distance(name, other);
        whole.min(strsim::osa_distance(last(name), last(other)))
    };
    let (near, name) = names.map(|name| (apart(name), name)).min()?;
    (near <= NEAR && near < last(name).len()).then_some(name)
}

fn last(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}
