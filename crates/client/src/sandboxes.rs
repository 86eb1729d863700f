//! Sandboxes: made, listed, looked at, kept alive, given commands, ended.

use bytes::Bytes;
use http::header::LINK;
use http::{HeaderMap, Method, StatusCode};
use wrenn_api::{
    CreateSandbox, ExecRequest, ExecResponse, ForkSandbox, Forked, Health, Network, Paused,
    ResumeRequest, Resumed, Sandbox, SandboxMetrics, Timing,
};

use crate::transport::escape;
use crate::{Client, Result};

const LIST: &str = "/v1/sandboxes";

impl Client {
    /// Whether the server is well, and its agent with it. Needs no key.
    pub async fn health(&self) -> Result<Health> {
        let answer = self.call(Method::GET, "/healthz").await?;
        self.json(answer).await
    }

    /// Makes a sandbox and waits until it runs. Dropping the future before that unmakes it, as long as the runtime goes on.
    pub async fn create_sandbox(&self, request: &CreateSandbox) -> Result<Sandbox> {
        let call = self.once(Method::POST, LIST).with(request)?;
        call.create().await?.json()
    }

    /// The same, unless it is given up before: then `None` comes when it is unmade.
    pub async fn create_sandbox_unless(
        &self,
        given_up: impl Future<Output = ()>,
        request: &CreateSandbox,
    ) -> Result<Option<Sandbox>> {
        let call = self.once(Method::POST, LIST).with(request)?;
        tokio::select! {
            answer = call.until_made(false) => Ok(Some(answer?.json()?)),
            () = given_up => call.withdraw().await.map(|()| None),
        }
    }

    /// The same, with how long the wait for its turn and each step took on the host, in their order.
    pub async fn create_sandbox_timed(
        &self,
        request: &CreateSandbox,
    ) -> Result<(Sandbox, Vec<Timing>)> {
        let call = self.once(Method::POST, LIST).with(request)?;
        let answer = call.create().await?;
        let told = answer.headers.get("server-timing");
        let timings = told.and_then(|told| told.to_str().ok()).map(timings);
        Ok((answer.json()?, timings.unwrap_or_default()))
    }

    /// Asks for a sandbox without waiting for it: what comes back is `pending`, and [`Client::sandbox`] tells how it
    /// goes on.
    pub async fn begin_sandbox(&self, request: &CreateSandbox) -> Result<Sandbox> {
        let call = self.once(Method::POST, LIST).with(request)?;
        call.prefer("respond-async").send().await?.json()
    }

    /// All sandboxes, newest first, also stopped ones that are still remembered.
    pub async fn sandboxes(&self) -> Result<Vec<Sandbox>> {
        let mut all = Vec::new();
        let mut next = Some(LIST.to_owned());
        while let Some(page) = next {
            let answer = self.call(Method::GET, &page).await?;
            next = next_page(answer.headers());
            all.append(&mut self.json(answer).await?);
        }
        Ok(all)
    }

    /// The newest sandboxes, as many as the server puts on a page.
    pub async fn newest_sandboxes(&self) -> Result<Vec<Sandbox>> {
        let answer = self.call(Method::GET, LIST).await?;
        self.json(answer).await
    }

    /// One sandbox.
    pub async fn sandbox(&self, id: &str) -> Result<Sandbox> {
        let answer = self.call(Method::GET, &at(id, "")).await?;
        self.json(answer).await
    }

    /// Ends a sandbox. True when nothing of it exists any more; false when its host cannot be reached now and the
    /// server finishes it later.
    pub async fn delete_sandbox(&self, id: &str) -> Result<bool> {
        let answer = self.call(Method::DELETE, &at(id, "")).await?;
        Ok(answer.status() != StatusCode::ACCEPTED)
    }

    /// Pauses a running sandbox, and waits until its pause is durable.
    pub async fn pause(&self, id: &str) -> Result<Paused> {
        let call = self.once(Method::POST, at(id, "/pause"));
        call.send().await?.json()
    }

