//! Re-INVITEs: refresh, hold, new keys, and the address that never moves.

use std::time::{Duration, Instant};

use super::bench::{Bench, Pair, done};
use super::findings::{Finding, Findings, Step};
use super::look;
use crate::emulate::message::Message;
use crate::emulate::sdp::{Direction, Sdp};
use crate::emulate::{EmuCall, Hold, Quirks};

/// What is under way when a party stops sending may still arrive.
const UNDER_WAY: Duration = Duration::from_millis(200);
/// A packet less than this before a roll-over: it comes within a second.
const NEAR_ROLL_OVER: u16 = 65_500;

/// TDR-512, TDR-834: a refresh with the same description is answered with the same, keys and all, and does not reach
/// the PBX.
pub(super) async fn refresh(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-512").await?;
    pair.both_hear("TDR-512").await?;
    for _ in 0..2 {
        let refreshed = pair.teams.refresh().await;
        done(
            "TDR-512",
            &pair.teams,
            "a session refresh is answered",
            refreshed,
        )?;
    }
    let answers = described(&pair.teams);
    for two in answers.windows(2) {
        let (before, after) = (look::description(&two[0]), look::description(&two[1]));
        let differing = before
            .lines()
            .zip(after.lines())
            .find(|(old, new)| old != new && !old.starts_with("o="));
        findings.check(
            "TDR-512",
            differing.is_none() && before.lines().count() == after.lines().count(),
            "a refresh is answered with the same description",
            || match differing {
                Some((old, new)) => format!("\"{new}\" instead of \"{old}\""),
                None => format!("{after:?} instead of {before:?}"),
            },
        );
        let grown = version(&two[1]).wrapping_sub(version(&two[0]));
        findings.check(
            "TDR-512",
            grown <= 1,
            "the version in o= stays or grows by one",
            || look::lines(&after, "o="),
        );
        findings.check(
            "TDR-834",
            keys(&two[0]) == keys(&two[1]),
            "the SBC's key stays the same over a refresh",
            || look::lines(&after, "a=crypto:"),
        );
    }
    findings.check(
        "TDR-512",
        pair.pbx.counts().reinvites == 0,
        "a refresh of Teams stays at Teams",
        || format!("{} re-INVITEs came to the PBX", pair.pbx.counts().reinvites),
    );
    pair.both_hear("TDR-512").await?;
    pair.teams.bye().await;
    Ok(())
}

/// TDR-604, TDR-815, TDR-834: Teams holds by `a=inactive` and is answered so; it hears nothing, RTCP goes on, and after
/// the resumption both hear each other.
pub(super) async fn hold(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-604").await?;
    pair.both_hear("TDR-604").await?;
    let held = pair.teams.hold(Hold::Inactive).await;
    done("TDR-604", &pair.teams, "a hold is answered 200", held)?;
    let answer = last_description(&pair.teams)?;
    findings.check(
        "TDR-604",
        answer.1.direction == Direction::Inactive,
        "a hold by a=inactive is answered by a=inactive",
        || {
            look::lines(&look::description(&answer.0), "a=sendrecv")
                + ", "
                + &look::lines(&look::description(&answer.0), "a=inactive")
        },
    );
    tokio::time::sleep(UNDER_WAY).await;
    let (from, reports) = (Instant::now(), pair.teams.report().rtcp_received);
    let more = pair
        .teams
        .hears(|_| pair.teams.report().rtcp_received > reports)
        .await;
    findings.check(
        "TDR-815",
        more.is_ok(),
        "RTCP goes on while Teams holds",
        || format!("{reports} RTCP packets before, none since"),
    );
    let heard = pair.teams.heard().since(from).windows.len();
    findings.check(
        "TDR-604",
        heard == 0,
        "nothing is sent to Teams while it holds",
        || format!("{heard} packets of sound"),
    );
    let resumed = pair.teams.resume().await;
    done(
        "TDR-604",
        &pair.teams,
        "a resumption is answered 200",
        resumed,
    )?;
    pair.both_hear("TDR-604").await?;
    findings.check(
        "TDR-834",
        described(&pair.teams)
            .windows(2)
            .all(|two| keys(&two[0]) == keys(&two[1])),
        "the SBC's key stays the same over hold and resumption",
        || look::lines(&look::description(&answer.0), "a=crypto:"),
    );
    pair.teams.bye().await;
    Ok(())
}

