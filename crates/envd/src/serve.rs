//! `envd serve`: the server as an ordinary process.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Machine;
use crate::process::{Groups, Processes, Reaper, block_sigchld};
use crate::server::{Server, router, runtime, serve};

const USAGE: &str = "usage: envd serve --listen ADDRESS:PORT --cgroup DIRECTORY\n\
    Serves the guest agent's API on a loopback address. DIRECTORY is made, in a cgroup v2 hierarchy, and removed at the end.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    listen: SocketAddr,
    cgroup: PathBuf,
}

/// Serves until SIGTERM or SIGINT, then ends every command. Prints the address that it listens on.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let options = parse(args).ok_or(USAGE)?;
    block_sigchld()?;
    let reaper = Reaper::start()?;
    let groups = Groups::new(options.cgroup)?;
    let processes = Processes::new(reaper, groups);
    let server = Server::new(processes, Machine::Shared);
    let runtime = runtime()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        println!("{}", listener.local_addr()?);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            never = serve(listener, router(&server)) => match never {},
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    server.processes.groups().clear();
    Ok(())
}

/// Only loopback: before its first `/init` the server obeys whoever comes first.
fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let (mut listen, mut cgroup) = (None, None);
    if args.next()? != "serve" {
        return None;
    }
    while let Some(name) = args.next() {
        let value = args.next()?;
        match name.as_str() {
            "--listen" => {
                let address: Option<SocketAddr> = value.parse().ok();
                listen = address.filter(|address| address.ip().is_loopback());
            }
            "--cgroup" => cgroup = Some(PathBuf::from(value)),
            _ => return None,
        }
    }
    Some(Options {
        listen: listen?,
        cgroup: cgroup?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_command_line_is_taken() {
        let parse = |line: &str| parse(line.split_whitespace().map(str::to_owned));
        assert!(parse("serve --listen 127.0.0.1:0 --cgroup /x").is_some());
        for line in [
            "",
            "serve",
            "serve --listen 127.0.0.1:0",
            "serve --listen 10.0.0.1:1 --cgroup /x",
            "serve --listen 127.0.0.1:0 --cgroup",
            "serve --listen 127.0.0.1:0 --cgroup /x --more y",
            "run --listen 127.0.0.1:0 --cgroup /x",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
