//! The host's clocks: how fast the time stamp counter runs, and whether the time is right.
#![allow(
    unsafe_code,
    reason = "reading the time stamp counter and the clock's state"
)]

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long it is measured. The kernel's own figure lies within 15 kHz of what comes out.
const MEASURED: Duration = Duration::from_millis(100);

/// Measures the rate of the time stamp counter in kHz, against a clock that nobody adjusts. Blocks for 100 ms.
#[must_use]
pub fn tsc_khz() -> u64 {
    let (ticks, time) = now();
    std::thread::sleep(MEASURED);
    let (ticks_after, time_after) = now();
    let nanos = u64::try_from((time_after - time).as_nanos()).unwrap_or(u64::MAX);
    ticks_after.wrapping_sub(ticks) * 1_000_000 / nanos.max(1)
}

/// The counter and the time, as close together as one of a few tries got them.
fn now() -> (u64, Duration) {
    let mut best = (u64::MAX, 0, Duration::ZERO);
    for _ in 0..8 {
        let before = counter();
        let time = clock_gettime(ClockId::MonotonicRaw);
        let spread = counter().wrapping_sub(before);
        if spread < best.0 {
            let time = Duration::try_from(time).unwrap_or_default();
            best = (spread, before.wrapping_add(spread / 2), time);
        }
    }
    (best.1, best.2)
}

fn counter() -> u64 {
    // SAFETY: Every 64-bit x86 CPU has the instruction, and Linux lets user space run it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Whether something keeps the host's clock right, such as NTP (adjtimex(2)). Nothing is changed.
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: The structure is plain data, all zeros is a valid one, which asks for no change.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: The call writes the structure, which lives through it.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        status => Ok(status != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_s_state_is_told_and_not_changed() {
        assert_eq!(is_synchronised().unwrap(), is_synchronised().unwrap());
    }

    #[test]
    fn two_measurements_agree_within_a_thousandth() {
        let (a, b) = (tsc_khz(), tsc_khz());
        assert!(a.abs_diff(b) < a / 1000, "{a} {b}");
        assert!((100_000..20_000_000).contains(&a), "{a}");
    }
}
