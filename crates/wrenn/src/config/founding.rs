//! The environment variables of the founding system. Where they mean something here, it is done; where they do not, their
//! reader is told what takes their place, and a program that would do something else than they ask for does not start.

use super::keys::{self, Key};
use super::{Advised, Settings};

/// A variable, the programs that would have read it, and what comes of it.
struct Variable {
    name: &'static str,
    of: &'static [&'static str],
    meaning: Meaning,
}

enum Meaning {
    /// It stands for a key.
    Key(&'static str),
    /// It stands for a key, and says an address as the founding system wrote it.
    Address(&'static str),
    /// What it asks for is done in another way, and not by itself.
    Refused(&'static str),
    /// What it asks for is not needed.
    Needless(&'static str),
}

const TRANSPORT: &str = "agent and control plane speak no plain HTTP: on one machine they use a Unix socket (`wrenn agent \
                         --server-user USER`, `wrenn server --agent unix:PATH`), on two mutual TLS (`wrenn agent join`, \
                         then --listen-tls ADDR:PORT and --agent tls:HOST:PORT)";
const IN_DIR: &str =
    "all of it lies in the data directory: --dir, WRENN_DIR or `dir` in wrenn.toml";

const VARIABLES: &[Variable] = &[
    // Of our own, before all of them began alike.
    of(&["up", "server"], "ADDR", Meaning::Address("api.addr")),
    of(
        &["up", "server"],
        "CP_LISTEN_ADDR",
        Meaning::Address("api.addr"),
    ),
    of(
        &["up", "server"],
        "DATABASE_URL",
        Meaning::Key("database.url"),
    ),
    of(
        &["server"],
        "CP_HOST_AGENT_ADDR",
        Meaning::Refused(TRANSPORT),
    ),
    of(&["agent"], "AGENT_LISTEN_ADDR", Meaning::Refused(TRANSPORT)),
    of(
        &["up"],
        "CP_HOST_AGENT_ADDR",
        Meaning::Needless("`wrenn up` has an agent of its own"),
    ),
    of(
        &["up"],
        "AGENT_LISTEN_ADDR",
        Meaning::Needless("`wrenn up` has an agent of its own"),
    ),
    of(
        &["up", "agent"],
        "AGENT_KERNEL_PATH",
        Meaning::Needless(
            "Wrenn brings the guests' kernel itself, and keeps it in the data directory",
        ),
    ),
    of(
        &["up", "agent"],
        "AGENT_IMAGES_PATH",
        Meaning::Needless(IN_DIR),
    ),
    of(
        &["up", "agent"],
        "AGENT_SANDBOXES_PATH",
        Meaning::Needless(IN_DIR),
    ),
    of(
        &["up", "agent"],
        "AGENT_SNAPSHOTS_PATH",
        Meaning::Needless(IN_DIR),
    ),
];

const fn of(of: &'static [&'static str], name: &'static str, meaning: Meaning) -> Variable {
    Variable { name, of, meaning }
}

/// See [`Settings::put_founding`]. The first variable that stands for a key wins.
pub(super) fn put(
    settings: &mut Settings,
    program: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, Advised> {
    let mut told = Vec::new();
    let mut put: Vec<&str> = Vec::new();
    for Variable { name, of, meaning } in VARIABLES {
        let set = variable(name).filter(|value| !value.is_empty() && of.contains(&program));
        let Some(value) = set else { continue };
        match meaning {
            Meaning::Key(key) | Meaning::Address(key) if put.contains(key) => {}
            Meaning::Key(key) => {
                put.push(key);
                settings.put(known(key), value);
            }
            Meaning::Address(key) => {
                put.push(key);
                let key = known(key);
                settings.put(key, meant(name, key, &value)?);
            }
            Meaning::Refused(instead) => {
                return Err(Advised::new(
                    format!("the variable {name} asks for what `wrenn {program}` does not do"),
                    format!("unset it; {instead}"),
                ));
            }
            Meaning::Needless(instead) => told.push(format!("{name} is not used: {instead}")),
        }
    }
    Ok(told)
}

fn known(key: &str) -> &'static Key {
    keys::find(key).unwrap_or_else(|| unreachable!("a key of the table"))
}

/// An address as the founding system wrote it: without a host it is all of the machine's.
fn meant(name: &str, key: &Key, value: &str) -> Result<String, Advised> {
    let address = match value.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => value.to_owned(),
    };
    match (key.read)(&toml::Value::String(address.clone())) {
        Ok(_) => Ok(address),
        Err(_) => Err(Advised::new(
            format!("the variable {name} is no address: {value:?}"),
            format!(
                "write it like 127.0.0.1:8080, or better as WRENN_ADDR or `{}` in wrenn.toml",
                key.name
            ),
        )),
    }
}
