//! Pools: what the host has stand ready for creations.

use axum::Json as Body;
use axum::extract::State;
use wrenn_api::{Drained, Pool, Pools, WarmPool};
use wrenn_model::{MiB, TemplateName};

use crate::extract::{Json, Pairs};
use crate::refusal::{Answer, Refusal};
use crate::router::App;

/// What stands ready for creations.
#[utoipa::path(
    get, path = "/v1/pools", operation_id = "list_pools", tag = "pools",
    responses((status = 200, description = "What stands ready now.", body = Pools))
)]
pub(super) async fn list(State(app): State<App>) -> Answer<Body<Pools>> {
    let ready = app.control.pools().list().await?;
    Ok(Body(Pools {
        pools: ready.pools.into_iter().map(view).collect(),
        slots: ready.slots,
        image_bytes: ready.image_bytes,
        image_bytes_max: ready.image_bytes_max,
    }))
}

/// Has so many sandboxes of a shape stand ready, restored and stopped, and behind them so many virtual machine monitors that have
/// only to load a boot image, until the host's agent ends or the pool is drained: creations of that shape take one of them. Answers
/// when they do. Said again of the same shape, the new numbers hold.
#[utoipa::path(
    post, path = "/v1/pools", operation_id = "warm_pool", tag = "pools", request_body = WarmPool,
    responses((status = 200, description = "They stand ready.", body = Pool))
)]
pub(super) async fn warm(
    State(app): State<App>,
    Json(request): Json<WarmPool>,
) -> Answer<Body<Pool>> {
    let asked = request.check()?;
    let pools = app.control.pools();
    let warmed = pools
        .warm(
            &asked.template,
            asked.vcpus,
            asked.memory_mb.map(MiB),
            asked.count,
            asked.started,
        )
        .await?;
    Ok(Body(view(warmed)))
}

/// Gives back what stands ready, and has nothing more of it made: of all shapes, or of those that the query names.
#[utoipa::path(
    delete, path = "/v1/pools", operation_id = "drain_pools", tag = "pools",
    params(
        ("template" = Option<String>, Query, description = "Only those of this template", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "minimal"),
        ("vcpus" = Option<u32>, Query, description = "Only those of so many vCPUs", minimum = 1, example = 1),
        ("memory_mb" = Option<u32>, Query, description = "Only those of so much memory, in MiB", minimum = 1, example = 512),
    ),
    responses((status = 200, description = "They are given back.", body = Drained))
)]
pub(super) async fn drain(State(app): State<App>, Pairs(pairs): Pairs) -> Answer<Body<Drained>> {
    let shape = Shape::parse(pairs)?;
    let pools = app.control.pools();
    let drained = pools
        .drain(
            shape.template.as_ref(),
            shape.vcpus,
            shape.memory_mb.map(MiB),
        )
        .await?;
    Ok(Body(Drained { drained }))
}

/// Which pools the query names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    template: Option<TemplateName>,
    vcpus: Option<u32>,
    memory_mb: Option<u32>,
}

impl Shape {
    fn parse(pairs: Vec<(String, String)>) -> Answer<Self> {
        let mut shape = Self::default();
        for (key, value) in pairs {
            let number = || value.parse().ok().filter(|number| *number > 0);
            let understood = match key.as_str() {
                "template" => set(&mut shape.template, value.parse().ok()),
                "vcpus" => set(&mut shape.vcpus, number()),
                "memory_mb" => set(&mut shape.memory_mb, number()),
                _ => false,
            };
            if !understood {
                return Err(Refusal::invalid(
                    "the query is not understood",
                    "use template, which is a template's name, vcpus and memory_mb, which are numbers from 1 on, each once",
                ));
            }
        }
        Ok(shape)
    }
}

/// Whether there was something to set, and nothing before.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    match value {
        Some(value) => place.replace(value).is_none(),
        None => false,
    }
}

fn view(pool: wrenn_control::Pool) -> Pool {
    Pool {
        template: pool.template,
        vcpus: pool.vcpus,
        memory_mb: pool.memory.0,
        wanted: pool.wanted,
        ready: pool.ready,
        wanted_started: pool.wanted_started,
        started: pool.started,
        image: pool.image_bytes.is_some(),
        image_bytes: pool.image_bytes.unwrap_or_default(),
        hits: pool.hits,
        misses: pool.misses,
        configured: pool.configured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Option<Shape> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Shape::parse(owned.collect()).ok()
    }

    #[test]
    fn the_query_names_shapes() {
        assert_eq!(parse(&[]), Some(Shape::default()));
        let shape = parse(&[("template", "minimal"), ("vcpus", "2")]).unwrap();
        assert_eq!((shape.vcpus, shape.memory_mb), (Some(2), None));
        assert_eq!(shape.template, Some("minimal".parse().unwrap()));
        for bad in [
            &[("template", "../x")][..],
            &[("vcpus", "0")],
            &[("vcpus", "-1")],
            &[("memory_mb", "x")],
            &[("count", "1")],
            &[("vcpus", "1"), ("vcpus", "1")],
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
