//! Hosts on other machines: who may join, and what they are given. The agent of one that has joined is dialled with the
//! control plane's own certificate, and both are of the authority that is made here once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wrenn_model::{ErrorKind, Fault};
use wrenn_pki::{Authority, HostName, JoinAnswer, JoinRequest, Token};
use wrenn_store::{Invitation, Store, StoreError, StoredAuthority, millis};

use crate::fault::store_fault;

/// How long it is remembered of an invitation that it has expired, in milliseconds: a day.
const REMEMBER_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a control plane does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its authority cannot be made, or what is stored of it is none.
    #[error("the control plane has no certificate authority")]
    Certificates(#[from] wrenn_pki::Error),
}

/// An invitation for one host.
#[derive(Debug)]
pub struct Invited {
    /// What the host joins with, once.
    pub token: Token,
    /// From when on it does not, in milliseconds since the epoch.
    pub expires_at_ms: i64,
}

/// The hosts of this installation.
#[derive(Debug, Clone)]
pub struct Hosts {
    store: Store,
    authority: Arc<Authority>,
}

impl Hosts {
    pub(crate) fn new(store: Store, authority: Arc<Authority>) -> Self {
        Self { store, authority }
    }

    /// Lets one host join within this time.
    ///
    /// # Errors
    /// `db_error` when the database refuses.
    pub async fn invite(&self, good_for: Duration) -> Result<Invited, Fault> {
        let token = Token::random();
        let now = self.store.now_ms();
        let expires_at_ms = now.saturating_add(millis(good_for));
        let row = Invitation {
            id: token.id().to_owned(),
            secret: token.secret().to_owned(),
            created_at_ms: now,
            expires_at_ms,
            used_at_ms: None,
        };
        let written = async {
            self.store.forget_invitations(now - REMEMBER_MS).await?;
            self.store.insert_invitation(&row).await
        };
        written.await.map_err(|error| store_fault(&error))?;
        tracing::info!(invitation = token.id(), "a host is invited");
        Ok(Invited {
            token,
            expires_at_ms,
        })
    }

    /// Certifies the host that proves an invitation, which is used up by it.
    ///
    /// # Errors
    /// `unauthorized` when it proves none, `forbidden` when that was used or has expired, `invalid_request` when what it
    /// asks for makes no sense; the invitation is as good as before then.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Fault> {
        let invitation = self
            .store
            .invitation(&request.token_id)
            .await
            .map_err(|error| store_fault(&error))?
            .filter(|invitation| request.is_proven(&invitation.secret))
            .ok_or_else(unproven)?;
        usable(&invitation, self.store.now_ms())?;
        let certificate = self.certify(request)?;
        let used = self
            .store
            .use_invitation(&invitation.id, self.store.now_ms())
            .await;
        if !used.map_err(|error| store_fault(&error))? {
            return Err(used_up());
        }
        tracing::info!(invitation = invitation.id, names = ?request.names, "a host has joined");
        Ok(JoinAnswer::new(
            &invitation.secret,
            request,
            certificate,
            self.authority.certificate_pem(),
        ))
    }

    fn certify(&self, request: &JoinRequest) -> Result<String, Fault> {
        let invalid = |message, remedy| Fault::new(ErrorKind::InvalidRequest, message, remedy);
        let names = request
            .names
            .iter()
            .map(|name| {
                name.parse::<HostName>().map_err(|error| {
                    let shown: String = name.chars().take(64).collect();
                    invalid(
                        format!("{shown:?}: {error}"),
                        "name the host as this server dials it",
                    )
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(invalid(
                "the host has no name".to_owned(),
                "name the host as this server dials it",
            ));
        }
        let now = SystemTime::now();
        let certified = self.authority.certify_agent(&request.csr, &names, now);
        certified.map_err(|error| match error {
            wrenn_pki::Error::Request(_) => invalid(
                error.to_string(),
                "join with `wrenn agent join` of this server's version",
            ),
            other => {
                tracing::error!(
                    error = &other as &dyn std::error::Error,
                    "a host is not certified"
                );
                Fault::new(
                    ErrorKind::Internal,
                    "the certificate cannot be made",
                    "look into the server's log",
                )
            }
        })
    }
}

/// The authority of this database, which is made when there is none.
pub(crate) async fn authority(store: &Store) -> Result<Authority, OpenError> {
    if let Some(stored) = store.authority().await? {
        return read(&stored);
    }
    let new = Authority::new(SystemTime::now())?;
    let new = StoredAuthority {
        certificate: new.certificate_pem().to_owned(),
        private_key: new.key_pem(),
    };
    store.insert_authority(&new, store.now_ms()).await?;
    // Another control plane may have been faster.
    read(&store.authority().await?.unwrap_or(new))
}

fn read(stored: &StoredAuthority) -> Result<Authority, OpenError> {
    Ok(Authority::from_pem(
        &stored.certificate,
        &stored.private_key,
    )?)
}

fn usable(invitation: &Invitation, now_ms: i64) -> Result<(), Fault> {
    if invitation.used_at_ms.is_some() {
        return Err(used_up());
    }
    if invitation.expires_at_ms <= now_ms {
        return Err(Fault::new(
            ErrorKind::Forbidden,
            "this token has expired",
            "make a new one with `wrenn host invite`",
        ));
    }
    Ok(())
}

/// The same for a token that there never was and for one whose secret is not known: nobody learns which there are.
fn unproven() -> Fault {
    Fault::new(
        ErrorKind::Unauthorized,
        "this server knows no such token",
        "copy the whole token, or make a new one with `wrenn host invite`; see that the server is the one that made it",
    )
}

fn used_up() -> Fault {
    Fault::new(
        ErrorKind::Forbidden,
        "a host has joined with this token already",
        "each is good for one host: make a new one with `wrenn host invite`",
    )
}
