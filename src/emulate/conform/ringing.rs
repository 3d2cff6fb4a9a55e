//! From the INVITE to the answer, or to none.

use std::time::{Duration, Instant};

use super::bench::{
    Bench, OTHER_TONE, PBX_TONE, TEAMS_TONE, answered, done, hear_each_other, refused,
};
use super::findings::{Findings, Step};
use super::look;
use crate::emulate::message::{Message, tag_of};
use crate::emulate::{Behaviour, EmuCall, Ended, Move, Phase, Quirks, Way};

/// How long a call may go on that Teams never acknowledged: 64 times T1 (RFC 3261 §13.3.1.4), and some slack.
const UNACKNOWLEDGED: Duration = Duration::from_secs(45);

/// TDR-504, TDR-506: two clients ring, a third sends a description, and the first answers, then one that nobody has
/// heard of. Both calls work, and the PBX sees one client.
pub(super) async fn forks(bench: &Bench, findings: &mut Findings) -> Step {
    let number = &bench.facts.teams_number;
    for answering in [0, 3] {
        bench
            .teams
            .behave(number, Behaviour::Script(forking(answering)));
        let pair = bench.call_from_pbx("TDR-504").await?;
        pair.both_hear("TDR-504").await?;
        let answer = sent(&pair.teams, "SIP/2.0 200");
        let wanted = answer.as_ref().and_then(|m| tag_of(m.header("To")?));
        let ack = pair
            .teams
            .sees(|messages| {
                let received = look::received(messages);
                received.into_iter().find(|m| m.method() == "ACK")
            })
            .await;
        let ack = done("TDR-504", &pair.teams, "the 200 is acknowledged", ack)?;
        findings.check(
            "TDR-504",
            ack.header("To").and_then(tag_of) == wanted,
            "the ACK has the tag of the client that answered",
            || look::line(&ack, "To"),
        );
        findings.check(
            "TDR-506",
            pair.pbx.counts().tags == 1,
            "the PBX sees one client, whatever forks at Teams",
            || format!("{} To tags", pair.pbx.counts().tags),
        );
        pair.pbx.bye().await;
        done(
            "TDR-504",
            &pair.teams,
            "the BYE reaches Teams",
            pair.teams.ended().await,
        )?;
    }
    Ok(())
}

/// TDR-505: Teams' 183 has a description and no sound. Who calls by the PBX would hear nothing if it went on as it is: the
/// PBX hears 180, and rings by itself.
pub(super) async fn silent_progress(bench: &Bench, findings: &mut Findings) -> Step {
    let step = |after, status| Move {
        after: Duration::from_millis(after),
        status,
        fork: 0,
        described: true,
    };
    let moves = vec![step(30, 183), step(700, 200)];
    bench
        .teams
        .behave(&bench.facts.teams_number, Behaviour::Script(moves));
    let pair = bench.call_from_pbx("TDR-505").await?;
    let answers = look::from_sbc(&pair.pbx);
    let rings = answers.iter().any(|m| m.status() == Some(180));
    findings.check(
        "TDR-505",
        rings,
        "a 183 of Teams is 180 for the PBX",
        || {
            let heard = answers.iter().filter_map(Message::status);
            format!("{:?}", heard.collect::<Vec<_>>())
        },
    );
    let described = |m: &&Message| matches!(m.status(), Some(101..=199)) && !m.body.is_empty();
    let silent = answers.iter().find(described);
    findings.check(
        "TDR-505",
        silent.is_none(),
        "no description goes to the PBX while Teams is silent",
        || silent.map_or(String::new(), |m| m.first_line().to_owned()),
    );
    pair.both_hear("TDR-505").await?;
    pair.pbx.bye().await;
    Ok(())
}

