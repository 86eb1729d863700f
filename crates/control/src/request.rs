//! Which request is being worked on: a word for the logs of all who have a part in it, the agent's among them.

use tracing::Instrument as _;
use wrenn_model::RequestId;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// Does the work of a request: what is logged meanwhile says for which, and so does what the agent is asked. Without an id
/// it is just done.
pub async fn within<F: Future>(id: Option<RequestId>, work: F) -> F::Output {
    let Some(id) = id else {
        return work.await;
    };
    let span = tracing::info_span!("request", %id);
    CURRENT.scope(id, work.instrument(span)).await
}

/// Work for a task of its own, which would no longer know for which request it is done, nor its place in a trace.
pub(crate) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    within(current(), wrenn_traces::carried(work))
}

/// The one that is being worked on, if any is.
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_known_in_its_work_and_in_the_tasks_of_it() {
        assert_eq!(current(), None);
        let id: RequestId = "req-1".parse().unwrap();
        let seen = within(Some(id.clone()), async {
            let carried = tokio::spawn(carried(async { current() })).await.unwrap();
            let left = tokio::spawn(async { current() }).await.unwrap();
            (current(), carried, left)
        });
        assert_eq!(seen.await, (Some(id.clone()), Some(id), None));
    }
}
