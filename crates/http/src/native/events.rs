//! Events: a page of their history, or a stream that goes on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use wrenn_api::{Event, Timestamp, limits};
use wrenn_control::{Caller, Events, Follower, Heard};
use wrenn_model::{ErrorKind, Fault, SandboxId};

use super::described::{EventMessage, LastEvent, OfSandbox, Page};
use super::listing::{page, page_size};
use crate::auth::{Mine, Shown, Who};
use crate::extract::{Id, Pairs};
use crate::line::Line;
use crate::places::Place;
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// Where a stream that broke off is to go on (WHATWG HTML, 9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How often a stream on which nothing happens says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader may take nothing of what waits for it.
const STALLED: Duration = Duration::from_secs(60);

/// What becomes of sandboxes, as it happens.
///
/// A stream of server-sent events. The first is `ready`: its id is the place from which they are told. Then each event comes once,
/// in order, under its number as id and with its type as name: `created`, `changed` or `forgotten`. Who comes back with
/// `Last-Event-ID`, or `after`, is told what happened meanwhile. Where that is no longer known, `gap` comes first: list the
/// sandboxes anew then.
///
/// With `Accept: application/json` the answer is a page of the history instead, the oldest first, and `Link` has the next.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "follow_events", tag = "events",
    params(
        ("after" = Option<i64>, Query, description = "Only events after this number; 0 for all that are kept", minimum = 0, example = 0),
        Page,
        ("sandbox_id" = Option<String>, Query, description = "Only of this sandbox", pattern = "^sb-[a-z0-9]{20}$", example = "sb-k3x9q2m7c1v8b5n4z6a0"),
        LastEvent,
    ),
    responses((status = 200, description = "A stream of them, or a page.", content(
        (EventMessage = "text/event-stream"),
        (Vec<Event> = "application/json"),
    ), headers(("Link" = String, description = "The next page, where there may be one"))))
)]
pub(super) async fn events(
    State(app): State<App>,
    Who(caller): Who,
    listener: Listener,
    headers: HeaderMap,
    Pairs(pairs): Pairs,
) -> Answer<Response> {
    let asked = Asked::parse(pairs, &headers)?;
    answer(app, &caller, listener, asked, "/v1/events", &headers).await
}

/// What becomes of one sandbox, as it happens: as `/v1/events`. Of one that has left the list, what is kept of its history.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/events", operation_id = "follow_sandbox", tag = "events",
    params(
        OfSandbox,
        ("after" = Option<i64>, Query, description = "Only events after this number; 0 for all that are kept", minimum = 0, example = 0),
        Page,
        LastEvent,
    ),
    responses((status = 200, description = "A stream of them, or a page.", content(
        (EventMessage = "text/event-stream"),
        (Vec<Event> = "application/json"),
    ), headers(("Link" = String, description = "The next page, where there may be one"))))
)]
pub(super) async fn sandbox_events(
    State(app): State<App>,
    Mine(sandboxes): Mine,
    Who(caller): Who,
    listener: Listener,
    Id(id): Id,
    headers: HeaderMap,
    Pairs(pairs): Pairs,
) -> Answer<Response> {
    let mut asked = Asked::parse(pairs, &headers)?;
    if asked.sandbox.is_some() {
        return Err(invalid("the path names the sandbox"));
    }
    if let Err(fault) = sandboxes.get(&id).await {
        // What became of it is known for longer than it is in the list.
        let gone = fault.kind == ErrorKind::NotFound;
        if !gone || !app.control.events_of(&caller).has(&id).await? {
            return Err(fault.into());
        }
    }
    let path = format!("/v1/sandboxes/{id}/events");
    asked.sandbox = Some(id);
    answer(app, &caller, listener, asked, &path, &headers).await
}

/// Who listens: with which key, and over what.
pub(super) struct Listener {
    shown: Shown,
    line: Line,
}

impl<S: Send + Sync> FromRequestParts<S> for Listener {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let shown = Shown::from_request_parts(parts, state).await?;
        let Ok(line) = Line::from_request_parts(parts, state).await;
        Ok(Self { shown, line })
    }
}

