//! `wrenn doctor`: what of this machine helps, hinders or endangers sandboxes, and what to do about it.
//!
//! Each area looks (facts, with whatever rights the caller has) and then judges them (a pure function). Nothing is
//! changed, nothing is started but programs that tell their version, so that it can be asked at any time.
//!
//! `--production` asks more of the same facts, by a list of lines.

pub(crate) mod checklist;
mod exposure;
mod finding;
mod firewalls;
mod folder;
mod joined;
mod kernel;
mod machines;
mod network;
mod packages;
mod path;
mod room;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{DoctorArgs, Globals};
use crate::terminal::{print_json, print_line};
use finding::{Area, Question, Report};

/// Looks everywhere and tells; fails when something makes sandboxes impossible, or a line of the checklist is not met.
pub(crate) async fn run(globals: &Globals, args: &DoctorArgs) -> Result<ExitCode> {
    let facts = Facts::look(globals).await?;
    let report = if args.production {
        let lines = facts.checklist(&args.accept);
        Report::new(Question::Production, vec![Area::new("Hardening", lines)])
    } else {
        Report::new(Question::Sandboxes, facts.areas())
    };
    if globals.json {
        print_json(&report)?;
    } else {
        print_line(report.to_string().trim_end())?;
    }
    Ok(ExitCode::from(u8::from(!report.is_well())))
}

/// What was seen, by area.
#[derive(Debug)]
struct Facts {
    machines: machines::Facts,
    path: path::Facts,
    kernel: kernel::Facts,
    exposure: exposure::Facts,
    network: network::Facts,
    joined: joined::Facts,
    room: room::Facts,
    hardening: checklist::Facts,
}

impl Facts {
    async fn look(globals: &Globals) -> Result<Self> {
        let machines = machines::Facts::look(&globals.cache).await;
        let path = path::Facts::look().await;
        let network = network::Facts::look(&globals.dir).await;
        let dir = globals.dir.clone();
        let looked = tokio::task::spawn_blocking(move || Self {
            machines,
            path,
            network,
            kernel: kernel::Facts::look(),
            exposure: exposure::Facts::look(),
            room: room::Facts::look(&dir),
            joined: joined::Facts::look(&dir),
            hardening: checklist::Facts::look(&dir),
        });
        Ok(looked.await?)
    }

    fn areas(&self) -> Vec<Area> {
        let mut reached = self.network.judge();
        reached.extend(self.joined.judge());
        let path = self
            .path
            .judge(self.machines.has_kvm(), self.machines.by_qemu());
        vec![
            Area::new("Virtual machines", self.judge_machines()),
            Area::new("Production path", path),
            Area::new("Kernel", self.kernel.judge()),
            Area::new("Isolation", self.exposure.judge()),
            Area::new("Network", reached),
            Area::new("Room", self.room.judge()),
        ]
    }

    fn judge_machines(&self) -> Vec<finding::Finding> {
        let firecracker = self.path.is_whole(self.machines.has_kvm());
        self.machines.judge(firecracker)
    }

    fn checklist(&self, accepted: &[String]) -> Vec<finding::Finding> {
        let found = vec![
            self.hardening.judge(),
            self.path.hardening(),
            self.path.parts(),
            self.judge_machines(),
            self.kernel.judge(),
            self.exposure.judge(),
            self.network.judge(),
            self.room.judge(),
        ];
        checklist::lines(found, accepted)
    }
}

/// What everybody may see of a file of the kernel's, without its last line feed; `None` when it isn't there.
fn told(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}
