//! The fake agent as a program, for what takes a control plane of its own over it, as `wrenn bench api` does:
//! `fake_agent SOCKET` serves there until it is ended.

use std::path::Path;

use wrenn_testkit::agent::FakeAgent;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = std::env::args_os()
        .nth(1)
        .ok_or("usage: fake_agent SOCKET")?;
    let agent = FakeAgent::start(Path::new(&socket))?;
    agent.set(|knobs| knobs.tells = true);
    std::future::pending::<()>().await;
    Ok(())
}
