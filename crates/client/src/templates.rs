//! Templates that sandboxes are made from.

use http::Method;
use wrenn_api::{CreateSnapshot, Snapshot, Template, TemplateType};

use crate::transport::escape;
use crate::{Client, Result};

const TEMPLATES: &str = "/v1/snapshots";

impl Client {
    /// All templates, and the snapshots of the caller's team.
    pub async fn templates(&self) -> Result<Vec<Template>> {
        let answer = self.call(Method::GET, TEMPLATES).await?;
        self.json(answer).await
    }

    /// Those of one type.
    pub async fn templates_of(&self, kind: TemplateType) -> Result<Vec<Template>> {
        let kind = match kind {
            TemplateType::Base => "base",
            TemplateType::Snapshot => "snapshot",
        };
        let path = format!("{TEMPLATES}?type={kind}");
        let answer = self.call(Method::GET, &path).await?;
        self.json(answer).await
    }

    /// Makes a snapshot of a sandbox, which goes on as it was, or with `pause` is paused before. With `overwrite` it takes the
    /// place of the team's snapshot of this name.
    pub async fn create_snapshot(
        &self,
        request: &CreateSnapshot,
        overwrite: bool,
        pause: bool,
    ) -> Result<Snapshot> {
        let source = if pause { "pause" } else { "keep" };
        let path = format!("{TEMPLATES}?overwrite={overwrite}&source={source}");
        let call = self.once(Method::POST, path).with(request)?;
        call.send().await?.json()
    }

    /// Removes a template's name. Sandboxes made from it go on.
    pub async fn delete_template(&self, name: &str) -> Result<()> {
        let path = format!("{TEMPLATES}/{}", escape(name));
        self.call(Method::DELETE, &path).await.map(drop)
    }
}
