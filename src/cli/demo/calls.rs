//! What the scenes do with calls. Pairs are always Teams first.

use super::stage::{KEEP_ALIVE, PATIENCE, TEAMS_TONE};
use crate::emulate::{By, CallError, Desk, EmuCall, Ended};
use anyhow::{Context, anyhow, bail, ensure};
use std::time::{Duration, Instant};

/// Who talks to Teams, and what it plays in Hz.
#[derive(Clone, Copy)]
pub(super) struct Far {
    pub who: &'static str,
    pub tone: f64,
}

impl Far {
    /// Each hears the other.
    pub(super) async fn talks(self, teams: &EmuCall, far: &EmuCall) -> anyhow::Result<()> {
        let Self { who, tone } = self;
        let (at_teams, at_far) = tokio::join!(teams.hears_tone(tone), far.hears_tone(TEAMS_TONE));
        at_teams.with_context(|| format!("Teams does not hear {tone} Hz; {:?}", teams.report()))?;
        at_far.with_context(|| format!("{who} does not hear {TEAMS_TONE} Hz; {:?}", far.report()))
    }

    /// The same, and then Teams hangs up; what was heard.
    pub(super) async fn talks_until_teams_ends(
        self,
        teams: &EmuCall,
        far: &EmuCall,
    ) -> anyhow::Result<String> {
        self.talks(teams, far).await?;
        teams.bye().await;
        ended_by_peer(far, self.who).await?;
        Ok(self.sound(teams, far))
    }

    /// The same, and then the other side hangs up.
    pub(super) async fn talks_until_it_ends(
        self,
        teams: &EmuCall,
        far: &EmuCall,
    ) -> anyhow::Result<String> {
        self.talks(teams, far).await?;
        far.bye().await;
        ended_by_peer(teams, "Teams").await?;
        Ok(self.sound(teams, far))
    }

    fn sound(self, teams: &EmuCall, far: &EmuCall) -> String {
        let Self { who, tone } = self;
        let (at_teams, at_far) = (teams.report(), far.report());
        format!(
            "Teams heard {tone} Hz over SRTP ({} packets, {} refused), {who} heard {TEAMS_TONE} Hz ({} packets)",
            at_teams.received, at_teams.refused, at_far.received
        )
    }
}

/// Waits for the end of a call, which must come from the other side.
pub(super) async fn ended_by_peer(call: &EmuCall, who: &str) -> anyhow::Result<()> {
    let ended = call
        .ended()
        .await
        .with_context(|| format!("{who} heard no BYE"))?;
    ensure!(
        ended.by == By::Peer,
        "the call of {who} ended otherwise: {ended:?}"
    );
    Ok(())
}

/// How a call was refused, which it must be.
pub(super) async fn refusal(call: EmuCall) -> anyhow::Result<Ended> {
    match call.answered().await {
        Err(CallError::Ended(ended)) => Ok(ended),
        Err(other) => Err(anyhow!(other)),
        Ok(()) => {
            call.bye().await;
            bail!("it was answered");
        }
    }
}

/// Fails if they noted something against Tollgate: descriptions, names, routes, connections.
pub(super) fn nothing_to_object<'a>(
    parties: impl IntoIterator<Item = &'a Desk>,
) -> anyhow::Result<String> {
    let notes: Vec<_> = parties.into_iter().flat_map(Desk::notes).collect();
    ensure!(notes.is_empty(), "{}", notes.join("; "));
    Ok("none of the emulators has anything to object".to_owned())
}

/// Waits for what has to show itself.
pub(super) async fn patiently<T>(mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let from = Instant::now();
    while from.elapsed() < KEEP_ALIVE + PATIENCE {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("it did not happen")
}
