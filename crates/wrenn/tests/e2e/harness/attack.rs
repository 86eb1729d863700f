//! What a guest does to harm.

use std::time::Duration;

use wrenn_client::api::{ExecRequest, StartCommand};
use wrenn_client::{ExecControl, ExecEvent, ExecEvents};

use super::{TestSandbox, start};

/// How long an attack may take to end once it was told to.
const END: Duration = Duration::from_secs(30);

/// A script that attacks until it is ended, with all that it started.
pub(crate) struct Attack {
    control: ExecControl,
    events: ExecEvents,
}

impl Attack {
    /// Starts a script of the shell.
    pub(crate) async fn begin(sandbox: &TestSandbox, script: &str) -> Self {
        Self::run(sandbox, &start(script)).await
    }

    /// Starts a script of Python.
    pub(crate) async fn begin_python(sandbox: &TestSandbox, script: &str) -> Self {
        Self::begin_request(sandbox, &python(script)).await
    }

    /// Starts what a request would run.
    pub(crate) async fn begin_request(sandbox: &TestSandbox, request: &ExecRequest) -> Self {
        let command = StartCommand {
            cmd: request.cmd.clone(),
            args: request.args.clone(),
            ..Default::default()
        };
        Self::run(sandbox, &command).await
    }

    async fn run(sandbox: &TestSandbox, command: &StartCommand) -> Self {
        let streamed = sandbox.client.exec_stream(&sandbox.id, command);
        let (control, mut events) = streamed.await.unwrap();
        let first = events.next().await.unwrap();
        assert!(matches!(first, ExecEvent::Start { .. }), "{first:?}");
        Self { control, events }
    }

    /// Waits until it has printed something: it is ready.
    pub(crate) async fn ready(&mut self) -> String {
        match self.events.next().await.unwrap() {
            ExecEvent::Stdout(said) => String::from_utf8_lossy(&said).into_owned(),
            other => panic!("the attack said {other:?}"),
        }
    }

    /// Ends it, and waits until it has ended.
    pub(crate) async fn end(mut self) {
        // One that has ended already, perhaps for want of memory, takes no more words.
        drop(self.control.stop().await);
        let ended =
            async { while !matches!(self.events.next().await.unwrap(), ExecEvent::Exit { .. }) {} };
        tokio::time::timeout(END, ended)
            .await
            .expect("an attack ends when it is told to");
    }
}

/// A script for Python.
pub(crate) fn python(script: &str) -> ExecRequest {
    ExecRequest {
        cmd: "python3".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        ..Default::default()
    }
}

/// The same with arguments.
pub(crate) fn python_with(script: &str, args: &[String]) -> ExecRequest {
    let mut request = python(script);
    request.args.extend_from_slice(args);
    request
}
