use super::{ConfigFile, Failure, wait_for};
use crate::config::Config;
use crate::directory::Secret;
use crate::store::{AccessRole, Store, StoreError};
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use std::io::IsTerminal;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Make an account, or give one another password; the password is the first line of standard input.
    ///
    /// It works at once, also with a Tollgate that runs on the same database. Sign-ins with the old password end.
    Set(Set),
    /// Remove an account and end its sign-ins.
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    file: ConfigFile,
    /// Its name.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    file: ConfigFile,
    /// The name to sign in, in whatever case.
    name: String,
    /// carrier_admin, partner_admin, customer_admin, customer_operator or noc, as for tokens.
    #[arg(long)]
    role: AccessRole,
    /// The partner or customer that a partner_admin, customer_admin or customer_operator is confined to.
    #[arg(long, value_name = "UUID")]
    scope: Option<Uuid>,
}

/// `tollgate account`
pub(super) fn account(command: Account) -> Result<(), Failure> {
    match command {
        Account::Set(wanted) => set(&wanted),
        Account::Remove(wanted) => remove(&wanted),
    }
}

async fn open(config: &Config) -> Result<Store, StoreError> {
    Store::open_with_keys(&config.database(), &config.key_file(), config.directory()).await
}

fn remove(wanted: &Remove) -> Result<(), Failure> {
    let config = wanted.file.load()?;
    let removed = wait_for(async {
        let store = open(&config).await?;
        let removed = store.remove_account(&wanted.name).await;
        store.close().await;
        removed
    })?;
    match removed.map_err(Failure::mend)? {
        true => Ok(()),
        false => Err(Failure::Mend(anyhow!(
            "there is no account {}",
            wanted.name
        ))),
    }
}

fn set(wanted: &Set) -> Result<(), Failure> {
    let config = wanted.file.load()?;
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!(
            "Password (it is shown as you type; a file or a pipe on standard input does as well):"
        );
    }
    let mut line = String::new();
    input.read_line(&mut line).context("standard input")?;
    let password = Secret::new(line.trim_end_matches(['\r', '\n']));
    let made = wait_for(async {
        let store = open(&config).await?;
        let made = store
            .set_account(&wanted.name, &password, wanted.role, wanted.scope)
            .await;
        store.close().await;
        made
    })?;
    let made = made.map_err(Failure::mend)?;
    println!("{} is {}", made.name, made.role.name());
    Ok(())
}
