//! Transfers by REFER, hold by REFER, and calls taken over by Replaces.

use std::time::Duration;

use super::bench::{
    Bench, OTHER_TONE, PBX_TONE, Pair, TEAMS_TONE, answered, done, hear_each_other, refused,
};
use super::findings::{Finding, Findings, Step};
use super::look;
use crate::emulate::message::{Message, uri_of, user_of};
use crate::emulate::sdp::Direction;
use crate::emulate::{Behaviour, EmuCall, Hold, Quirks, TeamsCall, Way};

/// Who answers a transfer does so after this.
const PICKS_UP: Behaviour = Behaviour::Answer(Duration::from_millis(200));
/// A target without a user part (TDR-704), with parameters that a careless SBC would put in order or in lower case.
const USER: &str = "x-m=8:orgid:fce2158f-0e99-4ff7-a0b3-5b6b87d16689;x-t=72F988bf-86f1-41af-91ab-2d7cd011db47;\
    Zz-custom=%2fKeep%2FCase";
/// The music on hold of TDR-605.
const MUSIC: &str = "x-m=28:Music-On-Hold:7aF0;x-t=72F988bf";
/// The referrer of TDR-705, and one that consults: `x-tt` names the call to be replaced, in base 64.
const BLIND: &str = "x-m=8:orgid:aBcDeF01-0000-4000-8000-000000000001;x-t=72F988bf-86f1-41af-91ab-2d7cd011db47;x-ti=Corr-4711-Ab";
const CONSULTING: &str = "x-m=8:orgid:aBcDeF01-0000-4000-8000-000000000001;x-t=72F988bf-86f1-41af-91ab-2d7cd011db47;\
    x-ti=Corr-4711-Ab;x-tt=aHR0cHM6Ly9hcGkuZmxpZ2h0cHJveHkuc2t5cGUuY29tL0FiQ2RFZg%3D%3D";

/// A URI of Teams' with these parameters, and with a user part or none.
fn teams_uri(bench: &Bench, user: &str, parameters: &str) -> String {
    let port = bench.teams.address.port();
    format!("sip:{user}sip.pstnhub.microsoft.com:{port};transport=tls;{parameters}")
}

/// TDR-702 to TDR-706, TDR-708: a blind transfer to a user.
pub(super) async fn blind(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-702").await?;
    succeeds(bench, findings, &pair, &teams_uri(bench, "", USER), BLIND).await
}

/// TDR-703: a transfer to a number, which leads back to Teams as well.
pub(super) async fn to_number(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_pbx("TDR-702").await?;
    let uri = teams_uri(bench, "+14255550177@", "user=phone");
    succeeds(bench, findings, &pair, &uri, BLIND).await
}

/// TDR-705, TDR-706: a transfer after a consultation, which only `x-tt` tells of.
pub(super) async fn consultative(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-702").await?;
    succeeds(
        bench,
        findings,
        &pair,
        &teams_uri(bench, "", USER),
        CONSULTING,
    )
    .await
}

/// TDR-608: a transfer out of a hold offers media in both directions again.
pub(super) async fn from_hold(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-608").await?;
    pair.both_hear("TDR-608").await?;
    let held = pair.teams.hold(Hold::Inactive).await;
    done("TDR-604", &pair.teams, "a hold is answered 200", held)?;
    succeeds(bench, findings, &pair, &teams_uri(bench, "", USER), BLIND).await
}

/// A whole transfer, to its end.
async fn succeeds(bench: &Bench, findings: &mut Findings, pair: &Pair, to: &str, by: &str) -> Step {
    let target = referred(bench, findings, pair, to, by, PICKS_UP).await?;
    target.play(OTHER_TONE);
    notified(bench, findings, &pair.teams, "SIP/2.0 200").await?;
    hear_each_other("TDR-708", (&target, OTHER_TONE), (&pair.pbx, PBX_TONE)).await?;
    let early = look::from_sbc(&pair.teams)
        .iter()
        .any(|m| m.method() == "BYE" && m.status().is_none());
    findings.check(
        "TDR-708",
        !early,
        "the SBC leaves the BYE of the old call to Teams",
        || "a BYE of the SBC".to_owned(),
    );
    pair.teams.bye().await;
    hear_each_other("TDR-708", (&target, OTHER_TONE), (&pair.pbx, PBX_TONE)).await?;
    target.bye().await;
    let rule = "a BYE on the new call ends the call at the PBX";
    done("TDR-708", &pair.pbx, rule, pair.pbx.ended().await).map(drop)
}

