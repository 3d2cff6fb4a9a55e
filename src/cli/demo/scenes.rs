//! The scenes, in their order. Each says what it saw, or what was not as it should be.

use super::stage::{
    CHANNELS, CUSTOMER, KEEP_ALIVE, PATIENCE, PBX_NUMBER, PBX_TONE, Stage, TEAMS_NUMBER, TEAMS_TONE,
};
use crate::emulate::{By, CallError, EmuCall, Ended, Hold, PbxCall, TeamsCall};
use anyhow::{Context, anyhow, bail, ensure};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// What the verdict says of one thing shown.
pub(super) struct Scene {
    pub name: &'static str,
    pub play: for<'a> fn(&'a Stage) -> Outcome<'a>,
}

type Outcome<'a> = Pin<Box<dyn Future<Output = anyhow::Result<String>> + 'a>>;

macro_rules! scene {
    ($name:literal, $play:ident) => {
        Scene {
            name: $name,
            play: |stage| Box::pin($play(stage)),
        }
    };
}

pub(super) const ALL: &[Scene] = &[
    scene!("Teams calls the PBX and hangs up", teams_calls),
    scene!("the PBX calls Teams and hangs up", pbx_calls),
    scene!("Teams holds: music; resumes; the PBX hangs up", hold),
    scene!("Teams hangs up a call of the PBX", teams_hangs_up),
    scene!("the limit refuses one call too many", limit),
    scene!("an unknown peer is refused", stranger),
    scene!("Teams and Tollgate ask after each other", keep_alive),
    scene!("no rule was broken on the way", rules),
];

/// TDR-201, TDR-207: OPTIONS in both directions. Tollgate's first comes within its interval.
async fn keep_alive(stage: &Stage) -> anyhow::Result<String> {
    let base = CUSTOMER.split_once('.').map_or(CUSTOMER, |(_, base)| base);
    let healthy = || {
        stage
            .teams
            .health(base)
            .filter(|h| h.received > 0 && h.answered > 0)
    };
    let health = patiently(healthy)
        .await
        .with_context(|| format!("{base}: {:?}", stage.teams.health(base)))?;
    Ok(format!(
        "{} OPTIONS received, {} of {} answered",
        health.received, health.answered, health.sent
    ))
}

async fn teams_calls(stage: &Stage) -> anyhow::Result<String> {
    let (teams, pbx) = from_teams(stage).await?;
    both_hear(&teams, &pbx).await?;
    teams.bye().await;
    ended_by_peer(&pbx, "the PBX").await?;
    Ok(sound(&teams, &pbx))
}

async fn pbx_calls(stage: &Stage) -> anyhow::Result<String> {
    let (teams, pbx) = from_pbx(stage).await?;
    both_hear(&teams, &pbx).await?;
    pbx.bye().await;
    ended_by_peer(&teams, "Teams").await?;
    Ok(sound(&teams, &pbx))
}

/// TDR-604, form A: the held party hears our music, not silence and not Teams.
async fn hold(stage: &Stage) -> anyhow::Result<String> {
    let (teams, pbx) = from_teams(stage).await?;
    both_hear(&teams, &pbx).await?;
    teams.hold(Hold::Inactive).await.context("holding")?;
    let music = pbx
        .hears_melody(TEAMS_TONE)
        .await
        .context("no music at the PBX, or Teams still under it")?;
    teams.resume().await.context("resuming")?;
    both_hear(&teams, &pbx).await.context("after the hold")?;
    pbx.bye().await;
    ended_by_peer(&teams, "Teams").await?;
    let notes: Vec<String> = music
        .notes()
        .iter()
        .map(|note| format!("{note:.0}"))
        .collect();
    Ok(format!(
        "the PBX heard notes of {} Hz; then {}",
        notes.join(", "),
        sound(&teams, &pbx)
    ))
}

async fn teams_hangs_up(stage: &Stage) -> anyhow::Result<String> {
    let (teams, pbx) = from_pbx(stage).await?;
    both_hear(&teams, &pbx).await?;
    teams.bye().await;
    ended_by_peer(&pbx, "the PBX").await?;
    Ok(sound(&teams, &pbx))
}

