//! The version of the contract, which every call carries in a header.
//!
//! Control plane and agent are upgraded one after the other, so that for some time they are of two versions. The minor
//! number counts what was added: who does not know it does without. The major number counts what must not be overlooked
//! by the other side: a field or a call whose absence would mean something else, or something taken away. Between two
//! majors nothing is answered but why.

use std::fmt;
use std::str::FromStr;

use connectrpc::client::ClientConfig;
use connectrpc::{ConnectError, ErrorCode, ErrorDetail as AnyDetail};
use http::{HeaderMap, Uri};

use crate::ErrorDetail;

/// The header that carries it, with every request.
pub const HEADER: &str = "wrenn-protocol";

/// The header that says for which request of whose API a call is made, for the agent's log. It may be absent, and one
/// that is no request id is none.
pub const REQUEST_ID: &str = "wrenn-request-id";

/// What this program speaks.
pub const CURRENT: Protocol = Protocol { major: 1, minor: 5 };

/// What spoke before there was the header.
const BEFORE_THE_HEADER: Protocol = Protocol { major: 1, minor: 0 };

/// A version of the contract, written `1.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol {
    /// Counts what the other side must not overlook.
    pub major: u16,
    /// Counts what was added beside that.
    pub minor: u16,
}

/// A text that is no version of the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of the agent's protocol: it is written like 1.0")]
pub struct InvalidProtocol(String);

/// Why a call is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The caller is of a former major version.
    #[error(
        "the caller speaks version {caller} of the agent's protocol, and this agent speaks {agent}"
    )]
    CallerIsOlder {
        /// Its version.
        caller: Protocol,
        /// Ours.
        agent: Protocol,
    },
    /// The caller is of a later major version.
    #[error(
        "the caller speaks version {caller} of the agent's protocol, and this agent only {agent}"
    )]
    AgentIsOlder {
        /// Its version.
        caller: Protocol,
        /// Ours.
        agent: Protocol,
    },
    /// The header is something else.
    #[error(transparent)]
    Invalid(#[from] InvalidProtocol),
}

impl Protocol {
    /// Whether an agent of this version answers the one who sent these headers.
    ///
    /// # Errors
    /// [`Mismatch`], which says who is the older one.
    pub fn check(self, headers: &HeaderMap) -> Result<(), Mismatch> {
        let caller = match headers.get(HEADER) {
            Some(value) => String::from_utf8_lossy(value.as_bytes()).parse()?,
            None => BEFORE_THE_HEADER,
        };
        match caller.major.cmp(&self.major) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(Mismatch::CallerIsOlder {
                caller,
                agent: self,
            }),
            std::cmp::Ordering::Greater => Err(Mismatch::AgentIsOlder {
                caller,
                agent: self,
            }),
        }
    }
}

/// What every client of the agent is set up with: protobuf, and the header.
#[must_use]
pub fn client_config(address: Uri) -> ClientConfig {
    ClientConfig::new(address)
        .proto()
        .with_default_header(HEADER, CURRENT.to_string())
}

impl Mismatch {
    /// What is to be done about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::CallerIsOlder { .. } => {
                "upgrade the caller, most often `wrenn server`, to the agent's version; sandboxes run on meanwhile"
            }
            Self::AgentIsOlder { .. } => {
                "upgrade the host's agent (`wrenn agent`) to the caller's version and restart it; sandboxes run on meanwhile"
            }
            Self::Invalid(_) => "call with a client of Wrenn",
        }
    }
}

impl From<Mismatch> for ConnectError {
    fn from(mismatch: Mismatch) -> Self {
        let detail = ErrorDetail {
            code: "not_supported".to_owned(),
            remedy: mismatch.remedy().to_owned(),
            retryable: false,
            ..Default::default()
        };
        Self::new(ErrorCode::Unimplemented, mismatch.to_string())
            .with_detail(AnyDetail::from_message("hostagent.v1.ErrorDetail", &detail))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Protocol {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, InvalidProtocol> {
        let parsed = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) =
            parsed.ok_or_else(|| InvalidProtocol(text.chars().take(20).collect()))?;
        Ok(Self { major, minor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Protocol {
        text.parse().unwrap()
    }

    fn said(caller: Option<&str>) -> HeaderMap {
        let header = |text: &str| (HEADER.parse().unwrap(), text.parse().unwrap());
        caller.map(header).into_iter().collect()
    }

    #[test]
    fn a_later_minor_works_and_another_major_says_who_is_older() {
        let agent = version("2.3");
        for same in ["2.0", "2.3", "2.65535"] {
            assert_eq!(agent.check(&said(Some(same))), Ok(()), "{same}");
        }
        let older = agent.check(&said(Some("1.9"))).unwrap_err();
        assert!(matches!(older, Mismatch::CallerIsOlder { .. }), "{older}");
        assert!(older.remedy().contains("`wrenn server`"));
        let newer = agent.check(&said(Some("3.0"))).unwrap_err();
        assert!(matches!(newer, Mismatch::AgentIsOlder { .. }), "{newer}");
        assert!(newer.remedy().contains("`wrenn agent`"));
        // Whoever sends none is from before there were several.
        assert_eq!(version("1.7").check(&HeaderMap::new()), Ok(()));
        assert!(agent.check(&HeaderMap::new()).is_err());
        for wrong in ["", "1", "1.", "one.two", "1.0.0", "65536.0", "-1.0"] {
            let refused = agent.check(&said(Some(wrong))).unwrap_err();
            assert!(
                matches!(refused, Mismatch::Invalid(_)),
                "{wrong}: {refused}"
            );
        }
    }

    #[test]
    fn what_a_client_sends_is_understood() {
        let config = client_config(Uri::from_static("http://agent"));
        assert_eq!(config.default_headers()[HEADER], CURRENT.to_string());
        assert_eq!(CURRENT.check(config.default_headers()), Ok(()));
        assert_eq!(version(&CURRENT.to_string()), CURRENT);
    }
}