/// Sends the REFER, and judges its answer and the INVITE that comes of it.
async fn referred(
    bench: &Bench,
    findings: &mut Findings,
    pair: &Pair,
    to: &str,
    by: &str,
    behaviour: Behaviour,
) -> Step<EmuCall> {
    let by = &teams_uri(bench, "", by);
    bench.teams.expect(to, behaviour);
    let answer = pair.teams.refer(to, by).await;
    let answer = done("TDR-702", &pair.teams, "REFER is accepted", answer)?;
    findings.check(
        "TDR-702",
        answer.starts_with("SIP/2.0 202 "),
        "REFER is answered 202",
        || answer.lines().next().unwrap_or_default().to_owned(),
    );
    let target = bench.teams.incoming().await.ok_or_else(|| {
        let wrong = bench.teams.take_notes().pop();
        let item = wrong.as_ref().map_or("TDR-703", |note| note.item);
        let evidence = wrong.map_or("no INVITE".to_owned(), |note| note.text);
        Finding::new(item, format!("an INVITE for {to} comes to Teams"), evidence)
    })?;
    let invite = look::read(target.invite())
        .ok_or_else(|| Finding::new("TDR-415", "the INVITE can be read", target.invite()))?;
    judge(bench, findings, &invite, to, by);
    findings.check(
        "TDR-706",
        target.call_id() != pair.teams.call_id(),
        "the INVITE has a Call-ID of its own",
        || look::line(&invite, "Call-ID"),
    );
    Ok(target)
}

/// TDR-706, for the INVITE of a transfer.
fn judge(bench: &Bench, findings: &mut Findings, invite: &Message, to: &str, by: &str) {
    findings.check(
        "TDR-706",
        invite.uri() == to,
        format!("the Request-URI is the Refer-To, byte for byte: {to}"),
        || invite.first_line().to_owned(),
    );
    findings.check(
        "TDR-706",
        invite.header("To").map(uri_of) == Some(to),
        "To is the Refer-To, byte for byte",
        || look::line(invite, "To"),
    );
    let referred_by = format!("<{by}>");
    findings.check(
        "TDR-706",
        invite.header("Referred-By") == Some(referred_by.as_str()),
        format!("Referred-By is that of the REFER, byte for byte: {referred_by}"),
        || look::line(invite, "Referred-By"),
    );
    findings.check(
        "TDR-706",
        look::host(invite, "Contact") == bench.facts.gateway,
        format!("the Contact is at {}", bench.facts.gateway),
        || look::line(invite, "Contact"),
    );
    let from = invite.header("From").map(uri_of).unwrap_or_default();
    findings.check(
        "TDR-706",
        user_of(from) == bench.facts.pbx_number,
        format!(
            "From is the party that is transferred, {}",
            bench.facts.pbx_number
        ),
        || look::line(invite, "From"),
    );
    let direction = look::sdp(invite).map(|sdp| sdp.direction);
    findings.check(
        "TDR-608",
        direction == Some(Direction::SendRecv),
        "the offer is for both directions",
        || format!("{direction:?}"),
    );
    findings.check(
        "TDR-706",
        invite.lists("Supported", "replaces"),
        "replaces is supported",
        || look::line(invite, "Supported"),
    );
}

/// TDR-702, TDR-403: NOTIFYs come with the SBC's Contact, the first says 100, and the last is as wanted and ends the
/// subscription.
async fn notified(bench: &Bench, findings: &mut Findings, call: &EmuCall, wanted: &str) -> Step {
    let last = call
        .sees(|messages| {
            let notifies = notifies(messages);
            let last = notifies.last()?.header("Subscription-State")?;
            last.starts_with("terminated").then_some(notifies)
        })
        .await;
    let all = done(
        "TDR-702",
        call,
        "a NOTIFY tells how the transfer ended",
        last,
    )?;
    for notify in &all {
        findings.check(
            "TDR-403",
            look::host(notify, "Contact") == bench.facts.gateway,
            format!("the Contact of a NOTIFY is at {}", bench.facts.gateway),
            || look::line(notify, "Contact"),
        );
        findings.check(
            "TDR-702",
            notify
                .header("Event")
                .is_some_and(|event| event.starts_with("refer")),
            "a NOTIFY has Event: refer",
            || look::line(notify, "Event"),
        );
        findings.check(
            "TDR-702",
            notify
                .header("Content-Type")
                .is_some_and(|t| t.starts_with("message/sipfrag")),
            "a NOTIFY carries message/sipfrag",
            || look::line(notify, "Content-Type"),
        );
    }
    let said: Vec<_> = all
        .iter()
        .map(|m| look::description(m).trim().to_owned())
        .collect();
    findings.check(
        "TDR-702",
        said.first()
            .is_some_and(|first| first.starts_with("SIP/2.0 100")),
        "the first NOTIFY says 100 Trying",
        || format!("{said:?}"),
    );
    findings.check(
        if wanted.contains("200") {
            "TDR-708"
        } else {
            "TDR-709"
        },
        said.last().is_some_and(|last| last.starts_with(wanted)),
        format!("the last NOTIFY says {wanted}"),
        || format!("{said:?}"),
    );
    Ok(())
}

