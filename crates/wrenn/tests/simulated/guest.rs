//! A guest's agent without a guest: it answers on a pipe in memory for as long as its machine runs.

use std::convert::Infallible;
use std::io;
use std::time::UNIX_EPOCH;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use wrenn_envd_api::{InitRequest, header};
use wrenn_model::VmId;
use wrenn_vmm::RunState;

use super::world::World;

const PIPE: usize = 64 << 10;

/// A connection to the guest of this machine. Nothing answers while there is none.
pub(crate) async fn connect(world: World, id: VmId) -> io::Result<DuplexStream> {
    runs(&world, &id).await;
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let answer = service_fn(move |request| {
        let (world, id) = (world.clone(), id.clone());
        async move {
            runs(&world, &id).await;
            Ok::<_, Infallible>(answer(&world, &id, request).await)
        }
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), answer);
    tokio::spawn(served);
    Ok(ours)
}

/// Waits until the machine's guest can do something; for ever when it is gone.
async fn runs(world: &World, id: &VmId) {
    loop {
        let changed = match world.lock().machines.get(id) {
            Some(machine) if machine.ended.is_some() => None,
            Some(machine) if machine.booted && machine.run == RunState::Running => return,
            Some(machine) => Some(machine.changed.clone().notified_owned()),
            None => None,
        };
        match changed {
            Some(changed) => changed.await,
            None => std::future::pending().await,
        }
    }
}

async fn answer(world: &World, id: &VmId, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let status = match request.uri().path() {
        "/init" => init(world, id, request).await,
        "/sync" | "/health" => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    };
    let now = wrenn_sys::wall::now().duration_since(UNIX_EPOCH);
    Response::builder()
        .status(status)
        .header(header::GUEST_TIME, now.unwrap().as_nanos().to_string())
        .body(Full::default())
        .unwrap()
}

/// Takes token and next key from who has the key.
async fn init(world: &World, id: &VmId, request: Request<Incoming>) -> StatusCode {
    let offered = request.headers().get(header::INIT_KEY);
    let offered = offered.and_then(|key| key.to_str().ok()).map(str::to_owned);
    let Ok(body) = request.into_body().collect().await else {
        return StatusCode::BAD_REQUEST;
    };
    let Ok(request) = serde_json::from_slice::<InitRequest>(&body.to_bytes()) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut state = world.lock();
    let Some(machine) = state.machines.get_mut(id) else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let memory = &mut machine.memory;
    if memory.key.is_some() && memory.key != offered {
        let sandbox = machine.sandbox.clone();
        state.tell(&format!(
            "{sandbox}: the guest was shown a key that it does not know"
        ));
        return StatusCode::UNAUTHORIZED;
    }
    if let Some(token) = request.access_token {
        memory.token = Some(token.expose().to_owned());
    }
    if let Some(key) = request.next_init_key {
        memory.key = Some(key.expose().to_owned());
    }
    state.events += 1;
    StatusCode::NO_CONTENT
}
