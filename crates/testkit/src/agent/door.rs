//! What becomes of a call that changes a sandbox on its way to the agent, and of the answer on its way back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use super::State;

/// The calls that it is about.
const CHANGING: [&str; 7] = [
    "/CreateSandbox",
    "/DestroySandbox",
    "/PauseSandbox",
    "/ResumeSandbox",
    "/SetNetwork",
    "/CreateSnapshot",
    "/Fork",
];
/// None of them is larger.
const LARGEST: usize = 1 << 20;

/// What happens at the door.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Door {
    /// Who comes is heard, and answered.
    #[default]
    Open,
    /// A call waits for so long before it is heard. Who goes away meanwhile has never been heard.
    In(Duration),
    /// A call is heard twice, and the second answer is given.
    Twice,
    /// What was asked is done, and the answer waits for so long.
    Out(Duration),
    /// What was asked is done, and the answer is lost.
    Lost,
}

/// A call that is held.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn new(held: &'a AtomicUsize) -> Self {
        held.fetch_add(1, Ordering::SeqCst);
        Self(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) async fn pass(state: &State, door: Door, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !CHANGING.iter().any(|call| path.ends_with(call)) {
        return next.run(request).await;
    }
    if let Door::In(time) = door {
        let _held = Held::new(&state.held);
        tokio::time::sleep(time).await;
    }
    let answer = match door {
        Door::Twice => twice(request, next).await,
        _ => next.run(request).await,
    };
    state.done.fetch_add(1, Ordering::SeqCst);
    match door {
        Door::Open | Door::In(_) | Door::Twice => answer,
        Door::Out(time) => {
            let _held = Held::new(&state.held);
            tokio::time::sleep(time).await;
            answer
        }
        Door::Lost => {
            let (head, _) = answer.into_parts();
            let broken = futures::stream::once(async {
                Err::<Vec<u8>, _>(std::io::Error::other("the answer is lost"))
            });
            Response::from_parts(head, Body::from_stream(broken))
        }
    }
}

async fn twice(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    // Who breaks off in the middle has said nothing.
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let again = Request::from_parts(head.clone(), Body::from(body.clone()));
    let first = Request::from_parts(head, Body::from(body));
    drop(next.clone().run(first).await);
    next.run(again).await
}
