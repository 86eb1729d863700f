//! Identities of agents, as joining gives them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use wrenn_pki::{Authority, HostName, Identity, JoinAnswer, Joining, Token};

/// An agent of this authority that joined at `now`, and is dialled by these names.
#[must_use]
pub fn agent(authority: &Authority, names: &[&str], now: SystemTime) -> Identity {
    let names: Vec<HostName> = names.iter().map(|name| name.parse().unwrap()).collect();
    let token = Token::random();
    let joining = Joining::new(token.clone(), &names).unwrap();
    let request = joining.request().clone();
    let certificate = authority.certify_agent(&request.csr, &names, now).unwrap();
    let trusted = authority.certificate_pem();
    let answer = JoinAnswer::new(token.secret(), &request, certificate, trusted);
    joining.complete(&answer).unwrap()
}

/// The same client, but one that shows no certificate.
#[must_use]
pub fn nameless(mut client: ClientConfig) -> ClientConfig {
    client.client_auth_cert_resolver = Arc::new(Nameless);
    client
}

#[derive(Debug)]
struct Nameless;

impl ResolvesClientCert for Nameless {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
