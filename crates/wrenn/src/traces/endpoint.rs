//! Where the collector is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;

/// Where traces are posted, below an endpoint.
const PATH: &str = "/v1/traces";

/// A collector's address: `http://HOST:PORT`, `https://HOST:PORT`, or `unix:PATH` for a socket of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(super) way: Way,
    /// The path of its requests.
    pub(super) path: String,
    /// As it was written.
    text: String,
}

/// How it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix(PathBuf),
}

/// What a flag or a variable says: an endpoint, or with nothing in it that there is none, whatever stands below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) Option<Endpoint>);

/// A text that is no collector's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidEndpoint {
    #[error("it has the form http://HOST:4318, https://HOST:PORT or unix:/PATH")]
    Form,
    #[error(
        "there are credentials in it, which belong into the variable OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Credentials,
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let way = Some(Way::Unix(path))
                .filter(|way| matches!(way, Way::Unix(path) if path.is_absolute()));
            return Ok(Self {
                way: way.ok_or(InvalidEndpoint::Form)?,
                path: PATH.to_owned(),
                text: text.to_owned(),
            });
        }
        let uri: Uri = text.parse().map_err(|_| InvalidEndpoint::Form)?;
        let authority = uri.authority().ok_or(InvalidEndpoint::Form)?;
        if authority.as_str().contains('@') {
            return Err(InvalidEndpoint::Credentials);
        }
        let host = authority.host();
        if host.is_empty() || uri.query().is_some() {
            return Err(InvalidEndpoint::Form);
        }
        // An IPv6 address stands in brackets, which are none of its own.
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = |default| match authority.port() {
            Some(port) => Ok(port.as_u16()),
            // A colon without a port, or one that is too high.
            None if authority.as_str().ends_with(authority.host()) => Ok(default),
            None => Err(InvalidEndpoint::Form),
        };
        let way = match uri.scheme_str() {
            Some("http") => Way::Tcp {
                host,
                port: port(80)?,
            },
            Some("https") => Way::Tls {
                host,
                port: port(443)?,
            },
            _ => return Err(InvalidEndpoint::Form),
        };
        let base = uri.path().trim_end_matches('/');
        let base = base.strip_suffix(PATH).unwrap_or(base);
        Ok(Self {
            way,
            path: format!("{base}{PATH}"),
            text: text.to_owned(),
        })
    }
}

impl FromStr for Target {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let endpoint = (!text.is_empty()).then(|| text.parse());
        endpoint.transpose().map(Self)
    }
}

impl Endpoint {
    /// What its requests name as host.
    pub(super) fn authority(&self) -> String {
        match &self.way {
            Way::Unix(_) => "localhost".to_owned(),
            Way::Tcp { host, port } | Way::Tls { host, port } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Way::Tcp { host, port } | Way::Tls { host, port } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_base_below_which_traces_are_posted() {
        for (text, authority, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318", "/v1/traces"),
            ("http://127.0.0.1:4318/", "127.0.0.1:4318", "/v1/traces"),
            ("http://collector", "collector:80", "/v1/traces"),
            (
                "https://c.example/otlp/",
                "c.example:443",
                "/otlp/v1/traces",
            ),
            ("http://c.example:1/v1/traces", "c.example:1", "/v1/traces"),
            ("http://[::1]:4318", "[::1]:4318", "/v1/traces"),
            ("unix:/run/x/otlp.sock", "localhost", "/v1/traces"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((&*endpoint.authority(), &*endpoint.path), (authority, path));
            assert_eq!(endpoint.to_string(), text);
        }
        assert_eq!("".parse(), Ok(Target(None)));
    }

    #[test]
    fn what_is_no_endpoint_says_how_one_is_written() {
        for wrong in [
            "",
            "4318",
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://",
            "http://:4318",
            "http://a:99999",
            "http://a:",
            "http://a?b=c",
            "unix:run/otlp.sock",
            "unix:",
        ] {
            assert_eq!(
                wrong.parse::<Endpoint>(),
                Err(InvalidEndpoint::Form),
                "{wrong}"
            );
        }
        let told = "http://u:s3cret@a:1".parse::<Target>().unwrap_err();
        assert_eq!(told, InvalidEndpoint::Credentials);
        assert!(!told.to_string().contains("s3cret"));
    }
}
