//! Which request is being worked on: a word for the logs of all who have a part in it, the agent's among them; and when it came,
//! since those who came first are served first.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;
use wrenn_model::RequestId;

tokio::task_local! {
    static CURRENT: Request;
}

#[derive(Debug, Clone)]
struct Request {
    id: RequestId,
    came: Instant,
}

/// Does the work of a request that has just come: what is logged meanwhile says for which, and so does what the agent is asked.
/// Without an id it is just done.
pub async fn within<F: Future>(id: Option<RequestId>, work: F) -> F::Output {
    let came = Instant::now();
    scoped(id.map(|id| Request { id, came }), work).await
}

/// Work for a task of its own, which would no longer know for which request it is done, nor its place in a trace.
pub(crate) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let request = CURRENT.try_with(Clone::clone).ok();
    scoped(request, wrenn_traces::carried(work))
}

async fn scoped<F: Future>(request: Option<Request>, work: F) -> F::Output {
    let Some(request) = request else {
        return work.await;
    };
    let span = tracing::info_span!("request", id = %request.id);
    CURRENT.scope(request, work.instrument(span)).await
}

/// The one that is being worked on, if any is.
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(|request| request.id.clone()).ok()
}

/// How long ago it came.
pub(crate) fn age() -> Option<Duration> {
    CURRENT.try_with(|request| request.came.elapsed()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_is_known_in_its_work_and_in_the_tasks_of_it() {
        assert_eq!((current(), age()), (None, None));
        let id: RequestId = "req-1".parse().unwrap();
        let seen = within(Some(id.clone()), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let carried = tokio::spawn(carried(async { (current(), age()) })).await;
            let left = tokio::spawn(async { (current(), age()) }).await;
            ((current(), age()), carried.unwrap(), left.unwrap())
        });
        let here = (Some(id), Some(Duration::from_secs(3)));
        assert_eq!(seen.await, (here.clone(), here, (None, None)));
    }
}
