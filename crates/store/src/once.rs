//! Calls that are done once, however often they are sent.

use sqlx::{Database, Encode, QueryBuilder, Type, query};

use crate::db::{Begin as _, Columns, on};
use crate::{Store, StoreError};

/// How many calls one statement names: either database takes so many parameters, and many more.
const NAMED: usize = 1000;

macro_rules! once {
    () => {
        "SELECT team, key, asked, holder, held_at, sandbox_id, status, headers, body, created_at FROM once \
         WHERE team = $1 AND key = $2"
    };
}

/// A call, by the key that its caller gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Whose key: two teams may choose the same.
    pub team: String,
    /// The caller's key.
    pub key: String,
    /// A digest of what is asked.
    pub asked: String,
    /// The server that does it.
    pub holder: String,
    /// When that server last said so, in milliseconds since the epoch; 0 where it has let go of it.
    pub held_at_ms: i64,
    /// The sandbox that a create makes.
    pub sandbox_id: String,
    /// What came of it; `None` until that is known.
    pub answer: Option<StoredAnswer>,
    /// When it was first asked, in milliseconds since the epoch.
    pub created_at_ms: i64,
}

/// An answer, to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, as a JSON object.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Store {
    /// Takes a call in hand. `None` when nobody has it; else what there is, and nothing has changed. One from before
    /// `forgotten_ms` is as none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn begin_once(
        &self,
        call: &Once,
        forgotten_ms: i64,
    ) -> Result<Option<Once>, StoreError> {
        on!(&self.writer, db => {
            let mut tx = db.transaction().await?;
            query("DELETE FROM once WHERE team = $1 AND key = $2 AND created_at < $3")
                .bind(&call.team)
                .bind(&call.key)
                .bind(forgotten_ms)
                .execute(&mut *tx)
                .await?;
            loop {
                let begun = query(
                    "INSERT INTO once (team, key, asked, holder, held_at, sandbox_id, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (team, key) DO NOTHING",
                )
                .bind(&call.team)
                .bind(&call.key)
                .bind(&call.asked)
                .bind(&call.holder)
                .bind(call.held_at_ms)
                .bind(&call.sandbox_id)
                .bind(call.created_at_ms)
                .execute(&mut *tx)
                .await?;
                if begun.rows_affected() == 1 {
                    tx.commit().await?;
                    return Ok(None);
                }
                let row = query(once!())
                    .bind(&call.team)
                    .bind(&call.key)
                    .fetch_optional(&mut *tx)
                    .await?;
                // Where there is none, it was given out of hand in between.
                if let Some(row) = row {
                    return read(&row).map(Some);
                }
            }
        })
    }

    /// A call as it is in the store.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn once(&self, team: &str, key: &str) -> Result<Option<Once>, StoreError> {
        on!(&self.readers, db => {
            let row = query(once!()).bind(team).bind(key).fetch_optional(db).await?;
            row.as_ref().map(read).transpose()
        })
    }

    /// Takes a call over from a server that is held for dead, unless somebody else has or it has said something since. The
    /// sandbox of a create stays the same.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn take_over(&self, from: &Once, to: &Once) -> Result<bool, StoreError> {
        on!(&self.writer, db => {
            let taken = query(
                "UPDATE once SET holder = $5, held_at = $6 \
                 WHERE team = $1 AND key = $2 AND holder = $3 AND held_at = $4 AND status IS NULL",
            )
            .bind(&from.team)
            .bind(&from.key)
            .bind(&from.holder)
            .bind(from.held_at_ms)
            .bind(&to.holder)
            .bind(to.held_at_ms)
            .execute(db)
            .await?;
            Ok(taken.rows_affected() == 1)
        })
    }

    /// Says that this server still works on these calls, each a team's and a key's, unless somebody else has taken them over or
    /// they were let go of. Answers how many it is of.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn hold_once(
        &self,
        holder: &str,
        calls: &[(String, String)],
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let mut held = 0;
        for calls in calls.chunks(NAMED) {
            held += on!(&self.writer, db => {
                let said = holding(holder, calls, now_ms).build().execute(db).await?;
                Ok(said.rows_affected())
            })?;
        }
        Ok(held)
    }

    /// Lets go of a call of which nobody knows yet what comes: who sends it again takes it over at once.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn let_go_once(&self, call: &Once) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            query("UPDATE once SET held_at = 0 WHERE team = $1 AND key = $2 AND holder = $3 AND status IS NULL")
                .bind(&call.team)
                .bind(&call.key)
                .bind(&call.holder)
                .execute(db)
                .await?;
            Ok(())
        })
    }

    /// Has a create that this server has in hand make another sandbox. `false` when somebody else has taken it over.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn renew_once(&self, call: &Once) -> Result<bool, StoreError> {
        on!(&self.writer, db => {
            let renewed = query(
                "UPDATE once SET sandbox_id = $4 WHERE team = $1 AND key = $2 AND holder = $3 AND status IS NULL",
            )
            .bind(&call.team)
            .bind(&call.key)
            .bind(&call.holder)
            .bind(&call.sandbox_id)
            .execute(db)
            .await?;
            Ok(renewed.rows_affected() == 1)
        })
    }

    /// Writes what came of a call that this server has in hand. `false` when somebody else has taken it over.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn finish_once(
        &self,
        call: &Once,
        answer: &StoredAnswer,
    ) -> Result<bool, StoreError> {
        on!(&self.writer, db => {
            let finished = query(
                "UPDATE once SET status = $4, headers = $5, body = $6 WHERE team = $1 AND key = $2 AND holder = $3",
            )
            .bind(&call.team)
            .bind(&call.key)
            .bind(&call.holder)
            .bind(i64::from(answer.status))
            .bind(&answer.headers)
            .bind(&answer.body)
            .execute(db)
            .await?;
            Ok(finished.rows_affected() == 1)
        })
    }

    /// Gives a call out of hand, as if it had not been asked.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn release_once(&self, call: &Once) -> Result<(), StoreError> {
        on!(&self.writer, db => {
            query("DELETE FROM once WHERE team = $1 AND key = $2 AND holder = $3")
                .bind(&call.team)
                .bind(&call.key)
                .bind(&call.holder)
                .execute(db)
                .await?;
            Ok(())
        })
    }
}

fn holding<DB: Database>(holder: &str, calls: &[(String, String)], now_ms: i64) -> QueryBuilder<DB>
where
    i64: for<'a> Encode<'a, DB> + Type<DB>,
    String: for<'a> Encode<'a, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("UPDATE once SET held_at = ");
    query.push_bind(now_ms);
    query.push(" WHERE status IS NULL AND held_at <> 0 AND holder = ");
    query.push_bind(holder.to_owned());
    query.push(" AND (team, key) IN (");
    query.push_values(calls, |mut row, (team, key)| {
        row.push_bind(team.clone()).push_bind(key.clone());
    });
    query.push(")");
    query
}

fn read(row: &impl Columns) -> Result<Once, StoreError> {
    let key = row.text("key")?;
    let status = row.time("status")?.map(u16::try_from).transpose();
    let status = status.map_err(|_| StoreError::Row {
        id: key.clone(),
        what: "status",
    })?;
    let (headers, body) = (row.text("headers")?, row.text("body")?);
    Ok(Once {
        team: row.text("team")?,
        asked: row.text("asked")?,
        holder: row.text("holder")?,
        held_at_ms: row.number("held_at")?,
        sandbox_id: row.text("sandbox_id")?,
        answer: status.map(|status| StoredAnswer {
            status,
            headers,
            body,
        }),
        created_at_ms: row.number("created_at")?,
        key,
    })
}
