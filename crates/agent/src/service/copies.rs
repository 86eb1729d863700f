//! What is made of sandboxes: templates, which snapshots are too, and forks.

use connectrpc::ConnectError;
use tracing::Instrument;
use wrenn_hostagent_api as rpc;
use wrenn_model::Fault;
use wrenn_traces::carried;

use crate::Agent;
use crate::failure::internal;
use crate::fork::Child;
use crate::messages::{invalid, name, refuse, to_detail, to_message, to_times};
use crate::snapshots::Snapshot;

/// The most children of one call.
const MOST_CHILDREN: usize = 100;

/// Work that goes on when its caller hangs up.
pub(super) async fn apart<T: Send + 'static>(
    agent: &Agent,
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, ConnectError> {
    let work = agent.tasks.spawn(carried(work).in_current_span());
    let done = work.await.map_err(|error| refuse(internal(error)))?;
    done.map_err(refuse)
}

pub(super) async fn snapshot(
    agent: &Agent,
    request: rpc::CreateSnapshotRequest,
) -> Result<rpc::CreateSnapshotResponse, ConnectError> {
    let (own, name) = (agent.clone(), name(&request.name)?);
    let made = apart(agent, async move {
        own.snapshot(&request.sandbox_id, name, request.overwrite)
            .await
    });
    let made = made.await?;
    Ok(rpc::CreateSnapshotResponse {
        name: made.snapshot.name.clone(),
        size_bytes: made.snapshot.bytes,
        steps: to_times(&made.timings),
        frozen_micros: micros(made.frozen),
        template: to_template(made.snapshot).into(),
        ..Default::default()
    })
}

pub(super) async fn delete_snapshot(
    agent: &Agent,
    request: &rpc::DeleteSnapshotRequest,
) -> Result<(), ConnectError> {
    let (name, owner) = (&request.name, &request.owner_id);
    if agent.delete_snapshot(name, owner).await.map_err(refuse)? {
        Ok(())
    } else {
        Err(refuse(Fault::no_snapshot(name)))
    }
}

pub(super) async fn templates(
    agent: &Agent,
    request: &rpc::ListTemplatesRequest,
) -> Result<rpc::ListTemplatesResponse, ConnectError> {
    let (base, snapshots) = match request.name.as_str() {
        "" => tokio::join!(agent.templates(), agent.snapshots()),
        // What is no name is nobody's.
        one => match one.parse() {
            Ok(name) => tokio::join!(agent.template_of(&name), agent.snapshot_of(&name)),
            Err(_) => (Ok(Vec::new()), Ok(Vec::new())),
        },
    };
    let base = base.map_err(refuse)?.into_iter();
    let base = base.map(|template| rpc::Template {
        name: template.name.to_string(),
        size_bytes: template.allocated,
        created_at_unix_ms: i64::try_from(template.created_unix_ms).unwrap_or(i64::MAX),
        r#type: "base".to_owned(),
        ..Default::default()
    });
    let snapshots = snapshots.map_err(refuse)?.into_iter().map(to_template);
    Ok(rpc::ListTemplatesResponse {
        templates: base.chain(snapshots).collect(),
        ..Default::default()
    })
}

fn to_template(snapshot: Snapshot) -> rpc::Template {
    let manifest = snapshot.generation.manifest();
    rpc::Template {
        size_bytes: snapshot.bytes,
        created_at_unix_ms: manifest.created_ms,
        r#type: "snapshot".to_owned(),
        vcpus: manifest.spec.vcpus,
        memory_mb: manifest.spec.memory.0,
        owner_id: manifest.spec.owner_id.clone(),
        name: snapshot.name,
        ..Default::default()
    }
}

pub(super) async fn fork(
    agent: &Agent,
    request: rpc::ForkRequest,
) -> Result<rpc::ForkResponse, ConnectError> {
    let count = request.children.len();
    if count == 0 || count > MOST_CHILDREN {
        return Err(invalid(
            format!("{count} children"),
            "ask for 1 to 100 at a time",
        ));
    }
    let children = request.children.into_iter().map(to_child);
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<_> = children.iter().map(|child| child.id.to_string()).collect();
    let own = agent.clone();
    let forked = apart(agent, async move {
        own.fork(&request.sandbox_id, children).await
    });
    let forked = forked.await?;
    let results = ids.into_iter().zip(forked.children);
    Ok(rpc::ForkResponse {
        results: results
            .map(|(id, child)| match child {
                Ok(handle) => rpc::ForkResult {
                    sandbox_id: id,
                    sandbox: to_message(agent, &handle).into(),
                    ..Default::default()
                },
                Err(fault) => rpc::ForkResult {
                    sandbox_id: id,
                    failure: rpc::ForkFailure {
                        message: fault.message.clone(),
                        detail: to_detail(fault).into(),
                        ..Default::default()
                    }
                    .into(),
                    ..Default::default()
                },
            })
            .collect(),
        steps: to_times(&forked.timings),
        frozen_micros: micros(forked.frozen),
        ..Default::default()
    })
}

fn to_child(child: rpc::ForkChild) -> Result<Child, ConnectError> {
    Ok(Child {
        id: name(&child.sandbox_id)?,
        metadata: child.metadata.into_iter().collect(),
        timeout_sec: child.timeout_sec,
    })
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
