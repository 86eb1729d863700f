//! Pools as counters: what is wanted stands ready at once.

use connectrpc::ConnectError;
use wrenn_hostagent_api as rpc;
use wrenn_model::ErrorKind;

use super::{State, lock, refusal};

/// What a boot image takes.
const IMAGE_BYTES: u64 = 5 << 20;

/// A template, vCPUs, memory in MiB.
pub(super) type Shape = (String, u32, u32);

pub(super) fn list(state: &State) -> rpc::ListPoolsResponse {
    state.knobs();
    let pools: Vec<_> = lock(&state.pools).values().cloned().collect();
    rpc::ListPoolsResponse {
        image_bytes: pools.iter().map(|pool| pool.image_bytes).sum(),
        image_bytes_max: 1 << 30,
        slots: 4,
        pools,
        ..Default::default()
    }
}

pub(super) fn warm(
    state: &State,
    request: rpc::WarmPoolRequest,
) -> Result<rpc::WarmPoolResponse, ConnectError> {
    if let Some(fault) = state.knobs().pool_fails {
        return Err(super::refuse(&fault));
    }
    if !lock(&state.templates).contains_key(&request.template) {
        return Err(refusal(ErrorKind::NotFound, "there is no such template"));
    }
    let pool = rpc::Pool {
        template: request.template.clone(),
        vcpus: request.vcpus,
        memory_mb: request.memory_mb,
        wanted: request.count,
        ready: request.count,
        wanted_started: request.started,
        started: request.started,
        image: true,
        image_bytes: IMAGE_BYTES,
        ..Default::default()
    };
    let shape = (request.template, request.vcpus, request.memory_mb);
    lock(&state.pools).insert(shape, pool.clone());
    Ok(rpc::WarmPoolResponse {
        pool: pool.into(),
        ..Default::default()
    })
}

/// Those of a template, or all; of this many vCPUs and so much memory, or of any.
pub(super) fn drain(state: &State, request: &rpc::DrainPoolRequest) -> rpc::DrainPoolResponse {
    state.knobs();
    let wanted = |(template, vcpus, memory_mb): &Shape| {
        (request.template.is_empty() || request.template == *template)
            && [0, *vcpus].contains(&request.vcpus)
            && [0, *memory_mb].contains(&request.memory_mb)
    };
    let mut drained = 0;
    lock(&state.pools).retain(|shape, pool| {
        let goes = wanted(shape);
        drained += if goes { pool.ready + pool.started } else { 0 };
        !goes
    });
    rpc::DrainPoolResponse {
        drained,
        ..Default::default()
    }
}