/// The query, and the header that wins over it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    after: Option<i64>,
    limit: Option<u32>,
    sandbox: Option<SandboxId>,
}

impl Asked {
    fn parse(pairs: Vec<(String, String)>, headers: &HeaderMap) -> Answer<Self> {
        let mut asked = Self::default();
        for (key, value) in pairs {
            let twice = match key.as_str() {
                "after" => asked.after.replace(place(&value)?).is_some(),
                "limit" => {
                    let number = page_size(&value).ok_or_else(|| {
                        invalid(format!("limit is a number from 1 to {}", limits::PAGE))
                    })?;
                    asked.limit.replace(number).is_some()
                }
                "sandbox_id" => {
                    let id = value.parse().map_err(|_| invalid("sandbox_id is no id"))?;
                    asked.sandbox.replace(id).is_some()
                }
                _ => return Err(invalid("there are after, limit and sandbox_id")),
            };
            if twice {
                return Err(invalid(format!("{key} is given twice")));
            }
        }
        if let Some(last) = headers.get(LAST_EVENT_ID) {
            asked.after = Some(place(last.to_str().unwrap_or_default())?);
        }
        Ok(asked)
    }
}

fn place(text: &str) -> Answer<i64> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| invalid("events have numbers, from 1 on"))
}

fn invalid(rule: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(
        format!("the events that are asked for: {rule}"),
        "correct the query, or the header Last-Event-ID",
    )
}

async fn answer(
    app: App,
    caller: &Caller,
    Listener { shown, line }: Listener,
    asked: Asked,
    path: &str,
    headers: &HeaderMap,
) -> Answer<Response> {
    let events = app.control.events_of(caller);
    if wants_page(headers) {
        return history(&events, &asked, path).await;
    }
    let place = app.streams.take(&caller.team).ok_or_else(|| {
        Fault::new(
            ErrorKind::QuotaExhausted,
            "as many streams of events are open as may be, of this team or in all",
            "close some, or ask again later",
        )
    })?;
    let follower = events.follow(asked.sandbox, asked.after).await?;
    let revoked = shown.revoked(app.clone());
    let events = follow(app, follower, place).take_until(revoked);
    Ok(Sse::new(as_long_as_read(events, line))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// A page is what JSON is asked for by name.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(ACCEPT).iter();
    let mut accepted = accept.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/json"))
}

async fn history(events: &Events, asked: &Asked, path: &str) -> Answer<Response> {
    let limit = asked.limit.unwrap_or(limits::PAGE);
    let after = asked.after.unwrap_or_default();
    let events = events.history(asked.sandbox.clone(), after, limit).await?;
    let next = events
        .last()
        .filter(|_| u32::try_from(events.len()) == Ok(limit))
        .map(|last| {
            let of = match &asked.sandbox {
                Some(id) if path == "/v1/events" => format!("&sandbox_id={id}"),
                _ => String::new(),
            };
            format!("{path}?after={}&limit={limit}{of}", last.seq)
        });
    let events: Vec<_> = events.iter().map(view).collect();
    Ok(page(&events, next))
}

/// Passes events on as they are taken. Who takes none for a while, of those that wait, is hung up on: what is written to a
/// connection is not asked for before there is room for it, so that the events themselves would never end it.
fn as_long_as_read(
    events: impl Stream<Item = sse::Event> + Send + 'static,
    line: Line,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let (give, mut taken) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut events = pin!(events);
        loop {
            let next = tokio::select! {
                next = events.next() => next,
                () = give.closed() => None,
            };
            let Some(next) = next else { return };
            match give.send_timeout(next, STALLED).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::debug!("a stream of events is not read: it ends");
                    line.hang_up();
                    return;
                }
            }
        }
    });
    stream::poll_fn(move |context| taken.poll_recv(context).map(|next| next.map(Ok)))
}

