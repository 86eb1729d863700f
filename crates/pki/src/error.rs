//! What can go wrong with certificates.

/// Why there is no certificate, or one is no use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key or a certificate could not be made.
    #[error("a certificate cannot be made")]
    Make(#[source] rcgen::Error),
    /// What was stored as an authority is none.
    #[error("this is no certificate authority of Wrenn's")]
    Authority(#[source] rcgen::Error),
    /// The certificate request is damaged, signed by another key than its own, or not of our kind of key.
    #[error("the certificate request {0}")]
    Request(&'static str),
    /// What should be an identity is none.
    #[error("the identity {0}")]
    Identity(&'static str),
    /// The other side of a join does not know the token's secret, or somebody in between has changed what it said.
    #[error("the answer does not prove that its sender knows the token")]
    Unproven,
    /// TLS cannot be done with these keys.
    #[error("TLS refuses the keys")]
    Tls(#[from] rustls::Error),
}
