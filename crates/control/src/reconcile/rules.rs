//! What becomes of a row, given what the agent has of its sandbox.
//!
//! | row | the agent has it | it does not |
//! |---|---|---|
//! | being stopped | destroy it | stopped |
//! | pending | as the agent says | stopped: its creation was interrupted |
//! | running | as the agent says | stopped |
//! | paused | as the agent says | error |
//! | error | as the agent says | its pause is forgotten, if it had one; the row too, once it is old |
//! | stopped, since the agent had it no more | as the agent says: it is there, whatever we were told | nothing |
//! | stopped, otherwise | destroy it: its creation came late, and a caller was told that it is no more | nothing |
//! | none | adopted | |
//!
//! What the agent has in transition is left until it has settled. A row that is pausing, resuming, snapshotting or forking while
//! nobody here is at work on it is as one without transition: a crash came in between, and the agent knows what became of it.

use wrenn_hostagent_api as rpc;
use wrenn_model::{MiB, NetworkPolicy, OnTimeout, SandboxId, Status, Transition};
use wrenn_store::Sandbox;

use crate::agent::policy_of;

/// Why a sandbox that a caller destroyed is stopped.
pub(crate) const DESTROYED: &str = "destroyed on request";
/// Why a sandbox stopped whose creation came to no end.
pub(crate) const INTERRUPTED: &str = "its creation was interrupted";
/// Why a sandbox stopped that its host has no more.
pub(crate) const GONE: &str = "its host has it no more";
/// Why a paused sandbox failed that its host has no more.
pub(crate) const PAUSE_LOST: &str = "its host has lost its pause";

/// What to do about a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is as it should be, or nobody can say.
    Nothing,
    /// Write this instead.
    Become(Box<Sandbox>),
    /// Somebody wanted it gone, and it is still there.
    Destroy,
}

/// The rules.
pub(crate) fn decide(row: &Sandbox, seen: Option<&rpc::Sandbox>, now_ms: i64) -> Action {
    let become_ = |new| Action::Become(Box::new(new));
    let stopping = row.transition == Some(Transition::Stopping);
    match (row.status, seen) {
        (Status::Error, None) if !stopping && row.paused_at_ms.is_some() => become_(Sandbox {
            transition: None,
            paused_at_ms: None,
            last_updated_ms: now_ms,
            ..row.clone()
        }),
        (Status::Stopped | Status::Error, None) if !stopping => Action::Nothing,
        (_, None) if stopping => become_(stopped(row, &row.status_reason, now_ms)),
        (Status::Pending, None) => become_(stopped(row, INTERRUPTED, now_ms)),
        (Status::Paused, None) => become_(Sandbox {
            status: Status::Error,
            ..stopped(row, PAUSE_LOST, now_ms)
        }),
        (_, None) => become_(stopped(row, GONE, now_ms)),
        (status, Some(_)) if stopping && status != Status::Stopped => Action::Destroy,
        (Status::Stopped, Some(seen)) if row.status_reason != GONE && seen.status != "stopped" => {
            Action::Destroy
        }
        (_, Some(seen)) => follow(row, seen, now_ms).map_or(Action::Nothing, become_),
    }
}

/// The row as the agent has its sandbox, when that is news.
fn follow(row: &Sandbox, seen: &rpc::Sandbox, now_ms: i64) -> Option<Sandbox> {
    if !seen.transition.is_empty() {
        return None;
    }
    let status = Status::from_name(&seen.status)?;
    let mut new = Sandbox {
        status,
        transition: None,
        ..row.clone()
    };
    refresh(&mut new, seen);
    // How recently it was used is the agent's to know; it is no reason to write.
    let news = Sandbox {
        last_active_at_ms: row.last_active_at_ms,
        ..new.clone()
    } != *row;
    new.last_updated_ms = now_ms;
    news.then_some(new)
}

