//! Each call that changes a sandbox, at each moment at which something may come between it and the agent: its server is killed, the
//! agent hears it twice, the answer is late or lost. Afterwards rows and agent say the same, nothing is lost and nothing is there
//! twice, and who asks again gets what they wanted.
//!
//! What comes between a call and its database is in `database` of the tests of `http`; what comes between all of them in
//! `simulation`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod common;

use std::time::Duration;

use common::{Bench, Mortal, OTHERS_TAKE};
use wrenn_control::{ControlPlane, NewFork, NewSandbox, NewSnapshot, Sandbox, Source, Wait};
use wrenn_model::{ErrorKind, Fault, NetworkPolicy, SandboxId, Status};
use wrenn_testkit::agent::Door;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Whose caller waits.
    Create,
    /// Whose caller was told that it is accepted.
    Accept,
    Destroy,
    Pause,
    Resume,
    Network,
    /// Over one of the same name, where there is one.
    Snapshot,
    /// Into one child, whose sandbox it is about from then on.
    Fork,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The server is killed after it has written what it is about to ask for, and before the agent has heard it.
    KilledUnheard,
    /// It is killed after the agent has done it, and before it has heard that.
    KilledUnanswered,
    /// The agent has done it, and the answer is lost.
    AnswerLost,
    /// The answer is late, and another server looks around meanwhile.
    AnswerLate,
    /// The agent hears it twice.
    HeardTwice,
}

use Call::{Accept, Create, Destroy, Fork, Network, Pause, Resume, Snapshot};
use Moment::{AnswerLate, AnswerLost, HeardTwice, KilledUnanswered, KilledUnheard};

const CALLS: [Call; 8] = [
    Create, Accept, Destroy, Pause, Resume, Network, Snapshot, Fork,
];
const MOMENTS: [Moment; 5] = [
    KilledUnheard,
    KilledUnanswered,
    AnswerLost,
    AnswerLate,
    HeardTwice,
];

const LONG: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_millis(600);

impl Moment {
    fn door(self) -> Door {
        match self {
            KilledUnheard => Door::In(LONG),
            KilledUnanswered => Door::Out(LONG),
            AnswerLost => Door::Lost,
            AnswerLate => Door::Out(A_WHILE),
            HeardTwice => Door::Twice,
        }
    }

    fn kills(self) -> bool {
        matches!(self, KilledUnheard | KilledUnanswered)
    }

    /// Whether the caller is told that it was done. A destruction whose outcome is not known is accepted.
    fn is_told(self, call: Call) -> bool {
        match self {
            KilledUnheard | KilledUnanswered => false,
            AnswerLost => matches!(call, Accept | Destroy),
            AnswerLate | HeardTwice => true,
        }
    }

    /// The status of the sandbox once all is settled; of one that was to be made, of that one.
    fn leaves(self, call: Call) -> Status {
        let undone = self == KilledUnheard;
        match call {
            // Nobody waits for it any more, or nobody knows whether it is there: it is unmade.
            Create | Accept | Fork if undone || self == AnswerLost => Status::Stopped,
            // The wish is written.
            Destroy => Status::Stopped,
            Pause if undone => Status::Running,
            Pause => Status::Paused,
            Resume if undone => Status::Paused,
            Create | Accept | Fork | Resume | Network | Snapshot => Status::Running,
        }
    }
}

fn of(id: &SandboxId) -> NewSnapshot {
    NewSnapshot {
        sandbox: id.clone(),
        name: id.as_str().parse().unwrap(),
        overwrite: true,
        source: Source::Keep,
    }
}

fn closed() -> NetworkPolicy {
    NetworkPolicy {
        internet: false,
        ..NetworkPolicy::default()
    }
}

/// Makes the call, and tells which sandbox it was about.
async fn make(plane: ControlPlane, call: Call, id: SandboxId) -> Result<SandboxId, Fault> {
    let sandboxes = plane.sandboxes();
    let create = async |wait| {
        let created = sandboxes.create(NewSandbox::default(), wait).await?;
        Ok(created.sandbox.id)
    };
    match call {
        Create => create(Wait::Running).await,
        Accept => create(Wait::Accepted).await,
        Destroy => sandboxes.delete(&id).await.map(|_| id),
        Pause => sandboxes.pause(&id).await.map(|_| id),
        Resume => sandboxes.resume(&id, false).await.map(|_| id),
        Network => sandboxes.set_network(&id, closed()).await.map(|_| id),
        Snapshot => sandboxes.snapshot(of(&id)).await.map(|_| id),
        Fork => {
            let one = NewFork {
                count: 1,
                ..NewFork::default()
            };
            let mut forked = sandboxes.fork(&id, one).await?;
            forked.children.remove(0).map(|child| child.id)
        }
    }
}

