//! What `wrenn up` says once it serves.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use crate::terminal::{print_json, print_line};

/// Where everything is, and the two commands to try first.
pub(super) fn serving(
    address: SocketAddr,
    data: &Path,
    isolation: &str,
    as_json: bool,
) -> anyhow::Result<()> {
    let url = format!("http://{address}");
    let key = data.join("api-key");
    if as_json {
        return print_json(&json!({ "url": url, "api_key_file": key, "isolation": isolation }));
    }
    let key = key.display();
    print_line(&format!(
        r#"
Wrenn serves on {url} (the contract: {url}/docs)
The API key is in {key}
{wall}
Make a sandbox, then run a command in it:

  export WRENN_API_KEY=$(cat {key})
  ID=$(curl -sS -H "X-API-Key: $WRENN_API_KEY" -H 'Content-Type: application/json' \
    -d '{{"template": "minimal"}}' {url}/v1/sandboxes | grep -o 'sb-[a-z0-9]\{{20\}}' | head -1)
  curl -sS -H "X-API-Key: $WRENN_API_KEY" -H 'Content-Type: application/json' \
    -d '{{"cmd": "uname", "args": ["-a"]}}' {url}/v1/sandboxes/$ID/exec

Ctrl-C stops Wrenn and leaves the sandboxes running; `wrenn down` ends them.
"#,
        wall = wall(isolation),
    ))
}

/// What separates guests from this machine, in a sentence.
fn wall(isolation: &str) -> &'static str {
    match isolation {
        "kvm" => "Sandboxes are virtual machines under KVM, each VMM in a jail.",
        _ => {
            "KVM does not work here: sandboxes are emulated, several times slower, and the jail around the emulator \
             is the wall (README.md, \"Isolation\")."
        }
    }
}

/// What stays behind when Wrenn stops.
pub(super) fn stopped(running: usize, data: &Path) -> anyhow::Result<()> {
    let down = format!("`wrenn down --dir {}`", data.display());
    print_line(&match running {
        0 => "Wrenn has stopped; no sandbox is running.".to_owned(),
        1 => format!(
            "Wrenn has stopped. 1 sandbox goes on running; start Wrenn again to use it, or end it with {down}."
        ),
        n => format!(
            "Wrenn has stopped. {n} sandboxes go on running; start Wrenn again to use them, or end them with {down}."
        ),
    })
}
