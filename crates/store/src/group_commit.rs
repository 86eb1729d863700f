//! Writes that come while another is on its way to the disk are committed together: what takes time in a commit is the disk, which
//! does not ask how much it is given (DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984).
//!
//! Nobody waits for company: who comes first is committed at once and alone, and those who come meanwhile are the next group. Each
//! hears what became of it when all of them are durable.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::db::{Begin as _, Pool, on};
use crate::write::{Apply as _, What, Write};
use crate::{Admitted, Sandbox, Store, StoreError};

/// The most writes of a group; the first of them waits for all.
const GROUP: usize = 64;
/// Writes that wait for their turn; whoever comes then waits to be let in.
const QUEUE: usize = 1024;

/// The queue of writes.
#[derive(Debug, Clone)]
pub(crate) struct GroupCommit(mpsc::Sender<Waiting>);

/// A write, and who waits for it.
struct Waiting {
    write: Write,
    answer: oneshot::Sender<Result<Admitted, StoreError>>,
}

impl GroupCommit {
    /// Commits what comes until nobody can write any more.
    pub(crate) fn start(writer: Pool, wrote: Arc<Notify>) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut group: Vec<Waiting> = Vec::new();
            while waiting.recv_many(&mut group, GROUP).await > 0 {
                // What nobody waits for any more is not begun.
                group.retain(|one| !one.answer.is_closed());
                let away = commit_all(&writer, std::mem::take(&mut group)).await;
                wrote.notify_one();
                // Who has waited behind these waits for nothing else.
                let Some(away) = away else { continue };
                while let Ok(one) = waiting.try_recv() {
                    drop(one.answer.send(Err(away.clone())));
                }
            }
        });
        Self(queue)
    }

    /// Whether nothing is committed any more: it has panicked.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}

impl Store {
    /// Changes a sandbox, and tells of it. Whoever stops waiting before its turn has asked for nothing; later, it is done.
    pub(crate) async fn write(&self, what: What, row: &Sandbox) -> Result<Admitted, StoreError> {
        let write = Write {
            what,
            row: row.clone(),
            by: self.by.clone(),
        };
        let (answer, answered) = oneshot::channel();
        let queued = self.commits.0.send(Waiting { write, answer }).await;
        // The other end goes away with its runtime alone.
        queued.map_err(|_| StoreError::Silent)?;
        answered.await.unwrap_or(Err(StoreError::Silent))
    }
}

/// Commits a group. Where the database refuses what one of them is, each is on its own, so that one does not take others with it.
/// Answers with why the database is away, when it is.
async fn commit_all(writer: &Pool, group: Vec<Waiting>) -> Option<StoreError> {
    let (writes, answers): (Vec<Write>, Vec<_>) =
        group.into_iter().map(|one| (one.write, one.answer)).unzip();
    let told: Vec<Result<Admitted, StoreError>> = match commit(writer, &writes).await {
        Ok(done) => done.into_iter().map(Ok).collect(),
        Err(refusal) if refusal.is_of_a_row() => commit_each(writer, &writes).await,
        Err(error) => vec![Err(error); writes.len()],
    };
    let errors = told.iter().filter_map(|told| told.as_ref().err());
    let away = errors.rev().find(|error| error.is_away()).cloned();
    for (answer, told) in answers.into_iter().zip(told) {
        // It may have stopped waiting.
        drop(answer.send(told));
    }
    away
}

/// Commits each by itself. What ails the database and no row ails those that come after, too.
async fn commit_each(writer: &Pool, writes: &[Write]) -> Vec<Result<Admitted, StoreError>> {
    let mut told = Vec::with_capacity(writes.len());
    for write in writes {
        let done = match commit(writer, std::slice::from_ref(write)).await {
            Err(error) if !error.is_of_a_row() => {
                told.resize(writes.len(), Err(error));
                break;
            }
            done => done.map(|mut done| done.remove(0)),
        };
        told.push(done);
    }
    told
}

