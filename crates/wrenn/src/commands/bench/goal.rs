//! What figures should be, and whether they are.

use std::fmt;

use serde::Serialize;

use super::figures::Summary;

/// By how much two figures may differ that should be one.
const LIKE: f64 = 1.3;

/// What a figure should be; by default, whatever it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Goal {
    #[default]
    None,
    /// Wrenn's median by the one by hand, at the most.
    RatioAtMost(f64),
    /// The same, and so much more in the figure's unit, where that was measured.
    RatioAndMore(f64, Option<f64>),
    /// The same, at the least.
    RatioAtLeast(f64),
    /// How far Wrenn's median lies above the one by hand at the most, in the figure's unit.
    MoreAtMost(f64),
    /// Wrenn's median, at the most.
    AtMost(f64),
    /// Wrenn's 95th percentile is less.
    Below(f64),
    /// Wrenn's 99th percentile is less.
    P99Below(f64),
    /// Wrenn's median is about that of another figure, where that was measured.
    Like(&'static str, Option<f64>),
}

/// Whether a goal was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Met,
    Missed,
}

impl Goal {
    /// None where there is no goal, or something that it speaks of was not measured.
    pub(super) fn judge(self, wrenn: Option<Summary>, by_hand: Option<Summary>) -> Option<Verdict> {
        let wrenn = wrenn?;
        let met = match self {
            Self::None => return None,
            Self::RatioAtMost(most) => wrenn.p50 / by_hand?.p50 <= most,
            Self::RatioAndMore(most, more) => wrenn.p50 <= most * by_hand?.p50 + more?,
            Self::RatioAtLeast(least) => wrenn.p50 / by_hand?.p50 >= least,
            Self::MoreAtMost(most) => wrenn.p50 - by_hand?.p50 <= most,
            Self::AtMost(most) => wrenn.p50 <= most,
            Self::Below(bound) => wrenn.p95 < bound,
            Self::P99Below(bound) => wrenn.p99 < bound,
            Self::Like(_, other) => wrenn.p50 <= LIKE * other?,
        };
        Some(if met { Verdict::Met } else { Verdict::Missed })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::RatioAtMost(most) => write!(f, "ratio at most {most}"),
            Self::RatioAndMore(most, None) => write!(f, "ratio at most {most}"),
            Self::RatioAndMore(most, Some(more)) => {
                write!(f, "ratio at most {most}, and {more:.1}")
            }
            Self::RatioAtLeast(least) => write!(f, "ratio at least {least}"),
            Self::MoreAtMost(most) => write!(f, "at most {most} more"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::Below(bound) => write!(f, "p95 below {bound}"),
            Self::P99Below(bound) => write!(f, "p99 below {bound}"),
            Self::Like(what, _) => write!(f, "at most {LIKE} times {what}"),
        }
    }
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(p50: f64, p95: f64) -> Option<Summary> {
        Some(Summary {
            p50,
            p95,
            p99: p95,
            samples: 20,
        })
    }

    #[test]
    fn goals_are_met_up_to_their_bounds() {
        let hand = summary(10.0, 10.0);
        for (goal, met, missed) in [
            (Goal::RatioAtMost(1.5), 15.0, 15.1),
            (Goal::RatioAndMore(1.5, Some(2.0)), 17.0, 17.1),
            (Goal::RatioAtLeast(0.8), 8.0, 7.9),
            (Goal::MoreAtMost(5.0), 15.0, 15.1),
            (Goal::AtMost(0.0), 0.0, 1.0),
            (Goal::Below(32.0), 31.9, 32.0),
            (Goal::P99Below(20.0), 19.9, 20.0),
            (Goal::Like("another's", Some(10.0)), 13.0, 13.1),
        ] {
            for (value, verdict) in [(met, Verdict::Met), (missed, Verdict::Missed)] {
                let judged = goal.judge(summary(value, value), hand);
                assert_eq!(judged, Some(verdict), "{goal} of {value}");
            }
            assert_eq!(goal.judge(None, hand), None, "{goal} of nothing");
        }
        // The worst counts, not the middle.
        let grown = Goal::Below(32.0).judge(summary(1.0, 40.0), None);
        assert_eq!(grown, Some(Verdict::Missed));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let wrenn = summary(1.0, 1.0);
        for goal in [
            Goal::None,
            Goal::RatioAtMost(2.0),
            Goal::RatioAndMore(1.5, None),
            Goal::RatioAtLeast(0.5),
            Goal::MoreAtMost(5.0),
            Goal::Like("another's", None),
        ] {
            assert_eq!(goal.judge(wrenn, None), None, "{goal}");
        }
    }
}
