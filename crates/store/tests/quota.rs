//! What a team may have, however many write at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use common::{Place, sandbox};
use wrenn_model::{MiB, Status, TeamName, Transition};
use wrenn_store::{Admitted, Limited, Sandbox, Store, TeamLimits};

/// One of two vCPUs and 512 MiB, made at this time.
fn of(team: &str, at_ms: i64) -> Sandbox {
    Sandbox {
        owner_id: team.into(),
        ..sandbox(at_ms, &[])
    }
}

async fn limit(store: &Store, team: &str, limits: TeamLimits) {
    let name: TeamName = team.parse().unwrap();
    store.put_team(&name, &limits, 1).await.unwrap();
}

async fn refused(store: &Store, row: &Sandbox) -> (Limited, i64, Option<i64>) {
    match store.admit(row).await.unwrap() {
        Admitted::Refused(exceeded) => (exceeded.what, exceeded.used, exceeded.room_after_ms),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_limit_counts_what_it_says() {
    let place = Place::new();
    let store = place.open().await;
    let with = |sandboxes, vcpus, memory: Option<u32>| TeamLimits {
        sandboxes,
        vcpus,
        memory: memory.map(MiB),
        ..TeamLimits::default()
    };
    for (status, transition) in [
        (Status::Pending, Some(Transition::Starting)),
        (Status::Running, None),
        (Status::Paused, None),
        (Status::Paused, Some(Transition::Resuming)),
        (Status::Stopped, None),
        (Status::Error, None),
    ] {
        let row = Sandbox {
            status,
            transition,
            ..of("red", 1)
        };
        assert!(store.insert(&row).await.unwrap());
        assert!(
            store
                .insert(&Sandbox {
                    owner_id: "blue".into(),
                    ..sandbox(1, &[])
                })
                .await
                .unwrap()
        );
    }
    // Four are there, and three of them run or are about to.
    for (limits, what, used) in [
        (with(Some(4), None, None), Limited::Sandboxes, 4),
        (with(Some(5), Some(7), None), Limited::Vcpus, 6),
        (with(None, Some(8), Some(2047)), Limited::Memory, 1536),
    ] {
        limit(&store, "red", limits).await;
        assert_eq!(refused(&store, &of("red", 2)).await, (what, used, None));
    }
    limit(&store, "red", with(Some(5), Some(8), Some(2048))).await;
    let last = of("red", 2);
    assert_eq!(store.admit(&last).await.unwrap(), Admitted::Written);
    limit(&store, "red", TeamLimits::default()).await;
    assert_eq!(store.admit(&last).await.unwrap(), Admitted::Taken);
    assert_eq!(store.admit(&of("red", 2)).await.unwrap(), Admitted::Written);
    // What is there already is adopted whatever the limit is, and a team that nobody knows has none.
    limit(&store, "red", with(Some(0), None, None)).await;
    assert!(store.insert(&of("red", 2)).await.unwrap());
    assert_eq!(
        store.admit(&of("nobodys", 2)).await.unwrap(),
        Admitted::Written
    );
}

#[tokio::test]
async fn what_was_put_aside_wakes_within_the_same_limits() {
    let place = Place::new();
    let store = place.open().await;
    let asleep = |status| Sandbox {
        status,
        transition: None,
        ..of("red", 1)
    };
    let [mut first, mut second, mut failed] =
        [Status::Paused, Status::Paused, Status::Error].map(asleep);
    for row in [&first, &second, &failed] {
        assert!(store.insert(row).await.unwrap());
    }
    // Two are there, and no limit on how many are made has to do with them.
    let limits = TeamLimits {
        sandboxes: Some(2),
        vcpus: Some(2),
        creates_per_min: Some(0),
        ..TeamLimits::default()
    };
    limit(&store, "red", limits).await;
    for row in [&mut first, &mut second, &mut failed] {
        row.transition = Some(Transition::Resuming);
    }
    let mut stale = first.clone();
    assert_eq!(store.wake(&mut first).await.unwrap(), Admitted::Written);
    assert_eq!(first.version, stale.version + 1);
    limit(
        &store,
        "red",
        TeamLimits {
            vcpus: None,
            ..limits
        },
    )
    .await;
    assert_eq!(store.wake(&mut stale).await.unwrap(), Admitted::Taken);
    // An error is counted among them again.
    let beyond = |told: Admitted| match told {
        Admitted::Refused(exceeded) => (exceeded.what, exceeded.used),
        other => panic!("{other:?}"),
    };
    let refused = store.wake(&mut failed).await.unwrap();
    assert_eq!(beyond(refused), (Limited::Sandboxes, 2));
    limit(&store, "red", limits).await;
    let refused = store.wake(&mut second).await.unwrap();
    assert_eq!(beyond(refused), (Limited::Vcpus, 2));
    assert_eq!(
        store.get(&second.id).await.unwrap().unwrap().transition,
        None
    );
}

#[tokio::test]
async fn of_those_made_in_a_minute_the_oldest_says_when_to_come_back() {
    let place = Place::new();
    let store = place.open().await;
    let creates = |count| TeamLimits {
        creates_per_min: Some(count),
        ..TeamLimits::default()
    };
    limit(&store, "red", creates(2)).await;
    for at in [100_000, 110_000] {
        assert_eq!(
            store.admit(&of("red", at)).await.unwrap(),
            Admitted::Written
        );
    }
    let soon = refused(&store, &of("red", 130_000)).await;
    assert_eq!(soon, (Limited::Creates, 2, Some(30_000)));
    assert_eq!(
        store.admit(&of("red", 160_000)).await.unwrap(),
        Admitted::Written
    );
    assert_eq!(refused(&store, &of("red", 160_001)).await.2, Some(9_999));
    // The clock was set back by an hour: what was made by the former one is not waited for.
    let back = 160_001 + 3_600_000;
    for at in [back, back + 1] {
        assert!(store.insert(&of("red", at)).await.unwrap());
    }
    assert_eq!(
        store.admit(&of("red", 180_000)).await.unwrap(),
        Admitted::Written
    );
    limit(&store, "red", creates(0)).await;
    assert_eq!(
        refused(&store, &of("red", 900_000)).await,
        (Limited::Creates, 0, None)
    );
}

#[tokio::test]
async fn servers_that_write_at_once_never_go_beyond_a_limit_together() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let limits = TeamLimits {
        sandboxes: Some(7),
        creates_per_min: Some(100),
        ..TeamLimits::default()
    };
    limit(&stores[0], "red", limits).await;
    let writers: Vec<_> = (0..40)
        .map(|number| {
            let store = stores[number % 2].clone();
            tokio::spawn(async move { store.admit(&of("red", 1)).await.unwrap() })
        })
        .collect();
    let mut written = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Admitted::Written => written += 1,
            Admitted::Refused(exceeded) => assert_eq!(exceeded.used, 7),
            Admitted::Taken => panic!("an id twice"),
        }
    }
    assert_eq!(written, 7);
}