/// What became of each, once all are durable.
async fn commit(writer: &Pool, writes: &[Write]) -> Result<Vec<Admitted>, StoreError> {
    on!(writer, db => {
        let mut tx = db.transaction().await?;
        tx.go_first().await?;
        let mut done = Vec::with_capacity(writes.len());
        for write in writes {
            done.push(tx.apply(write).await?);
        }
        // Where nothing has changed, there is nothing to wait for.
        if done.contains(&Admitted::Written) {
            tx.commit().await?;
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatabaseUrl, EventFilter};
    use futures::future::join_all;
    use wrenn_model::{MiB, OnTimeout, SandboxId, Status, Transition};

    async fn store(folder: &std::path::Path) -> Store {
        let url = DatabaseUrl::file(folder.join("wrenn.db"));
        Store::open(&url).await.unwrap()
    }

    fn sandbox(hostname: &str) -> Sandbox {
        Sandbox {
            id: SandboxId::random(),
            owner_id: "default".to_owned(),
            template: "minimal".parse().unwrap(),
            vcpus: 1,
            memory: MiB(128),
            timeout_sec: 300,
            on_timeout: OnTimeout::Pause,
            auto_resume: false,
            hostname: hostname.to_owned(),
            network: Default::default(),
            metadata: Default::default(),
            status: Status::Pending,
            transition: Some(Transition::Starting),
            status_reason: String::new(),
            guest_ip: String::new(),
            host_ip: String::new(),
            isolation: String::new(),
            vmm: String::new(),
            created_at_ms: 1,
            started_at_ms: None,
            last_active_at_ms: None,
            paused_at_ms: None,
            lost_since_ms: None,
            parent_id: None,
            last_updated_ms: 1,
            version: 1,
        }
    }

    /// What becomes of these when they come at once.
    async fn insert(store: &Store, rows: &[Sandbox]) -> Vec<Result<bool, StoreError>> {
        join_all(rows.iter().map(|row| store.insert(row))).await
    }

    #[tokio::test]
    async fn who_comes_while_another_is_written_shares_a_commit() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let rows: Vec<_> = (0..GROUP).map(|_| sandbox("box")).collect();
        let log = folder.path().join("wrenn.db-wal");
        let size = || std::fs::metadata(&log).unwrap().len();
        insert(&store, &rows[..1]).await;
        let before = size();
        insert(&store, &rows[1..2]).await;
        let alone = size() - before;
        let before = size();
        assert!(
            insert(&store, &rows[2..])
                .await
                .into_iter()
                .all(|done| done.unwrap())
        );
        // Each commit logs the pages that it changes, of which the counter's is one.
        let each = (size() - before) / (GROUP as u64 - 2);
        assert!(each * 2 < alone, "{each} bytes of {alone}");
    }

    #[tokio::test]
    async fn one_that_is_refused_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let Pool::Lite(writer) = &store.writer else {
            unreachable!("it is SQLite's");
        };
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON sandboxes WHEN new.hostname = 'bad' \
                      BEGIN SELECT RAISE(ABORT, 'refused'); END";
        sqlx::query(refuse).execute(writer).await.unwrap();
        let rows = ["first", "good", "bad", "better"].map(sandbox);
        let done = insert(&store, &rows).await;
        let done: Vec<_> = done.iter().map(Result::is_ok).collect();
        assert_eq!(done, [true, true, false, true]);
        let all = EventFilter {
            after: 0,
            up_to: i64::MAX,
            sandbox: None,
            owner: None,
            limit: 10,
        };
        let told = store.events(&all).await.unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|event| (event.seq, &event.sandbox))
            .collect();
        assert_eq!(told, [(1, &rows[0].id), (2, &rows[1].id), (3, &rows[3].id)]);
    }

    #[tokio::test]
    async fn a_damaged_row_takes_nobody_with_it_who_does_not_need_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let Pool::Lite(writer) = &store.writer else {
            unreachable!("it is SQLite's");
        };
        let damaged = "INSERT INTO teams (name, max_sandboxes, created_at) VALUES ('red', -1, 1), ('blue', 'x', 1)";
        sqlx::query(damaged).execute(writer).await.unwrap();
        let rows = ["default", "green", "red", "blue", "green"].map(|team| Sandbox {
            owner_id: team.to_owned(),
            ..sandbox("box")
        });
        let done = join_all(rows.iter().map(|row| store.admit(row))).await;
        let done: Vec<_> = done.iter().map(Result::is_ok).collect();
        assert_eq!(done, [true, true, false, false, true]);
    }

    #[tokio::test]
    async fn who_stops_waiting_before_its_turn_has_asked_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let rows = ["first", "gone", "last"].map(sandbox);
        let (first, gone, last) = (
            store.insert(&rows[0]),
            store.insert(&rows[1]),
            store.insert(&rows[2]),
        );
        let gone = async {
            tokio::select! { biased; done = gone => Some(done), () = std::future::ready(()) => None }
        };
        let (first, gone, last) = tokio::join!(first, gone, last);
        assert!(first.unwrap() && gone.is_none() && last.unwrap());
        assert_eq!(store.get(&rows[1].id).await.unwrap(), None);
    }
}
