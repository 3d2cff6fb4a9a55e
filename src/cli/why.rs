//! `tollgate why`: the decisions about one call, from the store.
//!
//! It reads the database and the spool, not the API: so it needs no token and no running SBC, and an operator can ask
//! it just then when the SBC is down or hangs. Whoever may read the database may see what is in it. A call that still
//! goes on is in neither; for that one there is `GET /api/v1/calls/{id}/why`.

use super::{ConfigFile, Failure, wait_for};
use crate::b2bua::{Cdr, Fact, Failing, Trace};
use crate::config::Config;
use crate::doctor::reason::{Meaning, meaning};
use crate::store::{Spool, Store, StoredTrace};
use anyhow::anyhow;
use clap::Args;
use uuid::Uuid;

#[derive(Debug, Args)]
pub(super) struct Why {
    /// The call's id, or the SIP Call-ID of one of its legs.
    call: String,
    #[command(flatten)]
    file: ConfigFile,
}

/// `tollgate why CALL-ID`
pub(super) fn why(asked: &Why) -> Result<(), Failure> {
    let config = asked.file.load()?;
    let found = find(&config, &asked.call)?.ok_or_else(|| {
        Failure::Mend(anyhow!(
            "no call that is over has the id or Call-ID {} in {}; one that still goes on is told by GET /api/v1/calls/{{id}}/why",
            asked.call,
            config.database().display()
        ))
    })?;
    println!("call {}", found.id);
    println!("Call-IDs {}\n", found.call_ids().join(" "));
    print!("{}", found.trace);
    for meaning in meanings(&config, &found.trace) {
        println!(
            "\nTeams means: {}.\nWhat helps: {}.",
            meaning.cause, meaning.remedy
        );
    }
    Ok(())
}

/// What the refusals of Teams mean.
fn meanings(config: &Config, trace: &Trace) -> Vec<Meaning> {
    let mut to_teams = false;
    let mut found = Vec::new();
    for step in &trace.steps {
        match &step.fact {
            Fact::Attempt { host, .. } => {
                to_teams = config.teams.proxies.iter().any(|proxy| proxy.host == *host);
            }
            Fact::Failed {
                failure:
                    Failing::Status {
                        status,
                        phrase,
                        reasons,
                    },
                ..
            } if to_teams => {
                let words = std::iter::once(phrase).chain(reasons);
                found.extend(meaning(*status, words.map(String::as_str)));
            }
            _ => {}
        }
    }
    found
}

fn find(config: &Config, call: &str) -> Result<Option<StoredTrace>, Failure> {
    let id = Uuid::try_parse(call).ok();
    let wanted = |cdr: &Cdr| {
        Some(cdr.id) == id || cdr.a_call_id == call || cdr.b_call_id.as_deref() == Some(call)
    };
    // First what will be moved: looked at in the other order, a record could be missed in both places.
    let folder = config.spool();
    if folder.exists()
        && let Some(cdr) = Spool::peek(&folder, wanted).map_err(Failure::mend)?
    {
        return Ok(Some(StoredTrace::of(cdr)));
    }
    wait_for(Store::find_trace(&config.database(), call))?.map_err(Failure::mend)
}
