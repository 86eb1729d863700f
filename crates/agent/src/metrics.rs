//! The agent's counters and times, as OpenMetrics text: how long each operation and each of its steps took and how they
//! ended, how many sandboxes there are, and from admission what is promised to them and who waits for it. Operations are
//! those of [`crate::OPERATIONS`]; that there is nothing to tell of one yet means that it was not done since the start.

use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use wrenn_model::{ErrorKind, Status};

use crate::Agent;
use crate::admission::Load;
use crate::handle::Handle;
use crate::pools::PoolState;
use crate::starts::Starts;
use wrenn_model::chain;

/// The result of what went well.
const OK: &str = "ok";
/// The operation whose steps have their names alone.
pub(crate) const CREATE: &str = "create";

/// How an operation of a sandbox, or a step of one, ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    operation: String,
    /// The kind of the error, or `ok`.
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stepped {
    operation: String,
    step: String,
    /// The kind of the error, or `ok`.
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InStatus {
    status: &'static str,
}

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// A gauge of what admission has promised: its name, what it says, its unit, and what it shows.
type Shown = (&'static str, &'static str, Option<Unit>, fn(&Load) -> u64);

/// All of them. Each that can be used up stands beside how much of it there is.
const LOAD: [Shown; 10] = [
    (
        "slots_used",
        "Slots that virtual machines have or wait for",
        None,
        |load| load.slots.used,
    ),
    ("slots_limit", "Slots that there can be", None, |load| {
        load.slots.limit
    }),
    (
        "promised_memory",
        "Memory that virtual machines may take together",
        Some(Unit::Bytes),
        |load| load.memory.used,
    ),
    (
        "promised_memory_limit",
        "Memory that may be promised at this moment",
        Some(Unit::Bytes),
        |load| load.memory.limit,
    ),
    (
        "promised_disk",
        "Disk that the next pauses may take together",
        Some(Unit::Bytes),
        |load| load.disk.used,
    ),
    (
        "promised_disk_limit",
        "Disk that may be promised at this moment",
        Some(Unit::Bytes),
        |load| load.disk.limit,
    ),
    (
        "starts_waiting",
        "Sandboxes that wait for their turn to start",
        None,
        |load| load.waiting.used,
    ),
    (
        "starts_waiting_limit",
        "Sandboxes that may wait",
        None,
        |load| load.waiting.limit,
    ),
    (
        "start_turns_used",
        "Sandboxes whose turn to start it is",
        None,
        |load| load.turns.used,
    ),
    (
        "start_turns_limit",
        "Sandboxes that start at a time",
        None,
        |load| load.turns.limit,
    ),
];

/// What is counted and measured, from the agent's start on.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    operations: Times<Ended>,
    steps: Times<Stepped>,
    sandboxes: Family<InStatus, Gauge>,
    memory: Gauge,
    /// Sandboxes that stand ready, and VMMs that stand by behind them.
    pools: [Gauge; 2],
    pub(crate) starts: Starts,
    /// How many are under way, and how many were at a time lately.
    in_flight: [Gauge; 2],
    load: [Gauge; LOAD.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wrenn_agent");
        let operations = Times::<Ended>::new_with_constructor(times);
        let steps = Times::<Stepped>::new_with_constructor(times);
        let sandboxes = Family::<InStatus, Gauge>::default();
        let memory = Gauge::default();
        registry.register_with_unit(
            "operation_duration",
            "How long operations on sandboxes took, by how they ended",
            Unit::Seconds,
            operations.clone(),
        );
        registry.register_with_unit(
            "step_duration",
            "How long the steps of operations took, by how they ended",
            Unit::Seconds,
            steps.clone(),
        );
        registry.register(
            "sandboxes",
            "Sandboxes of this host by status",
            sandboxes.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Memory of the agent's process",
            Unit::Bytes,
            memory.clone(),
        );
        let pools = [
            ("ready", "Sandboxes that stand ready to be taken"),
            ("standing_by", "VMMs that have only to load a boot image"),
        ];
        let pools = pools.map(|(name, says)| gauge(&mut registry, name, says));
        let in_flight = [
            (
                "starts_in_flight",
                "Virtual machines that boot, are restored or load their state",
            ),
            (
                "starts_in_flight_most",
                "The most of them at a time in the last minute or two",
            ),
        ];
        let in_flight = in_flight.map(|(name, says)| gauge(&mut registry, name, says));
        let load = LOAD.map(|(name, says, unit, _)| {
            let gauge = Gauge::default();
            match unit {
                Some(unit) => registry.register_with_unit(name, says, unit, gauge.clone()),
                None => registry.register(name, says, gauge.clone()),
            }
            gauge
        });
        Self {
            registry,
            operations,
            steps,
            sandboxes,
            memory,
            pools,
            starts: Starts::default(),
            in_flight,
            load,
        }
    }
}

