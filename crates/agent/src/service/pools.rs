//! What stands ready, and who wants more or less of it to.

use connectrpc::ConnectError;
use wrenn_hostagent_api as rpc;
use wrenn_model::MiB;

use crate::Agent;
use crate::failure::internal;
use crate::messages::{name, refuse};
use crate::pools::PoolState;
use crate::spare::{PoolSize, Shape};
use crate::steps::blocking;

pub(super) async fn list(agent: &Agent) -> Result<rpc::ListPoolsResponse, ConnectError> {
    agent.check_ready().map_err(refuse)?;
    let own = agent.clone();
    let sizes = blocking(move || Ok(own.host.boot_images.sizes())).await;
    let sizes = sizes.map_err(|error| refuse(internal(error)))?;
    let mut pools = Vec::new();
    for state in agent.host.pools.states() {
        let template = agent.host.base_template(&state.shape.template).await.ok();
        let image = template.map(|template| agent.host.image_name(&state.shape, &template));
        let bytes = image.and_then(|image| {
            let size = sizes.iter().find(|(name, _)| *name == image)?;
            Some(size.1)
        });
        pools.push(to_pool(state, bytes));
    }
    Ok(rpc::ListPoolsResponse {
        pools,
        slots: count(agent.host.ready_slots.count()),
        image_bytes: sizes.iter().map(|(_, bytes)| bytes).sum(),
        image_bytes_max: agent.host.boot_images.most,
        ..Default::default()
    })
}

pub(super) async fn warm(
    agent: &Agent,
    request: rpc::WarmPoolRequest,
) -> Result<rpc::WarmPoolResponse, ConnectError> {
    let shape = Shape {
        template: name(&request.template)?,
        vcpus: request.vcpus,
        memory: MiB(request.memory_mb),
    };
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let size = PoolSize {
        shape,
        ready: count(request.count),
        started: count(request.started),
    };
    let state = agent.warm(size).await.map_err(refuse)?;
    Ok(rpc::WarmPoolResponse {
        pool: to_pool(state, None).into(),
        ..Default::default()
    })
}

pub(super) async fn drain(
    agent: &Agent,
    request: &rpc::DrainPoolRequest,
) -> Result<rpc::DrainPoolResponse, ConnectError> {
    let which = |shape: &Shape| {
        let named = request.template.is_empty() || shape.template.as_str() == request.template;
        let sized = request.vcpus == 0 || shape.vcpus == request.vcpus;
        named && sized && (request.memory_mb == 0 || shape.memory.0 == request.memory_mb)
    };
    Ok(rpc::DrainPoolResponse {
        drained: agent.drain(which).await.map_err(refuse)?,
        ..Default::default()
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn to_pool(state: PoolState, image: Option<u64>) -> rpc::Pool {
    rpc::Pool {
        template: state.shape.template.to_string(),
        vcpus: state.shape.vcpus,
        memory_mb: state.shape.memory.0,
        wanted: count(state.wanted),
        ready: count(state.ready),
        wanted_started: count(state.wanted_started),
        started: count(state.started),
        image: image.is_some(),
        image_bytes: image.unwrap_or_default(),
        hits: state.hits,
        misses: state.misses,
        configured: state.configured,
        ..Default::default()
    }
}
