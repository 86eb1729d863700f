//! The RPC's messages, from and to what they mean here.

use std::str::FromStr;
use std::time::Duration;

use connectrpc::{ConnectError, ErrorCode, ErrorDetail as Detail};
use wrenn_hostagent_api as rpc;
use wrenn_hostagent_api::__buffa::oneof::exec_stream_response::{Event, data::Output};
use wrenn_model::{
    ErrorKind, Fault, InvalidName, InvalidSubnet, MiB, NetworkPolicy, OnTimeout, SandboxSpec,
    Subnet, TerminalSize,
};

use crate::Agent;
use crate::exec::Progress;
use crate::handle::Handle;
use crate::steps::Timings;
use crate::sweep::{Outcome, Swept};

/// Seconds without activity when none are asked for.
const DEFAULT_TIMEOUT_SEC: u32 = 300;

/// A fault as it travels.
pub(crate) fn refuse(fault: Fault) -> ConnectError {
    let code = match fault.kind {
        ErrorKind::InvalidRequest | ErrorKind::TooLarge | ErrorKind::MethodNotAllowed => {
            ErrorCode::InvalidArgument
        }
        ErrorKind::Unauthorized => ErrorCode::Unauthenticated,
        ErrorKind::Forbidden => ErrorCode::PermissionDenied,
        ErrorKind::NotFound => ErrorCode::NotFound,
        ErrorKind::InvalidState | ErrorKind::Conflict => ErrorCode::FailedPrecondition,
        ErrorKind::AlreadyExists => ErrorCode::AlreadyExists,
        ErrorKind::QuotaExhausted | ErrorKind::HostBusy | ErrorKind::HostFull => {
            ErrorCode::ResourceExhausted
        }
        ErrorKind::Unavailable => ErrorCode::Unavailable,
        ErrorKind::Timeout => ErrorCode::DeadlineExceeded,
        ErrorKind::NotSupported => ErrorCode::Unimplemented,
        ErrorKind::AgentError | ErrorKind::DbError | ErrorKind::Internal => ErrorCode::Internal,
    };
    let message = fault.message.clone();
    ConnectError::new(code, message).with_detail(Detail::from_message(
        "hostagent.v1.ErrorDetail",
        &to_detail(fault),
    ))
}

/// What travels with every error beside its message.
pub(crate) fn to_detail(fault: Fault) -> rpc::ErrorDetail {
    rpc::ErrorDetail {
        code: fault.kind.name().to_owned(),
        remedy: fault.remedy,
        retryable: fault.kind.retryable(),
        retry_after_sec: fault.retry_after_sec,
        ..Default::default()
    }
}

pub(crate) fn invalid(message: impl Into<String>, remedy: &str) -> ConnectError {
    refuse(Fault::new(ErrorKind::InvalidRequest, message, remedy))
}

/// A name that has to be one.
pub(crate) fn name<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, ConnectError> {
    text.parse()
        .map_err(|error: InvalidName| invalid(error.to_string(), "correct the name"))
}

/// The size of a terminal, which a caller has to say.
pub(crate) fn terminal_size(
    size: Option<&rpc::TerminalSize>,
) -> Result<TerminalSize, ConnectError> {
    let within = |count: u32| u16::try_from(count).ok().filter(|count| *count > 0);
    size.and_then(|size| {
        Some(TerminalSize {
            cols: within(size.cols)?,
            rows: within(size.rows)?,
        })
    })
    .ok_or_else(|| {
        invalid(
            "there is no terminal of this size",
            "give it 1 to 65535 columns and rows",
        )
    })
}

pub(crate) fn to_spec(request: rpc::CreateSandboxRequest) -> Result<SandboxSpec, ConnectError> {
    Ok(SandboxSpec {
        id: name(&request.sandbox_id)?,
        template: name(&request.template)?,
        vcpus: request.vcpus,
        memory: MiB(request.memory_mb),
        timeout_sec: match request.timeout_sec {
            0 => DEFAULT_TIMEOUT_SEC,
            seconds => seconds,
        },
        hostname: request.hostname,
        metadata: request.metadata.into_iter().collect(),
        envs: request.envs.into_iter().collect(),
        owner_id: request.owner_id,
        on_timeout: match request.on_timeout.as_str() {
            "" => OnTimeout::default(),
            name => OnTimeout::from_name(name).ok_or_else(|| {
                invalid(
                    format!("there is no time-out action {name:?}"),
                    "say destroy, pause or none",
                )
            })?,
        },
        auto_resume: request.auto_resume,
        network: to_policy(request.network.into_option())?,
        parent: None,
    })
}

