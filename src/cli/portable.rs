//! `tollgate export` and `tollgate import`: what is provisioned, as one file.

use super::{ConfigFile, Failure, wait_for};
use crate::admin::{Importing, exported, imported};
use crate::app::{StartError, claim_data_dir};
use crate::config::Config;
use crate::store::{Store, StoreError};
use anyhow::{Context, anyhow};
use clap::Args;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    file: ConfigFile,
    /// Where to; without it standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    file: ConfigFile,
    /// What `export` has written, or a part of it; `-` is standard input.
    input: PathBuf,
    /// Only tell what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Take back what the file does not say: fields to their defaults, things away.
    #[arg(long)]
    prune: bool,
}

async fn open(config: &Config) -> Result<Store, StoreError> {
    Store::open_with_keys(&config.database(), &config.key_file(), config.directory()).await
}

/// `tollgate export`
pub(super) fn export(wanted: &Export) -> Result<(), Failure> {
    let config = wanted.file.load()?;
    let database = config.database();
    if !database.exists() {
        let database = database.display();
        return Err(Failure::Mend(anyhow!("there is no database {database}")));
    }
    let text = wait_for(async {
        let store = open(&config).await?;
        let text = exported(&store).await;
        store.close().await;
        text
    })?;
    let text = text.map_err(Failure::mend)?;
    match &wanted.output {
        Some(path) => write(path, &text)
            .with_context(|| path.display().to_string())
            .map_err(Failure::mend),
        None => match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written.context("standard output")?),
        },
    }
}

/// Names and numbers of people stand in it: nobody else reads it.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// `tollgate import`
pub(super) fn import(wanted: &Import) -> Result<(), Failure> {
    let config = wanted.file.load()?;
    let text = read(&wanted.input)
        .with_context(|| wanted.input.display().to_string())
        .map_err(Failure::mend)?;
    // A Tollgate that runs obeys what it has published itself: it must do the import.
    let _claim = claim_data_dir(&config).map_err(|error| match error {
        StartError::DataDirInUse { .. } => Failure::Mend(anyhow!(
            "{error}: send the file to it, as POST /api/v1/import"
        )),
        error => Failure::mend(error),
    })?;
    let importing = Importing {
        dry_run: wanted.dry_run,
        prune: wanted.prune,
    };
    let report = wait_for(async {
        let store = open(&config).await.map_err(Failure::mend)?;
        let report = imported(&store, &text, importing).await;
        store.close().await;
        report.map_err(Failure::mend)
    })??;
    println!("{report}");
    Ok(())
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    match path == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text)?,
        false => std::fs::File::open(path)?.read_to_string(&mut text)?,
    };
    Ok(text)
}
