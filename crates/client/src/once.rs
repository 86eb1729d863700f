//! Calls that are done once, though their connection breaks: they have an `Idempotency-Key`, and are sent again with it.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wrenn_api::Sandbox;
use wrenn_model::random_text;

use crate::transport::whole;
use crate::{Client, Error, Result};

/// As hard to guess as a UUID.
const KEY_LENGTH: usize = 32;
/// Between two looks for a sandbox whose server died while it made it.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How often it is asked what came of a create that is to be unmade.
const WITHDRAW_TRIES: u32 = 30;
/// What to do where even the server does not know; its own words are for who chooses keys.
const LOOK_FIRST: &str = "look at what there is, such as the sandbox's status or what the command was to leave, and do it \
                          again where it was not done";

/// A call with a key of its own.
#[derive(Debug, Clone)]
pub(crate) struct OnceCall {
    client: Client,
    method: Method,
    path: String,
    json: Option<Bytes>,
    prefer: Option<&'static str>,
    key: String,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// It is the answer to the call's second sending.
    is_again: bool,
    body: Bytes,
    client: Client,
}

impl Answer {
    /// Reads it as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| self.client.contract(error.to_string()))
    }
}

impl Client {
    /// A call that is done once, however often it is sent.
    pub(crate) fn once(&self, method: Method, path: impl Into<String>) -> OnceCall {
        OnceCall {
            client: self.clone(),
            method,
            path: path.into(),
            json: None,
            prefer: None,
            key: random_text(KEY_LENGTH),
        }
    }
}

impl OnceCall {
    /// With this as its body.
    pub(crate) fn with(mut self, body: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_vec(body);
        let json = json.map_err(|error| self.client.contract(error.to_string()))?;
        self.json = Some(json.into());
        Ok(self)
    }

    pub(crate) fn prefer(mut self, what: &'static str) -> Self {
        self.prefer = Some(what);
        self
    }

    /// Sends it, and once more where its connection breaks: the server tells then what came of the first.
    pub(crate) async fn send(&self) -> Result<Answer> {
        let broken = match self.send_now().await {
            Err(broken @ Error::Broken { .. }) => broken,
            answer => return answer,
        };
        match self.send_now().await {
            // That nobody is there now does not say that nothing was done before.
            Err(Error::Unreachable { .. }) => Err(broken),
            Err(Error::Api(mut told)) if told.code == "already_exists" => {
                told.remedy = LOOK_FIRST.to_owned();
                Err(Error::Api(told))
            }
            Ok(answer) => Ok(Answer {
                is_again: true,
                ..answer
            }),
            error => error,
        }
    }

    async fn send_now(&self) -> Result<Answer> {
        let mut request = self
            .client
            .request(self.method.clone(), &self.path)
            .header("idempotency-key", &self.key);
        if let Some(prefer) = self.prefer {
            request = request.header("prefer", prefer);
        }
        if self.json.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = whole(self.json.clone().unwrap_or_default());
        let response = self.client.send(request, body).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.client.bytes(response).await?;
        Ok(Answer {
            status,
            headers,
            is_again: false,
            body,
            client: self.client.clone(),
        })
    }

    /// Sends a create until what it makes runs. Dropped before that, it is unmade.
    pub(crate) async fn create(&self) -> Result<Answer> {
        let mut left = Left(Some(self.clone()));
        let answer = self.until_made(false).await;
        // Of one that broke off, nobody here knows what comes.
        if matches!(answer, Ok(_) | Err(Error::Api(_))) {
            left.0 = None;
        }
        answer
    }

    /// A server that takes a create over from a dead one does not wait for it: who sends it again, as `is_again` says of what
    /// was sent before, asks until it runs.
    pub(crate) async fn until_made(&self, mut is_again: bool) -> Result<Answer> {
        loop {
            let answer = self.send().await?;
            is_again |= answer.is_again;
            if answer.status != StatusCode::ACCEPTED || !is_again {
                return Ok(answer);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Unmakes what a create makes. With a key the server goes on with it when its caller hangs up.
    pub(crate) async fn withdraw(&self) -> Result<()> {
        let mut tries = WITHDRAW_TRIES;
        let sandbox: Sandbox = loop {
            tries -= 1;
            match self.until_made(true).await {
                Ok(answer) => break answer.json()?,
                Err(error) if made_nothing(&error) => return Ok(()),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        self.client.delete_sandbox(&sandbox.id).await.map(drop)
    }
}

/// Whether a create that failed so has left nothing behind. A server that stops, whose database is away, or that knows the key of its
/// caller no more, says nothing of the create.
fn made_nothing(error: &Error) -> bool {
    const OF_THE_SERVER: [&str; 7] = [
        "unavailable",
        "timeout",
        "conflict",
        "db_error",
        "internal",
        "agent_error",
        "unauthorized",
    ];
    matches!(error, Error::Api(told) if !OF_THE_SERVER.contains(&told.code.as_str()))
}

/// A create that nobody waits for any more, when this is dropped with it.
struct Left(Option<OnceCall>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(call) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { call.withdraw().await });
        }
    }
}
