//! What becomes of sandboxes: read back, or told as it happens.

use std::pin::Pin;

use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource as _};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::Method;
use http::header::{ACCEPT, HeaderValue};
use http_body_util::BodyDataStream;
use wrenn_api::Event;

use crate::transport::whole;
use crate::{Client, Result};

/// The most events of a page.
const PAGE: usize = 1000;

/// Something that a stream of events says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// What comes next comes after this number.
    Ready(i64),
    /// The server knows no more what happened since the number that was asked for: look at the sandboxes anew.
    Gap,
    /// An event.
    Event(Box<Event>),
}

/// Events as they happen. It ends when the server stops: whoever wants to go on asks for what comes after the last one.
pub struct EventStream {
    client: Client,
    events:
        Pin<Box<dyn Stream<Item = std::result::Result<eventsource_stream::Event, Broken>> + Send>>,
}

type Broken = EventStreamError<hyper::Error>;

impl Client {
    /// The events after this number, the oldest first: of all sandboxes, or of one.
    pub async fn events(&self, sandbox: Option<&str>, after: i64) -> Result<Vec<Event>> {
        let (mut all, mut after) = (Vec::new(), after);
        loop {
            let request = self.request(Method::GET, &path(sandbox, Some(after)));
            let answer = self.send(only_json(request), whole(Bytes::new())).await?;
            let page: Vec<Event> = self.json(answer).await?;
            let (count, last) = (page.len(), page.last().map(|event| event.id));
            all.extend(page);
            match last {
                Some(last) if count == PAGE => after = last,
                _ => return Ok(all),
            }
        }
    }

    /// Follows events from the one after this number on; from the next that happens, without one.
    pub async fn follow_events(
        &self,
        sandbox: Option<&str>,
        after: Option<i64>,
    ) -> Result<EventStream> {
        let answer = self.call(Method::GET, &path(sandbox, after)).await?;
        let events = BodyDataStream::new(answer.into_body()).eventsource();
        Ok(EventStream {
            client: self.clone(),
            events: events.into_stream().boxed(),
        })
    }
}

impl EventStream {
    /// What is told next; `None` when the stream has ended.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        while let Some(event) = self.events.next().await {
            let event = event.map_err(|error| match error {
                EventStreamError::Transport(error) => self.client.broken(error),
                other => self.client.contract(other.to_string()),
            })?;
            let contract = |error: &dyn std::fmt::Display| self.client.contract(error.to_string());
            return Ok(Some(match event.event.as_str() {
                "gap" => Told::Gap,
                "ready" => Told::Ready(event.id.parse().map_err(|error| contract(&error))?),
                "created" | "changed" | "forgotten" => Told::Event(
                    serde_json::from_str(&event.data).map_err(|error| contract(&error))?,
                ),
                // Of a newer server.
                _ => continue,
            }));
        }
        Ok(None)
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

fn path(sandbox: Option<&str>, after: Option<i64>) -> String {
    let path = sandbox.map_or_else(
        || "/v1/events".to_owned(),
        |id| crate::sandboxes::at(id, "/events"),
    );
    after.map_or_else(|| path.clone(), |after| format!("{path}?after={after}"))
}

/// A request says `*/*` by itself.
fn only_json(mut request: http::request::Builder) -> http::request::Builder {
    if let Some(headers) = request.headers_mut() {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    }
    request
}
