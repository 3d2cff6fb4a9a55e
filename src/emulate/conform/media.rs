//! Offers and answers of the SBC, and what is heard.

use super::bench::{Bench, Pair, refused};
use super::findings::{Findings, Step};
use super::look;
use crate::emulate::message::Message;
use crate::emulate::{Quirks, Shape};

/// TDR-819, TDR-820, TDR-831, TDR-832: the worst offer of Teams, with the short tag first and lines of ICE, is answered
/// as Teams needs it.
pub(super) async fn worst_offer(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-831").await?;
    if let Some(answer) = look::from_sbc(&pair.teams)
        .iter()
        .find(|m| look::answers(m, 200, "INVITE"))
    {
        judge(findings, answer);
    }
    pair.both_hear("TDR-831").await?;
    pair.teams.bye().await;
    Ok(())
}

/// TDR-810, TDR-813, TDR-820, TDR-831, TDR-832: what the SBC offers by itself.
pub(super) async fn own_offer(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_pbx("TDR-831").await?;
    if let Some(invite) = look::read(pair.teams.invite()) {
        judge(findings, &invite);
        let text = look::description(&invite);
        let mux = look::sdp(&invite).is_some_and(|sdp| sdp.mux);
        findings.check("TDR-816", mux, "RTCP on the same port is offered", || {
            look::lines(&text, "a=rtcp")
        });
    }
    pair.both_hear("TDR-831").await?;
    pair.pbx.bye().await;
    Ok(())
}

/// What holds for an offer and an answer alike.
fn judge(findings: &mut Findings, message: &Message) {
    let text = look::description(message);
    let Some(sdp) = look::sdp(message) else {
        findings.check("TDR-415", false, "the description can be read", || {
            text.clone()
        });
        return;
    };
    findings.check(
        "TDR-830",
        sdp.profile == "RTP/SAVP",
        "the profile is RTP/SAVP",
        || look::lines(&text, "m="),
    );
    findings.check("TDR-820", sdp.streams == 1, "there is one stream", || {
        look::lines(&text, "m=")
    });
    let real = !sdp.rtp.ip().is_unspecified() && sdp.rtp.port() != 0;
    findings.check("TDR-820", real, "the address is a real one", || {
        look::lines(&text, "c=")
    });
    findings.check("TDR-810", sdp.law().is_some(), "G.711 is there", || {
        look::lines(&text, "m=")
    });
    findings.check(
        "TDR-813",
        sdp.events.is_some(),
        "telephone-event is there",
        || look::lines(&text, "a=rtpmap:"),
    );
    let ice = sdp
        .attributes
        .iter()
        .any(|a| a.starts_with("ice-") || a.contains("candidate"));
    findings.check("TDR-819", !ice, "there is nothing of ICE", || {
        look::lines(&text, "a=ice-") + ", " + &look::lines(&text, "a=candidate")
    });
    let one = match sdp.cryptos.as_slice() {
        [crypto] => crypto.suite == "AES_CM_128_HMAC_SHA1_80" && crypto.tag == "1",
        _ => false,
    };
    findings.check(
        "TDR-831",
        one,
        "there is one crypto line, tag 1, AES_CM_128_HMAC_SHA1_80",
        || look::lines(&text, "a=crypto:"),
    );
    let lifetime = sdp.cryptos.iter().all(|c| c.inline.ends_with("|2^31"));
    findings.check("TDR-832", lifetime, "the key's lifetime is |2^31", || {
        look::lines(&text, "a=crypto:")
    });
}

/// TDR-832: the only line of use has `|2^31|1:1`; the packets of both sides carry what it says.
pub(super) async fn key_identifier(bench: &Bench, _: &mut Findings) -> Step {
    let pair = shaped(bench, "TDR-832", Shape::KeyIdentifier).await?;
    pair.both_hear("TDR-832").await?;
    pair.teams.bye().await;
    Ok(())
}

