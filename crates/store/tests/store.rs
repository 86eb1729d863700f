//! The store on a real database, whichever of the two it is.

mod common;

use common::{Place, sandbox};
use wrenn_model::{SandboxId, Status, Transition};
use wrenn_store::{Cursor, Filter, Sandbox, Store};

#[tokio::test]
async fn what_is_written_is_read_also_after_a_restart() {
    let place = Place::new();
    let mut row = sandbox(1, &[("team", "red"), ("quote", "a'b\"c")]);
    row.parent_id = Some(SandboxId::random());
    let store = place.open().await;
    assert!(store.insert(&row).await.unwrap());
    assert!(!store.insert(&row).await.unwrap(), "an id is used once");
    row.status = Status::Running;
    row.transition = None;
    row.host_ip = "10.11.0.1".into();
    row.started_at_ms = Some(5);
    row.paused_at_ms = Some(6);
    row.lost_since_ms = Some(6);
    row.last_updated_ms = 7;
    assert!(store.update(&mut row).await.unwrap());
    assert_eq!(row.version, 2);
    store.close().await;

    // The second opening replays the migrations, which must change nothing.
    let store = place.open().await;
    assert_eq!(store.get(&row.id).await.unwrap(), Some(row));
    assert_eq!(store.get(&SandboxId::random()).await.unwrap(), None);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_reason_may_quote_anything() {
    let place = Place::new();
    let store = place.open().await;
    let mut row = sandbox(1, &[]);
    row.status_reason = "\0it said \u{1b}[31m\0 'no'".into();
    store.insert(&row).await.unwrap();
    assert!(store.update(&mut row).await.unwrap());
    let read = store.get(&row.id).await.unwrap().unwrap();
    assert_eq!(read.status_reason, "it said \u{1b}[31m 'no'");
}

#[tokio::test]
async fn of_two_writers_the_second_is_told() {
    let place = Place::new();
    let store = place.open().await;
    let mut first = sandbox(1, &[]);
    store.insert(&first).await.unwrap();
    let mut second = first.clone();
    first.status = Status::Running;
    second.status = Status::Error;
    assert!(store.update(&mut first).await.unwrap());
    assert!(!store.update(&mut second).await.unwrap());
    assert_eq!(second.version, 1);
    assert_eq!(
        store.get(&first.id).await.unwrap().unwrap().status,
        Status::Running
    );
    assert!(!store.remove(&second).await.unwrap());
    assert!(store.remove(&first).await.unwrap());
}

#[tokio::test]
async fn lists_are_filtered_and_paged_newest_first() {
    let place = Place::new();
    let store = place.open().await;
    // Pairs of the same age: the id decides between them.
    let mut rows: Vec<Sandbox> = (0..10)
        .map(|i| {
            sandbox(
                i / 2,
                if i % 2 == 0 {
                    &[("even", "yes"), ("n", "1")]
                } else {
                    &[("n", "1")]
                },
            )
        })
        .collect();
    rows[4].status = Status::Running;
    rows[5].template = "python".parse().unwrap();
    for row in &rows {
        store.insert(row).await.unwrap();
    }
    rows.sort_by(|a, b| (b.created_at_ms, &b.id).cmp(&(a.created_at_ms, &a.id)));
    assert_eq!(store.list(&Filter::default()).await.unwrap(), rows);

    let mut paged = Vec::new();
    let mut filter = Filter {
        limit: Some(3),
        ..Filter::default()
    };
    loop {
        let page = store.list(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(Cursor {
            created_at_ms: last.created_at_ms,
            id: last.id.clone(),
        });
        paged.extend(page);
    }
    assert_eq!(paged, rows);

    let count = async |filter: Filter| store.list(&filter).await.unwrap().len();
    let labels = |pairs: &[(&str, &str)]| Filter {
        metadata: pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..Filter::default()
    };
    assert_eq!(count(labels(&[("n", "1")])).await, 10);
    assert_eq!(count(labels(&[("n", "1"), ("even", "yes")])).await, 5);
    assert_eq!(count(labels(&[("even", "no")])).await, 0);
    assert_eq!(
        count(Filter {
            status: Some(Status::Running),
            ..Filter::default()
        })
        .await,
        1
    );
    assert_eq!(
        count(Filter {
            template: Some("python".parse().unwrap()),
            ..Filter::default()
        })
        .await,
        1
    );
}

#[tokio::test]
async fn only_old_stopped_rows_are_forgotten_with_their_labels() {
    let place = Place::new();
    let store = place.open().await;
    let [mut old, mut new, mut failed] = [1, 100, 1].map(|age| sandbox(age, &[("a", "b")]));
    (old.status, new.status, failed.status) = (Status::Stopped, Status::Stopped, Status::Error);
    for row in [&old, &new, &failed] {
        store.insert(row).await.unwrap();
    }
    assert_eq!(store.unstopped().await.unwrap(), [failed.clone()]);
    assert_eq!(store.forget_stopped(50).await.unwrap(), 1);
    assert_eq!(store.get(&old.id).await.unwrap(), None);
    // The same id could not be inserted with its labels if they had stayed.
    assert!(store.insert(&old).await.unwrap());
}

/// So many rows that stopped at these times, from 1 on, past the store.
async fn many_stopped(place: &Place, rows: u32) {
    let text = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO sandboxes (id, status, created_at, last_updated) SELECT 'row-' || i, 'stopped', i, i FROM n"
    );
    place.execute(&[text.as_str()]).await;
}

#[tokio::test]
async fn while_much_is_forgotten_others_write() {
    const ROWS: u32 = 20_000;
    let place = Place::new();
    let store = place.open().await;
    many_stopped(&place, ROWS).await;
    let forgetting = {
        let store = store.clone();
        tokio::spawn(async move { store.forget_stopped(i64::from(ROWS)).await })
    };
    tokio::task::yield_now().await;
    assert!(store.insert(&sandbox(1, &[])).await.unwrap());
    assert!(!forgetting.is_finished(), "it has waited for all of them");
    let forgot = forgetting.await.unwrap().unwrap();
    assert_eq!(forgot, u64::from(ROWS) - 1, "the youngest stays");
}

#[tokio::test]
async fn of_failures_only_old_ones_without_a_pause_are_forgotten() {
    let place = Place::new();
    let store = place.open().await;
    let failed = Sandbox {
        status: Status::Error,
        transition: None,
        ..sandbox(1, &[("a", "b")])
    };
    let young = Sandbox {
        last_updated_ms: 50,
        ..failed.clone()
    };
    let paused = Sandbox {
        paused_at_ms: Some(1),
        ..failed.clone()
    };
    let stopping = Sandbox {
        transition: Some(Transition::Stopping),
        ..failed.clone()
    };
    let runs = Sandbox {
        status: Status::Running,
        ..failed.clone()
    };
    let mut rows = [failed, young, paused, stopping, runs];
    for row in &mut rows {
        row.id = SandboxId::random();
        assert!(store.insert(row).await.unwrap());
    }
    let ids: Vec<_> = rows.iter().map(|row| &row.id).collect();
    assert_eq!(store.forget_failed(&[], 50).await.unwrap(), 0);
    assert_eq!(store.forget_failed(&ids[1..], 50).await.unwrap(), 0);
    assert_eq!(store.forget_failed(&ids, 50).await.unwrap(), 1);
    assert_eq!(store.get(ids[0]).await.unwrap(), None);
    assert_eq!(store.list(&Filter::default()).await.unwrap().len(), 4);
}

#[tokio::test]
async fn of_servers_that_start_at_once_each_opens_the_empty_database() {
    for _ in 0..20 {
        let place = Place::new();
        let opening = [0; 3].map(|_| {
            let url = place.url.clone();
            tokio::spawn(async move { Store::open(&url).await })
        });
        let row = sandbox(1, &[]);
        for opened in opening {
            let store = opened.await.unwrap().unwrap();
            store.insert(&row).await.unwrap();
            assert_eq!(store.list(&Filter::default()).await.unwrap().len(), 1);
            store.close().await;
        }
    }
}

#[tokio::test]
async fn of_many_writers_of_one_version_one_has_written() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let row = sandbox(1, &[]);
    stores[0].insert(&row).await.unwrap();
    for round in 0..20 {
        let read = stores[0].get(&row.id).await.unwrap().unwrap();
        let writers: Vec<_> = (0..8)
            .map(|number| {
                let (store, mut row) = (stores[number % 2].clone(), read.clone());
                row.status_reason = format!("writer {number} of round {round}");
                tokio::spawn(async move {
                    let done = store.update(&mut row).await.unwrap();
                    done.then_some(row)
                })
            })
            .collect();
        let mut written = Vec::new();
        for writer in writers {
            written.extend(writer.await.unwrap());
        }
        let stored = stores[1].get(&row.id).await.unwrap();
        assert_eq!(written.len(), 1);
        assert_eq!(stored, written.pop());
    }
}

/// Two servers' groups change the same rows, each in an order of its own.
#[tokio::test]
async fn writers_of_the_same_rows_in_other_orders_do_not_wait_in_a_circle() {
    const ROWS: usize = 16;
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let mut rows: Vec<_> = (0..ROWS).map(|n| sandbox(n as i64, &[])).collect();
    for row in &rows {
        assert!(stores[0].insert(row).await.unwrap());
    }
    for _ in 0..10 {
        let mut writers = tokio::task::JoinSet::new();
        for (number, store) in stores.iter().enumerate() {
            let order: Vec<_> = match number {
                0 => rows.clone(),
                _ => rows.iter().rev().cloned().collect(),
            };
            for mut row in order {
                let store = store.clone();
                writers.spawn(async move {
                    let done = store.update(&mut row).await.unwrap();
                    done.then_some(row)
                });
            }
        }
        let written = writers.join_all().await.into_iter().flatten();
        rows = written.collect();
        assert_eq!(rows.len(), ROWS);
    }
}
