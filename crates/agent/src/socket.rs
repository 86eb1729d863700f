//! Where the RPC is served: a socket in the data directory for root, one for a control plane that is somebody else, and a
//! port for one on another machine ([`crate::tls`]).
//!
//! The RPC is root on the machine. A socket's mode says who may connect, and the mode of its folder keeps everybody else
//! from even finding it; there is no moment at which either stands open.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use wrenn_sys::durable;

use crate::tls::TlsListener;
use crate::{Agent, StartError, service};

/// How long callers have to take their answers once everything was taken down.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A socket for a control plane that runs as another user, in a folder that holds nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSocket {
    /// The socket. Its folder is made where it is missing.
    pub path: PathBuf,
    /// The user that may connect, beside root.
    pub uid: u32,
    /// The group that may enter the folder; that user's own.
    pub gid: u32,
}

/// An agent's sockets: calls wait in them until they are served.
#[derive(Debug)]
pub struct Sockets {
    agent: Agent,
    listeners: Vec<(PathBuf, UnixListener)>,
    tls: Option<TlsListener>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the socket {path} cannot be made")]
    Io { path: PathBuf, source: io::Error },
    #[error("the port for TLS fails")]
    Tls { source: io::Error },
    #[error("another agent serves {path}")]
    Taken { path: PathBuf },
    #[error("{folder} holds other things: the agent's socket needs a folder of its own")]
    Shared { folder: PathBuf },
    #[error(
        "{folder} belongs to somebody else: whoever owns it could put a socket of theirs there"
    )]
    Foreign { folder: PathBuf },
}

impl Agent {
    /// Listens on the data directory's socket, and on the control plane's own where it has one.
    ///
    /// # Errors
    /// When a socket cannot be made, or its folder is no place for it.
    pub fn listen(&self, server: Option<&ServerSocket>) -> Result<Sockets, StartError> {
        let mut sockets = Sockets {
            agent: self.clone(),
            listeners: Vec::new(),
            tls: None,
        };
        let own = self.host.data.socket();
        sockets.add(own, bind).map_err(StartError::because)?;
        if let Some(server) = server {
            let path = server.path.clone();
            sockets
                .add(path, |_| bind_for(server))
                .map_err(StartError::because)?;
        }
        Ok(sockets)
    }

    /// Listens on the data directory's socket alone and serves, as [`Sockets::serve`] does.
    ///
    /// # Errors
    /// When the socket cannot be made, or fails for good.
    pub async fn serve(&self, shutdown: CancellationToken) -> Result<(), StartError> {
        self.listen(None)?.serve(shutdown).await
    }

    /// The user id that is set aside for this installation's control plane: no slot has the number 0.
    #[must_use]
    pub fn server_uid(&self) -> u32 {
        self.host.uid(0)
    }
}

impl Sockets {
    fn add(
        &mut self,
        path: PathBuf,
        bind: impl FnOnce(&Path) -> Result<UnixListener, Error>,
    ) -> Result<(), Error> {
        let listener = bind(&path)?;
        self.listeners.push((path, listener));
        Ok(())
    }

    /// Serves this port, too.
    #[must_use]
    pub fn with_tls(mut self, listener: TlsListener) -> Self {
        self.tls = Some(listener);
        self
    }

    /// Serves until `shutdown`, or until everything was taken down. Sandboxes go on running afterwards.
    ///
    /// # Errors
    /// When a listener fails for good.
    pub async fn serve(mut self, shutdown: CancellationToken) -> Result<(), StartError> {
        let over_tls = self.tls.take();
        let over_tls = over_tls.map(|listener| self.on(listener, &shutdown));
        let listeners = std::mem::take(&mut self.listeners);
        let served = listeners.into_iter().map(|(path, listener)| {
            let served = self.on(listener, &shutdown);
            async move {
                let served = served.await;
                // A path that nobody listens on would only mislead.
                drop(durable::remove(&path));
                served.map_err(|source| StartError::because(Error::Io { path, source }))
            }
        });
        let over_tls = async {
            match over_tls {
                Some(served) => served
                    .await
                    .map_err(|source| StartError::because(Error::Tls { source })),
                None => Ok(()),
            }
        };
        futures::try_join!(futures::future::try_join_all(served), over_tls).map(drop)
    }

