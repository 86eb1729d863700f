//! A sandbox for one test.

use std::ops::Deref;
use std::time::Duration;

use wrenn_client::api::{CreateSandbox, ExecRequest, ExecResponse, Sandbox};
use wrenn_client::{Client, Result};

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