/// One call at one moment.
struct Case<'a> {
    bench: &'a Bench,
    call: Call,
    moment: Moment,
    /// What it is about; of no use to a creation.
    id: SandboxId,
}

impl<'a> Case<'a> {
    async fn new(bench: &'a Bench, call: Call, moment: Moment) -> Self {
        let id = bench.create().await.id;
        if call == Resume {
            bench.plane.sandboxes().pause(&id).await.unwrap();
        }
        Self {
            bench,
            call,
            moment,
            id,
        }
    }

    /// Plays it: what the caller was told, and the server that it was told by, unless that was killed.
    async fn play(&self, server: Mortal) -> Option<(Result<SandboxId, Fault>, Mortal)> {
        let agent = &self.bench.agent;
        let (call, id) = (self.call, self.id.clone());
        agent.set(|knobs| knobs.door = self.moment.door());
        let done = agent.done();
        let calling = server.call(move |plane| make(plane, call, id));
        let told = if self.moment.kills() {
            self.until_held().await;
            server.kill();
            None
        } else {
            if self.moment == AnswerLate {
                self.until_held().await;
                self.bench.plane.reconcile().await.unwrap();
            }
            let told = calling.await.unwrap();
            // What was accepted may still be under way.
            while agent.done() == done || agent.held() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Some((told, server))
        };
        agent.set(|knobs| knobs.door = Door::Open);
        told
    }

    async fn until_held(&self) {
        for _ in 0..1000 {
            if self.bench.agent.held() > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the agent is not asked");
    }

    /// Every row says what the agent has, and the agent has nothing else.
    async fn settled(&self) -> Vec<Sandbox> {
        for _ in 0..200 {
            self.bench.plane.reconcile().await.unwrap();
            let rows = self.bench.list().await;
            let agree = rows.iter().all(|row| {
                let seen = self.bench.agent.sandbox(row.id.as_str());
                let status = seen.map_or("stopped".into(), |seen| seen.status);
                row.transition.is_none() && row.status.as_str() == status
            });
            if agree {
                let there = rows.iter().filter(|row| row.status != Status::Stopped);
                assert_eq!(there.count(), self.bench.agent.count());
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", self.bench.list().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_between_a_call_and_the_agent_nothing_is_lost_and_nothing_is_twice() {
    let bench = Bench::new().await;
    let bystander = bench.create().await;
    for call in CALLS {
        for moment in MOMENTS {
            let case = Case::new(&bench, call, moment).await;
            let before: Vec<_> = bench.list().await.into_iter().map(|row| row.id).collect();
            let (resumes, server) = (bench.agent.resumes(), bench.another().await);
            let played = case.play(server).await;
            let told = played.as_ref().map(|(told, _)| told);
            let what = format!("{call:?}, {moment:?}: {told:?}");
            if let Some(told) = told {
                assert_eq!(told.is_ok(), moment.is_told(call), "{what}");
            }
            // Who is held for dead on a database that others share.
            tokio::time::sleep(OTHERS_TAKE).await;
            let rows = case.settled().await;

            let new: Vec<_> = rows
                .iter()
                .filter(|row| !before.contains(&row.id))
                .collect();
            let row = if matches!(call, Create | Accept | Fork) {
                assert_eq!(new.len(), 1, "{what}");
                new[0]
            } else {
                assert!(new.is_empty(), "{what}");
                rows.iter().find(|row| row.id == case.id).unwrap()
            };
            assert_eq!(row.status, moment.leaves(call), "{what}");
            if call == Network {
                let done = moment != KilledUnheard;
                assert_eq!(row.network == closed(), done, "{what}");
            }
            let kept = bench.agent.template(case.id.as_str()).is_some();
            assert_eq!(kept, call == Snapshot && moment != KilledUnheard, "{what}");
            let resumed = usize::from(call == Resume && moment != KilledUnheard);
            assert_eq!(bench.agent.resumes() - resumes, resumed, "{what}");
            let now = rows.iter().find(|row| row.id == bystander.id).unwrap();
            assert_eq!(*now, bystander, "{what}");

            // Who asks again gets what they wanted, or has it.
            let again = make(bench.plane.clone(), call, case.id.clone()).await;
            if let Err(fault) = &again {
                assert_eq!(fault.kind, ErrorKind::InvalidState, "{what}: {again:?}");
            }
            let id = again.unwrap_or(case.id.clone());
            case.settled().await;
            let wanted = match call {
                Destroy => Status::Stopped,
                Pause => Status::Paused,
                Create | Accept | Fork | Resume | Network | Snapshot => Status::Running,
            };
            let row = bench.until(&id, |row| row.transition.is_none()).await;
            assert_eq!(row.status, wanted, "{what}");
        }
    }
}
