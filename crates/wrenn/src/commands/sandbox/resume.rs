//! `wrenn sandbox resume`.

use anyhow::Result;
use wrenn_client::Client;
use wrenn_client::api::ResumeRequest;

use crate::cli::ResumeArgs;
use crate::commands::timings;
use crate::terminal::{print_json, print_line};

pub(super) async fn run(client: &Client, args: &ResumeArgs, json: bool) -> Result<()> {
    let before = client.sandbox(&args.id).await?;
    let request = ResumeRequest { cold: args.cold };
    let resumed = client.resume(&args.id, &request).await?;
    if json {
        return print_json(&resumed);
    }
    print_line(&resumed.sandbox.id)?;
    if args.timings {
        timings::print(&resumed.timings)?;
    }
    // It is news only where this very resume went back.
    if let Some(lost_since) = resumed.sandbox.lost_since
        && before.status == "error"
    {
        eprintln!("wrenn: it went back to its last pause; what it did since {lost_since} is lost");
    }
    Ok(())
}
