//! `tollgate demo`: Tollgate between an emulated Teams and an emulated PBX, all on loopback with throw-away data,
//! making real calls and judging by what is heard. Two tours begin where there is nothing yet: a desk telephone in its box,
//! and a customer who has just signed.

mod api;
mod calls;
mod conform;
mod ladder;
mod phone;
mod play;
mod provisioning;
mod scenes;
mod stage;
mod verdict;
mod words;

use super::Failure;
use anyhow::{Context, anyhow};
use stage::{Plan, Stage};

/// Make calls between an emulated Teams and an emulated PBX, and judge them by what is heard.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Print the verdict as JSON, without ladders.
    #[arg(long)]
    json: bool,
    /// Play the scenarios of "emulate teams --conform" instead: what Teams demands, rule by rule.
    #[arg(long, group = "instead")]
    conform: bool,
    /// Take a desk telephone out of its box instead: its files, its activation by a code on its keys, its first calls.
    #[arg(long, group = "instead")]
    phone: bool,
    /// Take a new customer to its first calls instead: numbers, activation at an emulated Microsoft, users, an upgrade.
    #[arg(long, group = "instead")]
    provisioning: bool,
}

/// `tollgate demo`
pub(super) fn demo(arguments: &Demo) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        tokio::select! {
            played = play(arguments) => played,
            // Leaving by the ordinary way takes the scratch directory along.
            _ = tokio::signal::ctrl_c() => Err(Failure::Ours(anyhow!("interrupted"))),
        }
    })
}

async fn play(arguments: &Demo) -> Result<(), Failure> {
    const SETTING: &str = "setting the stage";
    let json = arguments.json;
    if arguments.conform {
        conform::play(json).await
    } else if arguments.phone {
        let tour = phone::Tour::set().await.context(SETTING)?;
        play::perform(tour, phone::ALL, json).await
    } else if arguments.provisioning {
        let tour = provisioning::Tour::set().await.context(SETTING)?;
        play::perform(tour, provisioning::ALL, json).await
    } else {
        let stage = Stage::set(&Plan::default()).await.context(SETTING)?;
        play::perform(stage, scenes::ALL, json).await
    }
}
