use super::{ConfigFile, Failure, wait_for};
use crate::store::{AccessRole, Store};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Create a token and print it: the only time that it can be seen.
    ///
    /// It works at once, also with a Tollgate that runs on the same database.
    Create(Create),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    file: ConfigFile,
    /// carrier_admin (everything), partner_admin (one partner's customers), customer_admin (reads one customer),
    /// customer_operator (looks after one customer's users), noc (reads everything, ends calls) or end_user (sees the code of
    /// their own telephone).
    #[arg(long)]
    role: AccessRole,
    /// The partner, customer or user that a partner_admin, customer_admin, customer_operator or end_user is confined to.
    #[arg(long, value_name = "UUID")]
    scope: Option<Uuid>,
    /// Who has it, for the audit.
    #[arg(long, default_value = "command line")]
    name: String,
    /// Days until it stops to count; without this it never does.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: Option<u16>,
}

/// `tollgate token`
pub(super) fn token(command: Token) -> Result<(), Failure> {
    let Token::Create(wanted) = command;
    if wanted.role.is_scoped() != wanted.scope.is_some() {
        let rule = if wanted.role.is_scoped() {
            "needs"
        } else {
            "has no"
        };
        return Err(Failure::Mend(anyhow!(
            "the role {} {rule} --scope",
            wanted.role.name()
        )));
    }
    let config = wanted.file.load()?;
    let expires = wanted
        .days
        .map(|days| OffsetDateTime::now_utc() + Duration::from_secs(86_400 * u64::from(days)));
    let created = wait_for(async {
        let store =
            Store::open_with_keys(&config.database(), &config.key_file(), config.directory())
                .await?;
        let created = store
            .tokens()
            .create(&wanted.name, wanted.role, wanted.scope, expires)
            .await;
        store.close().await;
        created
    })?
    .map_err(Failure::mend)?;
    println!("{}", created.text.expose());
    Ok(())
}
