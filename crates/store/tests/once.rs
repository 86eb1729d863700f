//! Calls that are done once, on either database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use common::Place;
use wrenn_store::{Once, Store, StoredAnswer};

fn call(holder: &str) -> Once {
    Once {
        team: "red".into(),
        key: "k".into(),
        asked: "digest".into(),
        holder: holder.into(),
        held_at_ms: 10,
        sandbox_id: format!("sb-of-{holder}"),
        answer: None,
        created_at_ms: 10,
    }
}

async fn hold(store: &Store, call: &Once, now_ms: i64) -> u64 {
    let named = [(call.team.clone(), call.key.clone())];
    store.hold_once(&call.holder, &named, now_ms).await.unwrap()
}

#[tokio::test]
async fn one_begins_and_the_others_see_it() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..10 {
        let store = stores[number % 2].clone();
        tries.spawn(async move {
            store
                .begin_once(&call(&number.to_string()), 0)
                .await
                .unwrap()
        });
    }
    let seen = tries.join_all().await;
    let others: Vec<_> = seen.into_iter().flatten().collect();
    assert_eq!(others.len(), 9);
    assert!(others.iter().all(|other| *other == others[0]));
    // Another team's is another call.
    let theirs = Once {
        team: "blue".into(),
        ..call("x")
    };
    assert_eq!(stores[0].begin_once(&theirs, 0).await.unwrap(), None);
}

#[tokio::test]
async fn it_is_taken_over_once_and_from_the_dead_alone() {
    let place = Place::new();
    let store = place.open().await;
    let dead = call("dead");
    assert_eq!(store.begin_once(&dead, 0).await.unwrap(), None);
    // It has said something since somebody looked.
    assert_eq!(hold(&store, &dead, 20).await, 1);
    assert!(!store.take_over(&dead, &call("next")).await.unwrap());
    let seen = store.begin_once(&call("next"), 0).await.unwrap().unwrap();
    assert_eq!((seen.held_at_ms, seen.answer.clone()), (20, None));
    assert!(store.take_over(&seen, &call("next")).await.unwrap());
    assert!(!store.take_over(&seen, &call("late")).await.unwrap());
    // Who was held for dead says nothing about it any more.
    assert_eq!(hold(&store, &dead, 30).await, 0);
    store.release_once(&dead).await.unwrap();
    let answer = StoredAnswer {
        status: 201,
        headers: "{}".into(),
        body: "x".into(),
    };
    assert!(!store.finish_once(&dead, &answer).await.unwrap());
    let seen = store.begin_once(&call("later"), 0).await.unwrap().unwrap();
    assert_eq!((seen.holder.as_str(), seen.answer), ("next", None));

    // A create goes on with the sandbox that was chosen, until its new holder chooses another.
    assert_eq!(seen.sandbox_id, "sb-of-dead");
    assert!(store.renew_once(&call("next")).await.unwrap());
    assert!(!store.renew_once(&dead).await.unwrap());
    assert!(store.finish_once(&call("next"), &answer).await.unwrap());
    let seen = store.begin_once(&call("later"), 0).await.unwrap().unwrap();
    assert_eq!(
        (seen.sandbox_id.as_str(), &seen.answer),
        ("sb-of-next", &Some(answer))
    );
    assert_eq!(store.once("red", "k").await.unwrap(), Some(seen.clone()));
    assert_eq!(store.once("blue", "k").await.unwrap(), None);
    assert!(!store.take_over(&seen, &call("later")).await.unwrap());
}

#[tokio::test]
async fn it_is_forgotten_by_age_or_when_it_is_given_back() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(store.begin_once(&call("a"), 0).await.unwrap(), None);
    store.release_once(&call("a")).await.unwrap();
    assert_eq!(store.begin_once(&call("b"), 0).await.unwrap(), None);
    assert!(store.begin_once(&call("c"), 10).await.unwrap().is_some());
    assert_eq!(store.begin_once(&call("c"), 11).await.unwrap(), None);
    assert_eq!(store.forget_once(10).await.unwrap(), 0);
    assert_eq!(store.forget_once(11).await.unwrap(), 1);
}

/// Of a server's own those that it names, however many they are.
#[tokio::test]
async fn all_that_a_server_has_in_hand_is_held_together() {
    let place = Place::new();
    let store = place.open().await;
    let of = |holder: &str, number: usize| Once {
        key: format!("k-{number}"),
        ..call(holder)
    };
    let mut named = Vec::new();
    for number in 0..1203 {
        let one = of(if number % 3 == 0 { "b" } else { "a" }, number);
        named.push((one.team.clone(), one.key.clone()));
        assert_eq!(store.begin_once(&one, 0).await.unwrap(), None);
    }
    let unnamed = named.remove(1);
    store.let_go_once(&of("a", 2)).await.unwrap();
    assert_eq!(store.hold_once("a", &named, 20).await.unwrap(), 800);
    assert_eq!(store.hold_once("a", &[], 30).await.unwrap(), 0);
    for (number, held_at_ms) in [(0, 10), (1, 10), (2, 0), (4, 20), (1202, 20)] {
        let seen = store.once("red", &format!("k-{number}")).await.unwrap();
        assert_eq!(seen.unwrap().held_at_ms, held_at_ms, "{number}");
    }
    assert_eq!(unnamed.1, "k-1");
    // What was let go of is anybody's.
    let seen = store.once("red", "k-2").await.unwrap().unwrap();
    assert!(store.take_over(&seen, &of("b", 2)).await.unwrap());
}