/// TDR-601, TDR-804: however the PBX holds and resumes, and whoever refreshes, the SBC keeps the one address that it
/// began with, and offers Teams no one-way media and no address of zeros.
pub(super) async fn address(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-804").await?;
    pair.both_hear("TDR-804").await?;
    for hold in [Hold::SendOnly, Hold::Inactive, Hold::ZeroAddress] {
        let held = pair.pbx.hold(hold).await;
        done("TDR-601", &pair.pbx, "the PBX can hold", held)?;
        let resumed = pair.pbx.resume().await;
        done("TDR-601", &pair.pbx, "the PBX can resume", resumed)?;
    }
    let refreshed = pair.teams.refresh().await;
    done("TDR-804", &pair.teams, "a refresh is answered", refreshed)?;
    let held = pair.teams.hold(Hold::Inactive).await;
    done("TDR-804", &pair.teams, "a hold is answered", held)?;
    let resumed = pair.teams.resume().await;
    done("TDR-804", &pair.teams, "a resumption is answered", resumed)?;
    pair.both_hear("TDR-804").await?;
    let all: Vec<_> = described(&pair.teams)
        .into_iter()
        .filter_map(|m| look::sdp(&m).map(|sdp| (m, sdp)))
        .collect();
    for (message, sdp) in &all {
        findings.check(
            "TDR-804",
            (sdp.rtp, sdp.rtcp) == (all[0].1.rtp, all[0].1.rtcp),
            "the SBC's media address and ports stay the same for the whole call",
            || {
                let text = look::description(message);
                format!(
                    "{} {} instead of {}",
                    look::lines(&text, "c="),
                    look::lines(&text, "m="),
                    all[0].1.rtp
                )
            },
        );
        let offer = message.status().is_none();
        findings.check(
            "TDR-601",
            !offer
                || !matches!(sdp.direction, Direction::SendOnly | Direction::RecvOnly)
                    && !sdp.held_by_address(),
            "Teams is held by a=inactive or not at all",
            || format!("a={} at {}", sdp.direction.text(), sdp.rtp),
        );
    }
    pair.teams.bye().await;
    Ok(())
}

/// TDR-834: Teams' packets have rolled over when it brings a new key, with which its counter begins at 0 again. Both
/// still hear each other, and the SBC's own key has not changed.
pub(super) async fn rekey(bench: &Bench, findings: &mut Findings) -> Step {
    let quirks = Quirks {
        sequence: Some(NEAR_ROLL_OVER),
        ..Quirks::default()
    };
    let pair = bench
        .call_from_teams_oddly("TDR-834", bench.ordinary(), quirks)
        .await?;
    rolled_over(&pair).await?;
    let rekeyed = pair.teams.rekey().await;
    done(
        "TDR-834",
        &pair.teams,
        "a re-INVITE with a new key is answered",
        rekeyed,
    )?;
    pair.both_hear("TDR-834").await?;
    let answers = described(&pair.teams);
    findings.check(
        "TDR-834",
        answers.windows(2).all(|two| keys(&two[0]) == keys(&two[1])),
        "the SBC's key stays the same when Teams' changes",
        || {
            answers
                .last()
                .map(|m| look::lines(&look::description(m), "a=crypto:"))
                .unwrap_or_default()
        },
    );
    pair.teams.bye().await;
    Ok(())
}

async fn rolled_over(pair: &Pair) -> Step {
    let enough = u64::from(u16::MAX - NEAR_ROLL_OVER) + 10;
    let sent = pair
        .teams
        .hears(|_| pair.teams.report().sent > enough)
        .await;
    done("TDR-834", &pair.teams, "Teams may send for a second", sent)?;
    pair.both_hear("TDR-834").await
}

/// What the SBC sent on a leg that has a description.
fn described(call: &EmuCall) -> Vec<Message> {
    let mut messages = look::from_sbc(call);
    messages.retain(|m| look::sdp(m).is_some() && m.status().is_none_or(|status| status == 200));
    messages
}

fn last_description(call: &EmuCall) -> Step<(Message, Sdp)> {
    described(call)
        .pop()
        .and_then(|message| look::sdp(&message).map(|sdp| (message, sdp)))
        .ok_or_else(|| {
            Finding::new(
                "TDR-604",
                "a re-INVITE is answered with a description",
                "none",
            )
        })
}

fn version(message: &Message) -> u64 {
    look::sdp(message)
        .and_then(|sdp| sdp.version.parse().ok())
        .unwrap_or(0)
}

fn keys(message: &Message) -> Vec<String> {
    let cryptos = look::sdp(message)
        .map(|sdp| sdp.cryptos)
        .unwrap_or_default();
    cryptos.into_iter().map(|crypto| crypto.inline).collect()
}
