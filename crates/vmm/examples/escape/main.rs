//! A program in the VMM's place, for `tests/jail`: it tries to get out of the jail, and says as JSON what came of it.
//!
//! `escape look HOST_PID` tries everything once, `escape fork` and `escape memory` take all that there is of one thing,
//! `escape whoami` says who it is.
#![allow(
    unsafe_code,
    reason = "it calls the kernel past every wrapper that would stop it"
)]

mod attempts;
mod calls;
mod kernel;
mod surroundings;

use serde_json::{Value, json};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let said = match args.get(1).map(String::as_str) {
        Some("look") => look(args.get(2).and_then(|pid| pid.parse().ok()).unwrap_or(1)),
        Some("fork") => fork_until_refused(),
        Some("memory") => take_memory(),
        Some("whoami") => json!(rustix::process::geteuid().as_raw()),
        _ => json!("what?"),
    };
    println!("{said}");
}

fn look(host_pid: i32) -> Value {
    json!({
        "surroundings": surroundings::all(),
        "files": surroundings::files(),
        "calls": calls::named(host_pid),
        "list": calls::list(),
        "sockets": attempts::sockets(),
        "requests": attempts::requests(),
        "opens": attempts::opens(),
        "others": attempts::others(host_pid),
        "allowed": attempts::allowed(),
    })
}

/// Children that stay, until there can be no more.
fn fork_until_refused() -> Value {
    let mut children = Vec::new();
    let why = loop {
        // SAFETY: This process has one thread; the child makes one call, which needs nothing of it.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: It takes nothing and touches nothing.
                unsafe { libc::pause() };
            },
            -1 => break nix::errno::Errno::last(),
            child => children.push(child),
        }
    };
    for child in &children {
        // SAFETY: A number and a signal, no memory.
        unsafe { libc::kill(*child, libc::SIGKILL) };
    }
    json!({ "children": children.len(), "why": format!("{why:?}") })
}

/// Does not return when there is a limit.
fn take_memory() -> Value {
    let mut taken = Vec::new();
    for _ in 0..1024 {
        taken.push(vec![1_u8; 1 << 20]);
    }
    json!({ "mebibytes": taken.len() })
}
