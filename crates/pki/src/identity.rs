//! One side of a connection: its certificate, its key, and the authority that both sides trust.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::Error;

/// The protocol inside, as TLS names it: HTTP/2 and nothing else.
pub const ALPN: &[u8] = b"h2";

/// An identity. Its debug form shows no key.
pub struct Identity {
    pem: String,
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    expires_at: SystemTime,
}

impl Identity {
    pub(crate) fn of(key: &KeyPair, certificate: &str, authority: &str) -> Result<Self, Error> {
        Self::from_pem(&[&key.serialize_pem(), certificate, authority].concat())
    }

    /// From PEM: a key, the certificate for it, and the authority's certificate, in one text.
    ///
    /// # Errors
    /// [`Error::Identity`] when anything of it is missing or makes no sense.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| Error::Identity("has no key"))?;
        let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::Identity("has a damaged certificate"))?;
        let [certificate, authority] = <[_; 2]>::try_from(certificates)
            .map_err(|_| Error::Identity("has not just its own certificate and the authority's"))?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|_| Error::Identity("has a damaged certificate"))?;
        let until = parsed.validity().not_after.timestamp();
        let until = u64::try_from(until).map_err(|_| Error::Identity("has expired long ago"))?;
        Ok(Self {
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(until),
            pem: text.to_owned(),
            key,
            certificate,
            authority,
        })
    }

    /// As [`Identity::from_pem`] reads it. The key is in it.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// Until when the other side believes it.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// TLS as an agent speaks it: 1.3 alone, with control planes of the same authority alone.
    ///
    /// Sessions are not resumed: each connection shows its certificate, so that one that has expired since is refused.
    ///
    /// # Errors
    /// [`Error::Tls`] when key and certificate do not belong together, [`Error::Identity`] when the authority is none.
    pub fn server_config(&self) -> Result<ServerConfig, Error> {
        let clients = WebPkiClientVerifier::builder_with_provider(self.roots()?, provider())
            .build()
            .map_err(|_| Error::Identity("trusts no authority"))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// TLS as a control plane speaks it: 1.3 alone, with agents of the same authority alone.
    ///
    /// # Errors
    /// As [`Identity::server_config`].
    pub fn client_config(&self) -> Result<ClientConfig, Error> {
        let servers = WebPkiServerVerifier::builder_with_provider(self.roots()?, provider())
            .build()
            .map_err(|_| Error::Identity("trusts no authority"))?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(servers)
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, Error> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority.clone())
            .map_err(|_| Error::Identity("trusts no authority"))?;
        Ok(Arc::new(roots))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