/// The call beyond the limit is refused by 486 and cause 34; when one has ended, the next one passes.
async fn limit(stage: &Stage) -> anyhow::Result<String> {
    let mut calls = Vec::new();
    for _ in 0..CHANNELS {
        calls.push(from_teams(stage).await?);
    }
    let refused = refusal(dial_teams(stage).await?)
        .await
        .context("the call beyond the limit")?;
    let reason = refused.reason.clone().unwrap_or_default();
    ensure!(
        refused.status == 486,
        "refused by {} instead of 486",
        refused.status
    );
    ensure!(
        reason.contains("Q.850") && reason.contains("cause=34"),
        "the Reason is {reason:?}"
    );

    let (teams, pbx) = calls.pop().context("no call to end")?;
    teams.bye().await;
    ended_by_peer(&pbx, "the PBX").await?;
    calls.push(from_teams(stage).await.context("after one call ended")?);
    for (teams, pbx) in &calls {
        teams.bye().await;
        ended_by_peer(pbx, "the PBX").await?;
    }
    Ok(format!(
        "{CHANNELS} calls passed, one more was refused by 486, {reason}; after one ended another passed"
    ))
}

async fn stranger(stage: &Stage) -> anyhow::Result<String> {
    let call = PbxCall {
        to: TEAMS_NUMBER.into(),
        from: PBX_NUMBER.into(),
        ..PbxCall::default()
    };
    let refused = refusal(stage.stranger.call(call).await?).await?;
    ensure!(
        refused.status == 403,
        "refused by {} instead of 403",
        refused.status
    );
    Ok(format!(
        "a call from {} was refused by 403",
        stage.stranger.address.ip()
    ))
}

/// What the emulators noted against Tollgate: descriptions, names, routes, connections.
async fn rules(stage: &Stage) -> anyhow::Result<String> {
    let notes: Vec<String> = stage
        .teams
        .notes()
        .into_iter()
        .chain(stage.pbx.notes())
        .collect();
    ensure!(notes.is_empty(), "{}", notes.join("; "));
    Ok("neither Teams nor the PBX has anything to object".to_owned())
}

// What the scenes are made of. Pairs are always Teams first.

async fn dial_teams(stage: &Stage) -> anyhow::Result<EmuCall> {
    let call = TeamsCall {
        to: PBX_NUMBER.into(),
        from: TEAMS_NUMBER.into(),
        gateway: CUSTOMER.into(),
        headers: Vec::new(),
    };
    Ok(stage.teams.call(call).await?)
}

async fn from_teams(stage: &Stage) -> anyhow::Result<(EmuCall, EmuCall)> {
    let teams = dial_teams(stage).await?;
    teams.answered().await.context("Teams was not answered")?;
    let pbx = stage
        .pbx
        .incoming()
        .await
        .context("nothing came to the PBX")?;
    Ok((teams, pbx))
}

async fn from_pbx(stage: &Stage) -> anyhow::Result<(EmuCall, EmuCall)> {
    let call = PbxCall {
        to: TEAMS_NUMBER.into(),
        from: PBX_NUMBER.into(),
        ..PbxCall::default()
    };
    let pbx = stage.pbx.call(call).await?;
    pbx.answered().await.context("the PBX was not answered")?;
    let teams = stage
        .teams
        .incoming()
        .await
        .context("nothing came to Teams")?;
    Ok((teams, pbx))
}

async fn both_hear(teams: &EmuCall, pbx: &EmuCall) -> anyhow::Result<()> {
    let (at_teams, at_pbx) = tokio::join!(teams.hears_tone(PBX_TONE), pbx.hears_tone(TEAMS_TONE));
    at_teams.with_context(|| format!("Teams does not hear {PBX_TONE} Hz; {:?}", teams.report()))?;
    at_pbx.with_context(|| format!("the PBX does not hear {TEAMS_TONE} Hz; {:?}", pbx.report()))
}

async fn ended_by_peer(call: &EmuCall, who: &str) -> anyhow::Result<()> {
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

async fn refusal(call: EmuCall) -> anyhow::Result<Ended> {
    match call.answered().await {
        Err(CallError::Ended(ended)) => Ok(ended),
        Err(other) => Err(anyhow!(other)),
        Ok(()) => {
            call.bye().await;
            bail!("it was answered");
        }
    }
}

fn sound(teams: &EmuCall, pbx: &EmuCall) -> String {
    let (at_teams, at_pbx) = (teams.report(), pbx.report());
    format!(
        "Teams heard {PBX_TONE} Hz over SRTP ({} packets, {} refused), the PBX heard {TEAMS_TONE} Hz ({} packets)",
        at_teams.received, at_teams.refused, at_pbx.received
    )
}

/// Waits for what has to show itself.
async fn patiently<T>(mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let from = Instant::now();
    while from.elapsed() < KEEP_ALIVE + PATIENCE {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("it did not happen")
}
