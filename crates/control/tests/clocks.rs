//! Two servers on one PostgreSQL whose clocks are far apart: what is decided by time is decided by one clock, the database's.
//!
//! The distance is greater than everything that is kept for a time, so that whatever goes by a server's own clock shows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::{Bench, Mortal, caller};
use wrenn_control::{
    AskedOnce, AuditFilter, Call, ControlPlane, JoinRequest, NewKey, NewSandbox, Sandbox,
    StoredAnswer, TeamLimits, Turn, Wait,
};
use wrenn_model::{ErrorKind, Fault};
use wrenn_pki::Joining;
use wrenn_testkit::postgres::Cluster;

const HOUR: Duration = Duration::from_secs(3600);
const AHEAD: Duration = Duration::from_secs(400 * 24 * 3600);

async fn two() -> (Bench, Mortal) {
    let bench = Bench::on_postgresql(Cluster::shared()).await;
    let ahead = bench.another_ahead(AHEAD).await;
    (bench, ahead)
}

async fn create(plane: ControlPlane, team: &str) -> Result<Sandbox, Fault> {
    let sandboxes = plane.sandboxes_of(&caller(team, "sandboxes"));
    let created = sandboxes.create(NewSandbox::default(), Wait::Running).await;
    created.map(|created| created.sandbox)
}

