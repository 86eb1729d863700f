//! The wall clock, as agent and control plane read it.
//!
//! A simulation pauses tokio's clock and moves it by itself, hours at a time. The wall clock goes along there: otherwise it
//! would look as if somebody had set it back, by hours and all the time.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

/// The time of day.
#[must_use]
pub fn now() -> SystemTime {
    let before = Instant::now();
    let paced = tokio::time::Instant::now().into_std();
    if (before..=Instant::now()).contains(&paced) {
        return SystemTime::now();
    }
    // Both clocks at one moment, by which they go on together.
    static MET: OnceLock<(Instant, SystemTime)> = OnceLock::new();
    let (monotonic, wall) = *MET.get_or_init(|| (Instant::now(), SystemTime::now()));
    match paced.checked_duration_since(monotonic) {
        Some(ahead) => wall + ahead,
        None => wall - (monotonic - paced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn it_is_the_machines() {
        let (before, now, after) = (SystemTime::now(), now(), SystemTime::now());
        assert!(before <= now && now <= after);
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_with_a_clock_that_is_paused() {
        let before = now();
        assert_eq!(now(), before);
        tokio::time::advance(HOUR).await;
        assert_eq!(now(), before + HOUR);
    }
}
