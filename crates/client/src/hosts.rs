//! Hosts on other machines.

use http::Method;
use wrenn_api::{Invitation, InviteHost, JoinHost, JoinedHost};

use crate::{Client, Result};

impl Client {
    /// Makes a one-time token, with which one host joins.
    pub async fn invite_host(&self, request: &InviteHost) -> Result<Invitation> {
        let answer = self
            .call_with(Method::POST, "/v1/hosts/invitations", request)
            .await?;
        self.json(answer).await
    }

    /// Joins with a token, which the request proves. Needs no key.
    pub async fn join_host(&self, request: &JoinHost) -> Result<JoinedHost> {
        let answer = self
            .call_with(Method::POST, "/v1/hosts/join", request)
            .await?;
        self.json(answer).await
    }
}
