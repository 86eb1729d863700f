//! Events and the record of calls, on either database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use common::{Place, sandbox};
use wrenn_model::{Status, Transition};
use wrenn_store::{AuditEntry, AuditFilter, Event, EventFilter, EventKind, Store};

fn after(seq: i64) -> EventFilter {
    EventFilter {
        after: seq,
        up_to: i64::MAX,
        sandbox: None,
        owner: None,
        limit: 10_000,
    }
}

async fn all(store: &Store) -> Vec<Event> {
    store.events(&after(0)).await.unwrap()
}

#[tokio::test]
async fn every_write_is_an_event_and_what_was_refused_is_none() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(
        (
            store.newest_event().await.unwrap(),
            store.oldest_event().await.unwrap()
        ),
        (0, None)
    );
    let mut row = sandbox(1, &[]);
    let request = "req-1".parse().unwrap();
    assert!(store.by(Some(request)).insert(&row).await.unwrap());
    assert!(!store.insert(&row).await.unwrap());
    let mut stale = row.clone();
    row.status = Status::Running;
    row.transition = Some(Transition::Pausing);
    row.status_reason = "because\0".into();
    row.last_updated_ms = 7;
    assert!(store.update(&mut row).await.unwrap());
    assert!(!store.update(&mut stale).await.unwrap());
    assert!(!store.remove(&stale).await.unwrap());
    assert!(store.remove(&row).await.unwrap());

    let events = all(&store).await;
    let told: Vec<_> = events.iter().map(|event| (event.seq, event.kind)).collect();
    assert_eq!(
        told,
        [
            (1, EventKind::Created),
            (2, EventKind::Changed),
            (3, EventKind::Forgotten)
        ]
    );
    assert_eq!(events[0].request_id, "req-1");
    let expected = Event {
        seq: 2,
        at_ms: 7,
        kind: EventKind::Changed,
        sandbox: row.id.clone(),
        owner_id: row.owner_id.clone(),
        status: Status::Running,
        transition: Some(Transition::Pausing),
        status_reason: "because".into(),
        request_id: String::new(),
    };
    assert_eq!(events[1], expected);
    assert_eq!(
        (
            store.newest_event().await.unwrap(),
            store.oldest_event().await.unwrap()
        ),
        (3, Some(1))
    );
}

#[tokio::test]
async fn a_reader_beside_many_writers_misses_none() {
    const WRITERS: u32 = 8;
    const WRITES: u32 = 20;
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = stores[writer as usize % 2].clone();
        writers.spawn(async move {
            let mut row = sandbox(i64::from(writer), &[]);
            assert!(store.insert(&row).await.unwrap());
            for _ in 1..WRITES {
                assert!(store.update(&mut row).await.unwrap());
            }
        });
    }
    let reader = stores[1].clone();
    let (mut place_read, last) = (0, i64::from(WRITERS * WRITES));
    while place_read < last {
        for event in reader.events(&after(place_read)).await.unwrap() {
            assert_eq!(event.seq, place_read + 1);
            place_read = event.seq;
        }
        tokio::task::yield_now().await;
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    assert_eq!(reader.newest_event().await.unwrap(), last);
}

#[tokio::test]
async fn events_are_found_by_whose_they_are_and_forgotten_by_age() {
    let place = Place::new();
    let store = place.open().await;
    let mut ids = Vec::new();
    for (age, owner) in [(1, "red"), (2, "blue"), (3, "red")] {
        let mut row = sandbox(age, &[]);
        owner.clone_into(&mut row.owner_id);
        row.last_updated_ms = age;
        assert!(store.insert(&row).await.unwrap());
        ids.push(row.id);
    }
    let of = |filter: EventFilter| {
        let store = store.clone();
        async move {
            let found = store.events(&filter).await.unwrap();
            found.iter().map(|event| event.seq).collect::<Vec<_>>()
        }
    };
    let red = EventFilter {
        owner: Some("red".parse().unwrap()),
        ..after(0)
    };
    assert_eq!(of(red.clone()).await, [1, 3]);
    assert_eq!(
        of(EventFilter {
            limit: 1,
            ..red.clone()
        })
        .await,
        [1]
    );
    assert_eq!(of(EventFilter { up_to: 2, ..red }).await, [1]);
    let second = EventFilter {
        sandbox: Some(ids[1].clone()),
        ..after(0)
    };
    assert_eq!(of(second).await, [2]);
    assert_eq!(store.forget_events(3).await.unwrap(), 2);
    assert_eq!(of(after(0)).await, [3]);
    assert_eq!(
        (
            store.newest_event().await.unwrap(),
            store.oldest_event().await.unwrap()
        ),
        (3, Some(3))
    );
}

