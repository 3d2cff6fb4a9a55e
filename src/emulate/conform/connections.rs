//! TLS and its connections.

use super::bench::{Bench, done};
use super::findings::{Finding, Findings, Step};
use crate::emulate::tls::covers;
use crate::emulate::{MeetError, Quirks, Way};
use std::collections::HashSet;

/// TDR-126, TDR-129, TDR-130: Teams dials both names with a certificate for servers only, and finds a certificate that
/// covers each.
pub(super) async fn dial_in(bench: &Bench, findings: &mut Findings) -> Step {
    bench.teams.hang_up_connections().await;
    for (name, item) in [
        (&bench.facts.gateway, "TDR-129"),
        (&bench.facts.base, "TDR-130"),
    ] {
        let met = bench.teams.meet(name).await.map_err(|error| {
            let rule = format!("the SBC's certificate proves it to be {name}");
            Finding::new(item, rule, error)
        });
        findings.step(met);
    }
    let pair = bench.call_from_teams("TDR-126").await?;
    pair.teams.bye().await;
    Ok(())
}

/// TDR-122, TDR-129, TDR-130: the certificate that the SBC shows when it dials covers the carrier's name and the
/// customer's.
pub(super) async fn dial_out(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_pbx("TDR-122").await?;
    let visitors = bench.teams.visitors();
    findings.check(
        "TDR-122",
        !visitors.is_empty(),
        "the SBC opens a connection of its own, and shows its certificate",
        || "no connection from the SBC",
    );
    for (met, _) in visitors {
        for name in [&bench.facts.base, &bench.facts.gateway] {
            findings.check(
                "TDR-129",
                met.names.iter().any(|shown| covers(shown, name)),
                format!("the certificate that the SBC dials with covers {name}"),
                || format!("{} is for {}", met.peer, met.names.join(", ")),
            );
        }
    }
    pair.pbx.bye().await;
    Ok(())
}

/// TDR-314: whoever has no certificate, or one of an unknown authority, is not let in as Teams.
pub(super) async fn strangers(bench: &Bench, findings: &mut Findings) -> Step {
    let facts = &bench.facts;
    let met = bench.teams.meet(&facts.gateway).await;
    met.map_err(|error| Finding::new("TDR-129", "Teams can dial the SBC", error))?;
    for (identity, who) in [
        (None, "a client without a certificate"),
        (
            Some(&facts.stranger),
            "a certificate of an unknown authority",
        ),
    ] {
        let outcome = bench
            .teams
            .meet_as(&facts.gateway, identity, &facts.sbc_roots)
            .await;
        if let Err(MeetError::Tls(error)) = outcome {
            return Err(Finding::new(
                "TDR-314",
                "the trial's own certificates are of use",
                error,
            ));
        }
        findings.check(
            "TDR-314",
            outcome.is_err(),
            format!("{who} is refused"),
            || "the connection stayed open",
        );
    }
    Ok(())
}

/// TDR-143: a keep-alive of Teams (two line ends) is answered by one.
pub(super) async fn keep_alive(bench: &Bench, findings: &mut Findings) -> Step {
    let answered = bench.teams.keep_alive(&bench.facts.gateway).await;
    let answered = answered.map_err(|error| {
        let rule = "a ping of two line ends is answered by one";
        Finding::new("TDR-143", rule, error)
    });
    findings.step(answered);
    Ok(())
}

/// TDR-140, TDR-144: Teams closes all its connections while a call is up. The call lives on, and the SBC's BYE comes on
/// a connection that the SBC opened.
pub(super) async fn closed(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-144").await?;
    pair.both_hear("TDR-144").await?;
    bench.teams.hang_up_connections().await;
    pair.both_hear("TDR-144").await?;
    pair.pbx.bye().await;
    let rule = "the BYE of the PBX reaches Teams";
    done("TDR-140", &pair.teams, rule, pair.teams.ended().await)?;
    let bye = pair
        .teams
        .messages()
        .into_iter()
        .find(|m| m.way == Way::In && m.first_line.starts_with("BYE "));
    let came = bye.and_then(|bye| bye.ends);
    findings.check(
        "TDR-140",
        came.is_some_and(|(here, _)| bench.teams.listening.contains(&here)),
        "the SBC's BYE comes on a connection that the SBC opened",
        || format!("{came:?}"),
    );
    Ok(())
}

/// TDR-141, TDR-142: requests inside a call come on other connections, from another address even; each answer goes
/// back on the connection of its request.
pub(super) async fn other_connection(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-142").await?;
    bench.teams.hang_up_connections().await;
    bench.teams.dial_from(Some(bench.facts.source));
    let rule = "a re-INVITE on another connection is taken for this call";
    done("TDR-142", &pair.teams, rule, pair.teams.refresh().await)?;
    pair.both_hear("TDR-142").await?;
    bench.teams.hang_up_connections().await;
    pair.teams.bye().await;
    let rule = "a BYE on a third connection ends this call";
    done("TDR-142", &pair.pbx, rule, pair.pbx.ended().await)?;
    let messages = pair.teams.messages();
    for request in messages
        .iter()
        .filter(|m| m.way == Way::Out && m.first_line.starts_with("INVITE "))
    {
        // One that is repeated, because its ACK went down with the connection, has to come by another.
        let mut told = HashSet::new();
        let answers = messages.iter().filter(|m| {
            let answers = m.cseq == request.cseq && m.first_line.starts_with("SIP/2.0");
            m.way == Way::In && answers && told.insert(&m.first_line)
        });
        for answer in answers {
            findings.check(
                "TDR-141",
                answer.ends == request.ends,
                "an answer comes on the connection of its request",
                || {
                    format!(
                        "{} {} on {:?}, not on {:?}",
                        answer.first_line, answer.cseq, answer.ends, request.ends
                    )
                },
            );
        }
    }
    Ok(())
}

/// TDR-105: a call from an address in the ranges that no name leads to is a call of Teams.
pub(super) async fn unknown_source(bench: &Bench, _: &mut Findings) -> Step {
    bench.teams.hang_up_connections().await;
    bench.teams.dial_from(Some(bench.facts.source));
    let call = bench.ordinary();
    let pair = bench
        .call_from_teams_oddly("TDR-105", call, Quirks::default())
        .await?;
    pair.teams.bye().await;
    let rule = "its BYE is obeyed";
    done("TDR-105", &pair.pbx, rule, pair.pbx.ended().await)?;
    bench.teams.hang_up_connections().await;
    Ok(())
}
