//! The way to the server: its address and the key, from flags, the environment or the data directory.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Result;
use wrenn_client::Client;

use crate::cli::{Globals, STATE};
use crate::report::Advised;

/// A client of the server that the globals name.
pub(crate) fn client(globals: &Globals) -> Result<Client> {
    let key = match &globals.api_key {
        Some(key) => key.clone(),
        None => key_file(globals)?,
    };
    Ok(Client::new(&globals.url, Some(&key))?)
}

/// The key that a server of this machine made at its first start: `wrenn up` in the data directory, `wrenn server` in its own
/// folder.
fn key_file(globals: &Globals) -> Result<String> {
    let state = globals.state.as_deref().unwrap_or(Path::new(STATE));
    let paths = [&*globals.dir, state].map(|folder| folder.join("api-key"));
    for path in &paths {
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => {
                return read
                    .map(|key| key.trim().to_owned())
                    .map_err(|error| unreadable(path, error));
            }
        }
    }
    let [first, second] = paths.each_ref().map(|path| path.display());
    Err(Advised::new(
        format!("there is no API key: none was given, and neither {first} nor {second} exists"),
        "start Wrenn with `wrenn up`, which makes it; or give --api-key, WRENN_API_KEY, or the server's --dir",
    )
    .into())
}

fn unreadable(path: &Path, error: std::io::Error) -> anyhow::Error {
    let shown = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied => Advised::new(
            format!("the API key in {shown} is readable for root alone"),
            "run this as root, or give --api-key or WRENN_API_KEY",
        ),
        _ => Advised::new(
            format!("the API key in {shown} cannot be read"),
            "give --api-key or WRENN_API_KEY",
        ),
    }
    .because(error)
    .into()
}
