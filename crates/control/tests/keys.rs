//! Keys: what they open, for how long, and for whom.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::{Bench, caller};
use wrenn_control::{ApiKey, Caller, Filter, MadeKey, NewKey, NewSandbox, Wait};
use wrenn_model::{ErrorKind, Fault, TeamName};
use wrenn_testkit::postgres::Cluster;

async fn made(bench: &Bench, maker: &Caller, new: NewKey) -> Result<MadeKey, Fault> {
    bench.plane.keys().create(maker, new).await
}

fn key(team: Option<&str>, scopes: &str) -> NewKey {
    NewKey {
        name: "ci".into(),
        team: team.map(|team| team.parse().unwrap()),
        scopes: scopes.parse().unwrap(),
        good_for: None,
    }
}

async fn team(bench: &Bench, name: &str) -> TeamName {
    let name: TeamName = name.parse().unwrap();
    let limits = wrenn_control::TeamLimits::default();
    bench.plane.teams().put(&name, &limits).await.unwrap();
    name
}

#[tokio::test]
async fn a_key_says_whose_it_is_and_what_for() {
    let bench = Bench::new().await;
    let admin = caller("default", "admin");
    team(&bench, "red").await;
    let made = made(&bench, &admin, key(Some("red"), "read,sandboxes")).await;
    let made = made.unwrap();
    let id = made.stored.id.as_str();
    let hex = id.strip_prefix("key-").unwrap();
    assert!(
        hex.len() == 8 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    let caller = bench.plane.keys().check(made.key.reveal()).await.unwrap();
    let expected = Caller {
        key: made.stored.id.clone(),
        name: "ci".into(),
        team: "red".parse().unwrap(),
        scopes: "read,sandboxes".parse().unwrap(),
    };
    assert_eq!(*caller, expected);
}

#[tokio::test]
async fn what_has_expired_or_was_revoked_is_told_so() {
    let bench = Bench::new().await;
    let admin = caller("default", "admin");
    let keys = bench.plane.keys();
    let short = NewKey {
        good_for: Some(Duration::from_millis(300)),
        ..key(None, "read")
    };
    let short = made(&bench, &admin, short).await.unwrap().key;
    let revoked = made(&bench, &admin, key(None, "read")).await.unwrap();
    keys.check(short.reveal()).await.unwrap();
    keys.check(revoked.key.reveal()).await.unwrap();
    for _ in 0..2 {
        keys.revoke(&admin, &revoked.stored.id).await.unwrap();
        let fault = keys.check(revoked.key.reveal()).await.unwrap_err();
        assert_eq!(fault.kind, ErrorKind::Unauthorized);
        assert!(fault.message.contains("was revoked"), "{fault}");
    }
    // Nothing opens what is registered again: its holder may be who it was revoked for.
    keys.register("again", &revoked.key).await.unwrap();
    keys.check(revoked.key.reveal()).await.unwrap_err();

    tokio::time::sleep(Duration::from_millis(310)).await;
    let fault = keys.check(short.reveal()).await.unwrap_err();
    assert_eq!(fault.kind, ErrorKind::Unauthorized);
    assert!(fault.message.contains("has expired"), "{fault}");
}

#[tokio::test]
async fn an_admin_of_a_team_has_that_team_s_keys_alone() {
    let bench = Bench::new().await;
    let keys = bench.plane.keys();
    let operator = caller("default", "admin");
    let red = caller("red", "admin");
    for name in ["red", "blue"] {
        team(&bench, name).await;
    }
    let own = made(&bench, &red, key(None, "sandboxes")).await.unwrap();
    assert_eq!(own.stored.team.as_str(), "red");
    let theirs = made(&bench, &operator, key(Some("blue"), "read")).await;
    let theirs = theirs.unwrap();
    for team in ["blue", "default", "green"] {
        let refused = made(&bench, &red, key(Some(team), "read")).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::NotFound, "{team}");
    }
    let refused = made(&bench, &operator, key(Some("green"), "read")).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::NotFound);
    let listed = keys.list(&red).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&own.stored));
    assert_eq!(keys.list(&operator).await.unwrap().len(), 2);
    let refused = keys.revoke(&red, &theirs.stored.id).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotFound);
    keys.check(theirs.key.reveal()).await.unwrap();
    keys.revoke(&red, &own.stored.id).await.unwrap();
    keys.check(own.key.reveal()).await.unwrap_err();
}

