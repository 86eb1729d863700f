//! How an agent comes to its certificate: one request, one answer, each proven by the token's secret, which neither carries.
//!
//! The proof of a request covers all of it, that of an answer covers the answer and the request's proof. Who listens learns
//! no secret, who changes anything is found out, and who repeats an answer of another join, too.

use hmac::{Hmac, KeyInit as _, Mac as _};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use sha2::Sha256;

use crate::{Error, HostName, Identity, Token};

const REQUEST: &str = "wrenn join request 1";
const ANSWER: &str = "wrenn join answer 1";

/// What an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The token's id.
    pub token_id: String,
    /// The certificate request, in PEM.
    pub csr: String,
    /// What the control plane dials it by.
    pub names: Vec<String>,
    /// HMAC-SHA256 of the rest under the token's secret, in hex.
    pub proof: String,
}

/// What the control plane answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The agent's certificate, in PEM.
    pub certificate: String,
    /// The authority's certificate, in PEM.
    pub authority: String,
    /// HMAC-SHA256 of the rest and of the request's proof under the token's secret, in hex.
    pub proof: String,
}

/// An agent that joins: its new key, which stays here, and what it asks for.
#[derive(Debug)]
pub struct Joining {
    token: Token,
    key: KeyPair,
    request: JoinRequest,
}

impl Joining {
    /// Makes a key, and the request for a host that is dialled by these names.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn new(token: Token, names: &[HostName]) -> Result<Self, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Make)?;
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .and_then(|csr| csr.pem())
            .map_err(Error::Make)?;
        let mut request = JoinRequest {
            token_id: token.id().to_owned(),
            csr,
            names: names.iter().map(ToString::to_string).collect(),
            proof: String::new(),
        };
        request.proof = request.mac(token.secret()).hex();
        Ok(Self {
            token,
            key,
            request,
        })
    }

    /// What to send.
    #[must_use]
    pub fn request(&self) -> &JoinRequest {
        &self.request
    }

    /// The identity that the answer makes of this host.
    ///
    /// # Errors
    /// [`Error::Unproven`] when it is not the answer of who made the token to this request; [`Error::Identity`] or
    /// [`Error::Tls`] when there is no speaking TLS with it.
    pub fn complete(self, answer: &JoinAnswer) -> Result<Identity, Error> {
        if !answer
            .mac(self.token.secret(), &self.request)
            .proves(&answer.proof)
        {
            return Err(Error::Unproven);
        }
        let identity = Identity::of(&self.key, &answer.certificate, &answer.authority)?;
        identity.server_config()?;
        Ok(identity)
    }
}

impl JoinRequest {
    /// Whether it comes from somebody who knows the secret, unchanged. Takes as long whatever is wrong.
    #[must_use]
    pub fn is_proven(&self, secret: &str) -> bool {
        self.mac(secret).proves(&self.proof)
    }

    fn mac(&self, secret: &str) -> Code {
        let names = self.names.iter().map(String::as_str);
        Code::of(
            secret,
            REQUEST,
            [self.token_id.as_str(), &self.csr].into_iter().chain(names),
        )
    }
}

impl JoinAnswer {
    /// The answer to a request, proven by the secret of its token.
    #[must_use]
    pub fn new(secret: &str, request: &JoinRequest, certificate: String, authority: &str) -> Self {
        let mut answer = Self {
            certificate,
            authority: authority.to_owned(),
            proof: String::new(),
        };
        answer.proof = answer.mac(secret, request).hex();
        answer
    }

    fn mac(&self, secret: &str, request: &JoinRequest) -> Code {
        Code::of(
            secret,
            ANSWER,
            [request.proof.as_str(), &self.certificate, &self.authority].into_iter(),
        )
    }
}

/// An authentication code over texts, none of which can run into the next.
struct Code(Hmac<Sha256>);

