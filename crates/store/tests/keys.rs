//! Keys and teams on a real database, whichever of the two it is.

mod common;

use common::{Place, key, sandbox};
use wrenn_model::{MiB, TeamName};
use wrenn_store::{Filter, Team, TeamLimits};

#[tokio::test]
async fn a_key_is_written_once_beside_all_others() {
    let place = Place::new();
    let store = place.open().await;
    let (one, two) = (key("key-00000001", "red", 1), key("key-00000002", "red", 2));
    store.insert_key("one", &one).await.unwrap();
    store.insert_key("two", &two).await.unwrap();
    let again = key("key-00000003", "blue", 3);
    store.insert_key("one", &again).await.unwrap();
    store.insert_key("three", &two).await.unwrap_err();
    assert_eq!(store.key("one").await.unwrap(), Some(one.clone()));
    assert_eq!(store.key("three").await.unwrap(), None);

    let blue = key("key-00000004", "blue", 4);
    store.insert_key("four", &blue).await.unwrap();
    let listed = store.keys(None).await.unwrap();
    assert_eq!(listed, [blue.clone(), two.clone(), one.clone()]);
    let red: TeamName = "red".parse().unwrap();
    assert_eq!(store.keys(Some(&red)).await.unwrap(), [two, one]);
}

#[tokio::test]
async fn a_key_is_revoked_by_its_own_team_and_once() {
    let place = Place::new();
    let store = place.open().await;
    let one = key("key-00000001", "red", 1);
    store.insert_key("one", &one).await.unwrap();
    let [red, blue]: [TeamName; 2] = ["red", "blue"].map(|name| name.parse().unwrap());
    let absent = "key-00000009".parse().unwrap();
    assert!(!store.revoke_key(&one.id, Some(&blue), 7).await.unwrap());
    assert!(!store.revoke_key(&absent, None, 7).await.unwrap());
    assert!(store.revoke_key(&one.id, Some(&red), 8).await.unwrap());
    assert!(store.revoke_key(&one.id, None, 9).await.unwrap());
    let revoked = store.key("one").await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at_ms, Some(8));
}

#[tokio::test]
async fn a_use_is_noted_when_the_last_is_old() {
    let place = Place::new();
    let store = place.open().await;
    let one = key("key-00000001", "red", 1);
    store.insert_key("one", &one).await.unwrap();
    for (now, unless_after, noted) in [(100, 40, 100), (110, 50, 100), (160, 100, 160)] {
        let written = store.note_key_use(&one.id, now, unless_after).await;
        written.unwrap();
        let key = store.key("one").await.unwrap().unwrap();
        assert_eq!(key.last_used_at_ms, Some(noted), "at {now}");
    }
}

#[tokio::test]
async fn a_team_has_the_limits_that_it_was_given_last() {
    let place = Place::new();
    let store = place.open().await;
    let red: TeamName = "red".parse().unwrap();
    assert_eq!(store.team(&red).await.unwrap(), None);
    let limits = TeamLimits {
        sandboxes: Some(5),
        memory: Some(MiB(2048)),
        ..TeamLimits::default()
    };
    let made = store.put_team(&red, &limits, 7).await.unwrap();
    let expected = Team {
        name: red.clone(),
        limits,
        created_at_ms: 7,
    };
    assert_eq!(made, expected);
    let none = TeamLimits::default();
    let changed = store.put_team(&red, &none, 8).await.unwrap();
    assert_eq!((changed.limits, changed.created_at_ms), (none, 7));
    assert_eq!(store.team(&red).await.unwrap(), Some(changed.clone()));
    let own = store.team(&TeamName::operator()).await.unwrap().unwrap();
    assert_eq!(store.teams().await.unwrap(), [own, changed]);
}

#[tokio::test]
async fn sandboxes_are_listed_by_their_team() {
    let place = Place::new();
    let store = place.open().await;
    for owner in ["red", "red", "blue", ""] {
        let mut row = sandbox(1, &[]);
        row.owner_id = owner.into();
        store.insert(&row).await.unwrap();
    }
    for (team, count) in [("red", 2), ("blue", 1), ("green", 0)] {
        let filter = Filter {
            owner: Some(team.parse().unwrap()),
            ..Filter::default()
        };
        assert_eq!(store.list(&filter).await.unwrap().len(), count, "{team}");
    }
}
