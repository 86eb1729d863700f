//! API keys, and the teams whose they are.

use http::Method;
use wrenn_api::{CreateKey, CreatedKey, Key, Team, TeamLimits};

use crate::transport::escape;
use crate::{Client, Result};

impl Client {
    /// Makes a key. The answer alone has it, and is not given again: the call is sent once.
    pub async fn create_key(&self, request: &CreateKey) -> Result<CreatedKey> {
        let answer = self.call_with(Method::POST, "/v1/keys", request).await?;
        self.json(answer).await
    }

    /// The keys that the caller may see, newest first.
    pub async fn keys(&self) -> Result<Vec<Key>> {
        let answer = self.call(Method::GET, "/v1/keys").await?;
        self.json(answer).await
    }

    /// Takes from a key all that it opens.
    pub async fn revoke_key(&self, id: &str) -> Result<()> {
        let path = format!("/v1/keys/{}", escape(id));
        self.call(Method::DELETE, &path).await.map(drop)
    }

    /// The teams that the caller may see, by name.
    pub async fn teams(&self) -> Result<Vec<Team>> {
        let answer = self.call(Method::GET, "/v1/teams").await?;
        self.json(answer).await
    }

    /// Gives a team these limits, in the place of those that it has; makes it where there is none.
    pub async fn put_team(&self, name: &str, limits: &TeamLimits) -> Result<Team> {
        let path = format!("/v1/teams/{}", escape(name));
        let call = self.once(Method::PUT, path).with(limits)?;
        call.send().await?.json()
    }
}