fn notifies(messages: &[crate::emulate::Traced]) -> Vec<Message> {
    let mut all = look::received(messages);
    all.retain(|m| m.method() == "NOTIFY" && m.status().is_none());
    all
}

/// TDR-709: the target refuses. A NOTIFY says so, nobody else is tried, and the old call goes on.
pub(super) async fn fails(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-709").await?;
    pair.both_hear("TDR-709").await?;
    let from = std::time::Instant::now();
    let user = teams_uri(bench, "", USER);
    referred(bench, findings, &pair, &user, BLIND, Behaviour::Refuse(486)).await?;
    notified(bench, findings, &pair.teams, "SIP/2.0 486").await?;
    let invites = bench.invites_since(from).len();
    findings.check("TDR-709", invites == 1, "nobody else is tried", || {
        format!("{invites} INVITEs")
    });
    pair.both_hear("TDR-709").await?;
    pair.teams.bye().await;
    let rule = "the old call ends when Teams ends it";
    done("TDR-709", &pair.pbx, rule, pair.pbx.ended().await).map(drop)
}

/// TDR-605: Teams holds by transferring the call to its music, and takes it back by an INVITE with Replaces (TDR-711).
pub(super) async fn hold(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-605").await?;
    pair.both_hear("TDR-605").await?;
    let music = teams_uri(bench, "", MUSIC);
    let music = referred(bench, findings, &pair, &music, BLIND, PICKS_UP).await?;
    music.play(OTHER_TONE);
    notified(bench, findings, &pair.teams, "SIP/2.0 200").await?;
    pair.teams.bye().await;
    hear_each_other("TDR-605", (&music, OTHER_TONE), (&pair.pbx, PBX_TONE)).await?;
    let back = replaced(bench, findings, &music).await?;
    hear_each_other("TDR-605", (&back, TEAMS_TONE), (&pair.pbx, PBX_TONE)).await?;
    back.bye().await;
    let rule = "a BYE on the call that was taken back ends it at the PBX";
    done("TDR-605", &pair.pbx, rule, pair.pbx.ended().await).map(drop)
}

/// TDR-711: an INVITE with Replaces takes the place of a call that is up, on another connection.
pub(super) async fn replaces(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_pbx("TDR-711").await?;
    pair.both_hear("TDR-711").await?;
    bench.teams.hang_up_connections().await;
    let taken = replaced(bench, findings, &pair.teams).await?;
    taken.play(OTHER_TONE);
    hear_each_other("TDR-711", (&taken, OTHER_TONE), (&pair.pbx, PBX_TONE)).await?;
    pair.pbx.bye().await;
    let rule = "a BYE of the PBX ends the new call";
    done("TDR-711", &taken, rule, taken.ended().await).map(drop)
}

/// Sends the INVITE with Replaces and sees the old call end.
async fn replaced(bench: &Bench, findings: &mut Findings, old: &EmuCall) -> Step<EmuCall> {
    let value = old
        .replaces()
        .ok_or_else(|| Finding::new("TDR-711", "the old call has a dialog", "no 200 was seen"))?;
    let call = TeamsCall {
        headers: vec![("Replaces".to_owned(), value)],
        ..bench.ordinary()
    };
    let new = bench.dial(call, Quirks::default()).await?;
    answered("TDR-711", &new, "an INVITE with Replaces is answered 200").await?;
    let ended = old.ended().await;
    done(
        "TDR-711",
        old,
        "the replaced call is ended by a BYE of the SBC",
        ended,
    )?;
    let bye = old
        .messages()
        .iter()
        .any(|m| m.way == Way::In && m.first_line.starts_with("BYE "));
    findings.check(
        "TDR-711",
        bye,
        "the replaced call is ended by a BYE of the SBC",
        || look::last_word(old),
    );
    Ok(new)
}

/// TDR-711: Replaces of a dialog that there is not is refused by 481.
pub(super) async fn replaces_unknown(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-711").await?;
    let wrong_tag = pair.teams.replaces().unwrap_or_default() + "0";
    for value in ["nothing@teams;to-tag=a;from-tag=b", &wrong_tag] {
        let call = TeamsCall {
            headers: vec![("Replaces".to_owned(), value.to_owned())],
            ..bench.ordinary()
        };
        let call = bench.dial(call, Quirks::default()).await?;
        let status = refused("TDR-711", &call, "Replaces of no dialog is refused").await?;
        findings.check(
            "TDR-711",
            status == 481,
            "Replaces of no dialog is refused by 481",
            || look::last_word(&call),
        );
    }
    pair.both_hear("TDR-711").await?;
    pair.teams.bye().await;
    Ok(())
}
