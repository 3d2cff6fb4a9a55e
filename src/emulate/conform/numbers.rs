//! Whom Teams calls, and as whom.

use std::time::Instant;

use super::bench::{Bench, refused};
use super::findings::{Finding, Findings, Step};
use super::look;
use crate::emulate::message::{uri_of, user_of};
use crate::emulate::{CallError, PbxCall, Quirks, TeamsCall, Traced, Way};

/// What nobody has.
const NOBODY: &str = "+15550009999";
/// A location by value (RFC 5491), unmistakable.
const LOCATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
    <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"pres:emulated@teams.invalid\"><tuple id=\"t1\"><status>\
    <gp:geopriv xmlns:gp=\"urn:ietf:params:xml:ns:pidf:geopriv10\"><gp:method>Manual</gp:method>\
    <civicAddress xmlns=\"urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr\"><HNO>4711</HNO></civicAddress>\
    </gp:geopriv></status></tuple></presence>";

/// TDR-302: a feature code with an unescaped `#` is routed like any number.
pub(super) async fn feature_code(bench: &Bench, findings: &mut Findings) -> Step {
    let code = bench.facts.feature_code.clone();
    let call = TeamsCall {
        to: code.clone(),
        ..bench.ordinary()
    };
    let pair = bench
        .call_from_teams_oddly("TDR-302", call, Quirks::default())
        .await?;
    let invite = look::read(pair.pbx.invite());
    let user = invite
        .as_ref()
        .map(|m| user_of(m.uri()).replace("%23", "#"));
    findings.check(
        "TDR-302",
        user.as_deref() == Some(code.as_str()),
        format!("{code} arrives at the PBX as it was dialled"),
        || invite.map_or(String::new(), |m| m.first_line().to_owned()),
    );
    pair.teams.bye().await;
    Ok(())
}

/// TDR-1001: an emergency number without `+` is routed.
pub(super) async fn emergency(bench: &Bench, findings: &mut Findings) -> Step {
    let pair = bench
        .call_from_teams_oddly("TDR-1001", emergency_call(bench), Quirks::default())
        .await?;
    let invite = look::read(pair.pbx.invite());
    let user = invite.as_ref().map(|m| user_of(m.uri()).to_owned());
    findings.check(
        "TDR-1001",
        user.as_ref() == Some(&bench.facts.emergency),
        format!(
            "{} arrives at the PBX as it was dialled",
            bench.facts.emergency
        ),
        || invite.map_or(String::new(), |m| m.first_line().to_owned()),
    );
    pair.both_hear("TDR-1001").await?;
    pair.teams.bye().await;
    Ok(())
}

/// TDR-1002, TDR-1003: an emergency call with its location is a call like any other; the location goes on unchanged or
/// not at all.
pub(super) async fn location(bench: &Bench, findings: &mut Findings) -> Step {
    let quirks = Quirks {
        location: Some(LOCATION.to_owned()),
        ..Quirks::default()
    };
    let pair = bench
        .call_from_teams_oddly("TDR-1002", emergency_call(bench), quirks)
        .await?;
    let invite = pair.pbx.invite();
    let passed = invite.contains("application/pidf+xml");
    findings.check(
        "TDR-1003",
        !passed || invite.contains(LOCATION),
        "the location goes on to the PBX unchanged, or not at all",
        || {
            invite
                .split_once("<?xml")
                .map_or(invite, |(_, rest)| rest)
                .to_owned()
        },
    );
    pair.both_hear("TDR-1002").await?;
    pair.teams.bye().await;
    Ok(())
}

fn emergency_call(bench: &Bench) -> TeamsCall {
    TeamsCall {
        to: bench.facts.emergency.clone(),
        ..bench.ordinary()
    }
}

