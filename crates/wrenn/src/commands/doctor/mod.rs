//! `wrenn doctor`: what of this machine helps, hinders or endangers sandboxes, and what to do about it.
//!
//! Each area looks (facts, with whatever rights the caller has) and then judges them (a pure function). Nothing is
//! changed, nothing is started but programs that tell their version, so that it can be asked at any time.

mod exposure;
mod finding;
mod firewalls;
mod folder;
mod joined;
mod kernel;
mod machines;
mod network;
mod packages;
mod room;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Globals;
use crate::terminal::{print_json, print_line};
use finding::{Area, Report};

/// Looks everywhere and tells; fails when something makes sandboxes impossible.
pub(crate) async fn run(globals: &Globals) -> Result<ExitCode> {
    let machines = machines::Facts::look(&globals.cache).await;
    let network = network::Facts::look(&globals.dir).await;
    let dir = globals.dir.clone();
    let (kernel, exposure, room, joined) = tokio::task::spawn_blocking(move || {
        (
            kernel::Facts::look(),
            exposure::Facts::look(),
            room::Facts::look(&dir),
            joined::Facts::look(&dir),
        )
    })
    .await?;
    let mut reached = network.judge();
    reached.extend(joined.judge());
    let report = Report::new(vec![
        Area::new("Virtual machines", machines.judge()),
        Area::new("Kernel", kernel.judge()),
        Area::new("Isolation", exposure.judge()),
        Area::new("Network", reached),
        Area::new("Room", room.judge()),
    ]);
    if globals.json {
        print_json(&report)?;
    } else {
        print_line(report.to_string().trim_end())?;
    }
    Ok(ExitCode::from(u8::from(report.problems > 0)))
}

/// What everybody may see of a file of the kernel's, without its last line feed; `None` when it isn't there.
fn told(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}