/// What a server forgets it forgets after its first sweep, which this is after.
async fn looked_around(server: &Mortal) {
    let swept = server.call(|plane| async move { plane.reconcile().await });
    swept.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn sandboxes_are_listed_and_told_of_in_the_order_in_which_they_were_made() {
    let (bench, ahead) = two().await;
    let mut made = Vec::new();
    for number in 0..6 {
        let sandbox = if number % 2 == 0 {
            ahead.call(|plane| create(plane, "default")).await.unwrap()
        } else {
            create(bench.plane.clone(), "default").await
        };
        made.push(sandbox.unwrap().id);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listed: Vec<_> = bench
        .list()
        .await
        .into_iter()
        .map(|row| row.id)
        .rev()
        .collect();
    assert_eq!(listed, made);
    let events = bench.plane.events_of(&caller("default", "admin"));
    let told = events.history(None, 0, 100).await.unwrap();
    assert_eq!(told.len(), 12);
    assert!(told.is_sorted_by_key(|event| event.at_ms), "{told:?}");
}

#[tokio::test]
async fn what_one_has_done_the_other_forgets_no_sooner_than_it_should() {
    let (bench, _first) = two().await;
    let asked = AskedOnce {
        team: "default".parse().unwrap(),
        key: "k".into(),
        asked: "x".into(),
    };
    let answer = StoredAnswer {
        status: 204,
        headers: "{}".into(),
        body: String::new(),
    };
    let calls = bench.plane.calls();
    let Turn::Do(in_hand) = calls.begin(asked.clone()).await.unwrap() else {
        panic!("somebody has it")
    };
    assert!(in_hand.done(&answer).await.unwrap());
    let gone = bench.create().await.id;
    bench.plane.sandboxes().delete(&gone).await.unwrap();
    bench.plane.audit().note(Call {
        request_id: "req-1".into(),
        caller: caller("default", "admin").into(),
        action: "DELETE /v1/sandboxes/{id}".into(),
        sandbox: Some(gone.clone()),
        object: None,
        status: 204,
    });
    tokio::time::sleep(Duration::from_millis(500)).await;

    let ahead = bench.another_ahead(AHEAD).await;
    looked_around(&ahead).await;
    let again = asked.clone();
    let there = ahead.call(|plane| async move { plane.calls().begin(again).await });
    for turn in [there.await.unwrap(), calls.begin(asked).await] {
        assert!(
            matches!(&turn, Ok(Turn::Done(told)) if *told == answer),
            "{turn:?}"
        );
    }
    assert_eq!(bench.list().await.len(), 1, "the stopped one");
    let admin = caller("default", "admin");
    let told = bench.plane.events_of(&admin).history(None, 0, 100).await;
    assert_eq!(told.unwrap().len(), 4);
    let filter = AuditFilter {
        limit: 10,
        ..AuditFilter::default()
    };
    let recorded = bench.plane.audit().list(&admin, filter).await.unwrap();
    assert_eq!(recorded.len(), 1);
}

#[tokio::test]
async fn a_team_makes_as_many_in_a_minute_as_it_may_wherever_it_asks() {
    let (bench, ahead) = two().await;
    for team in ["red", "blue"] {
        let limits = TeamLimits {
            creates_per_min: Some(2),
            ..TeamLimits::default()
        };
        let name = team.parse().unwrap();
        bench.plane.teams().put(&name, &limits).await.unwrap();
    }
    for _ in 0..2 {
        ahead
            .call(|plane| create(plane, "red"))
            .await
            .unwrap()
            .unwrap();
        create(bench.plane.clone(), "blue").await.unwrap();
    }
    let red = create(bench.plane.clone(), "red").await;
    let blue = ahead.call(|plane| create(plane, "blue")).await.unwrap();
    for refused in [red, blue] {
        let fault = refused.unwrap_err();
        assert_eq!(fault.kind, ErrorKind::QuotaExhausted, "{fault}");
        let after = fault.retry_after_sec.unwrap();
        assert!((1..=60).contains(&after), "{after}");
    }
}

#[tokio::test]
async fn a_key_opens_as_long_as_it_should_on_either() {
    let (bench, ahead) = two().await;
    let admin = caller("default", "admin");
    let new = |good_for| NewKey {
        name: "ci".into(),
        scopes: "read".parse().unwrap(),
        good_for: Some(good_for),
        ..NewKey::default()
    };
    let (long, short) = (new(HOUR), new(Duration::from_millis(1500)));
    let mine = bench
        .plane
        .keys()
        .create(&admin, long.clone())
        .await
        .unwrap();
    let theirs = ahead.call(|plane| async move {
        let keys = plane.keys();
        let long = keys.create(&admin, long).await?;
        Ok::<_, Fault>((long, keys.create(&admin, short).await?))
    });
    let (theirs, short) = theirs.await.unwrap().unwrap();
    let check = async |key: &wrenn_control::ApiKey| {
        let (given, here) = (key.reveal().to_owned(), bench.plane.keys());
        let here = here.check(&given).await.map(drop);
        let there = ahead.call(|plane| async move { plane.keys().check(&given).await.map(drop) });
        [here, there.await.unwrap()]
    };
    for key in [&mine.key, &theirs.key, &short.key] {
        assert_eq!(check(key).await, [Ok(()), Ok(())]);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for checked in check(&short.key).await {
        let fault = checked.unwrap_err();
        assert!(fault.message.contains("has expired"), "{fault}");
    }
}

#[tokio::test]
async fn an_invitation_is_good_as_long_as_it_should_be_on_either() {
    let (bench, ahead) = two().await;
    let request = async |invited: wrenn_control::Invited| -> JoinRequest {
        let name = "host-a".parse().unwrap();
        let joining = Joining::new(invited.token, &[name]).unwrap();
        joining.request().clone()
    };
    let join_there = async |request: JoinRequest| {
        let joined =
            ahead.call(|plane| async move { plane.hosts().join(&request).await.map(drop) });
        joined.await.unwrap()
    };
    let invite_there = async |good_for: Duration| {
        let invited = ahead.call(move |plane| async move { plane.hosts().invite(good_for).await });
        request(invited.await.unwrap().unwrap()).await
    };
    let mine = request(bench.plane.hosts().invite(HOUR).await.unwrap()).await;
    // Making one forgets those that expired long ago.
    let (theirs, short) = (
        invite_there(HOUR).await,
        invite_there(Duration::from_millis(100)).await,
    );
    assert_eq!(join_there(mine).await, Ok(()));
    bench.plane.hosts().join(&theirs).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = bench.plane.hosts().join(&short).await.unwrap_err();
    assert!(late.message.contains("has expired"), "{late}");
}