/// TDR-301, TDR-1212: a call to a gateway that nobody has is refused by 404 or 403 and reaches nobody, whatever its
/// number.
pub(super) async fn unknown_host(bench: &Bench, findings: &mut Findings) -> Step {
    let from = Instant::now();
    let call = TeamsCall {
        gateway: format!("nobody.{}", bench.facts.base),
        ..bench.ordinary()
    };
    let call = bench.dial(call, Quirks::default()).await?;
    let status = refused(
        "TDR-301",
        &call,
        "an unknown host in the Request-URI is refused",
    )
    .await?;
    findings.check(
        "TDR-301",
        status == 404 || status == 403,
        "an unknown host in the Request-URI is refused by 404 or 403",
        || look::last_word(&call),
    );
    let reached = bench
        .pbx
        .trace()
        .messages()
        .into_iter()
        .any(|m| m.first_line.starts_with("INVITE ") && m.at >= from);
    findings.check("TDR-301", !reached, "such a call reaches nobody", || {
        "the PBX got an INVITE".to_owned()
    });
    Ok(())
}

/// TDR-1212: two customers are kept apart. Another's number as caller, another's gateway for one's own caller, and another's
/// number called by one's own PBX are refused and reach nobody; one's own call goes on as ever.
pub(super) async fn isolation(bench: &Bench, findings: &mut Findings) -> Step {
    let Some(other) = bench.facts.other.clone() else {
        return Ok(());
    };
    let from = Instant::now();
    let own = bench.ordinary();
    for (what, call) in [
        (
            "another customer's number as caller",
            TeamsCall {
                from: other.number.clone(),
                ..own.clone()
            },
        ),
        (
            "another customer's gateway for an own caller",
            TeamsCall {
                gateway: other.gateway.clone(),
                ..own.clone()
            },
        ),
    ] {
        let call = bench.dial(call, Quirks::default()).await?;
        let status = refused("TDR-1212", &call, &format!("{what} is refused")).await?;
        let rule = format!("{what} is refused by 403");
        findings.check("TDR-1212", status == 403, rule, || look::last_word(&call));
    }
    let call = PbxCall {
        to: other.number.clone(),
        from: bench.facts.pbx_number.clone(),
        ..PbxCall::default()
    };
    let rule = "another customer's number is not reached by this one's PBX";
    let dialled = bench.pbx.call(call).await;
    let call = dialled.map_err(|error| Finding::new("TDR-1212", rule, error))?;
    refused("TDR-1212", &call, rule).await?;
    let came = |messages: Vec<Traced>| {
        let is_call =
            |m: &&Traced| m.at >= from && m.way == Way::In && m.first_line.starts_with("INVITE ");
        messages.iter().filter(is_call).count()
    };
    let reached = (
        came(bench.teams.trace().messages()),
        came(bench.pbx.trace().messages()),
    );
    findings.check(
        "TDR-1212",
        reached == (0, 0),
        "such calls reach nobody",
        || format!("{} INVITEs at Teams, {} at the PBX", reached.0, reached.1),
    );
    let pair = bench.call_from_teams("TDR-1212").await?;
    pair.teams.bye().await;
    Ok(())
}

/// TDR-313, TDR-1212: a caller's number that is not the customer's is refused by 403, or replaced.
pub(super) async fn unknown_caller(bench: &Bench, findings: &mut Findings) -> Step {
    let call = TeamsCall {
        from: NOBODY.to_owned(),
        ..bench.ordinary()
    };
    let call = bench.dial(call, Quirks::default()).await?;
    match call.answered().await {
        Err(CallError::Ended(ended)) => findings.check(
            "TDR-313",
            ended.status == 403,
            "another's number as caller is refused by 403",
            || look::last_word(&call),
        ),
        Err(error) => findings.check(
            "TDR-313",
            false,
            "another's number as caller is refused",
            || error,
        ),
        Ok(()) => {
            let pbx = bench.at_pbx("TDR-313").await?;
            let invite = look::read(pbx.invite());
            let from = invite.as_ref().and_then(|m| m.header("From"));
            findings.check(
                "TDR-313",
                from.map(|f| user_of(uri_of(f))) != Some(NOBODY),
                "another's number as caller does not get through",
                || format!("{from:?} at the PBX"),
            );
        }
    }
    Ok(())
}
