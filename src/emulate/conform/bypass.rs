//! Media past Microsoft's processors: the client at Teams has full ICE, controls, nominates, and sends nothing before it
//! has a path (TDR section 8d).

use std::time::Duration;

use super::bench::{Bench, PBX_TONE, TEAMS_TONE, answered, done, hear_each_other};
use super::findings::{Findings, Step};
use super::look;
use crate::emulate::message::Message;
use crate::emulate::{Behaviour, EmuCall, Quirks};

/// RFC 8839 §5.4.
const SHORTEST: (usize, usize) = (4, 22);
/// Checks that are answered once consent is asked for as well (RFC 7675).
const SOME: u64 = 3;

/// TDR-840, TDR-841: what the SBC says of ICE, answering and offering.
pub(super) async fn lite(bench: &Bench, findings: &mut Findings) -> Step {
    let teams = bench.dial(bench.ordinary(), Quirks::default()).await?;
    let rule = "the call of Teams is answered";
    findings.step(answered("TDR-840", &teams, rule).await);
    match answer(&teams, 200) {
        Some(answer) => judge(findings, &answer),
        None => findings.check("TDR-840", false, rule, || look::last_word(&teams)),
    }
    teams.bye().await;
    let pbx = bench.dial_from_pbx().await?;
    let teams = bench.at_teams("TDR-841").await?;
    if let Some(invite) = look::read(teams.invite()) {
        judge(findings, &invite);
    }
    pbx.bye().await;
    Ok(())
}

/// What holds for an offer and an answer alike.
fn judge(findings: &mut Findings, message: &Message) {
    let text = look::description(message);
    let value = |start: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(start));
        lines.next().map_or(0, str::len)
    };
    let has_lite = text.lines().any(|line| line == "a=ice-lite");
    findings.check("TDR-840", has_lite, "a=ice-lite is there", || {
        look::lines(&text, "a=ice")
    });
    let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    findings.check(
        "TDR-840",
        ufrag >= SHORTEST.0 && pwd >= SHORTEST.1,
        "the credentials are there, and long enough",
        || look::lines(&text, "a=ice"),
    );
    let candidates = candidates(message);
    let rtp = look::sdp(message).map(|sdp| sdp.rtp);
    let is_right = match candidates.as_slice() {
        [one] => {
            let words: Vec<_> = one.split(' ').collect();
            let at = rtp.map(|at| (at.ip().to_string(), at.port().to_string()));
            matches!(words[..], [_, "1", transport, _, ip, port, "typ", "host", ..]
                if transport.eq_ignore_ascii_case("UDP") && !ip.contains(':')
                    && at.as_ref().is_some_and(|(i, p)| i == ip && p == port))
        }
        _ => false,
    };
    findings.check(
        "TDR-840",
        is_right,
        "there is one candidate: a host's, IPv4, component 1, where the media goes",
        || look::lines(&text, "a=candidate") + ", " + &look::lines(&text, "m="),
    );
}

fn candidates(message: &Message) -> Vec<String> {
    let text = look::description(message);
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"));
    values.map(str::to_owned).collect()
}

/// The SBC's last response to an INVITE with this status.
fn answer(call: &EmuCall, status: u16) -> Option<Message> {
    let mut messages = look::from_sbc(call).into_iter().rev();
    messages.find(|m| look::answers(m, status, "INVITE"))
}

/// TDR-840, TDR-801: in a call of either side every check is answered, also those that ask for consent later, nobody else
/// sends, and each side hears the other.
pub(super) async fn checks(bench: &Bench, findings: &mut Findings) -> Step {
    for from_teams in [true, false] {
        let pair = if from_teams {
            bench.call_from_teams("TDR-840").await?
        } else {
            bench.call_from_pbx("TDR-840").await?
        };
        pair.both_hear("TDR-840").await?;
        let later = pair.teams.hears(|_| pair.teams.report().checks.1 >= SOME);
        let rule = "checks are answered before and after the nomination";
        done("TDR-840", &pair.teams, rule, later.await)?;
        let report = pair.teams.report();
        findings.check(
            "TDR-840",
            report.nominated && report.check_fault.is_none(),
            "each answer to a check is as it must be",
            || format!("{:?}, nominated: {}", report.check_fault, report.nominated),
        );
        findings.check(
            "TDR-801",
            report.strangers == 0,
            "every packet comes from the candidate",
            || format!("{} from elsewhere", report.strangers),
        );
        pair.teams.bye().await;
    }
    Ok(())
}

