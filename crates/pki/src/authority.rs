//! The certificate authority of one control plane.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use wrenn_model::random_text;

use crate::{Error, HostName, Identity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The authority itself. A new one means that every agent joins again.
const AUTHORITY_VALID: Duration = DAY.saturating_mul(20 * 365);
/// How long an agent's certificate is good.
pub const AGENT_VALID: Duration = DAY.saturating_mul(365);
/// Hosts' clocks differ.
const SKEW: Duration = DAY;
/// A point of the curve, uncompressed.
const P256_POINT_BYTES: usize = 65;

/// An authority with its key. Its debug form does not show it.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, good for twenty years.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn new(now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Make)?;
        let mut params = CertificateParams::default();
        // Two authorities of one name would be mistaken for each other.
        params.distinguished_name = named(&format!("Wrenn authority {}", random_text(12)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        valid(&mut params, now, AUTHORITY_VALID);
        let certificate = params.self_signed(&key).map_err(Error::Make)?;
        Ok(Self {
            certificate: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// One that was made before, by its certificate and its key, both in PEM.
    ///
    /// # Errors
    /// [`Error::Authority`] when they are none.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key).map_err(Error::Authority)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(certificate, key).map_err(Error::Authority)?,
            certificate: certificate.to_owned(),
        })
    }

    /// Its certificate, in PEM: what both sides trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Its key, in PEM: whoever has it is every host and every control plane.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate, in PEM, for the key of this request, good for [`AGENT_VALID`]. Whoever has that key can be dialled
    /// by these names. What the request itself says beside its key is not looked at.
    ///
    /// # Errors
    /// [`Error::Request`] when the request is none, or not for a P-256 key that has signed it; [`Error::Make`].
    pub fn certify_agent(
        &self,
        request: &str,
        names: &[HostName],
        now: SystemTime,
    ) -> Result<String, Error> {
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|_| Error::Request("is none, or was not signed by its key"))?;
        let key = request.public_key;
        if *key.algorithm() != PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != P256_POINT_BYTES {
            return Err(Error::Request("is not for an ECDSA key on P-256"));
        }
        let mut params = leaf("Wrenn agent", ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names = names.iter().map(alt_name).collect::<Result<_, _>>()?;
        valid(&mut params, now, AGENT_VALID);
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::Make)?;
        Ok(certificate.pem())
    }

    /// An identity for the control plane itself, good for so long, with a key that is nowhere else.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn identify_server(&self, now: SystemTime, good_for: Duration) -> Result<Identity, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Make)?;
        let mut params = leaf("Wrenn control plane", ExtendedKeyUsagePurpose::ClientAuth);
        valid(&mut params, now, good_for);
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::Make)?;
        Identity::of(&key, &certificate.pem(), &self.certificate)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn leaf(name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn valid(params: &mut CertificateParams, now: SystemTime, good_for: Duration) {
    params.not_before = (now - SKEW).into();
    params.not_after = (now + good_for).into();
}

fn alt_name(name: &HostName) -> Result<SanType, Error> {
    Ok(match name {
        HostName::Ip(address) => SanType::IpAddress(*address),
        HostName::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(Error::Make)?),
    })
}