/// What the agent says about a sandbox, apart from its status.
pub(crate) fn refresh(row: &mut Sandbox, seen: &rpc::Sandbox) {
    row.status_reason.clone_from(&seen.status_reason);
    row.guest_ip.clone_from(&seen.guest_ip);
    row.host_ip.clone_from(&seen.host_ip);
    row.isolation.clone_from(&seen.isolation);
    row.vmm.clone_from(&seen.vmm);
    row.started_at_ms = time(seen.started_at_unix_ms).or(row.started_at_ms);
    row.last_active_at_ms = time(seen.last_active_at_unix_ms).or(row.last_active_at_ms);
    row.paused_at_ms = time(seen.paused_at_unix_ms);
    row.lost_since_ms = time(seen.lost_since_unix_ms);
    if let Some(policy) = policy_of(seen) {
        row.network = policy;
    }
}

/// The row of a sandbox that is no more.
pub(crate) fn stopped(row: &Sandbox, reason: &str, now_ms: i64) -> Sandbox {
    Sandbox {
        status: Status::Stopped,
        transition: None,
        status_reason: reason.to_owned(),
        guest_ip: String::new(),
        host_ip: String::new(),
        paused_at_ms: None,
        last_updated_ms: now_ms,
        ..row.clone()
    }
}

/// Whether nothing is left of a sandbox but a row that says how it failed, since before this time: nothing can become of it any more.
pub(crate) fn is_past(row: &Sandbox, seen: Option<&rpc::Sandbox>, before_ms: i64) -> bool {
    row.status == Status::Error
        && row.transition.is_none()
        && row.paused_at_ms.is_none()
        && row.last_updated_ms < before_ms
        && seen.is_none()
}

/// The row of a sandbox that only the agent knows. `None` while it is in transition, or when it makes no sense.
pub(crate) fn adopted(id: &SandboxId, seen: &rpc::Sandbox, now_ms: i64) -> Option<Sandbox> {
    if !seen.transition.is_empty() {
        return None;
    }
    let mut row = Sandbox {
        id: id.clone(),
        owner_id: seen.owner_id.clone(),
        template: seen.template.parse().ok()?,
        parent_id: seen.parent_id.parse().ok(),
        vcpus: seen.vcpus,
        memory: MiB(seen.memory_mb),
        timeout_sec: seen.timeout_sec,
        on_timeout: OnTimeout::from_name(&seen.on_timeout).unwrap_or_default(),
        auto_resume: seen.auto_resume,
        hostname: seen.hostname.clone(),
        network: NetworkPolicy::default(),
        metadata: seen.metadata.clone().into_iter().collect(),
        status: Status::from_name(&seen.status)?,
        transition: None,
        status_reason: String::new(),
        guest_ip: String::new(),
        host_ip: String::new(),
        isolation: String::new(),
        vmm: String::new(),
        created_at_ms: time(seen.created_at_unix_ms).unwrap_or(now_ms),
        started_at_ms: None,
        last_active_at_ms: None,
        paused_at_ms: None,
        lost_since_ms: None,
        last_updated_ms: now_ms,
        version: 1,
    };
    refresh(&mut row, seen);
    Some(row)
}

