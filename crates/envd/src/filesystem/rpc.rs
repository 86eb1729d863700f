//! The Connect handlers.

use std::path::PathBuf;
use std::sync::Arc;

use connectrpc::{
    ConnectError, Encodable, ErrorCode, RequestContext, Response, ServiceRequest, ServiceResult,
    ServiceStream,
};
use wrenn_envd_api::filesystem::{
    CreateWatcherRequest, CreateWatcherResponse, Filesystem as Rpc, GetWatcherEventsRequest,
    GetWatcherEventsResponse, ListDirRequest, ListDirResponse, MakeDirRequest, MakeDirResponse,
    MoveRequest, MoveResponse, RemoveRequest, RemoveResponse, RemoveWatcherRequest,
    RemoveWatcherResponse, StatRequest, StatResponse, WatchDirRequest, WatchDirResponse,
};

use super::ops::{self, OpError};
use crate::caller;
use crate::session::Sessions;
use crate::users::{Accounts, User};

/// What is served.
#[derive(Debug)]
pub(crate) struct FilesystemService {
    sessions: Arc<Sessions>,
}

/// What each operation needs to know of its caller.
struct Caller {
    user: User,
    accounts: Accounts,
}

impl FilesystemService {
    /// Serves the callers of the current session.
    pub(crate) fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
    }

    fn user(&self, ctx: &RequestContext) -> Result<User, ConnectError> {
        let session = self.sessions.current();
        let session =
            session.ok_or_else(|| ConnectError::unavailable("the guest is not initialised"))?;
        caller::user(ctx.headers(), None, &session).map_err(|error| crate::errors::rpc_user(&error))
    }

    /// Runs a blocking operation as the caller's.
    async fn run<T: Send + 'static>(
        &self,
        ctx: &RequestContext,
        work: impl FnOnce(&Caller) -> Result<T, OpError> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let user = self.user(ctx)?;
        let work = move || {
            let accounts =
                Accounts::read().map_err(|error| OpError::Io(PathBuf::from("/etc"), error))?;
            work(&Caller { user, accounts })
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| ConnectError::internal("the operation broke off"))?
            .map_err(|error| refused(&error))
    }
}

impl Caller {
    fn path(&self, path: &str) -> PathBuf {
        crate::paths::resolve(path, &self.user.home)
    }
}

#[allow(
    refining_impl_trait,
    reason = "the generated trait leaves the answer's type open on purpose"
)]
impl Rpc for FilesystemService {
    async fn stat(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, StatRequest>,
    ) -> ServiceResult<impl Encodable<StatResponse> + Send + use<>> {
        let path = named(request.path)?;
        let entry = self
            .run(&ctx, move |caller| {
                ops::stat(&caller.path(&path), &caller.accounts)
            })
            .await?;
        Response::ok(StatResponse {
            entry: Some(entry).into(),
            ..Default::default()
        })
    }

    async fn make_dir(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, MakeDirRequest>,
    ) -> ServiceResult<impl Encodable<MakeDirResponse> + Send + use<>> {
        let path = named(request.path)?;
        let made = self.run(&ctx, move |caller| {
            let path = caller.path(&path);
            ops::make_dir(&path, &caller.user)?;
            ops::stat(&path, &caller.accounts)
        });
        Response::ok(MakeDirResponse {
            entry: Some(made.await?).into(),
            ..Default::default()
        })
    }

    async fn r#move(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, MoveRequest>,
    ) -> ServiceResult<impl Encodable<MoveResponse> + Send + use<>> {
        let (source, destination) = (named(request.source)?, named(request.destination)?);
        let moved = self.run(&ctx, move |caller| {
            let destination = caller.path(&destination);
            ops::rename(&caller.path(&source), &destination, &caller.user)?;
            ops::stat(&destination, &caller.accounts)
        });
        Response::ok(MoveResponse {
            entry: Some(moved.await?).into(),
            ..Default::default()
        })
    }

    async fn list_dir(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, ListDirRequest>,
    ) -> ServiceResult<impl Encodable<ListDirResponse> + Send + use<>> {
        let (path, depth) = (named(request.path)?, request.depth);
        let entries = self
            .run(&ctx, move |caller| {
                ops::list(&caller.path(&path), depth, &caller.accounts)
            })
            .await?;
        Response::ok(ListDirResponse {
            entries,
            ..Default::default()
        })
    }

    async fn remove(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, RemoveRequest>,
    ) -> ServiceResult<RemoveResponse> {
        let path = named(request.path)?;
        self.run(&ctx, move |caller| ops::remove(&caller.path(&path)))
            .await?;
        Response::ok(RemoveResponse::default())
    }

    async fn watch_dir(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, WatchDirRequest>,
    ) -> ServiceResult<ServiceStream<WatchDirResponse>> {
        Err(no_watching())
    }

    async fn create_watcher(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, CreateWatcherRequest>,
    ) -> ServiceResult<CreateWatcherResponse> {
        Err(no_watching())
    }

    async fn get_watcher_events(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, GetWatcherEventsRequest>,
    ) -> ServiceResult<GetWatcherEventsResponse> {
        Err(no_watching())
    }

    async fn remove_watcher(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, RemoveWatcherRequest>,
    ) -> ServiceResult<RemoveWatcherResponse> {
        Err(no_watching())
    }
}

fn no_watching() -> ConnectError {
    ConnectError::unimplemented("watching directories is not supported yet")
}

fn named(path: &str) -> Result<String, ConnectError> {
    if path.is_empty() || path.contains('\0') {
        return Err(ConnectError::invalid_argument(
            "no path was given, or one with a NUL byte",
        ));
    }
    Ok(path.to_owned())
}

fn refused(error: &OpError) -> ConnectError {
    let code = match error {
        OpError::NotDirectory(_) => ErrorCode::InvalidArgument,
        OpError::Exists(_) => ErrorCode::AlreadyExists,
        OpError::TooMany(_) => ErrorCode::ResourceExhausted,
        OpError::Io(_, source) => match source.kind() {
            std::io::ErrorKind::NotFound => ErrorCode::NotFound,
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                ErrorCode::PermissionDenied
            }
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorCode::ResourceExhausted
            }
            std::io::ErrorKind::AlreadyExists => ErrorCode::AlreadyExists,
            _ => ErrorCode::InvalidArgument,
        },
    };
    ConnectError::new(code, crate::errors::chain(error))
}