#[tokio::test]
async fn a_use_is_noted_without_a_wait_for_it() {
    let bench = Bench::new().await;
    let admin = caller("default", "admin");
    let made = made(&bench, &admin, key(None, "read")).await.unwrap();
    let keys = bench.plane.keys();
    assert_eq!(keys.list(&admin).await.unwrap()[0].last_used_at_ms, None);
    for _ in 0..3 {
        keys.check(made.key.reveal()).await.unwrap();
    }
    for _ in 0..200 {
        if let Some(used) = keys.list(&admin).await.unwrap()[0].last_used_at_ms {
            assert!(used >= made.stored.created_at_ms);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("its use was never noted");
}

/// Two servers with folders of their own, on one empty database.
#[tokio::test]
async fn each_server_s_own_key_opens_what_every_server_serves() {
    let bench = Bench::on_postgresql(Cluster::shared()).await;
    let other = bench.another().await;
    let [mine, theirs] = [ApiKey::random(), ApiKey::random()];
    let registered = theirs.clone();
    let (here, there) = tokio::join!(
        bench.plane.keys().register("first of here", &mine),
        other.call(
            |plane| async move { plane.keys().register("first of there", &registered).await }
        ),
    );
    here.unwrap();
    there.unwrap().unwrap();
    for key in [mine, theirs] {
        let caller = bench.plane.keys().check(key.reveal()).await.unwrap();
        assert!(caller.is_operator());
        let checked = other.call(|plane| async move { plane.keys().check(key.reveal()).await });
        checked.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_one_server_revokes_opens_nothing_on_another_seconds_later() {
    let bench = Bench::on_postgresql(Cluster::shared()).await;
    let admin = caller("default", "admin");
    let made = made(&bench, &admin, key(None, "read")).await.unwrap();
    bench.plane.keys().check(made.key.reveal()).await.unwrap();
    let other = bench.another().await;
    let id = made.stored.id.clone();
    let revoked = other.call(|plane| async move { plane.keys().revoke(&admin, &id).await });
    revoked.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let fault = bench.plane.keys().check(made.key.reveal()).await;
    assert!(fault.unwrap_err().message.contains("was revoked"));
}

/// Whatever a caller may do with a sandbox, with another team's they may not, and do not learn that it is there.
#[tokio::test]
async fn another_team_s_sandbox_is_not_there() {
    let bench = Bench::new().await;
    let [red, blue] = ["red", "blue"].map(|team| caller(team, "admin"));
    let [red, blue] = [&red, &blue].map(|caller| bench.plane.sandboxes_of(caller));
    let operator = bench.plane.sandboxes_of(&caller("default", "admin"));
    let made = red.create(NewSandbox::default(), Wait::Running).await;
    let id = made.unwrap().sandbox.id;
    assert_eq!(bench.agent.sandbox(id.as_str()).unwrap().owner_id, "red");

    let policy = wrenn_model::NetworkPolicy::default;
    let command = || common::command("true", &[]);
    let refusals = [
        blue.get(&id).await.map(drop),
        blue.delete(&id).await.map(drop),
        blue.pause(&id).await.map(drop),
        blue.resume(&id, false).await.map(drop),
        blue.set_network(&id, policy()).await.map(drop),
        blue.ping(&id).await,
        blue.console(&id).await.map(drop),
        blue.usage(&id).await.map(drop),
        blue.exec(&id, command(), None).await.map(drop),
        blue.exec_stream(&id, command(), wrenn_control::Input::default())
            .await
            .map(drop),
        blue.exec_attach(&id, 1).await.map(drop),
        blue.read_file(&id, "/f", None).await.map(drop),
        blue.write_file(&id, "/f", None).await.map(drop),
        blue.callable(&id).await.map(drop),
    ];
    for refused in refusals {
        assert_eq!(refused.unwrap_err(), Fault::no_sandbox(id.as_str()));
    }
    let all = Filter::default();
    assert_eq!(blue.list(&all).await.unwrap(), []);
    for sees in [&red, &operator] {
        assert_eq!(sees.list(&all).await.unwrap().len(), 1);
        sees.ping(&id).await.unwrap();
    }
}