fn forking(answering: usize) -> Vec<Move> {
    let ringing = |fork, status| Move {
        after: Duration::from_millis(30),
        status,
        fork,
        described: status == 183,
    };
    let answer = Move {
        after: Duration::from_millis(150),
        status: 200,
        fork: answering,
        described: true,
    };
    vec![ringing(0, 180), ringing(1, 180), ringing(2, 183), answer]
}

fn sent(call: &EmuCall, start: &str) -> Option<Message> {
    let messages = call.messages();
    let found = messages.iter().find(|m| {
        m.way == Way::Out && m.first_line.starts_with(start) && m.cseq.ends_with("INVITE")
    })?;
    look::read(&found.text)
}

/// TDR-508: what the PBX plays before it answers is heard at Teams, and the answer changes nothing about that.
pub(super) async fn early_media(bench: &Bench, findings: &mut Findings) -> Step {
    let number = &bench.facts.pbx_number;
    bench
        .pbx
        .behave(number, Behaviour::EarlyMedia(Duration::from_secs(60)));
    let teams = bench.dial(bench.ordinary(), Quirks::default()).await?;
    let pbx = bench.at_pbx("TDR-508").await?;
    let heard = teams.hears_tone(PBX_TONE).await;
    let rule = "Teams hears the PBX before the answer";
    done("TDR-508", &teams, rule, heard)?;
    findings.check(
        "TDR-508",
        teams.phase() == Phase::Ringing,
        "the call is not answered before the PBX answers",
        || format!("{:?}", teams.phase()),
    );
    pbx.answer().await;
    answered("TDR-508", &teams, "the call is answered").await?;
    hear_each_other("TDR-508", (&teams, TEAMS_TONE), (&pbx, PBX_TONE)).await?;
    teams.bye().await;
    Ok(())
}

/// TDR-516, TDR-518: busy is 486 in both directions, and cause 34 of Teams does not reach the PBX, where it would mean
/// congestion.
pub(super) async fn busy(bench: &Bench, findings: &mut Findings) -> Step {
    bench
        .pbx
        .behave(&bench.facts.pbx_number, Behaviour::Refuse(486));
    let teams = bench.dial(bench.ordinary(), Quirks::default()).await?;
    let status = refused("TDR-518", &teams, "a busy PBX ends the call").await?;
    findings.check("TDR-518", status == 486, "busy is 486 for Teams", || {
        look::last_word(&teams)
    });

    bench
        .teams
        .behave(&bench.facts.teams_number, Behaviour::Refuse(486));
    let pbx = bench.dial_from_pbx().await?;
    let ended: Ended = done(
        "TDR-516",
        &pbx,
        "a busy user ends the call",
        pbx.ended().await,
    )?;
    findings.check(
        "TDR-516",
        ended.status == 486,
        "busy is 486 for the PBX",
        || look::last_word(&pbx),
    );
    let reason = ended.reason.unwrap_or_default();
    findings.check(
        "TDR-516",
        !reason.contains("cause=34"),
        "a busy user's cause is 17 for the PBX, or none, not 34",
        || format!("\"Reason: {reason}\""),
    );
    Ok(())
}

/// TDR-517: a call that is given up while it rings stops ringing at the other side, in both directions, and the caller
/// hears 487.
pub(super) async fn cancel(bench: &Bench, findings: &mut Findings) -> Step {
    bench.pbx.behave(&bench.facts.pbx_number, Behaviour::Ring);
    bench
        .teams
        .behave(&bench.facts.teams_number, Behaviour::Ring);

    let caller = bench.dial(bench.ordinary(), Quirks::default()).await?;
    done("TDR-517", &caller, "the call rings", caller.ringing().await)?;
    let called = bench.at_pbx("TDR-517").await?;
    caller.cancel().await;
    let status = refused("TDR-517", &caller, "a CANCEL of Teams ends its call").await?;
    findings.check(
        "TDR-517",
        status == 487,
        "a cancelled INVITE is answered 487",
        || look::last_word(&caller),
    );
    let rule = "a CANCEL of Teams stops the ringing at the PBX";
    findings.step(done("TDR-517", &called, rule, called.ended().await));

    let caller = bench.dial_from_pbx().await?;
    done("TDR-517", &caller, "the call rings", caller.ringing().await)?;
    let called = bench.at_teams("TDR-517").await?;
    caller.cancel().await;
    let rule = "a CANCEL of the PBX stops the ringing at Teams";
    findings.step(done("TDR-517", &called, rule, called.ended().await));
    let cancelled = look::from_sbc(&called)
        .iter()
        .any(|m| m.method() == "CANCEL");
    findings.check("TDR-517", cancelled, rule, || look::last_word(&called));
    Ok(())
}

