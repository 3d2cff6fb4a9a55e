//! The scenes, in their order. Each says what it saw, or what was not as it should be.

use super::calls::{Far, ended_by_peer, nothing_to_object, patiently, refusal};
use super::ladder;
use super::play::{Cast, Scene, scene};
use super::stage::{CHANNELS, CUSTOMER, PBX_NUMBER, PBX_TONE, Stage, TEAMS_NUMBER, TEAMS_TONE};
use crate::emulate::{EmuCall, Hold, PbxCall, TeamsCall};
use crate::telemetry::ladder::Ladder;
use anyhow::{Context, ensure};
use std::time::Instant;

pub(super) const PBX: Far = Far {
    who: "the PBX",
    tone: PBX_TONE,
};

impl Cast for Stage {
    fn describe(&self) -> String {
        let ((udp, tls), teams, pbx) = (self.listening, self.teams.address, self.pbx.address);
        format!(
            "Tollgate listens on {udp} (UDP) and {tls} (TLS), the emulated Teams on {teams} (TLS), the emulated PBX on {pbx} (UDP)."
        )
    }

    /// The calls, or the keep-alives where there was no call.
    fn ladder(&self, from: Instant) -> Ladder {
        let (teams, far) = (
            self.teams.trace(),
            [self.pbx.trace(), self.stranger.trace()],
        );
        let calls = ladder::drawn(&teams, ("PBX", &far), from, ladder::calls);
        if calls.is_empty() {
            ladder::drawn(&teams, ("PBX", &far), from, |_| true)
        } else {
            calls
        }
    }

    async fn clear(self) {
        self.sbc.shut_down().await;
    }
}

pub(super) const ALL: &[Scene<Stage>] = &[
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
    PBX.talks_until_teams_ends(&teams, &pbx).await
}

async fn pbx_calls(stage: &Stage) -> anyhow::Result<String> {
    let (teams, pbx) = from_pbx(stage).await?;
    PBX.talks_until_it_ends(&teams, &pbx).await
}

/// TDR-604, form A: the held party hears our music, not silence and not Teams.
async fn hold(stage: &Stage) -> anyhow::Result<String> {
    let (teams, pbx) = from_teams(stage).await?;
    PBX.talks(&teams, &pbx).await?;
    teams.hold(Hold::Inactive).await.context("holding")?;
    let music = pbx
        .hears_melody(TEAMS_TONE)
        .await
        .context("no music at the PBX, or Teams still under it")?;
    teams.resume().await.context("resuming")?;
    let sound = PBX.talks_until_it_ends(&teams, &pbx).await;
    let sound = sound.context("after the hold")?;
    let notes: Vec<String> = music
        .notes()
        .iter()
        .map(|note| format!("{note:.0}"))
        .collect();
    Ok(format!(
        "the PBX heard notes of {} Hz; then {sound}",
        notes.join(", ")
    ))
}

async fn teams_hangs_up(stage: &Stage) -> anyhow::Result<String> {
    let (teams, pbx) = from_pbx(stage).await?;
    PBX.talks_until_teams_ends(&teams, &pbx).await
}

/// The call beyond the limit is refused by 486 and cause 34; when one has ended, the next one passes.
async fn limit(stage: &Stage) -> anyhow::Result<String> {
    let mut calls = Vec::new();
    for _ in 0..CHANNELS {
        calls.push(from_teams(stage).await?);
    }
    let refused = refusal(dial_teams(stage, PBX_NUMBER).await?)
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

async fn rules(stage: &Stage) -> anyhow::Result<String> {
    nothing_to_object([&*stage.teams, &*stage.pbx])
}

/// A call of the user at Teams.
pub(super) async fn dial_teams(stage: &Stage, to: &str) -> anyhow::Result<EmuCall> {
    let call = TeamsCall {
        to: to.to_owned(),
        from: TEAMS_NUMBER.into(),
        gateway: CUSTOMER.into(),
        headers: Vec::new(),
    };
    Ok(stage.teams.call(call).await?)
}

pub(super) async fn from_teams(stage: &Stage) -> anyhow::Result<(EmuCall, EmuCall)> {
    let teams = dial_teams(stage, PBX_NUMBER).await?;
    teams.answered().await.context("Teams was not answered")?;
    let pbx = stage
        .pbx
        .incoming()
        .await
        .context("nothing came to the PBX")?;
    Ok((teams, pbx))
}

pub(super) async fn from_pbx(stage: &Stage) -> anyhow::Result<(EmuCall, EmuCall)> {
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
