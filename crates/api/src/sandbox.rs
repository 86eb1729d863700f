//! Sandboxes: what may be asked for, and what they look like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::{Fault, NetworkPolicy, OnTimeout, TemplateName};

use crate::check::{self, refuse};
use crate::text::{Labels, Variables};
use crate::{Network, Timestamp, whole};

/// What to make. Everything has a default: `{}` is a sandbox too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "template": "minimal", "vcpus": 1, "memory_mb": 512, "timeout_sec": 300, "on_timeout": "pause", "auto_resume": true,
    "metadata": {"team": "red"}, "envs": {"LANG": "C.UTF-8"}, "hostname": "box",
    "network": {"internet": false, "allow": ["1.1.1.0/24"]}, "cold": false
}))]
pub struct CreateSandbox {
    /// What it is made from; `minimal` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    pub template: Option<String>,
    /// Virtual CPUs. Absent, zero or less mean 1; at most the host's. From a snapshot it has the snapshot's, whatever is said.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 4_294_967_295_i64)]
    pub vcpus: Option<i64>,
    /// Memory in MiB. Absent, zero or less mean 512; at least 64, at most the host's. From a snapshot it has the snapshot's,
    /// whatever is said.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 4_294_967_295_i64)]
    pub memory_mb: Option<i64>,
    /// Seconds without activity after which `on_timeout` happens. Absent, zero or less mean 300;
    /// at most 30 days.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole::optional"
    )]
    #[schema(maximum = 2_592_000)]
    pub timeout_sec: Option<i64>,
    /// What happens then: `destroy` (also when absent), `pause` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(destroy|pause|none)$")]
    pub on_timeout: Option<String>,
    /// While it is paused, a command, a file or a ping resumes it first, and then succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_resume: Option<bool>,
    /// Labels of the caller's own, at most 64; lists can be filtered by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Labels)]
    pub metadata: BTreeMap<String, String>,
    /// Variables for every process in the guest; names and values together have at most 128 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Variables)]
    pub envs: BTreeMap<String, String>,
    /// The guest's host name; `sandbox` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")]
    pub hostname: Option<String>,
    /// Where its packets may go; the public internet and nothing else when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Boot from the template's disk, though something may stand ready, or the template have memory to go on from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cold: bool,
}

/// What a [`CreateSandbox`] that keeps the contract asks for, each absent where the default is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// What it is made from.
    pub template: Option<TemplateName>,
    /// Virtual CPUs.
    pub vcpus: Option<u32>,
    /// Memory in MiB.
    pub memory_mb: Option<u32>,
    /// Seconds without activity after which `on_timeout` happens.
    pub timeout_sec: Option<u32>,
    /// What happens then.
    pub on_timeout: Option<OnTimeout>,
    /// Where its packets may go.
    pub network: Option<NetworkPolicy>,
}

impl CreateSandbox {
    /// Whether it keeps the contract, as far as that can be said without knowing the host. Answers with what had to be
    /// read out of texts and numbers.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and the rule.
    pub fn check(&self) -> Result<Asked, Fault> {
        let template = match &self.template {
            None => None,
            Some(name) => Some(name.parse().map_err(|error: wrenn_model::InvalidName| {
                refuse(
                    error.to_string(),
                    "list the templates with GET /v1/snapshots",
                )
            })?),
        };
        check::metadata(&self.metadata)?;
        check::envs(&self.envs)?;
        self.hostname.as_deref().map_or(Ok(()), check::hostname)?;
        Ok(Asked {
            template,
            vcpus: check::positive("vcpus", self.vcpus, u32::MAX)?,
            memory_mb: check::positive("memory_mb", self.memory_mb, u32::MAX)?,
            timeout_sec: check::positive("timeout_sec", self.timeout_sec, u32::MAX)?,
            on_timeout: self.on_timeout.as_deref().map(on_timeout).transpose()?,
            network: self.network.as_ref().map(Network::check).transpose()?,
        })
    }
}

