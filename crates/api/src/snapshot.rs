//! Snapshots: templates with the memory of a sandbox in them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::{Fault, InvalidName, SandboxId, TemplateName};

use crate::check::refuse;
use crate::{Template, Timing};

/// Of what to make a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"sandbox_id": "sb-k3x9q2m7c1v8b5n4z6a0", "name": "warmed-up"}))]
pub struct CreateSnapshot {
    /// The sandbox, running or paused.
    #[schema(pattern = "^sb-[a-z0-9]{20}$")]
    pub sandbox_id: String,
    /// The template's name; `template-` and 8 hex digits when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    pub name: Option<String>,
}

/// What a [`CreateSnapshot`] that keeps the contract asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedSnapshot {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The template's name, where one was given.
    pub name: Option<TemplateName>,
}

impl CreateSnapshot {
    /// Whether it keeps the contract. Answers with what had to be read out of texts.
    ///
    /// # Errors
    /// `not_found` where what is given is no sandbox's id; `invalid_request` for what is no name.
    pub fn check(&self) -> Result<AskedSnapshot, Fault> {
        let name = self.name.as_deref().map(str::parse).transpose();
        let name = name.map_err(|error: InvalidName| {
            refuse(error.to_string(), "give another name, or none at all")
        })?;
        let shown: String = self.sandbox_id.chars().take(64).collect();
        let sandbox = self.sandbox_id.parse();
        Ok(AskedSnapshot {
            sandbox: sandbox.map_err(|_| Fault::no_sandbox(&shown))?,
            name,
        })
    }
}

/// A snapshot that was made just now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The template that it is.
    #[serde(flatten)]
    pub template: Template,
    /// What whoever makes sandboxes from it, or lets others, should know.
    #[schema(example = "the memory of the sandbox is in it")]
    pub notice: String,
    /// How long each step took, in their order.
    pub timings: Vec<Timing>,
    /// Milliseconds for which the sandbox stood still; 0 for a paused one.
    #[schema(example = 21.5)]
    pub frozen_ms: f64,
}

impl Snapshot {
    /// What [`Self::notice`] says of every snapshot.
    pub const NOTICE: &str = "the guest's memory is in this snapshot, and with it whatever its processes knew: keys, tokens, \
                              passwords. Each sandbox that is made from it has them, too";
}

#[cfg(test)]
mod tests {
    use wrenn_model::ErrorKind;

    use super::*;

    fn check(json: &str) -> Result<AskedSnapshot, Option<ErrorKind>> {
        let request: CreateSnapshot = serde_json::from_str(json).map_err(|_| None)?;
        request.check().map_err(|fault| Some(fault.kind))
    }

    #[test]
    fn a_sandbox_is_named_and_a_name_may_be_given() {
        let id = SandboxId::random();
        let asked = check(&format!(r#"{{"sandbox_id":"{id}"}}"#)).unwrap();
        assert_eq!((&asked.sandbox, asked.name), (&id, None));
        let asked = check(&format!(r#"{{"sandbox_id":"{id}","name":"a.b"}}"#)).unwrap();
        assert_eq!(asked.name, Some("a.b".parse().unwrap()));
        let bad = check(&format!(r#"{{"sandbox_id":"{id}","name":"../b"}}"#));
        assert_eq!(bad, Err(Some(ErrorKind::InvalidRequest)));
    }

    #[test]
    fn what_is_no_id_is_nobody_s() {
        assert_eq!(
            check(r#"{"sandbox_id":"box"}"#),
            Err(Some(ErrorKind::NotFound))
        );
        for bad in [
            "{}",
            r#"{"sandbox_id":null}"#,
            r#"{"sandbox_id":"a","x":1}"#,
        ] {
            assert_eq!(check(bad), Err(None), "{bad}");
        }
    }
}
