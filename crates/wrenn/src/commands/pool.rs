//! `wrenn pool`: what stands ready for creations.

use anyhow::Result;
use wrenn_client::Client;
use wrenn_client::api::{Pool, Pools, WarmPool};

use crate::cli::{DrainArgs, Globals, PoolCommand, WarmArgs};
use crate::server;
use crate::terminal::{Table, print_json, print_line, size};

/// Runs one of them.
pub(crate) async fn run(globals: &Globals, command: PoolCommand) -> Result<()> {
    let client = server::client(globals)?;
    match command {
        PoolCommand::Ls => ls(&client, globals.json).await,
        PoolCommand::Warm(args) => warm(&client, args, globals.json).await,
        PoolCommand::Drain(args) => drain(&client, &args, globals.json).await,
    }
}

async fn ls(client: &Client, json: bool) -> Result<()> {
    let pools = client.pools().await?;
    if json {
        return print_json(&pools);
    }
    print_line(&table(&pools.pools).to_string())?;
    print_line(&beside(&pools))
}

/// Waits until as many stand ready.
async fn warm(client: &Client, args: WarmArgs, json: bool) -> Result<()> {
    let request = WarmPool {
        template: args.template,
        vcpus: args.vcpus.map(i64::from),
        memory_mb: args.memory_mb.map(i64::from),
        count: args.count.into(),
        started: Some(args.started.into()),
    };
    let pool = client.warm_pool(&request).await?;
    if json {
        return print_json(&pool);
    }
    print_line(&table(&[pool]).to_string())
}

async fn drain(client: &Client, args: &DrainArgs, json: bool) -> Result<()> {
    let drained = client
        .drain_pools(args.template.as_deref(), args.vcpus, args.memory_mb)
        .await?;
    if json {
        return print_json(&drained);
    }
    print_line(&drained.drained.to_string())
}

fn table(pools: &[Pool]) -> Table {
    let mut table = Table::new([
        "TEMPLATE",
        "VCPUS",
        "MEMORY",
        "WANTED",
        "READY",
        "STARTED",
        "IMAGE",
        "HITS",
        "MISSES",
        "CONFIGURED",
    ]);
    for pool in pools {
        let image = match pool.image {
            true => size(pool.image_bytes),
            false => "-".to_owned(),
        };
        table.row([
            &pool.template,
            &pool.vcpus.to_string(),
            &format!("{} MiB", pool.memory_mb),
            &pool.wanted.to_string(),
            &pool.ready.to_string(),
            &format!("{} of {}", pool.started, pool.wanted_started),
            &image,
            &pool.hits.to_string(),
            &pool.misses.to_string(),
            if pool.configured { "yes" } else { "no" },
        ]);
    }
    table
}

/// What belongs to no shape.
fn beside(pools: &Pools) -> String {
    let slots = match pools.slots {
        1 => "1 network slot stands ready".to_owned(),
        slots => format!("{slots} network slots stand ready"),
    };
    format!(
        "{slots}; boot images take {} of {}",
        size(pools.image_bytes),
        size(pools.image_bytes_max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_a_row_and_has_a_dash_without_an_image() {
        let pool = Pool {
            template: "minimal".to_owned(),
            vcpus: 1,
            memory_mb: 512,
            wanted: 2,
            ready: 1,
            wanted_started: 3,
            started: 1,
            image: false,
            image_bytes: 0,
            hits: 7,
            misses: 3,
            configured: true,
        };
        let shown = table(&[pool]).to_string();
        let row: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row.join(" "), "minimal 1 512 MiB 2 1 1 of 3 - 7 3 yes");
    }
}
