//! `wrenn sandbox console`.

use std::io::Write;

use anyhow::Result;
use serde_json::json;
use wrenn_client::Client;

use crate::terminal::{Escaper, print_json, stdout_is_terminal};

pub(super) async fn run(client: &Client, id: &str, json: bool) -> Result<()> {
    let console = client.console(id).await?;
    if json {
        return print_json(&json!({ "console": String::from_utf8_lossy(&console) }));
    }
    let mut stdout = std::io::stdout().lock();
    if stdout_is_terminal() {
        let mut escaper = Escaper::default();
        stdout.write_all(escaper.push(&console).as_bytes())?;
        stdout.write_all(escaper.finish().as_bytes())?;
    } else {
        stdout.write_all(&console)?;
    }
    Ok(stdout.flush()?)
}
