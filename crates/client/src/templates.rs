//! Templates that sandboxes are made from.

use http::Method;
use wrenn_api::Template;

use crate::transport::escape;
use crate::{Client, Result};

impl Client {
    /// All templates.
    pub async fn templates(&self) -> Result<Vec<Template>> {
        let answer = self.call(Method::GET, "/v1/snapshots").await?;
        self.json(answer).await
    }

    /// Removes a template's name. Sandboxes made from it go on.
    pub async fn delete_template(&self, name: &str) -> Result<()> {
        let path = format!("/v1/snapshots/{}", escape(name));
        self.call(Method::DELETE, &path).await.map(drop)
    }
}
