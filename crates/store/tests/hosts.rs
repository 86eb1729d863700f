//! Authority and invitations on a real database, whichever of the two it is.

mod common;

use common::Place;
use wrenn_store::{Invitation, StoredAuthority};

fn authority(text: &str) -> StoredAuthority {
    StoredAuthority {
        certificate: text.to_owned(),
        private_key: format!("{text}'s key"),
    }
}

fn invitation(id: &str, expires_at_ms: i64) -> Invitation {
    Invitation {
        id: id.to_owned(),
        secret: "s".to_owned(),
        created_at_ms: 0,
        expires_at_ms,
        used_at_ms: None,
    }
}

#[tokio::test]
async fn the_first_authority_stays() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!(one.authority().await.unwrap(), None);
    // Two control planes that start at once agree.
    let (mine, theirs) = (authority("mine"), authority("theirs"));
    let (first, second) = tokio::join!(
        one.insert_authority(&mine, 1),
        other.insert_authority(&theirs, 2)
    );
    first.unwrap();
    second.unwrap();
    let kept = one.authority().await.unwrap().unwrap();
    assert!(kept == mine || kept == theirs);
    assert_eq!(other.authority().await.unwrap().as_ref(), Some(&kept));
    one.insert_authority(&authority("late"), 3).await.unwrap();
    one.close().await;
    assert_eq!(place.open().await.authority().await.unwrap(), Some(kept));
    assert!(!format!("{mine:?}").contains("key\""));
}

#[tokio::test]
async fn an_invitation_is_used_once_whoever_asks_at_once() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    stores[0]
        .insert_invitation(&invitation("a", 100))
        .await
        .unwrap();
    assert!(
        stores[0]
            .insert_invitation(&invitation("a", 200))
            .await
            .is_err()
    );
    let askers = (0..20).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move { store.use_invitation("a", 50).await.unwrap() })
    });
    let mut used = 0;
    for asker in askers.collect::<Vec<_>>() {
        used += u32::from(asker.await.unwrap());
    }
    assert_eq!(used, 1);
    let row = stores[1].invitation("a").await.unwrap().unwrap();
    assert_eq!((row.used_at_ms, row.expires_at_ms), (Some(50), 100));
}

#[tokio::test]
async fn an_expired_invitation_is_no_more_use_and_is_forgotten() {
    let place = Place::new();
    let store = place.open().await;
    for (id, expires) in [("a", 100), ("b", 200)] {
        store
            .insert_invitation(&invitation(id, expires))
            .await
            .unwrap();
    }
    for late in [100, 101] {
        assert!(!store.use_invitation("a", late).await.unwrap());
    }
    assert!(!store.use_invitation("nobody", 1).await.unwrap());
    assert_eq!(store.invitation("nobody").await.unwrap(), None);
    assert_eq!(store.forget_invitations(150).await.unwrap(), 1);
    assert_eq!(store.invitation("a").await.unwrap(), None);
    assert_eq!(
        store.invitation("b").await.unwrap(),
        Some(invitation("b", 200))
    );
    assert!(store.use_invitation("b", 199).await.unwrap());
}