/// TDR-816: Teams offers no `a=rtcp-mux`; the answer has none, and RTCP comes on the port of its own.
pub(super) async fn separate_rtcp(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = shaped(bench, "TDR-816", Shape::NoMux).await?;
    pair.both_hear("TDR-816").await?;
    let answers = look::from_sbc(&pair.teams);
    let answer = answers.iter().find(|m| look::answers(m, 200, "INVITE"));
    findings.check(
        "TDR-816",
        answer.and_then(look::sdp).is_some_and(|sdp| !sdp.mux),
        "what was not offered is not answered: no a=rtcp-mux",
        || {
            answer
                .map(|m| look::lines(&look::description(m), "a=rtcp"))
                .unwrap_or_default()
        },
    );
    rtcp_comes(
        findings,
        &pair,
        "TDR-816",
        "RTCP comes on the port of its own",
    )
    .await;
    pair.teams.bye().await;
    Ok(())
}

/// TDR-815, TDR-816: RTCP comes, on the port of RTP.
pub(super) async fn shared_rtcp(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-816").await?;
    let answers = look::from_sbc(&pair.teams);
    let answer = answers.iter().find(|m| look::answers(m, 200, "INVITE"));
    findings.check(
        "TDR-816",
        answer.and_then(look::sdp).is_some_and(|sdp| sdp.mux),
        "a=rtcp-mux is answered",
        || {
            answer
                .map(|m| look::lines(&look::description(m), "a=rtcp"))
                .unwrap_or_default()
        },
    );
    rtcp_comes(findings, &pair, "TDR-815", "RTCP comes without a pause").await;
    pair.teams.bye().await;
    Ok(())
}

async fn rtcp_comes(findings: &mut Findings, pair: &Pair, item: &'static str, rule: &str) {
    let came = pair
        .teams
        .hears(|_| pair.teams.report().rtcp_received > 0)
        .await;
    findings.check(item, came.is_ok(), rule, || {
        let report = pair.teams.report();
        format!(
            "none; {} packets refused, {} from elsewhere",
            report.refused, report.strangers
        )
    });
}

async fn shaped(bench: &Bench, item: &'static str, shape: Shape) -> Step<Pair> {
    let quirks = Quirks {
        shape,
        ..Quirks::default()
    };
    bench
        .call_from_teams_oddly(item, bench.ordinary(), quirks)
        .await
}

/// TDR-830: plain RTP is refused by 488.
pub(super) async fn plain(bench: &Bench, findings: &mut Findings) -> Step {
    let quirks = Quirks {
        shape: Shape::Plain,
        ..Quirks::default()
    };
    let call = bench.dial(bench.ordinary(), quirks).await?;
    let status = refused("TDR-830", &call, "plain RTP is refused").await?;
    findings.check(
        "TDR-830",
        status == 488,
        "plain RTP is refused by 488",
        || look::last_word(&call),
    );
    Ok(())
}

/// TDR-803, TDR-830: in a call of either side each hears the other's tone, and no packet is refused.
pub(super) async fn sound(bench: &Bench, findings: &mut Findings) -> Step {
    for pair in [
        bench.call_from_teams("TDR-830").await?,
        bench.call_from_pbx("TDR-830").await?,
    ] {
        pair.both_hear("TDR-830").await?;
        let report = pair.teams.report();
        findings.check(
            "TDR-830",
            report.refused == 0,
            "every packet passes SRTP at Teams",
            || {
                format!(
                    "{} of {} refused",
                    report.refused,
                    report.refused + report.received
                )
            },
        );
        findings.check(
            "TDR-804",
            report.strangers == 0,
            "every packet comes from the address that the SBC said",
            || format!("{} from elsewhere", report.strangers),
        );
        pair.teams.bye().await;
    }
    Ok(())
}

/// TDR-813: digits of either side arrive at the other by telephone-event.
pub(super) async fn digits(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-813").await?;
    pair.both_hear("TDR-813").await?;
    pair.teams.dial("12#");
    pair.pbx.dial("98*");
    for (call, wanted, who) in [(&pair.teams, "98*", "Teams"), (&pair.pbx, "12#", "the PBX")] {
        let came = call.hears(|_| call.report().digits == wanted).await;
        findings.check(
            "TDR-813",
            came.is_ok(),
            format!("{who} receives the digits {wanted}"),
            || format!("\"{}\"", call.report().digits),
        );
    }
    pair.teams.bye().await;
    Ok(())
}