/// Where the clock was set back in between, no hole comes of it: who has been told of the first would miss the third.
#[tokio::test]
async fn what_is_kept_of_events_has_no_holes_whatever_times_they_name() {
    let place = Place::new();
    let store = place.open().await;
    for at in [1, 5, 2, 6] {
        let mut row = sandbox(at, &[]);
        row.last_updated_ms = at;
        assert!(store.insert(&row).await.unwrap());
    }
    let kept = async || {
        let kept = store.events(&after(0)).await.unwrap();
        kept.iter().map(|event| event.seq).collect::<Vec<_>>()
    };
    assert_eq!(store.forget_events(4).await.unwrap(), 1);
    assert_eq!(kept().await, [2, 3, 4]);
    assert_eq!(store.forget_events(6).await.unwrap(), 2);
    assert_eq!(store.forget_events(7).await.unwrap(), 1);
    assert!(kept().await.is_empty());
    assert_eq!(store.newest_event().await.unwrap(), 4);
}

#[tokio::test]
async fn more_events_than_are_forgotten_at_a_time_are_forgotten_all() {
    let place = Place::new();
    let store = place.open().await;
    place
        .execute(&[
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
             INSERT INTO events (seq, at, kind, sandbox_id, owner_id, status, transition, status_reason, request_id) \
             SELECT i, i, 'created', 'sb-aaaaaaaaaaaaaaaaaaaa', 'red', 'running', '', '', '' FROM n",
            "UPDATE counters SET newest = 2500",
        ])
        .await;
    assert_eq!(store.forget_events(2401).await.unwrap(), 2400);
    assert_eq!(store.oldest_event().await.unwrap(), Some(2401));
    assert_eq!(store.forget_events(3000).await.unwrap(), 100);
    assert_eq!(store.forget_events(3000).await.unwrap(), 0);
    assert_eq!(store.oldest_event().await.unwrap(), None);
    assert_eq!(store.newest_event().await.unwrap(), 2500);
}

#[tokio::test]
async fn calls_are_recorded_once_and_read_page_by_page() {
    let place = Place::new();
    let store = place.open().await;
    let calls: Vec<_> = (0..5)
        .map(|number| AuditEntry {
            id: format!("{number:016x}"),
            at_ms: 10 + number / 2,
            request_id: "req-1".into(),
            key_id: "key-0".into(),
            key_name: "first".into(),
            owner_id: "red".into(),
            action: "POST /v1/sandboxes".into(),
            sandbox_id: if number == 3 {
                "sb-a".into()
            } else {
                String::new()
            },
            object: if number == 4 {
                "blue".into()
            } else {
                String::new()
            },
            status: 201,
        })
        .collect();
    store.append_audit(&calls[..3]).await.unwrap();
    // Of a write whose outcome nobody heard.
    store.append_audit(&calls[2..]).await.unwrap();
    let newest_first: Vec<_> = calls.iter().rev().cloned().collect();
    let mut filter = AuditFilter {
        limit: 2,
        ..AuditFilter::default()
    };
    let mut read = Vec::new();
    loop {
        let page = store.audit(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some((last.at_ms, last.id.clone()));
        read.extend(page);
    }
    assert_eq!(read, newest_first);
    let about = AuditFilter {
        before: None,
        sandbox_id: Some("sb-a".into()),
        owner: Some("red".parse().unwrap()),
        limit: 9,
    };
    assert_eq!(store.audit(&about).await.unwrap(), [calls[3].clone()]);
    assert_eq!(store.forget_audit(11).await.unwrap(), 2);
    filter.before = None;
    filter.limit = 9;
    assert_eq!(store.audit(&filter).await.unwrap(), newest_first[..3]);
}