/// The stream. It ends when the server stops or an event can't be read: who listens comes back, and misses nothing.
fn follow(app: App, follower: Follower, place: Place) -> impl Stream<Item = sse::Event> {
    let gap = follower.has_gap().then_some(Message::Gap);
    let ready = Message::Ready(follower.place());
    let greeting = stream::iter(gap.into_iter().chain([ready]).map(|one| one.sent()));
    // As they are known, which is shared with others who listen: how they are written is made when it is their turn.
    let open = (app, follower, VecDeque::new(), place);
    let told = stream::unfold(open, async |(app, mut follower, mut told, place)| {
        if told.is_empty() {
            let next = tokio::select! {
                () = app.closing.cancelled() => return None,
                next = follower.next() => next,
            };
            match next {
                Ok(Heard::Events(events)) => told.extend(events.into_iter().map(Message::Event)),
                Ok(Heard::Gap) => told.extend([Message::Gap, Message::Ready(follower.place())]),
                Err(fault) => {
                    tracing::debug!(%fault, "a stream of events ends");
                    return None;
                }
            }
        }
        let next = told.pop_front()?.sent();
        Some((next, (app, follower, told, place)))
    });
    greeting.chain(told)
}

/// What a stream says.
enum Message {
    /// Some events are not known any more.
    Gap,
    /// Events are told from this place on.
    Ready(i64),
    Event(Arc<wrenn_control::Event>),
}

impl Message {
    fn sent(&self) -> sse::Event {
        match self {
            Self::Gap => sse::Event::default().event("gap").data("{}"),
            Self::Ready(place) => sse::Event::default()
                .event("ready")
                .id(place.to_string())
                .data("{}"),
            Self::Event(event) => sent(event),
        }
    }
}

fn sent(event: &wrenn_control::Event) -> sse::Event {
    // An event always has a JSON form.
    let json = serde_json::to_string(&view(event)).unwrap_or_default();
    sse::Event::default()
        .id(event.seq.to_string())
        .event(event.kind.as_str())
        .data(json)
}

/// An event as a caller sees it.
fn view(event: &wrenn_control::Event) -> Event {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    Event {
        id: event.seq,
        kind: event.kind.as_str().to_owned(),
        at: Timestamp::from_unix_ms(event.at_ms),
        sandbox_id: event.sandbox.to_string(),
        status: event.status.to_string(),
        transition: event
            .transition
            .map(|under_way| under_way.as_str().to_owned()),
        status_reason: text(&event.status_reason),
        request_id: text(&event.request_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)], last: Option<&str>) -> Answer<Asked> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert(LAST_EVENT_ID, last.parse().unwrap());
        }
        Asked::parse(pairs.collect(), &headers)
    }

    #[test]
    fn the_header_wins_over_the_query() {
        assert_eq!(parse(&[], None).unwrap(), Asked::default());
        let asked = parse(&[("after", "3"), ("limit", "10")], Some("7")).unwrap();
        assert_eq!((asked.after, asked.limit), (Some(7), Some(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_a_while_is_hung_up_on() {
        let line = Line::default();
        let one = || sse::Event::default().data("x");
        let mut read = Box::pin(as_long_as_read(stream::repeat_with(one), line.clone()));
        for _ in 0..3 {
            tokio::time::sleep(STALLED - Duration::from_secs(1)).await;
            assert!(read.next().await.is_some(), "slow is not gone");
        }
        let begun = tokio::time::Instant::now();
        line.ended().await;
        assert_eq!(begun.elapsed(), STALLED);
        // The one that waited is all that is left.
        assert_eq!(read.count().await, 1);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_stream_whose_reader_goes() {
        let (held, open) = tokio::sync::oneshot::channel::<()>();
        let silent = stream::once(async move {
            let _held = held;
            std::future::pending().await
        });
        drop(as_long_as_read(silent, Line::default()));
        assert!(open.await.is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for (pairs, last) in [
            (&[("after", "-1")][..], None),
            (&[("after", "x")], None),
            (&[("after", "1"), ("after", "1")], None),
            (&[("limit", "0")], None),
            (&[("limit", "1001")], None),
            (&[("sandbox_id", "x")], None),
            (&[("since", "1")], None),
            (&[], Some("")),
            (&[], Some("ready")),
        ] {
            assert!(parse(pairs, last).is_err(), "{pairs:?} {last:?}");
        }
    }
}
