//! A follower's queue as the stream of events that a Connect client reads.

use std::time::Duration;

use connectrpc::ConnectError;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use wrenn_envd_api::process::ProcessEvent;
use wrenn_envd_api::process::process_event::data_event::Output;
use wrenn_envd_api::process::process_event::{
    DataEvent, EndEvent, Event as Told, KeepAlive, StartEvent,
};

use super::followers::{Channel, End, Event};

/// One follower of a command, from the start event to the end.
#[derive(Debug)]
pub(super) struct Follow {
    start: Option<u32>,
    events: mpsc::Receiver<Event>,
    /// A sign of life when there is nothing to tell, so that nothing in between takes the stream for dead.
    keepalive: Interval,
    deadline: Option<Instant>,
    over: bool,
}

impl Follow {
    /// Follows the command `pid`, at most until `deadline`.
    pub(super) fn new(
        pid: u32,
        events: mpsc::Receiver<Event>,
        keepalive: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        let mut keepalive = interval_at(Instant::now() + keepalive, keepalive);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            start: Some(pid),
            events,
            keepalive,
            deadline,
            over: false,
        }
    }

    /// The events, each wrapped as this call's answer wants it.
    pub(super) fn stream<T>(
        self,
        wrap: fn(ProcessEvent) -> T,
    ) -> impl Stream<Item = Result<T, ConnectError>> + Send {
        futures::stream::unfold(self, move |mut follow| async move {
            let event = follow.next().await?;
            Some((event.map(wrap), follow))
        })
    }

    async fn next(&mut self) -> Option<Result<ProcessEvent, ConnectError>> {
        if self.over {
            return None;
        }
        if let Some(pid) = self.start.take() {
            return Some(Ok(told(StartEvent {
                pid,
                ..Default::default()
            })));
        }
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = at(self.deadline) => Some(Event::End(End::TimedOut.into())),
            _ = self.keepalive.tick() => return Some(Ok(told(KeepAlive::default()))),
        };
        self.keepalive.reset();
        match event? {
            Event::Output(channel, data) => {
                let data = Vec::from(data);
                let output = match channel {
                    Channel::Stdout => Output::Stdout(data),
                    Channel::Stderr => Output::Stderr(data),
                    Channel::Terminal => Output::Pty(data),
                };
                Some(Ok(told(DataEvent {
                    output: Some(output),
                    ..Default::default()
                })))
            }
            Event::End(end) => {
                self.over = true;
                Some(ended(&end))
            }
        }
    }
}

/// Resolves at `deadline`; without one, never.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn ended(end: &End) -> Result<ProcessEvent, ConnectError> {
    match end {
        End::TimedOut => Err(ConnectError::deadline_exceeded(
            "the time given to the call is over",
        )),
        End::Ended {
            exit_code,
            exited,
            status,
            error,
        } => Ok(told(EndEvent {
            exit_code: *exit_code,
            exited: *exited,
            status: status.clone(),
            error: error.clone(),
            ..Default::default()
        })),
    }
}

fn told(event: impl Into<Told>) -> ProcessEvent {
    ProcessEvent {
        event: Some(event.into()),
        ..Default::default()
    }
}
