//! Hosts elsewhere: the authority that certifies them, and the invitations by which they join.

use std::fmt;

use sqlx::query;

use crate::db::{Columns, on};
use crate::{Store, StoreError};

/// The authority of this installation; there is one.
const OWN: &str = "own";

/// A certificate authority as it is stored: certificate and key, both in PEM. Its debug form shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// Its certificate.
    pub certificate: String,
    /// Its private key.
    pub private_key: String,
}

/// An invitation for one host. Its debug form does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// What names it, in the token.
    pub id: String,
    /// What proves it.
    pub secret: String,
    /// When it was made, in milliseconds since the epoch.
    pub created_at_ms: i64,
    /// From when on nobody joins by it.
    pub expires_at_ms: i64,
    /// When somebody has.
    pub used_at_ms: Option<i64>,
}

impl Store {
    /// The authority, if there is one yet.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn authority(&self) -> Result<Option<StoredAuthority>, StoreError> {
        on!(&self.readers, db => {
            let row = query("SELECT certificate, private_key FROM authorities WHERE id = $1")
                .bind(OWN)
                .fetch_optional(db)
                .await?;
            row.as_ref().map(read_authority).transpose()
        })
    }

    /// Keeps this authority, unless there is one already; that one is left as it is, and [`Store::authority`] answers with it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert_authority(
        &self,
        authority: &StoredAuthority,
        created_at_ms: i64,
    ) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            query(
                "INSERT INTO authorities (id, certificate, private_key, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(OWN)
            .bind(&authority.certificate)
            .bind(&authority.private_key)
            .bind(created_at_ms)
            .execute(db)
            .await?;
            Ok(())
        })
    }

    /// Writes a new invitation.
    ///
    /// # Errors
    /// When the database refuses, or there is one of this id.
    pub async fn insert_invitation(&self, invitation: &Invitation) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            query(
                "INSERT INTO host_invitations (id, secret, created_at, expires_at, used_at) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(&invitation.id)
            .bind(&invitation.secret)
            .bind(invitation.created_at_ms)
            .bind(invitation.expires_at_ms)
            .bind(invitation.used_at_ms)
            .execute(db)
            .await?;
            Ok(())
        })
    }

    /// The invitation of this id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn invitation(&self, id: &str) -> Result<Option<Invitation>, StoreError> {
        on!(&self.readers, db => {
            let row = query("SELECT id, secret, created_at, expires_at, used_at FROM host_invitations WHERE id = $1")
                .bind(id)
                .fetch_optional(db)
                .await?;
            row.as_ref().map(read_invitation).transpose()
        })
    }

    /// Uses an invitation up. `true` once for each, whoever asks at the same time; `false` also when it has expired by then.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn use_invitation(&self, id: &str, now_ms: i64) -> Result<bool, StoreError> {
        on!(&self.writer, db => {
            let used = query(
                "UPDATE host_invitations SET used_at = $2 WHERE id = $1 AND used_at IS NULL AND expires_at > $2",
            )
            .bind(id)
            .bind(now_ms)
            .execute(db)
            .await?;
            Ok(used.rows_affected() == 1)
        })
    }

    /// Forgets the invitations, used or not, that expired before this time. Answers how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_invitations(&self, before_ms: i64) -> Result<u64, StoreError> {
        on!(&self.writer, db => {
            let removed = query("DELETE FROM host_invitations WHERE expires_at < $1")
                .bind(before_ms)
                .execute(db)
                .await?;
            Ok(removed.rows_affected())
        })
    }
}

fn read_authority(row: &impl Columns) -> Result<StoredAuthority, StoreError> {
    Ok(StoredAuthority {
        certificate: row.text("certificate")?,
        private_key: row.text("private_key")?,
    })
}

fn read_invitation(row: &impl Columns) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        id: row.text("id")?,
        secret: row.text("secret")?,
        created_at_ms: row.number("created_at")?,
        expires_at_ms: row.number("expires_at")?,
        used_at_ms: row.time("used_at")?,
    })
}

impl fmt::Debug for StoredAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredAuthority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("id", &self.id)
            .field("expires_at_ms", &self.expires_at_ms)
            .field("used_at_ms", &self.used_at_ms)
            .finish_non_exhaustive()
    }
}
