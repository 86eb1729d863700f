//! The body of `POST /init`: what makes a fresh or restored guest the sandbox that it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Secret, Timestamp};

/// The body of `POST /init`. E2B's fields and ours; unknown ones are ignored, as there.
///
/// An absent field leaves what an earlier call set. The first call after a boot must bring `access_token` and
/// `next_init_key`: without them a process in the guest could make itself the host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InitRequest {
    /// Environment of every process started from now on. Replaces the earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// The token that every later call carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<Secret>,
    /// The time that the guest's clock is set to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// Who runs a command that names no user. `root` at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_user: Option<String>,
    /// Where a command runs that names no directory. The user's home at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_workdir: Option<String>,
    /// The guest's host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Bytes for the kernel's random number generator, in base64; it is reseeded at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Secret>,
    /// 32 lower case hex digits for `/etc/machine-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Becomes `WRENN_SANDBOX_ID` in each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// Becomes `WRENN_TEMPLATE_ID` in each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// What the next `/init` must carry in `X-Init-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_init_key: Option<Secret>,
    /// A lower case UUID that `/proc/sys/kernel/random/boot_id` shows from now on: how a guest that was restored beside others
    /// from one state learns that it is not the one that it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The guest begins another life: whatever an earlier call set is gone, as if this were the first, so that it must bring
    /// both secrets. Every call that was let in before ends; commands go on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_e2b_sends() {
        let request: InitRequest = serde_json::from_str(
            r#"{"envVars":{"A":"b"},"accessToken":"t","timestamp":"2026-11-23T20:47:00.5Z","defaultUser":"user",
                "lifecycleID":"x","volumeMounts":[]}"#,
        )
        .unwrap();
        assert_eq!(request.env_vars.as_ref().unwrap()["A"], "b");
        let time = request.timestamp.as_ref().unwrap();
        assert_eq!((time.seconds, time.nanos), (1_795_466_820, 500_000_000));
        assert!(request.access_token.as_ref().unwrap().matches(b"t"));
        assert!(request.next_init_key.is_none());
        assert!(!format!("{request:?}").contains("\"t\""));
    }

    #[test]
    fn an_absent_field_stays_absent() {
        assert_eq!(
            serde_json::to_string(&InitRequest::default()).unwrap(),
            "{}"
        );
        let request = InitRequest {
            machine_id: Some("0".repeat(32)),
            renew: true,
            ..InitRequest::default()
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"machineId":"{}","renew":true}}"#, "0".repeat(32))
        );
    }
}
