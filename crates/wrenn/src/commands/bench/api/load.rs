//! Calls at a rate. They begin when it is their time, whatever became of those before, as callers do who know nothing of each
//! other; and are measured from that time, so that a server that falls behind shows it in every call that waits.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

/// Makes `count` calls, `rate` of them a second. Each gives how long it took from the moment when it should have begun.
///
/// Each is made when it is its time. Thousands of timers that are set ahead are sorted by the runtime every four seconds, in which
/// nothing begins, and what was due begins at once.
pub(super) async fn run<T, C>(
    rate: u32,
    count: u32,
    mut call: impl FnMut() -> C,
) -> Vec<anyhow::Result<(Duration, T)>>
where
    T: Send + 'static,
    C: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..count {
        let due = begun + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due).await;
        let call = call();
        calls.spawn(async move {
            let answer = call.await?;
            Ok((due.elapsed(), answer))
        });
    }
    calls.join_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_measured_from_when_it_was_due() {
        let one_at_a_time = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
        let calls = run(10, 10, || {
            let turn = one_at_a_time.clone();
            async move {
                let _turn = turn.acquire().await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(())
            }
        });
        let calls = calls.await.into_iter();
        let times: Vec<u128> = calls.map(|call| call.unwrap().0.as_millis()).collect();
        // Each takes twice what there is between two: the n-th has waited for n of them.
        let expected: Vec<u128> = (0..10).map(|n| 200 + 100 * n).collect();
        assert!(
            times
                .iter()
                .zip(&expected)
                .all(|(took, due)| took.abs_diff(*due) < 5),
            "{times:?}"
        );
    }
}