impl Metrics {
    /// An operation has ended, in an error of this kind or well.
    pub(crate) fn operation(&self, operation: &str, took: Duration, error: Option<ErrorKind>) {
        let ended = Ended {
            operation: operation.to_owned(),
            result: result(error),
        };
        let times = self.operations.get_or_create(&ended);
        times.observe(took.as_secs_f64());
    }

    /// Does an operation to its end, and notes how long it took and how it ended; `kind` is of its error.
    pub(crate) async fn timed<T, E>(
        &self,
        operation: &str,
        kind: impl FnOnce(&E) -> ErrorKind,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let done = work.await;
        self.operation(operation, began.elapsed(), done.as_ref().err().map(kind));
        done
    }

    /// A step of one has; `point` is its failpoint.
    pub(crate) fn step(&self, point: &str, took: Duration, error: Option<ErrorKind>) {
        let (operation, step) = point.split_once('.').unwrap_or((CREATE, point));
        let stepped = Stepped {
            operation: operation.to_owned(),
            step: step.to_owned(),
            result: result(error),
        };
        let times = self.steps.get_or_create(&stepped);
        times.observe(took.as_secs_f64());
    }

    /// What stands ready now.
    fn note_pools(&self, pools: &[PoolState]) {
        let sums: [usize; 2] = [
            pools.iter().map(|pool| pool.ready).sum(),
            pools.iter().map(|pool| pool.started).sum(),
        ];
        set(&self.pools, sums);
    }

    /// All of it as OpenMetrics text, without the line that ends it. Of a load that could not be seen the last is told.
    fn text<'a>(&self, sandboxes: impl Iterator<Item = &'a Handle>, load: Option<&Load>) -> String {
        for (gauge, (.., of)) in self.load.iter().zip(LOAD) {
            if let Some(load) = load {
                gauge.set(i64::try_from(of(load)).unwrap_or(i64::MAX));
            }
        }
        let (now, most) = self.starts.now_and_most();
        set(&self.in_flight, [now, most]);
        for status in Status::ALL {
            let status = status.as_str();
            self.sandboxes.get_or_create(&InStatus { status }).set(0);
        }
        for sandbox in sandboxes {
            let status = sandbox.view().state.status().as_str();
            self.sandboxes.get_or_create(&InStatus { status }).inc();
        }
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        if let Ok(Some(usage)) = wrenn_sys::process::usage(pid) {
            self.memory
                .set(i64::try_from(usage.resident).unwrap_or(i64::MAX));
        }
        let mut out = String::new();
        if let Err(error) = text::encode_registry(&mut out, &self.registry) {
            tracing::error!(%error, "the metrics could not be written");
        }
        out
    }
}

impl Agent {
    /// What the agent counts and measures, as OpenMetrics text without the line that ends it. It looks at the host, which
    /// may block.
    pub(crate) fn metrics_text(&self) -> String {
        let load = self.host.admission.load(&self.host.volume);
        if let Err(error) = &load {
            tracing::warn!(
                error = chain(error),
                "what the host has left cannot be seen"
            );
        }
        self.host.metrics.note_pools(&self.host.pools.states());
        let sandboxes = self.table.all();
        let sandboxes = sandboxes.iter().map(std::sync::Arc::as_ref);
        self.host.metrics.text(sandboxes, load.as_ref().ok())
    }
}

fn gauge(registry: &mut Registry, name: &str, says: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, says, gauge.clone());
    gauge
}

fn set<const N: usize>(gauges: &[Gauge; N], counts: [usize; N]) {
    for (gauge, count) in gauges.iter().zip(counts) {
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn result(error: Option<ErrorKind>) -> &'static str {
    error.map_or(OK, |kind| kind.name())
}

/// From a millisecond to two minutes.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_told_by_operation_step_and_result() {
        let metrics = Metrics::default();
        metrics.step("slot", Duration::from_millis(3), None);
        metrics.step("slot", Duration::from_millis(5), Some(ErrorKind::HostFull));
        metrics.step("pause.disk", Duration::from_millis(1), None);
        metrics.operation("create", Duration::from_secs(200), None);
        drop(metrics.starts.begin());
        let text = metrics.text(std::iter::empty(), None);
        for line in [
            "# TYPE wrenn_agent_step_duration_seconds histogram".to_owned(),
            "wrenn_agent_step_duration_seconds_bucket{le=\"0.004\",operation=\"create\",step=\"slot\",result=\"ok\"} 1".into(),
            format!(
                "wrenn_agent_step_duration_seconds_count{{operation=\"create\",step=\"slot\",result=\"{}\"}} 1",
                ErrorKind::HostFull.name()
            ),
            "wrenn_agent_step_duration_seconds_count{operation=\"pause\",step=\"disk\",result=\"ok\"} 1".into(),
            "wrenn_agent_operation_duration_seconds_sum{operation=\"create\",result=\"ok\"} 200.0".into(),
            "wrenn_agent_sandboxes{status=\"running\"} 0".into(),
            "wrenn_agent_starts_in_flight 0".into(),
            "wrenn_agent_starts_in_flight_most 1".into(),
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
        assert!(!text.contains("# EOF"));
    }
}