    /// The RPC on one listener.
    fn on<L>(
        &self,
        listener: L,
        shutdown: &CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + use<L>
    where
        L: Listener<Addr: std::fmt::Debug>,
    {
        let (down, shutdown) = (self.agent.down.clone(), shutdown.clone());
        let gone = down.clone();
        let table = self.agent.table.clone();
        let ended = async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = down.cancelled() => {}
            }
            table.news().end();
        };
        let answers_taken = async move {
            gone.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        let router = service::router(self.agent.clone());
        async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(ended);
            tokio::select! {
                served = serving => served,
                // Nothing is left that could be asked for. Whoever takes no answer holds up nobody.
                () = answers_taken => Ok(()),
            }
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for (path, _) in &self.listeners {
            drop(durable::remove(path));
        }
    }
}

/// Only root may connect, and the folder is root's alone.
fn bind(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    durable::remove(path).map_err(failed)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// The same for one more user, in a folder that stays root's: its user can neither remove nor replace the socket.
fn bind_for(server: &ServerSocket) -> Result<UnixListener, Error> {
    let failed = |source| Error::Io {
        path: server.path.clone(),
        source,
    };
    let nowhere = || failed(io::Error::other("its path has no folder"));
    let folder = server.path.parent().ok_or_else(nowhere)?;
    // Until it is given to the group, nobody else gets in.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    check_folder(folder, &server.path)?;
    // The data directory is locked, but this path may be any.
    if std::os::unix::net::UnixStream::connect(&server.path).is_ok() {
        let path = server.path.clone();
        return Err(Error::Taken { path });
    }
    let listener = bind(&server.path)?;
    chown(&server.path, Some(server.uid), Some(server.gid)).map_err(failed)?;
    chown(folder, None, Some(server.gid)).map_err(failed)?;
    fs::set_permissions(folder, Permissions::from_mode(0o710)).map_err(failed)?;
    Ok(listener)
}

/// A folder that others use must not have its mode changed, and one that is not ours must not be trusted.
fn check_folder(folder: &Path, socket: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    let meta = fs::symlink_metadata(folder).map_err(failed)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        let folder = folder.to_owned();
        return Err(Error::Foreign { folder });
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        if entry.map_err(failed)?.path() != socket {
            let folder = folder.to_owned();
            return Err(Error::Shared { folder });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn socket(folder: &Path) -> ServerSocket {
        ServerSocket {
            path: folder.join("agent.sock"),
            uid: 1_234_567,
            gid: 1_234_568,
        }
    }

    #[tokio::test]
    async fn the_socket_is_one_users_and_its_folder_stays_ours() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/rpc");
        let socket = socket(&folder);
        // The second time it replaces what a former agent left.
        for _ in 0..2 {
            drop(bind_for(&socket).unwrap());
        }
        let _listener = bind_for(&socket).unwrap();
        let (file, parent) = (
            fs::metadata(&socket.path).unwrap(),
            fs::metadata(&folder).unwrap(),
        );
        assert_eq!((file.uid(), file.gid()), (socket.uid, socket.gid));
        assert_eq!(file.mode() & 0o7777, 0o600);
        assert_eq!((parent.uid(), parent.gid()), (0, socket.gid));
        assert_eq!(parent.mode() & 0o7777, 0o710);
        assert!(UnixStream::connect(&socket.path).is_ok(), "root may");
        assert!(matches!(bind_for(&socket), Err(Error::Taken { .. })));
    }

    #[tokio::test]
    async fn a_folder_that_others_use_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("run");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
        fs::write(shared.join("other"), "").unwrap();
        let refused = bind_for(&socket(&shared)).unwrap_err();
        assert!(matches!(refused, Error::Shared { .. }), "{refused}");
        assert_eq!(fs::metadata(&shared).unwrap().mode() & 0o7777, 0o755);

        let foreign = dir.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        chown(&foreign, Some(1_234_567), None).unwrap();
        let refused = bind_for(&socket(&foreign)).unwrap_err();
        assert!(matches!(refused, Error::Foreign { .. }), "{refused}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&foreign, &link).unwrap();
        assert!(matches!(
            bind_for(&socket(&link)),
            Err(Error::Foreign { .. })
        ));
    }
}