/// TDR-514: Teams never acknowledges a 200. The SBC repeats it, then ends the call at both sides.
pub(super) async fn no_ack(bench: &Bench, findings: &mut Findings) -> Step {
    let quirks = Quirks {
        unacknowledged: true,
        ..Quirks::default()
    };
    let pair = bench
        .call_from_teams_oddly("TDR-514", bench.ordinary(), quirks)
        .await?;
    let from = Instant::now();
    let over = |call: &EmuCall| matches!(call.phase(), Phase::Ended(_));
    while !(over(&pair.teams) && over(&pair.pbx)) && from.elapsed() < UNACKNOWLEDGED {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (call, rule) in [
        (
            &pair.teams,
            "without an ACK the SBC ends the call at Teams by a BYE",
        ),
        (&pair.pbx, "without an ACK the SBC ends the call at the PBX"),
    ] {
        findings.check("TDR-514", over(call), rule, || {
            format!("after {} s: {:?}", from.elapsed().as_secs(), call.phase())
        });
    }
    let answers = look::from_sbc(&pair.teams);
    let repeated = answers
        .iter()
        .filter(|m| look::answers(m, 200, "INVITE"))
        .count();
    findings.check(
        "TDR-514",
        repeated > 1,
        "a 200 is repeated until its ACK",
        || format!("{repeated} times sent"),
    );
    Ok(())
}

/// TDR-213, TDR-517: what a user declines, and a number that nobody has, is not tried again at another proxy.
pub(super) async fn final_refusal(bench: &Bench, findings: &mut Findings) -> Step {
    for status in [603, 480, 404] {
        bench
            .teams
            .behave(&bench.facts.teams_number, Behaviour::Refuse(status));
        let from = Instant::now();
        let pbx = bench.dial_from_pbx().await?;
        refused(
            "TDR-517",
            &pbx,
            &format!("a {status} of Teams ends the call"),
        )
        .await?;
        let invites = bench.invites_since(from).len();
        findings.check(
            "TDR-213",
            invites == 1,
            format!("a {status} is final"),
            || format!("{invites} INVITEs"),
        );
    }
    Ok(())
}

/// TDR-508: the PBX rings, so Teams hears 180; it answers, so Teams hears 200.
pub(super) async fn ringing(bench: &Bench, findings: &mut Findings) -> Step {
    bench.pbx.behave(&bench.facts.pbx_number, Behaviour::Ring);
    let teams = bench.dial(bench.ordinary(), Quirks::default()).await?;
    let pbx = bench.at_pbx("TDR-508").await?;
    let ringing = teams.ringing().await;
    done("TDR-508", &teams, "Teams hears that the PBX rings", ringing)?;
    let answers = look::from_sbc(&teams);
    let provisional = answers.iter().find(|m| m.status() == Some(180));
    findings.check(
        "TDR-508",
        provisional.is_some(),
        "ringing at the PBX is 180 at Teams",
        || look::last_word(&teams),
    );
    pbx.play(OTHER_TONE);
    pbx.answer().await;
    answered("TDR-508", &teams, "the call is answered").await?;
    hear_each_other("TDR-508", (&teams, TEAMS_TONE), (&pbx, OTHER_TONE)).await?;
    teams.bye().await;
    Ok(())
}