fn on_timeout(name: &str) -> Result<OnTimeout, Fault> {
    OnTimeout::from_name(name).ok_or_else(|| {
        refuse(
            "on_timeout is none of its choices",
            "give \"destroy\", \"pause\" or \"none\"",
        )
    })
}

/// A sandbox as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// Its id, never used twice.
    #[schema(example = "sb-k3x9q2m7c1v8b5n4z6a0")]
    pub id: String,
    /// One of `pending`, `running`, `paused`, `stopped` and `error`.
    #[schema(example = "running")]
    pub status: String,
    /// What is under way: `starting`, `pausing`, `resuming`, `stopping`, `snapshotting` or `forking`. While it stands, `status`
    /// is what it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<String>,
    /// Why it stopped, failed, or stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// What it was made from.
    pub template: String,
    /// The sandbox that it is a fork of; absent when it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "sb-k3x9q2m7c1v8b5n4z6a0")]
    pub parent_id: Option<String>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mb: u32,
    /// Seconds without activity after which `on_timeout` happens.
    pub timeout_sec: u32,
    /// What happens then: `destroy`, `pause` or `none`.
    #[schema(example = "destroy")]
    pub on_timeout: String,
    /// While it is paused, a command, a file or a ping resumes it first.
    pub auto_resume: bool,
    /// Where its packets may go.
    #[serde(default)]
    pub network: Network,
    /// Its address as it sees itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_ip: Option<String>,
    /// Its address as the host agent sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// `kvm` where hardware separates it from the host, `emulated` where an emulator's process and a jail do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// Which virtual machine monitor runs it: `qemu` or `firecracker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmm: Option<String>,
    /// Labels of the caller's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it first answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_active_at: Option<Timestamp>,
    /// When its last pause was made: what a resume goes back to, also after an error. Absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// Its last resume went back to a pause of this time, and what it did between then and its error is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<Timestamp>,
    /// When `on_timeout` will happen if nobody uses it. Absent when nothing will, and while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When its status last changed.
    pub last_updated: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<CreateSandbox, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        for json in [
            "{}",
            r#"{"vcpus":0,"memory_mb":-1}"#,
            r#"{"vcpus":null}"#,
            r#"{"vcpus":0.0}"#,
        ] {
            let asked = parse(json).unwrap().check().unwrap();
            assert_eq!(asked, Asked::default(), "{json}");
        }
    }

    #[test]
    fn time_outs_have_their_names() {
        for choice in OnTimeout::ALL {
            let json = format!(
                r#"{{"on_timeout":"{}","auto_resume":true}}"#,
                choice.as_str()
            );
            let request = parse(&json).unwrap();
            assert_eq!(request.check().unwrap().on_timeout, Some(choice));
            assert_eq!(request.auto_resume, Some(true));
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for bad in [
            "",
            r#"{"vcpus":"2"}"#,
            r#"{"vcpus":6.5}"#,
            r#"{"vcpus":1e30}"#,
            r#"{"auto_resume":"yes"}"#,
            r#"{"on_timeout":1}"#,
            r#"{"autoresume":true}"#,
            r#"{"metadata":{"a":1}}"#,
            r#"{"metadata":null}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in [
            r#"{"template":"../x"}"#,
            r#"{"template":"ünï"}"#,
            r#"{"template":""}"#,
            r#"{"vcpus":9223372036854775807}"#,
            r#"{"on_timeout":"explode"}"#,
            r#"{"on_timeout":"Pause"}"#,
            r#"{"on_timeout":""}"#,
            r#"{"network":{"allow":["example.com"]}}"#,
            r#"{"hostname":"a.b"}"#,
            r#"{"envs":{"1":"x"}}"#,
            r#"{"metadata":{"a":"\u0000"}}"#,
        ] {
            assert!(parse(bad).unwrap().check().is_err(), "{bad}");
        }
    }
}