impl Code {
    fn of<'a>(secret: &str, what: &'a str, texts: impl Iterator<Item = &'a str>) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC is defined for keys of any length")]
        let mut code = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key is one");
        for text in [what].into_iter().chain(texts) {
            code.update(&(text.len() as u64).to_be_bytes());
            code.update(text.as_bytes());
        }
        Self(code)
    }

    fn hex(self) -> String {
        let code = self.0.finalize().into_bytes();
        code.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// In constant time.
    fn proves(self, proof: &str) -> bool {
        from_hex(proof).is_some_and(|proof| self.0.verify_slice(&proof).is_ok())
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joining() -> (Token, Joining) {
        let token = Token::random();
        let names = ["10.0.0.5".parse().unwrap(), "host-a".parse().unwrap()];
        (token.clone(), Joining::new(token, &names).unwrap())
    }

    #[test]
    fn a_request_is_proven_whole() {
        let (token, joining) = joining();
        let good = joining.request();
        assert!(good.is_proven(token.secret()));
        assert!(!good.is_proven(Token::random().secret()));
        type Change = fn(&mut JoinRequest);
        let changes: [Change; 9] = [
            |request| request.token_id.push('a'),
            |request| request.csr.push('\n'),
            |request| request.names[0] = "10.0.0.6".into(),
            |request| request.names.push("other".into()),
            |request| request.names.reverse(),
            // The same letters, cut elsewhere.
            |request| request.names = vec!["10.0.0.5host-a".into()],
            |request| request.names.clear(),
            |request| request.proof.clear(),
            |request| {
                let last = request.proof.pop();
                request
                    .proof
                    .push(if last == Some('0') { '1' } else { '0' });
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut request = good.clone();
            change(&mut request);
            assert_ne!(request, *good, "{number}");
            assert!(!request.is_proven(token.secret()), "{number}");
        }
        for odd in ["x", "0", "zz", "é", &"0".repeat(63), &"0".repeat(66)] {
            let mut request = good.clone();
            request.proof = odd.into();
            assert!(!request.is_proven(token.secret()), "{odd}");
        }
    }

    #[test]
    fn an_answer_is_proven_whole_and_belongs_to_its_request() {
        let (token, _) = joining();
        let authority = crate::Authority::new(std::time::SystemTime::now()).unwrap();
        let answer_to = |request: &JoinRequest| {
            let certificate = authority
                .certify_agent(
                    &request.csr,
                    &["host-a".parse().unwrap()],
                    std::time::SystemTime::now(),
                )
                .unwrap();
            JoinAnswer::new(
                token.secret(),
                request,
                certificate,
                authority.certificate_pem(),
            )
        };
        let names = ["host-a".parse().unwrap()];
        let again = || Joining::new(token.clone(), &names).unwrap();
        type Change = fn(&mut JoinAnswer);
        let changes: [Change; 4] = [
            |answer| answer.certificate.push('\n'),
            |answer| answer.authority.push('\n'),
            |answer| std::mem::swap(&mut answer.certificate, &mut answer.authority),
            |answer| answer.proof = "00".repeat(32),
        ];
        for change in changes {
            let joining = again();
            let mut answer = answer_to(joining.request());
            change(&mut answer);
            let refused = joining.complete(&answer).unwrap_err();
            assert!(matches!(refused, Error::Unproven), "{refused}");
        }
        let (first, second) = (again(), again());
        let answer = answer_to(first.request());
        assert!(matches!(second.complete(&answer), Err(Error::Unproven)));
        // A proof of the request is none of an answer.
        let mut echo = answer.clone();
        echo.proof = first.request().proof.clone();
        assert!(matches!(again().complete(&echo), Err(Error::Unproven)));
        let identity = first.complete(&answer).unwrap();
        let read = Identity::from_pem(identity.to_pem()).unwrap();
        assert_eq!(read.expires_at(), identity.expires_at());
    }

    #[test]
    fn the_key_never_leaves() {
        let (token, joining) = joining();
        let sent = format!("{:?}", joining.request());
        assert!(!sent.contains(token.secret()) && !sent.contains("PRIVATE KEY"));
    }
}
