//! `wrenn sandbox cp`: one file in either direction, streamed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use wrenn_client::Client;

use crate::cli::CopyArgs;
use crate::output_file::{self, Readers};
use crate::report::Advised;
use crate::terminal::{Escaper, print_json, size, stdout_is_terminal};

/// How much is read from a local file at once.
const CHUNK: usize = 256 << 10;

pub(super) async fn run(client: &Client, args: &CopyArgs, json: bool) -> Result<()> {
    let (from, to) = (Place::parse(&args.from), Place::parse(&args.to));
    let to = to.completed(&from)?;
    let begun = Instant::now();
    let copied = match (from, &to) {
        (Place::Sandbox { id, path }, to) => {
            let content = client.read_file(&id, &path).await?;
            match to {
                Place::Sandbox { id, path } => upload(client, id, path, content).await?,
                Place::Standard => to_standard_output(content).await?,
                Place::Local(path) => to_file(content, path).await?,
            }
        }
        (Place::Local(from), Place::Sandbox { id, path }) => {
            upload(client, id, path, chunks(open(&from).await?)).await?
        }
        (Place::Standard, Place::Sandbox { id, path }) => {
            upload(client, id, path, chunks(tokio::io::stdin())).await?
        }
        _ => {
            return Err(Advised::new(
                "neither side is in a sandbox",
                "name one side as ID:/PATH, such as sb-…:/root/file",
            )
            .into());
        }
    };
    tell(copied, begun, json, matches!(to, Place::Standard))
}

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A file in a guest.
    Sandbox { id: String, path: String },
    /// A file here.
    Local(PathBuf),
    /// Standard input or output.
    Standard,
}

impl Place {
    /// `ID:/PATH` is in a sandbox, `-` is a standard stream, all else is here; a file here whose name looks like the
    /// first is written `./ID:/PATH`.
    fn parse(text: &str) -> Self {
        if text == "-" {
            return Self::Standard;
        }
        match text.split_once(':') {
            Some((id, path)) if !id.is_empty() && !id.contains('/') && path.starts_with('/') => {
                Self::Sandbox {
                    id: id.to_owned(),
                    path: path.to_owned(),
                }
            }
            _ => Self::Local(text.into()),
        }
    }

    /// A target that is a directory gets the source's name.
    fn completed(self, from: &Self) -> Result<Self> {
        let directory = match &self {
            Self::Sandbox { path, .. } => path.ends_with('/'),
            Self::Local(path) => path.is_dir(),
            Self::Standard => false,
        };
        if !directory {
            return Ok(self);
        }
        let name = match from {
            Self::Sandbox { path, .. } => Path::new(path).file_name(),
            Self::Local(path) => path.file_name(),
            Self::Standard => None,
        };
        let name = name.and_then(|name| name.to_str()).ok_or_else(|| {
            Advised::new(
                "the target is a directory and the source has no name",
                "name the target file",
            )
        })?;
        Ok(match self {
            Self::Sandbox { id, path } => Self::Sandbox {
                id,
                path: format!("{path}{name}"),
            },
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Standard => self,
        })
    }
}

async fn open(path: &Path) -> Result<File> {
    let shown = path.display();
    let file = File::open(path)
        .await
        .with_context(|| format!("{shown} cannot be read"))?;
    if file.metadata().await?.is_dir() {
        return Err(Advised::new(
            format!("{shown} is a directory"),
            format!("pack it: tar -C {shown} -c . | wrenn sandbox exec ID -- tar -C /DIRECTORY -x"),
        )
        .into());
    }
    Ok(file)
}

fn chunks(
    from: impl AsyncRead + Send + 'static,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    ReaderStream::with_capacity(from, CHUNK)
}

/// Gives the number of bytes that went up.
async fn upload<E>(
    client: &Client,
    id: &str,
    path: &str,
    content: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Result<u64>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = sent.clone();
    let counted = content.inspect_ok(move |chunk| {
        counter.fetch_add(chunk.len() as u64, std::sync::atomic::Ordering::Relaxed);
    });
    client.write_file(id, path, counted).await?;
    Ok(sent.load(std::sync::atomic::Ordering::Relaxed))
}

/// Writes `content` out; gives the number of bytes.
async fn download<E>(
    mut content: impl Stream<Item = Result<Bytes, E>> + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    mut shown: impl FnMut(&Bytes) -> Option<String>,
) -> Result<u64>
where
    anyhow::Error: From<E>,
{
    let mut copied = 0;
    while let Some(chunk) = content.next().await {
        let chunk = chunk?;
        copied += chunk.len() as u64;
        match shown(&chunk) {
            Some(text) => to.write_all(text.as_bytes()).await?,
            None => to.write_all(&chunk).await?,
        }
    }
    to.flush().await?;
    Ok(copied)
}

async fn to_standard_output(content: wrenn_client::FileContent) -> Result<u64> {
    let mut stdout = tokio::io::stdout();
    if !stdout_is_terminal() {
        return download(content, &mut stdout, |_| None).await;
    }
    let mut escaper = Escaper::default();
    let copied = download(content, &mut stdout, |chunk| Some(escaper.push(chunk))).await?;
    stdout.write_all(escaper.finish().as_bytes()).await?;
    stdout.flush().await?;
    Ok(copied)
}

async fn to_file(content: wrenn_client::FileContent, path: &Path) -> Result<u64> {
    output_file::replace(path, Readers::AsBefore, async |file| {
        download(content, file, |_| None).await
    })
    .await
}

/// Says how much was copied and how fast, where that does not mix with the file.
fn tell(copied: u64, begun: Instant, json: bool, stdout_is_target: bool) -> Result<()> {
    let took = begun.elapsed();
    if json && !stdout_is_target {
        return print_json(&json!({ "bytes": copied, "duration_ms": took.as_millis() }));
    }
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is shown with three digits"
        )]
        let rate = (copied as f64 / took.as_secs_f64().max(1e-6)) as u64;
        eprintln!(
            "{} in {:.1} s, {}/s",
            size(copied),
            took.as_secs_f64(),
            size(rate)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert_eq!(Place::parse("-"), Place::Standard);
        assert_eq!(
            Place::parse("sb-1:/a:b"),
            Place::Sandbox {
                id: "sb-1".to_owned(),
                path: "/a:b".to_owned()
            }
        );
        for local in ["a", "./sb-1:/a", "sb-1:a", ":/a", "/x:/y"] {
            assert_eq!(Place::parse(local), Place::Local(local.into()), "{local}");
        }
    }

    #[test]
    fn a_directory_gets_the_sources_name() {
        let from = Place::Local("/tmp/data.bin".into());
        let to = Place::parse("sb-1:/root/").completed(&from).unwrap();
        assert_eq!(to, Place::parse("sb-1:/root/data.bin"));
        assert!(
            Place::parse("sb-1:/root/")
                .completed(&Place::Standard)
                .is_err()
        );
        let file = Place::parse("sb-1:/root/x");
        assert_eq!(file.clone().completed(&from).unwrap(), file);
    }
}