/// TDR-843, TDR-508: the client nominates what a 183 offers, before the 200, and never again: the 200 says the same of ICE.
pub(super) async fn nomination(bench: &Bench, findings: &mut Findings) -> Step {
    let number = &bench.facts.pbx_number;
    bench
        .pbx
        .behave(number, Behaviour::EarlyMedia(Duration::from_secs(60)));
    let teams = bench.dial(bench.ordinary(), Quirks::default()).await?;
    let pbx = bench.at_pbx("TDR-508").await?;
    let rule = "Teams hears the PBX before the answer";
    done("TDR-508", &teams, rule, teams.hears_tone(PBX_TONE).await)?;
    let nominated = teams.report().nominated;
    findings.check(
        "TDR-843",
        nominated,
        "the path is nominated before the answer",
        || format!("{:?}", teams.report().checks),
    );
    pbx.answer().await;
    answered("TDR-843", &teams, "the call is answered").await?;
    let ice = |status| {
        let message = answer(&teams, status);
        let text = message.as_ref().map(look::description).unwrap_or_default();
        look::lines(&text, "a=ice") + ", " + &look::lines(&text, "a=candidate")
    };
    findings.check(
        "TDR-843",
        ice(183) == ice(200),
        "the 200 says the same of ICE as the 183",
        || format!("{}; then {}", ice(183), ice(200)),
    );
    hear_each_other("TDR-843", (&teams, TEAMS_TONE), (&pbx, PBX_TONE)).await?;
    teams.bye().await;
    Ok(())
}

/// TDR-842: two clients check and nominate while they ring; the one that answers is heard and hears, and the other one's
/// checks go on being answered.
pub(super) async fn forks(bench: &Bench, findings: &mut Findings) -> Step {
    let number = &bench.facts.teams_number;
    bench.teams.behave(number, Behaviour::Manual);
    let pbx = bench.dial_from_pbx().await?;
    let teams = bench.at_teams("TDR-842").await?;
    teams.ring().await;
    let other = || teams.fork_report().unwrap_or_default();
    let both = teams.hears(|_| teams.report().nominated && other().nominated);
    let rule = "both clients have a path before one answers";
    done("TDR-842", &teams, rule, both.await)?;
    teams.answer().await;
    answered("TDR-842", &pbx, "the call is answered").await?;
    hear_each_other("TDR-842", (&teams, TEAMS_TONE), (&pbx, PBX_TONE)).await?;
    let before = other().checks.1;
    let rule = "the other client's checks are answered, too";
    let later = teams.hears(|_| other().checks.1 > before).await;
    findings.step(done("TDR-842", &teams, rule, later));
    findings.check(
        "TDR-842",
        other().received == 0,
        "the other client hears nothing after the answer",
        || format!("{} packets", other().received),
    );
    pbx.bye().await;
    Ok(())
}

/// TDR-844: the call moves to another endpoint, whose offer has other credentials: so has the answer, with the same
/// candidate, and each side hears the other again.
pub(super) async fn restart(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-844").await?;
    pair.both_hear("TDR-844").await?;
    let before = answer(&pair.teams, 200);
    let restarted = pair.teams.restart_ice().await;
    done("TDR-844", &pair.teams, "a restart is answered", restarted)?;
    let after = answer(&pair.teams, 200);
    if let (Some(before), Some(after)) = (before, after) {
        let (old, new) = (look::description(&before), look::description(&after));
        for credential in ["a=ice-ufrag:", "a=ice-pwd:"] {
            let (old, new) = (look::lines(&old, credential), look::lines(&new, credential));
            let rule = "a restart is answered with new credentials";
            findings.check("TDR-844", old != new, rule, || new);
        }
        let rule = "a restart is answered with the same candidate";
        let (old, new) = (candidates(&before), candidates(&after));
        findings.check("TDR-844", old == new, rule, || {
            format!("{old:?}, then {new:?}")
        });
    }
    pair.both_hear("TDR-844").await?;
    pair.teams.bye().await;
    Ok(())
}