pub(crate) fn to_message(agent: &Agent, handle: &Handle) -> rpc::Sandbox {
    let view = handle.view();
    let last_active = handle.activity().last_ms();
    rpc::Sandbox {
        sandbox_id: handle.spec.id.to_string(),
        status: view.state.status().as_str().to_owned(),
        transition: view
            .state
            .transition()
            .map(|t| t.as_str().to_owned())
            .unwrap_or_default(),
        status_reason: view
            .state
            .reason()
            .map(|r| r.to_string())
            .unwrap_or_default(),
        template: handle.spec.template.to_string(),
        vcpus: handle.spec.vcpus,
        memory_mb: handle.spec.memory.0,
        timeout_sec: handle.spec.timeout_sec,
        hostname: handle.spec.hostname.clone(),
        metadata: handle.spec.metadata.clone().into_iter().collect(),
        owner_id: handle.spec.owner_id.clone(),
        host_ip: view.host_ip,
        guest_ip: wrenn_envd_api::guest::ADDRESS.to_string(),
        isolation: agent.host.vmm.isolation().as_str().to_owned(),
        vmm: agent.host.vmm.kind().as_str().to_owned(),
        created_at_unix: handle.created_ms / 1000,
        created_at_unix_ms: handle.created_ms,
        started_at_unix_ms: view.started_ms.unwrap_or_default(),
        last_active_at_unix: last_active / 1000,
        last_active_at_unix_ms: last_active,
        on_timeout: handle.spec.on_timeout.as_str().to_owned(),
        auto_resume: handle.spec.auto_resume,
        network: from_policy(&view.network).into(),
        paused_at_unix_ms: view.pause.map(|pause| pause.at_ms).unwrap_or_default(),
        parent_id: handle
            .spec
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        lost_since_unix_ms: view.lost_since_ms.unwrap_or_default(),
        ..Default::default()
    }
}

/// A policy; without one, the default.
pub(crate) fn to_policy(
    message: Option<rpc::NetworkPolicy>,
) -> Result<NetworkPolicy, ConnectError> {
    let Some(message) = message else {
        return Ok(NetworkPolicy::default());
    };
    let ranges = |texts: Vec<String>| -> Result<Vec<Subnet>, ConnectError> {
        let wrong = |error: InvalidSubnet| invalid(error.to_string(), "correct the range");
        let read = texts.iter().take(NetworkPolicy::MAX_ENTRIES + 1);
        read.map(|text| text.parse().map_err(wrong)).collect()
    };
    let policy = NetworkPolicy {
        internet: message.internet,
        allow: ranges(message.allow)?,
        deny: ranges(message.deny)?,
    };
    policy
        .check()
        .map_err(|error| invalid(error.to_string(), "write fewer and larger ranges"))?;
    Ok(policy)
}

fn from_policy(policy: &NetworkPolicy) -> rpc::NetworkPolicy {
    let texts = |ranges: &[Subnet]| ranges.iter().map(Subnet::to_string).collect();
    rpc::NetworkPolicy {
        internet: policy.internet,
        allow: texts(&policy.allow),
        deny: texts(&policy.deny),
        ..Default::default()
    }
}

pub(crate) fn to_swept(swept: Swept) -> rpc::SweptResource {
    rpc::SweptResource {
        outcome: swept.outcome.as_str().to_owned(),
        kind: swept.kind,
        name: swept.name,
        why: swept.why,
        failure: match swept.outcome {
            Outcome::Failed(failure) => failure,
            _ => String::new(),
        },
        ..Default::default()
    }
}

pub(crate) fn limit(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

pub(crate) fn check_path(path: &str) -> Result<(), ConnectError> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(());
    }
    Err(invalid(
        format!("{path:?} is no absolute path"),
        "begin the path with a slash",
    ))
}

pub(crate) fn to_event(progress: Progress) -> rpc::ExecStreamResponse {
    let data = |output| {
        Event::from(rpc::exec_stream_response::Data {
            output: Some(output),
            ..Default::default()
        })
    };
    let event = match progress {
        Progress::Started { pid } => Event::from(rpc::exec_stream_response::Start {
            pid,
            ..Default::default()
        }),
        Progress::Stdout(bytes) => data(Output::Stdout(bytes.into())),
        Progress::Stderr(bytes) => data(Output::Stderr(bytes.into())),
        Progress::Ended {
            exit_code,
            error,
            timed_out,
        } => Event::from(rpc::exec_stream_response::End {
            exit_code,
            error,
            timed_out,
            ..Default::default()
        }),
    };
    rpc::ExecStreamResponse {
        event: Some(event),
        ..Default::default()
    }
}

pub(crate) fn to_times(timings: &Timings) -> Vec<rpc::StepTime> {
    let time = |(step, took): &(&str, Duration)| rpc::StepTime {
        step: (*step).to_owned(),
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        ..Default::default()
    };
    timings.iter().map(time).collect()
}
