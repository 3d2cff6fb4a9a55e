//! How everything is played: scene after scene, each with its ladder, and a verdict at the end.

use super::verdict::{Row, Verdict};
use crate::cli::Failure;
use crate::telemetry::ladder::Ladder;
use anyhow::anyhow;
use std::io::Write;
use std::pin::Pin;
use std::time::Instant;

/// Everyone who plays.
pub(super) trait Cast {
    /// Who is where.
    fn describe(&self) -> String;
    /// What went by since then.
    fn ladder(&self, from: Instant) -> Ladder;
    /// Stops all of them.
    async fn clear(self);
}

/// What the verdict says of one thing shown.
pub(super) struct Scene<C> {
    pub name: &'static str,
    pub play: for<'a> fn(&'a mut C) -> Outcome<'a>,
}

/// What was seen, or what was not as it should be.
pub(super) type Outcome<'a> = Pin<Box<dyn Future<Output = anyhow::Result<String>> + 'a>>;

macro_rules! scene {
    ($name:literal, $play:ident) => {
        Scene {
            name: $name,
            play: |cast| Box::pin($play(cast)),
        }
    };
}
pub(super) use scene;

/// Plays the scenes in their order and prints what came of them.
pub(super) async fn perform<C: Cast>(
    mut cast: C,
    scenes: &[Scene<C>],
    json: bool,
) -> Result<(), Failure> {
    // Whoever closed the pipe still gets the exit status.
    let mut out = std::io::stdout();
    if !json {
        let _ = writeln!(out, "{}\n", cast.describe());
    }
    let mut verdict = Verdict::default();
    for scene in scenes {
        let from = Instant::now();
        let outcome = (scene.play)(&mut cast).await;
        let row = Row::new(scene.name, outcome);
        if !json {
            let _ = writeln!(out, "{row}");
            let ladder = cast.ladder(from);
            if !ladder.is_empty() {
                let _ = write!(out, "{ladder}");
            }
            let _ = writeln!(out);
        }
        verdict.push(row);
    }
    cast.clear().await;
    if json {
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
