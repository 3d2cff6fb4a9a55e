//! What the SBC's INVITE and its answers say.

use super::bench::Bench;
use super::findings::{Finding, Findings, Step};
use super::look;
use crate::emulate::CallError;
use crate::emulate::message::{Message, uri_of, user_of};

/// TDR-401 to TDR-411, TDR-420, TDR-501, TDR-502: the INVITE of the SBC, header by header.
pub(super) async fn invite(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_pbx("TDR-401").await?;
    let invite = look::read(pair.teams.invite())
        .ok_or_else(|| Finding::new("TDR-415", "the INVITE can be read", pair.teams.invite()))?;
    judge_numbers(bench, findings, &invite);
    judge_contact(bench, findings, &invite);
    judge_abilities(findings, &invite);
    findings.check(
        "TDR-411",
        invite.header("Content-Type") == Some("application/sdp"),
        "the INVITE carries a session description and nothing else",
        || look::line(&invite, "Content-Type"),
    );
    findings.check(
        "TDR-401",
        invite
            .header("Via")
            .is_some_and(|via| via.starts_with("SIP/2.0/TLS ")),
        "the topmost Via says TLS",
        || look::line(&invite, "Via"),
    );
    for (item, name) in [("TDR-412", "Replaces"), ("TDR-413", "Require")] {
        findings.check(
            item,
            invite.header(name).is_none(),
            format!("the INVITE has no {name}"),
            || look::line(&invite, name),
        );
    }
    pair.pbx.bye().await;
    Ok(())
}

fn judge_numbers(bench: &Bench, findings: &mut Findings, invite: &Message) {
    let facts = &bench.facts;
    let uri = invite.uri();
    findings.check(
        "TDR-406",
        user_of(uri) == facts.teams_number && user_of(uri).starts_with('+'),
        format!("the Request-URI names {}", facts.teams_number),
        || invite.first_line().to_owned(),
    );
    findings.check(
        "TDR-406",
        look::uri_parameter(uri, "user") == Some("phone"),
        "the Request-URI has user=phone",
        || invite.first_line().to_owned(),
    );
    findings.check(
        "TDR-401",
        look::host_of_uri(uri).ends_with(".pstnhub.microsoft.com"),
        "the Request-URI names one of Microsoft's proxies",
        || invite.first_line().to_owned(),
    );
    let to = invite.header("To").map(uri_of).unwrap_or_default();
    findings.check(
        "TDR-401",
        user_of(to) == facts.teams_number,
        format!("To names {}", facts.teams_number),
        || look::line(invite, "To"),
    );
    let from = invite.header("From").map(uri_of).unwrap_or_default();
    findings.check(
        "TDR-409",
        user_of(from).starts_with('+'),
        "From is a number with +",
        || look::line(invite, "From"),
    );
    findings.check(
        "TDR-409",
        look::host(invite, "From") == facts.gateway,
        format!("From is at {}", facts.gateway),
        || look::line(invite, "From"),
    );
}

/// TDR-403, TDR-404: for every request and response that Teams takes a target from.
fn judge_contact(bench: &Bench, findings: &mut Findings, message: &Message) {
    let contact = message.header("Contact").map(uri_of).unwrap_or_default();
    findings.check(
        "TDR-403",
        look::host(message, "Contact") == bench.facts.gateway,
        format!("the Contact is at {}", bench.facts.gateway),
        || look::line(message, "Contact"),
    );
    findings.check(
        "TDR-403",
        look::uri_parameter(contact, "transport").is_some_and(|t| t.eq_ignore_ascii_case("tls")),
        "the Contact has transport=tls",
        || look::line(message, "Contact"),
    );
    if message.status().is_none() {
        findings.check(
            "TDR-404",
            message.header("Record-Route").is_none(),
            "there is no Record-Route",
            || look::line(message, "Record-Route"),
        );
    }
}

/// TDR-420, TDR-501, TDR-502: what the SBC says that it is and can.
fn judge_abilities(findings: &mut Findings, message: &Message) {
    for method in [
        "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "NOTIFY", "REFER",
    ] {
        findings.check(
            "TDR-501",
            message.lists("Allow", method),
            format!("{method} is allowed"),
            || look::line(message, "Allow"),
        );
    }
    findings.check(
        "TDR-502",
        message.lists("Supported", "replaces"),
        "replaces is supported",
        || look::line(message, "Supported"),
    );
    findings.check(
        "TDR-420",
        message.header("X-MS-SBC").is_some(),
        "X-MS-SBC says what the SBC is",
        || look::line(message, "X-MS-SBC"),
    );
    findings.check(
        "TDR-420",
        message
            .header("User-Agent")
            .or(message.header("Server"))
            .is_some(),
        "User-Agent or Server says what the SBC is",
        || look::line(message, "User-Agent"),
    );
}

/// TDR-403, TDR-404, TDR-501, TDR-503: every answer to an INVITE of Teams, to the first and to one inside the call.
pub(super) async fn answers(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-503").await?;
    let refreshed = pair.teams.refresh().await;
    super::bench::done("TDR-512", &pair.teams, "a re-INVITE is answered", refreshed)?;
    let messages = look::from_sbc(&pair.teams);
    let to_invites = messages
        .iter()
        .filter(|m| m.method() == "INVITE" && m.status().is_some());
    findings.check(
        "TDR-503",
        messages.iter().any(|m| look::answers(m, 100, "INVITE")),
        "an INVITE is answered 100 at once",
        || {
            messages
                .first()
                .map_or("nothing", |m| m.first_line())
                .to_owned()
        },
    );
    for answer in to_invites.filter(|m| m.status() > Some(100)) {
        judge_contact(bench, findings, answer);
        if answer.status() == Some(200) {
            judge_abilities(findings, answer);
        }
    }
    pair.teams.bye().await;
    Ok(())
}

/// TDR-511: INFO is answered 200, and a method that the SBC does not know 405 with an Allow.
pub(super) async fn unknown_method(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench.call_from_teams("TDR-511").await?;
    let told = pair.teams.info().await;
    findings.step(super::bench::done(
        "TDR-511",
        &pair.teams,
        "INFO is answered 200",
        told,
    ));
    let outcome = pair.teams.request("MESSAGE", Vec::new()).await;
    findings.check(
        "TDR-511",
        outcome == Err(CallError::Refused(405)),
        "MESSAGE is answered 405",
        || look::last_word(&pair.teams),
    );
    let answers = look::from_sbc(&pair.teams);
    let refusal = answers.iter().rev().find(|m| m.status() == Some(405));
    findings.check(
        "TDR-511",
        refusal.is_some_and(|m| m.header("Allow").is_some()),
        "the 405 has an Allow",
        || refusal.map_or("no 405".to_owned(), |m| look::line(m, "Allow")),
    );
    pair.teams.bye().await;
    Ok(())
}
