//! `wrenn agent join`: this host gets its certificate. The key is made here and stays here.

use std::time::SystemTime;

use anyhow::Result;
use serde_json::json;
use wrenn_agent::IdentityFile;
use wrenn_client::Client;
use wrenn_client::api::{JoinHost, Timestamp};
use wrenn_pki::{Error, Identity, JoinAnswer, Joining};

use crate::cli::{Globals, JoinArgs};
use crate::install;
use crate::report::Advised;
use crate::terminal::{print_json, print_line};

/// Joins, and writes down who this host is from now on.
pub(crate) async fn run(globals: &Globals, args: JoinArgs) -> Result<()> {
    install::require_root("wrenn agent join")?;
    let client = Client::new(&args.server, None)?;
    let joining = Joining::new(args.token, &args.address)?;
    let request = joining.request();
    let asked = JoinHost {
        token_id: request.token_id.clone(),
        csr: request.csr.clone(),
        names: request.names.clone(),
        proof: request.proof.clone(),
    };
    let answer = client.join_host(&asked).await?;
    let answer = JoinAnswer {
        certificate: answer.certificate,
        authority: answer.authority,
        proof: answer.proof,
    };
    let identity = joining
        .complete(&answer)
        .map_err(|error| not_joined(error, &args.server))?;
    let file = IdentityFile::of(&globals.dir);
    file.write(&identity).map_err(|error| {
        Advised::new(
            format!("the certificate cannot be written to {}", file.path().display()),
            "see that its file system is writable and has room; the token is used up: make a new one with `wrenn host invite`",
        )
        .because(error)
    })?;
    announce(globals, &asked.names, &file, &identity)
}

fn not_joined(error: Error, server: &str) -> Advised {
    match error {
        Error::Unproven => Advised::new(
            format!("{server} is not who made the token, or somebody between has changed its answer"),
            "see that the address is right; make a new token with `wrenn host invite`, and join over a network that you trust",
        ),
        other => Advised::new(
            format!("what {server} answered is no certificate for this host"),
            "see that this program and the server are of one version, and make a new token with `wrenn host invite`",
        )
        .because(other),
    }
}

fn announce(
    globals: &Globals,
    names: &[String],
    file: &IdentityFile,
    identity: &Identity,
) -> Result<()> {
    let until = identity
        .expires_at()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let until = Timestamp::from_unix_ms(i64::try_from(until.as_millis()).unwrap_or(i64::MAX));
    if globals.json {
        return print_json(
            &json!({ "identity": file.path(), "names": names, "expires_at": until }),
        );
    }
    print_line(&format!(
        "This host has joined as {names}, until {until}; its certificate is in {file}.\n\
         Serve the control plane with `wrenn agent --listen-tls ADDR:PORT`; an agent that does already shows the new \
         certificate from now on.\n\
         The control plane reaches it with `wrenn server --agent tls:{name}:PORT`.",
        names = names.join(", "),
        name = names.first().map_or("HOST", String::as_str),
        file = file.path().display(),
    ))
}
