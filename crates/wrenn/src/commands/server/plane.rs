//! The control plane of this installation: its database, its first key, its API.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wrenn_control::{AgentAddress, ApiKey, ControlPlane, DatabaseUrl, Limits};
use wrenn_sys::durable;

use crate::report::Advised;

/// The database, where no other is named; SQLite has files beside it that begin with its name.
pub(crate) const DATABASE: &str = "wrenn.db";
/// The first API key, as text.
pub(crate) const API_KEY: &str = "api-key";

/// Opens the database, over this agent, and lets callers with this key in, beside those of other servers' keys.
pub(super) async fn open(
    database: &DatabaseUrl,
    agent: AgentAddress,
    first: &ApiKey,
    machine: &str,
) -> Result<ControlPlane> {
    let plane = ControlPlane::open(database, agent, Limits::default())
        .await
        .map_err(|error| {
            let remedy = match database.as_file() {
                Some(_) => "bring it back from a copy; or move it and the `wrenn.db-…` files beside it away: sandboxes that are there are taken into a new one",
                None => "see that PostgreSQL runs there, that the database is there, and that its user is let in: by a password, not by `peer`, where `wrenn up` starts the control plane",
            };
            Advised::new(format!("the database {database} cannot be used"), remedy).because(error)
        })?;
    plane
        .keys()
        .register(&format!("first of {machine}"), first)
        .await
        .map_err(|error| {
            Advised::new(
                format!("the database {database} cannot be written"),
                "see that its file system is writable and has room",
            )
            .because(error)
        })?;
    Ok(plane)
}

/// Serves the API until `shutdown`, then ends what is under way.
pub(super) async fn serve(plane: ControlPlane, listener: TcpListener, shutdown: CancellationToken) {
    wrenn_http::serve(
        listener,
        wrenn_http::router(plane.clone(), shutdown.clone()),
        shutdown,
    )
    .await;
    plane.close().await;
}

/// The key in the file, which is made once.
pub(crate) fn key(path: &Path) -> Result<ApiKey> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse::<ApiKey>().map_err(|error| {
            Advised::new(
                format!("{} holds no API key", path.display()),
                "remove it, and the next start makes a new one",
            )
            .because(error)
            .into()
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = ApiKey::random();
            durable::write(path, format!("{}\n", key.reveal()).as_bytes(), 0o600)
                .with_context(|| format!("the API key cannot be written to {}", path.display()))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(API_KEY);
        let made = key(&path).unwrap();
        assert_eq!(key(&path).unwrap(), made);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(&path, "something else").unwrap();
        assert!(key(&path).is_err());
    }
}
