//! The control plane of this installation: its database, its first key, its API.

use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wrenn_control::{AgentAddress, ApiKey, ControlPlane, DatabaseUrl, Limits, OpenError};
use wrenn_sys::durable;

use crate::report::Advised;

/// The database, where no other is named; SQLite has files beside it that begin with its name.
pub(crate) const DATABASE: &str = "wrenn.db";
/// The first API key, as text.
pub(crate) const API_KEY: &str = "api-key";

/// The pause after a look for a database that is away: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Opens the database, over this agent, and lets callers with this key in, beside those of other servers' keys. While
/// PostgreSQL is away it is looked for again and again, and whoever comes to the listener meanwhile is told so.
pub(super) async fn open(
    database: &DatabaseUrl,
    agent: &AgentAddress,
    limits: &Limits,
    first: (&str, &ApiKey),
    listener: &TcpListener,
) -> Result<ControlPlane> {
    let mut meanwhile: Option<Meanwhile> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        match try_open(database, agent, limits, first).await {
            Ok(plane) => {
                if let Some(meanwhile) = meanwhile {
                    meanwhile.end().await;
                    tracing::info!(%database, "the database is there");
                }
                return Ok(plane);
            }
            Err(OpenError::Store(error)) if database.as_file().is_none() && error.is_away() => {
                if meanwhile.is_none() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%database, error, "the database is away; this goes on as soon as it is there");
                    meanwhile = Some(Meanwhile::begin(listener)?);
                }
            }
            Err(error) => return Err(refused(database, error)),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn try_open(
    database: &DatabaseUrl,
    agent: &AgentAddress,
    limits: &Limits,
    (machine, first): (&str, &ApiKey),
) -> Result<ControlPlane, OpenError> {
    let plane = ControlPlane::open(database, agent.clone(), limits.clone()).await?;
    let name = format!("first of {machine}");
    if let Err(error) = plane.keys().register(&name, first).await {
        plane.close().await;
        return Err(error.into());
    }
    Ok(plane)
}

/// What is served until the database is there.
struct Meanwhile {
    serving: JoinHandle<()>,
    over: CancellationToken,
}

impl Meanwhile {
    fn begin(listener: &TcpListener) -> Result<Self> {
        let shared = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        let shared = TcpListener::from_std(shared)?;
        let over = CancellationToken::new();
        let serving = wrenn_http::serve(shared, wrenn_http::waiting(), over.clone());
        Ok(Self {
            serving: tokio::spawn(serving),
            over,
        })
    }

    async fn end(self) {
        self.over.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "callers were not told that the database is away");
        }
    }
}

fn refused(database: &DatabaseUrl, error: OpenError) -> anyhow::Error {
    if let OpenError::Store(refusal) = &error
        && refusal.is_unwritable()
    {
        let message = format!("the database {database} cannot be written");
        return Advised::new(message, "see that its file system is writable and has room")
            .because(error)
            .into();
    }
    let remedy = match database.as_file() {
        Some(_) => {
            "bring it back from a copy; or move it and the `wrenn.db-…` files beside it away: sandboxes that are there are taken into a new one"
        }
        None => {
            "see that the database is there, and that its user is let in: by a password, not by `peer`, where `wrenn up` starts the control plane"
        }
    };
    Advised::new(format!("the database {database} cannot be used"), remedy)
        .because(error)
        .into()
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
