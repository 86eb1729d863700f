//! Samples, what they come to, and how they are shown: Wrenn's beside the same work done by hand.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::goal::{Goal, Verdict};
use crate::terminal::Table;

/// What was measured, one number a round, in one unit.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    values: Vec<f64>,
    /// Rounds that came to nothing.
    failed: usize,
}

impl Samples {
    pub(super) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Counts a round that came to nothing.
    pub(super) fn fail(&mut self) {
        self.failed += 1;
    }

    /// What a round took, or that it failed, which is told.
    pub(super) fn push_tried(&mut self, what: &str, tried: anyhow::Result<Duration>) {
        match tried {
            Ok(took) => self.push_ms(took),
            Err(error) => {
                tracing::warn!("{what} failed: {error:#}");
                self.fail();
            }
        }
    }

    pub(super) fn push_ms(&mut self, took: Duration) {
        self.push(took.as_secs_f64() * 1000.0);
    }

    /// How many came to nothing, as a figure of its own.
    pub(super) fn failures(&self) -> Self {
        let mut failures = Self::default();
        failures.push(f64::from(u32::try_from(self.failed).unwrap_or(u32::MAX)));
        failures
    }

    /// Those with these indexes, as far as there are any.
    pub(super) fn some(&self, indexes: Range<usize>) -> Self {
        let taken = indexes.len().min(self.values.len());
        let some = self.values.iter().skip(indexes.start).take(taken);
        Self {
            values: some.copied().collect(),
            failed: 0,
        }
    }

    /// Round by round, what both come to together.
    pub(super) fn with(&self, other: &Self) -> Self {
        let pairs = self.values.iter().zip(&other.values);
        Self {
            values: pairs.map(|(a, b)| a + b).collect(),
            failed: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// By how much the median of the last third lies above that of the first; none of less than three samples.
    pub(super) fn growth(&self) -> Option<f64> {
        let third = self.len() / 3;
        let last = self.some(self.len() - third..self.len()).median()?;
        Some(last - self.some(0..third).median()?)
    }

    /// The median; none of no samples.
    pub(super) fn median(&self) -> Option<f64> {
        self.percentile(50)
    }

    /// Of sorted samples the one below which `percent` of them lie (the nearest rank); none of no samples.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }

    fn summary(&self) -> Option<Summary> {
        Some(Summary {
            p50: self.percentile(50)?,
            p95: self.percentile(95)?,
            p99: self.percentile(99)?,
            samples: self.len(),
        })
    }
}

/// What is told of samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) samples: usize,
}

/// One line of the result.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    name: &'static str,
    unit: &'static str,
    wrenn: Option<Summary>,
    by_hand: Option<Summary>,
    /// Median beside median: Wrenn's by the one by hand.
    ratio: Option<f64>,
    /// Rounds of Wrenn's that came to nothing.
    failures: usize,
    goal: String,
    /// Whether it is reached; none where there is no goal, or not all that it speaks of was measured. With failures it is not.
    verdict: Option<Verdict>,
}

impl Figure {
    /// A figure from both sides' samples; by hand there may be none.
    pub(super) fn new(
        name: &'static str,
        unit: &'static str,
        goal: Goal,
        wrenn: &Samples,
        by_hand: &Samples,
    ) -> Self {
        let failures = wrenn.failed;
        let (wrenn, by_hand) = (wrenn.summary(), by_hand.summary());
        let ratio = wrenn
            .zip(by_hand)
            .map(|(wrenn, by_hand)| wrenn.p50 / by_hand.p50);
        Self {
            name,
            unit,
            wrenn,
            by_hand,
            ratio,
            goal: goal.to_string(),
            failures,
            verdict: match failures {
                0 => goal.judge(wrenn, by_hand),
                _ => (goal != Goal::None).then_some(Verdict::Missed),
            },
        }
    }

    /// Whether it is not what it should be.
    pub(super) fn missed(&self) -> bool {
        self.verdict == Some(Verdict::Missed)
    }
}

/// All figures as an aligned table.
pub(super) fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new([
        "WHAT",
        "UNIT",
        "P50",
        "P95",
        "P99",
        "BY HAND P50",
        "P95",
        "RATIO",
        "N",
        "FAILED",
        "GOAL",
        "VERDICT",
    ]);
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    for figure in figures {
        let (wrenn, by_hand) = (figure.wrenn, figure.by_hand);
        table.row([
            figure.name,
            figure.unit,
            &number(wrenn.map(|all| all.p50)),
            &number(wrenn.map(|all| all.p95)),
            &number(wrenn.map(|all| all.p99)),
            &number(by_hand.map(|all| all.p50)),
            &number(by_hand.map(|all| all.p95)),
            &number(figure.ratio),
            &wrenn.map_or(0, |all| all.samples).to_string(),
            &figure.failures.to_string(),
            &figure.goal,
            figure.verdict.map_or("-", Verdict::as_str),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Samples {
        Samples {
            values: values.into_iter().collect(),
            failed: 0,
        }
    }

    #[test]
    fn a_failure_misses_every_goal() {
        let mut samples = of([1.0]);
        samples.fail();
        let none = Samples::default();
        for (goal, missed) in [(Goal::AtMost(2.0), true), (Goal::None, false)] {
            let figure = Figure::new("a", "ms", goal, &samples, &none);
            assert_eq!((figure.failures, figure.missed()), (1, missed));
        }
        let mut nothing = Samples::default();
        nothing.fail();
        assert!(Figure::new("a", "ms", Goal::AtMost(2.0), &nothing, &none).missed());
    }

    #[test]
    fn percentiles_are_samples() {
        let samples = of((1..=20).rev().map(f64::from));
        let summary = samples.summary().unwrap();
        assert_eq!(
            (summary.p50, summary.p95, summary.samples),
            (10.0, 19.0, 20)
        );
        assert_eq!(of([3.0]).summary().unwrap().p95, 3.0);
        assert_eq!(Samples::default().summary(), None);
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        let (two, four) = (of([2.0]), of([4.0]));
        let figure = |by_hand| Figure::new("a", "ms", Goal::RatioAtMost(0.4), &two, by_hand);
        let measured = figure(&four);
        assert_eq!((measured.ratio, measured.missed()), (Some(0.5), true));
        let alone = figure(&Samples::default());
        assert_eq!((alone.ratio, alone.missed()), (None, false));
    }

    #[test]
    fn what_comes_together_is_added_round_by_round() {
        let both = of([1.0, 2.0]).with(&of([10.0, 20.0]));
        assert_eq!(both.values, [11.0, 22.0]);
        assert_eq!(both.with(&Samples::default()).median(), None);
    }

    /// As programs read it.
    #[test]
    fn a_verdict_is_a_word() {
        let samples = of([3.0]);
        let figure = Figure::new("a", "ms", Goal::AtMost(2.0), &samples, &Samples::default());
        let json = serde_json::to_value(&figure).unwrap();
        assert_eq!(
            (&json["goal"], &json["verdict"]),
            (&"at most 2".into(), &"missed".into())
        );
        let row = table(&[figure]).to_string();
        assert!(row.ends_with("missed"), "{row}");
    }
}
