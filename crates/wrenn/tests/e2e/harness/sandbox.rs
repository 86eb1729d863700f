//! A sandbox for one test.

use std::ops::Deref;
use std::time::Duration;

use wrenn_client::api::{
    CreateSandbox, ExecRequest, ExecResponse, Paused, ResumeRequest, Resumed, Sandbox, StartCommand,
};
use wrenn_client::{Client, ExecEvent, Result};

use super::{MEMORY, until};

/// A sandbox that runs. [`TestSandbox::delete`] ends it; one of a test that failed ends with its server.
pub(crate) struct TestSandbox {
    pub(crate) client: Client,
    made: Sandbox,
}

impl Deref for TestSandbox {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.made
    }
}

impl TestSandbox {
    pub(crate) async fn create(client: &Client) -> Self {
        Self::create_with(client, CreateSandbox::default()).await
    }

    pub(crate) async fn create_with(client: &Client, request: CreateSandbox) -> Self {
        let request = CreateSandbox {
            memory_mb: request.memory_mb.or(Some(MEMORY)),
            ..request
        };
        let made = client.create_sandbox(&request).await.unwrap();
        assert_eq!(made.status, "running");
        Self {
            client: client.clone(),
            made,
        }
    }

    /// One that came to be in another way.
    pub(crate) fn of(client: &Client, made: Sandbox) -> Self {
        Self {
            client: client.clone(),
            made,
        }
    }

    pub(crate) async fn exec(&self, request: &ExecRequest) -> Result<ExecResponse> {
        self.client.exec(&self.id, request).await
    }

    /// What a shell prints; it must end well.
    pub(crate) async fn sh(&self, script: &str) -> String {
        let done = self.exec(&shell(script)).await.unwrap();
        assert_eq!(
            done.exit_code, 0,
            "{script}: {}{}",
            done.stdout, done.stderr
        );
        done.stdout
    }

    /// Starts a script that goes on by itself. Gives its process id in the guest.
    pub(crate) async fn begin(&self, script: &str) -> u32 {
        let command = StartCommand {
            detach: true,
            ..start(script)
        };
        let (_control, mut events) = self.client.exec_stream(&self.id, &command).await.unwrap();
        match events.next().await.unwrap() {
            ExecEvent::Start { pid } => pid,
            other => panic!("{script} did not start: {other:?}"),
        }
    }

    pub(crate) async fn pause(&self) -> Paused {
        let paused = self.client.pause(&self.id).await.unwrap();
        assert_eq!(
            (paused.sandbox.status.as_str(), &paused.sandbox.transition),
            ("paused", &None)
        );
        paused
    }

    pub(crate) async fn resume(&self) -> Resumed {
        self.resume_with(&ResumeRequest::default()).await
    }

    pub(crate) async fn resume_with(&self, how: &ResumeRequest) -> Resumed {
        let resumed = self.client.resume(&self.id, how).await.unwrap();
        assert_eq!(
            (resumed.sandbox.status.as_str(), &resumed.sandbox.transition),
            ("running", &None)
        );
        resumed
    }

    pub(crate) async fn now(&self) -> Sandbox {
        self.client.sandbox(&self.id).await.unwrap()
    }

    /// Waits until it has this status.
    pub(crate) async fn becomes(&self, status: &str, limit: Duration) -> Sandbox {
        until(&format!("{status} of {}", self.id), limit, || async {
            let now = self.now().await;
            (now.status == status && now.transition.is_none()).then_some(now)
        })
        .await
    }

    pub(crate) async fn delete(self) {
        assert!(self.client.delete_sandbox(&self.id).await.unwrap());
    }
}

/// A script for `/bin/sh`.
pub(crate) fn shell(script: &str) -> ExecRequest {
    ExecRequest {
        cmd: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        ..Default::default()
    }
}

/// A script for `/bin/sh`, followed as it runs.
pub(crate) fn start(script: &str) -> StartCommand {
    StartCommand {
        cmd: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        ..Default::default()
    }
}

/// That a call was refused because of the sandbox's state: a 409.
#[track_caller]
pub(crate) fn assert_invalid_state<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    let told = error.api().unwrap_or_else(|| panic!("{error}"));
    let status = told.status.map(|status| status.as_u16());
    assert_eq!(
        (told.code.as_str(), status),
        ("invalid_state", Some(409)),
        "{error}"
    );
}
