//! Proxies that do not answer as they should.

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::findings::{Finding, Findings, Step};
use crate::emulate::{Behaviour, Mood};

/// TDR-212: long enough for a second call to fall into it.
const RETRY_AFTER: u32 = 20;
/// TDR-213: less than a target has for its first response.
const SLOW: Duration = Duration::from_millis(2_000);

/// TDR-211, TDR-212: a busy proxy answers 503 with Retry-After; the call goes to the next at once, and so does the one
/// after it.
pub(super) async fn busy(bench: &Bench, findings: &mut Findings) -> Step {
    let first = favourite(bench).await?;
    bench.teams.set_mood(first, Mood::Busy(RETRY_AFTER));
    let from = Instant::now();
    let pair = bench.call_from_pbx("TDR-212").await?;
    let invites = bench.invites_since(from);
    findings.check(
        "TDR-212",
        invites.len() == 2 && invites[0] == first && invites[1] != first,
        "after a 503 with Retry-After the next proxy is tried",
        || format!("INVITEs at the proxies {invites:?}"),
    );
    pair.pbx.bye().await;
    let again = Instant::now();
    let pair = bench.call_from_pbx("TDR-212").await?;
    let invites = bench.invites_since(again);
    findings.check(
        "TDR-212",
        from.elapsed() >= Duration::from_secs(RETRY_AFTER.into()) || !invites.contains(&first),
        "a busy proxy is left alone for its Retry-After",
        || format!("INVITEs at the proxies {invites:?}, the busy one is {first}"),
    );
    pair.pbx.bye().await;
    Ok(())
}

/// TDR-211: a proxy that refuses connections does not keep a call from the next.
pub(super) async fn gone(bench: &Bench, _: &mut Findings) -> Step {
    let first = favourite(bench).await?;
    bench.teams.set_mood(first, Mood::Gone);
    let pair = bench.call_from_pbx("TDR-211").await?;
    pair.both_hear("TDR-211").await?;
    pair.pbx.bye().await;
    Ok(())
}

/// TDR-213: a proxy that takes the INVITE and says nothing costs some seconds, not the call.
pub(super) async fn deaf(bench: &Bench, _: &mut Findings) -> Step {
    let first = favourite(bench).await?;
    bench.teams.set_mood(first, Mood::Deaf);
    let pair = bench.call_from_pbx("TDR-213").await?;
    pair.both_hear("TDR-213").await?;
    pair.pbx.bye().await;
    Ok(())
}

/// TDR-213: a 100 that takes its time is no reason to call twice.
pub(super) async fn slow(bench: &Bench, findings: &mut Findings) -> Step {
    bench
        .teams
        .behave(&bench.facts.teams_number, Behaviour::Late(SLOW));
    let from = Instant::now();
    let pair = bench.call_from_pbx("TDR-213").await?;
    let invites = bench.invites_since(from);
    findings.check(
        "TDR-213",
        invites.len() == 1,
        "a proxy has four seconds for its first response",
        || format!("INVITEs at the proxies {invites:?}"),
    );
    pair.pbx.bye().await;
    Ok(())
}

/// The proxy that the SBC tries first now.
async fn favourite(bench: &Bench) -> Step<usize> {
    if bench.teams.proxies.len() < 2 {
        let rule = "the trial has a second proxy to go to";
        return Err(Finding::new("TDR-211", rule, "only one proxy was given"));
    }
    let from = Instant::now();
    let pair = bench.call_from_pbx("TDR-211").await?;
    pair.pbx.bye().await;
    let first = bench.invites_since(from).first().copied();
    first.ok_or_else(|| Finding::new("TDR-211", "an INVITE comes to a proxy", "none"))
}
