//! `wrenn sandbox get`.

use anyhow::Result;
use serde_json::Value;
use wrenn_client::Client;

use crate::terminal::{escaped_cell, print_json, print_line};

pub(super) async fn run(client: &Client, id: &str, json: bool) -> Result<()> {
    let sandbox = client.sandbox(id).await?;
    if json {
        return print_json(&sandbox);
    }
    let Value::Object(fields) = serde_json::to_value(&sandbox)? else {
        anyhow::bail!("the sandbox is no object");
    };
    for (name, value) in &fields {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        print_line(&format!("{name:14}  {}", escaped_cell(&text)))?;
    }
    Ok(())
}