    /// Resumes a sandbox that is paused, or in error after a pause, and waits until it runs.
    pub async fn resume(&self, id: &str, request: &ResumeRequest) -> Result<Resumed> {
        let call = self.once(Method::POST, at(id, "/resume"));
        call.with(request)?.send().await?.json()
    }

    /// Makes running sandboxes of what a running or paused one is now, and waits until each runs or has failed. With the key that
    /// it is sent with it goes on when the future is dropped.
    pub async fn fork(&self, id: &str, request: &ForkSandbox) -> Result<Forked> {
        let call = self.once(Method::POST, at(id, "/fork"));
        call.with(request)?.send().await?.json()
    }

    /// Puts a sandbox under another network policy, in the place of the one that it has.
    pub async fn set_network(&self, id: &str, network: &Network) -> Result<Sandbox> {
        let call = self.once(Method::PUT, at(id, "/network"));
        call.with(network)?.send().await?.json()
    }

    /// Resets a sandbox's inactivity timer.
    pub async fn ping(&self, id: &str) -> Result<()> {
        self.call(Method::POST, &at(id, "/ping")).await.map(drop)
    }

    /// The last of a sandbox's serial console, 64 KiB at the most: the guest's own bytes, not to be trusted.
    pub async fn console(&self, id: &str) -> Result<Bytes> {
        let answer = self.call(Method::GET, &at(id, "/console")).await?;
        self.bytes(answer).await
    }

    /// What a sandbox uses now, as its host counts it.
    pub async fn metrics(&self, id: &str) -> Result<SandboxMetrics> {
        let answer = self.call(Method::GET, &at(id, "/metrics")).await?;
        self.json(answer).await
    }

    /// Runs a command to its end and collects what it prints. It goes on, as long as it may take, when the future is dropped.
    pub async fn exec(&self, id: &str, request: &ExecRequest) -> Result<ExecResponse> {
        let call = self.once(Method::POST, at(id, "/exec"));
        call.with(request)?.send().await?.json()
    }
}

/// What `Server-Timing` says: `queue;dur=0.004, slot;dur=9.250`. What has no duration is left out.
fn timings(header: &str) -> Vec<Timing> {
    let one = |entry: &str| {
        let (step, ms) = entry.trim().split_once(";dur=")?;
        Some(Timing {
            step: step.to_owned(),
            ms: ms.parse().ok()?,
        })
    };
    header.split(',').filter_map(one).collect()
}

/// Where the list goes on, as `Link` says it (RFC 8288): another query of the same list, and nothing else.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let (path, relation) = headers.get(LINK)?.to_str().ok()?.split_once('>')?;
    let path = path.strip_prefix('<')?;
    let goes_on = relation == "; rel=\"next\"" && path.strip_prefix(LIST)?.starts_with('?');
    goes_on.then(|| path.to_owned())
}

/// The path of a sandbox, or of what belongs to it.
pub(crate) fn at(id: &str, rest: &str) -> String {
    format!("/v1/sandboxes/{}{rest}", escape(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_in_the_list_alone() {
        for (link, next) in [
            (
                "</v1/sandboxes?cursor=1.sb>; rel=\"next\"",
                Some("/v1/sandboxes?cursor=1.sb"),
            ),
            ("</v1/sandboxes?cursor=1.sb>; rel=\"prev\"", None),
            (
                "<http://elsewhere/v1/sandboxes?cursor=1.sb>; rel=\"next\"",
                None,
            ),
            ("</v1/sandboxesx>; rel=\"next\"", None),
            ("nonsense", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            assert_eq!(next_page(&headers).as_deref(), next, "{link}");
        }
    }

    #[test]
    fn timings_are_read_from_their_header() {
        let told: Vec<_> = timings("queue;dur=0.004, cached, slot;dur=9.250")
            .into_iter()
            .map(|timing| (timing.step, timing.ms))
            .collect();
        assert_eq!(
            told,
            [("queue".to_owned(), 0.004), ("slot".to_owned(), 9.25)]
        );
        assert!(timings("").is_empty());
    }
}