/// The contract writes 0 for a time that has not come.
fn time(unix_ms: i64) -> Option<i64> {
    (unix_ms > 0).then_some(unix_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: &str, transition: &str, reason: &str) -> rpc::Sandbox {
        rpc::Sandbox {
            sandbox_id: "sb-aaaaaaaaaaaaaaaaaaaa".into(),
            status: status.into(),
            transition: transition.into(),
            status_reason: reason.into(),
            template: "minimal".into(),
            vcpus: 1,
            memory_mb: 512,
            host_ip: "10.11.0.1".into(),
            last_active_at_unix_ms: 77,
            created_at_unix_ms: 5,
            ..Default::default()
        }
    }

    fn row(status: Status, transition: Option<Transition>) -> Sandbox {
        let id = "sb-aaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        let known = adopted(&id, &seen("running", "", ""), 1).unwrap();
        Sandbox {
            status,
            transition,
            ..known
        }
    }

    /// Every status, with and without a transition, against every status of the agent and its absence.
    #[test]
    fn the_table() {
        use Status::{Error, Paused, Pending, Running, Stopped};
        let (starting, stopping) = (Some(Transition::Starting), Some(Transition::Stopping));
        let (pausing, resuming) = (Some(Transition::Pausing), Some(Transition::Resuming));
        let (snapshotting, forking) = (Some(Transition::Snapshotting), Some(Transition::Forking));
        // What the row becomes; "" for nothing, "destroy" for that.
        for (status, transition, agent, becomes) in [
            (Pending, starting, None, "stopped"),
            (Pending, starting, Some(("pending", "starting")), ""),
            (Pending, starting, Some(("running", "")), "running"),
            (Pending, starting, Some(("error", "")), "error"),
            (Pending, stopping, None, "stopped"),
            (Pending, stopping, Some(("running", "")), "destroy"),
            (Running, None, None, "stopped"),
            (Running, None, Some(("running", "")), ""),
            (Running, None, Some(("running", "stopping")), ""),
            (Running, None, Some(("error", "")), "error"),
            (Running, None, Some(("stopped", "")), "stopped"),
            (Running, None, Some(("paused", "")), "paused"),
            (Running, None, Some(("nonsense", "")), ""),
            (Running, stopping, None, "stopped"),
            (Running, stopping, Some(("running", "")), "destroy"),
            (Running, stopping, Some(("error", "")), "destroy"),
            (Running, None, Some(("running", "pausing")), ""),
            (Running, pausing, None, "stopped"),
            (Running, pausing, Some(("running", "pausing")), ""),
            (Running, pausing, Some(("running", "")), "running"),
            (Running, pausing, Some(("paused", "")), "paused"),
            (Running, pausing, Some(("error", "")), "error"),
            (Running, snapshotting, None, "stopped"),
            (Running, snapshotting, Some(("running", "snapshotting")), ""),
            (Running, snapshotting, Some(("running", "")), "running"),
            (Running, snapshotting, Some(("error", "")), "error"),
            (Running, forking, Some(("running", "forking")), ""),
            (Running, forking, Some(("running", "")), "running"),
            (Paused, snapshotting, Some(("paused", "")), "paused"),
            (Paused, forking, None, "error"),
            (Paused, forking, Some(("paused", "")), "paused"),
            (Paused, None, None, "error"),
            (Paused, resuming, None, "error"),
            (Paused, resuming, Some(("paused", "resuming")), ""),
            (Paused, resuming, Some(("paused", "")), "paused"),
            (Paused, resuming, Some(("running", "")), "running"),
            (Paused, stopping, Some(("paused", "")), "destroy"),
            (Paused, None, Some(("paused", "")), ""),
            (Paused, None, Some(("running", "")), "running"),
            (Paused, stopping, None, "stopped"),
            (Error, None, None, ""),
            (Error, None, Some(("error", "")), ""),
            (Error, None, Some(("running", "")), "running"),
            (Error, None, Some(("paused", "")), "paused"),
            (Error, resuming, Some(("error", "")), "error"),
            (Error, stopping, None, "stopped"),
            (Error, stopping, Some(("error", "")), "destroy"),
            (Stopped, None, None, ""),
            (Stopped, None, Some(("running", "")), "destroy"),
        ] {
            let agent = agent.map(|(status, transition)| seen(status, transition, ""));
            let action = match decide(&row(status, transition), agent.as_ref(), 9) {
                Action::Nothing => "",
                Action::Destroy => "destroy",
                Action::Become(new) => {
                    assert_eq!((new.transition, new.last_updated_ms), (None, 9));
                    new.status.as_str()
                }
            };
            assert_eq!(action, becomes, "{status} {transition:?} against {agent:?}");
        }
    }

    #[test]
    fn what_was_ended_does_not_come_back_by_a_creation_that_comes_late() {
        let ended = |reason: &str| stopped(&row(Status::Running, None), reason, 1);
        let late = seen("running", "", "");
        for reason in [DESTROYED, INTERRUPTED, "its creator went away"] {
            assert_eq!(decide(&ended(reason), Some(&late), 9), Action::Destroy);
            assert_eq!(decide(&ended(reason), None, 9), Action::Nothing);
            let gone = seen("stopped", "", "");
            assert!(decide(&ended(reason), Some(&gone), 9) != Action::Destroy);
        }
        assert!(matches!(
            decide(&ended(GONE), Some(&late), 9),
            Action::Become(_)
        ));
    }

    #[test]
    fn a_new_reason_is_news_and_a_use_is_not() {
        let row = row(Status::Running, None);
        let used = rpc::Sandbox {
            last_active_at_unix_ms: 99,
            ..seen("running", "", "")
        };
        assert_eq!(decide(&row, Some(&used), 9), Action::Nothing);
        let Action::Become(new) = decide(&row, Some(&seen("running", "", "the disk is full")), 9)
        else {
            panic!("a reason is news")
        };
        assert_eq!(new.status_reason, "the disk is full");
        assert_eq!(new.version, row.version);
    }

    #[test]
    fn a_pause_that_is_gone_is_no_pause() {
        for status in [Status::Paused, Status::Error] {
            let row = Sandbox {
                paused_at_ms: Some(7),
                ..row(status, None)
            };
            let Action::Become(new) = decide(&row, None, 9) else {
                panic!("{status} stays as it was")
            };
            assert_eq!((new.status, new.paused_at_ms), (Status::Error, None));
            assert_eq!(decide(&new, None, 10), Action::Nothing);
        }
    }

    #[test]
    fn a_failure_is_past_when_it_is_old_and_nothing_is_left_of_it() {
        let failed = row(Status::Error, None);
        assert!(is_past(&failed, None, 2));
        assert!(!is_past(&failed, None, 1), "it is young");
        assert!(!is_past(&failed, Some(&seen("error", "", "")), 2));
        let paused = Sandbox {
            paused_at_ms: Some(1),
            ..failed
        };
        assert!(!is_past(&paused, None, 2), "it may come back");
        assert!(!is_past(
            &row(Status::Error, Some(Transition::Stopping)),
            None,
            2
        ));
        assert!(!is_past(&row(Status::Stopped, None), None, 2));
    }

    #[test]
    fn what_is_adopted_keeps_all_that_the_agent_knows() {
        let sandbox = rpc::Sandbox {
            owner_id: "red".into(),
            parent_id: "sb-bbbbbbbbbbbbbbbbbbbb".into(),
            timeout_sec: 60,
            hostname: "box".into(),
            metadata: [("a".to_owned(), "b".to_owned())].into_iter().collect(),
            on_timeout: "pause".into(),
            auto_resume: true,
            network: rpc::NetworkPolicy {
                deny: vec!["192.0.2.0/24".into()],
                ..Default::default()
            }
            .into(),
            paused_at_unix_ms: 7,
            lost_since_unix_ms: 6,
            isolation: "kvm".into(),
            vmm: "qemu".into(),
            started_at_unix_ms: 5,
            ..seen("paused", "", "")
        };
        let row = adopted(&SandboxId::random(), &sandbox, 9).unwrap();
        assert_eq!((row.status, row.owner_id.as_str()), (Status::Paused, "red"));
        assert_eq!((row.on_timeout, row.auto_resume), (OnTimeout::Pause, true));
        assert_eq!((row.paused_at_ms, row.lost_since_ms), (Some(7), Some(6)));
        assert_eq!((row.timeout_sec, row.hostname.as_str()), (60, "box"));
        assert_eq!(row.metadata["a"], "b");
        assert_eq!(row.parent_id.unwrap().as_str(), "sb-bbbbbbbbbbbbbbbbbbbb");
        assert!(!row.network.internet && row.network.deny.len() == 1);
        assert_eq!((row.isolation.as_str(), row.vmm.as_str()), ("kvm", "qemu"));
        assert_eq!((row.created_at_ms, row.started_at_ms), (5, Some(5)));
    }

    #[test]
    fn only_what_has_settled_and_makes_sense_is_adopted() {
        let id = SandboxId::random();
        assert!(adopted(&id, &seen("running", "", ""), 1).is_some());
        assert!(adopted(&id, &seen("error", "", "panic"), 1).is_some());
        assert!(adopted(&id, &seen("pending", "starting", ""), 1).is_none());
        assert!(adopted(&id, &seen("nonsense", "", ""), 1).is_none());
        let unnamed = rpc::Sandbox {
            template: "../x".into(),
            ..seen("running", "", "")
        };
        assert!(adopted(&id, &unnamed, 1).is_none());
    }
}
