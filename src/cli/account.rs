use super::{ConfigFile, Failure, wait_for};
use crate::config::Config;
use crate::directory::Secret;
use crate::store::{AccessRole, Store, StoreError, Stranger};
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use std::io::IsTerminal;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Make an account, or change one; its password is the first line of standard input.
    ///
    /// With --tenant or --subject there is no password: it is for somebody who signs in at the OpenID provider. It works at
    /// once, also with a Tollgate that runs on the same database. Sign-ins from before end.
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
    /// carrier_admin, partner_admin, customer_admin, customer_operator, noc or end_user, as for tokens.
    #[arg(long)]
    role: AccessRole,
    /// The partner, customer or user that a partner_admin, customer_admin, customer_operator or end_user is confined to.
    #[arg(long, value_name = "UUID")]
    scope: Option<Uuid>,
    /// The tenant at Microsoft of somebody who signs in there.
    #[arg(long, value_name = "UUID")]
    tenant: Option<Uuid>,
    /// Who they are at the provider: the object id at Microsoft. Without it, whoever of the tenant first comes with the name.
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
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
    let is_stranger = wanted.tenant.is_some() || wanted.subject.is_some();
    let password = match is_stranger {
        true => None,
        false => Some(password()?),
    };
    let made = wait_for(async {
        let store = open(&config).await?;
        let (name, role, scope) = (&wanted.name, wanted.role, wanted.scope);
        let made = match &password {
            Some(password) => store.set_account(name, password, role, scope).await,
            None => {
                let who = Stranger {
                    tenant: wanted.tenant,
                    subject: wanted.subject.as_deref(),
                };
                store.set_person(name, who, role, scope).await
            }
        };
        store.close().await;
        made
    })?;
    let made = made.map_err(Failure::mend)?;
    println!("{} is {}", made.name, made.role.name());
    Ok(())
}

/// The first line of standard input.
fn password() -> Result<Secret, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!(
            "Password (it is shown as you type; a file or a pipe on standard input does as well):"
        );
    }
    let mut line = String::new();
    input.read_line(&mut line).context("standard input")?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}
