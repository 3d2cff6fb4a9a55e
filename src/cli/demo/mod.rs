//! `tollgate demo`: Tollgate between an emulated Teams and an emulated PBX, all on loopback with throw-away data,
//! making real calls and judging by what is heard.

mod conform;
mod ladder;
mod scenes;
mod stage;
mod verdict;

use super::Failure;
use anyhow::{Context, anyhow};
use stage::Stage;
use std::io::Write;
use std::time::Instant;
use verdict::{Row, Verdict};

/// Make calls between an emulated Teams and an emulated PBX, and judge them by what is heard.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Print the verdict as JSON, without ladders.
    #[arg(long)]
    json: bool,
    /// Play the scenarios of "emulate teams --conform" instead: what Teams demands, rule by rule.
    #[arg(long)]
    conform: bool,
}

/// `tollgate demo`
pub(super) fn demo(arguments: &Demo) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        tokio::select! {
            played = async {
                if arguments.conform {
                    conform::play(arguments.json).await
                } else {
                    play(arguments).await
                }
            } => played,
            // Leaving by the ordinary way takes the scratch directory along.
            _ = tokio::signal::ctrl_c() => Err(Failure::Ours(anyhow!("interrupted"))),
        }
    })
}

async fn play(arguments: &Demo) -> Result<(), Failure> {
    // Whoever closed the pipe still gets the exit status.
    let mut out = std::io::stdout();
    let stage = Stage::set(&stage::Plan::default())
        .await
        .context("setting the stage")?;
    if !arguments.json {
        let _ = writeln!(out, "{}\n", stage.describe());
    }
    let mut verdict = Verdict::default();
    for scene in scenes::ALL {
        let from = Instant::now();
        let outcome = (scene.play)(&stage).await;
        let row = Row::new(scene.name, outcome);
        if !arguments.json {
            let _ = writeln!(out, "{row}\n{}", ladder::of(&stage, from));
        }
        verdict.push(row);
    }
    stage.clear().await;
    if arguments.json {
        let _ = writeln!(out, "{}", verdict.json());
    } else {
        let _ = writeln!(out, "{verdict}");
    }
    match verdict.failed() {
        0 => Ok(()),
        failed => Err(Failure::Ours(anyhow!(
            "{failed} of the demonstration's rows do not hold"
        ))),
    }
}
