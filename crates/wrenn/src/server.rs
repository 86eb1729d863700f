//! The way to the server: its address and the key, from flags, the environment or the data directory.

use std::io::ErrorKind;

use anyhow::Result;
use wrenn_client::Client;

use crate::cli::Globals;
use crate::report::Advised;

/// A client of the server that the globals name.
pub(crate) fn client(globals: &Globals) -> Result<Client> {
    let key = match &globals.api_key {
        Some(key) => key.clone(),
        None => key_file(globals)?,
    };
    Ok(Client::new(&globals.url, Some(&key))?)
}

fn key_file(globals: &Globals) -> Result<String> {
    let path = globals.dir.join("api-key");
    let advise = |message, remedy: &str| Advised::new(message, remedy);
    let failed = |error: std::io::Error| {
        let shown = path.display();
        match error.kind() {
            ErrorKind::NotFound => advise(
                format!("there is no API key: none was given, and {shown} does not exist"),
                "start Wrenn with `wrenn up`, which makes it; or give --api-key, WRENN_API_KEY, or the server's --dir",
            ),
            ErrorKind::PermissionDenied => advise(
                format!("the API key in {shown} is readable for root alone"),
                "run this as root, or give --api-key or WRENN_API_KEY",
            ),
            _ => advise(format!("the API key in {shown} cannot be read"), "give --api-key or WRENN_API_KEY"),
        }
        .because(error)
    };
    let key = std::fs::read_to_string(&path).map_err(failed)?;
    Ok(key.trim().to_owned())
}
