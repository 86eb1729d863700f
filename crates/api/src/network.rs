//! Where a sandbox's packets may go.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wrenn_model::{Fault, InvalidSubnet, NetworkPolicy, Subnet};

use crate::check::refuse;
use crate::text::AddressRange;

/// Where a sandbox's packets may go. What is left out is the default, which is the public internet and nothing else.
///
/// The first that an address is in decides: what the host protects (itself, other sandboxes, link-local and metadata
/// addresses, reserved ranges), which nothing opens; `deny`; `allow`, for private ranges only as far as the host's operator
/// opened them; other private ranges, which are closed; `internet`. Names are answered by the gateway alone, and not at
/// all with neither `internet` nor `allow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"internet": false, "allow": ["1.1.1.0/24", "8.8.8.8"]}))]
pub struct Network {
    /// Whether public addresses are reached that no list names.
    #[schema(default = true)]
    pub internet: bool,
    /// IPv4 ranges, or addresses, that are reached without `internet` too: at most 64, without names.
    #[schema(value_type = Vec<AddressRange>, max_items = 64)]
    pub allow: Vec<String>,
    /// IPv4 ranges, or addresses, that are never reached, also where `allow` has them: at most 64.
    #[schema(value_type = Vec<AddressRange>, max_items = 64)]
    pub deny: Vec<String>,
}

impl Network {
    /// The policy that it says.
    ///
    /// # Errors
    /// `invalid_request`, naming the list, the entry and the rule.
    pub fn check(&self) -> Result<NetworkPolicy, Fault> {
        Ok(NetworkPolicy {
            internet: self.internet,
            allow: ranges("allow", &self.allow)?,
            deny: ranges("deny", &self.deny)?,
        })
    }
}

impl Default for Network {
    fn default() -> Self {
        NetworkPolicy::default().into()
    }
}

impl From<NetworkPolicy> for Network {
    fn from(policy: NetworkPolicy) -> Self {
        let texts = |ranges: Vec<Subnet>| ranges.iter().map(Subnet::to_string).collect();
        Self {
            internet: policy.internet,
            allow: texts(policy.allow),
            deny: texts(policy.deny),
        }
    }
}

fn ranges(list: &str, texts: &[String]) -> Result<Vec<Subnet>, Fault> {
    if texts.len() > NetworkPolicy::MAX_ENTRIES {
        return Err(refuse(
            format!("network.{list} has {} entries", texts.len()),
            format!("give at most {}", NetworkPolicy::MAX_ENTRIES),
        ));
    }
    let wrong = |error: InvalidSubnet| {
        refuse(
            format!("network.{list}: {error}"),
            "give IPv4 ranges such as 1.1.1.0/24, or addresses",
        )
    };
    texts
        .iter()
        .map(|text| text.parse().map_err(wrong))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Network, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn nothing_said_means_the_internet() {
        assert_eq!(
            parse("{}").unwrap().check().unwrap(),
            NetworkPolicy::default()
        );
        let closed = parse(r#"{"internet":false,"allow":["192.0.2.7"]}"#).unwrap();
        let shown = Network::from(closed.check().unwrap());
        let json = serde_json::to_string(&shown).unwrap();
        assert_eq!(
            json,
            r#"{"internet":false,"allow":["192.0.2.7/32"],"deny":[]}"#
        );
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for bad in [
            r#"{"internet":"yes"}"#,
            r#"{"allow":"1.1.1.1"}"#,
            r#"{"allow":[1]}"#,
            r#"{"allow":null}"#,
            r#"{"allowed":[]}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in ["::/0", "example.com", "10.0.0.1/8", "10.0.0.0/33", "", "*"] {
            let network = Network {
                deny: vec![bad.to_owned()],
                ..Network::default()
            };
            let fault = network.check().unwrap_err();
            assert!(fault.message.starts_with("network.deny"), "{fault}");
        }
        let long = Network {
            allow: vec!["1.1.1.1".to_owned(); 65],
            ..Network::default()
        };
        assert_eq!(
            long.check().unwrap_err().message,
            "network.allow has 65 entries"
        );
    }
}
