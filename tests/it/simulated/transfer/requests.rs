//! The REFER itself: which is taken and which refused, and what of it goes out again.

use std::time::Duration;

use tollgate::base::Random;
use tollgate::sip::{Method, Name};

use super::{ELSEWHERE, refer, refer_status, told_the_end};
use crate::sim::World;
use crate::sim::sdp::line;
use crate::sim::setup::*;

/// A REFER must not make us call anybody: not a stranger's host, not another customer's gateway; a trunk may not
/// transfer unless its profile says so; nonsense is nonsense.
#[test]
fn a_refer_to_a_stranger_is_refused() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    for (uri, status) in [
        ("sip:+1900555@evil.example".to_owned(), 403),
        (format!("sip:{OUTSIDE}@{RIVAL_FQDN}"), 403),
        (
            "sip:+1900555@pstnhub.microsoft.com.evil.example".to_owned(),
            403,
        ),
        ("sip:+1900555@evilpstnhub.microsoft.com".to_owned(), 403),
        (format!("sip:{ACME_FQDN}"), 404),
    ] {
        assert_eq!(refer_status(&mut w, teams, &uri), status, "{uri}");
    }
    w.send(teams, Method::Refer, None, |_| {});
    assert_eq!(w.outcome_of(teams, Method::Refer).status(), 400);
    assert_eq!(
        refer_status(&mut w, pbx, &format!("sip:{ALICE}@192.0.2.1")),
        405
    );
    assert_eq!(w.audit.invites.len(), 1);
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A URI such as Teams sends: with a user part or without, `x-` and other parameters in any order, case and escaping.
fn microsoft_uri(random: &mut Random) -> String {
    let mut pick = |of: &[&str]| of[random.u32() as usize % of.len()].to_owned();
    let user = pick(&["", "", "+14255550100@", "+442075550999;ext=12@"]);
    let mut uri = format!(
        "sip:{user}{}",
        pick(&[
            "sip.pstnhub.microsoft.com",
            "SIP.pstnhub.Microsoft.com:5061"
        ])
    );
    if !user.is_empty() {
        uri.push_str(";user=phone");
    }
    for _ in 0..5 {
        uri.push_str(&pick(&[
            ";x-m=8:orgid:fce2158f-0E99-4ff7-a0b3-5b6b87d16689",
            ";x-m=28:app%3aMusic",
            ";x-t=8A1b-Cd",
            ";X-T=%41%62c",
            ";x-ti=a;b",
            ";transport=tls",
            ";Transport=TLS",
            ";unknown",
            ";x-c=i/d/8/8a8",
            ";v=~!*'()$&+",
            "",
        ]));
    }
    uri
}

/// TDR-704 to TDR-707, TDR-712: whatever Teams writes into Refer-To and Referred-By comes back byte for byte, in
/// Request-URI, To and Referred-By, however long: with x-m, x-t, x-ti and x-tt, whose Base64 counts upper and lower
/// case, with parameters that nobody knows, in any order. Each INVITE is a dialog of its own with a key of its own
/// (TDR-836).
#[test]
fn what_teams_writes_comes_back_byte_for_byte() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let mut keys = std::collections::HashSet::new();
    for _ in 0..60 {
        let uri = microsoft_uri(&mut w.random);
        let length = 16 + w.random.u32() as usize % 2000;
        let referred_by = format!(
            "<{};x-tt={}%3D%3d>;Q=\"x\"",
            microsoft_uri(&mut w.random),
            w.random.token(length)
        );
        w.send(teams, Method::Refer, None, |draft| {
            draft
                .header_fmt(Name::ReferTo, format_args!("<{uri}>"))
                .header(Name::ReferredBy, &referred_by);
        });
        assert_eq!(w.outcome_of(teams, Method::Refer).status(), 202, "{uri}");
        let c = w.incoming(TEAMS);
        let invite = w.sides[c.0].invite.clone();
        assert_eq!(invite.request_uri(), uri);
        assert_eq!(invite.to().unwrap().uri, uri);
        let back = invite.header(Name::ReferredBy).unwrap();
        assert_eq!(back.text(), Some(referred_by.as_str()));
        let sdp = String::from_utf8(invite.body().to_vec()).unwrap();
        assert!(keys.insert(line(&sdp, "a=crypto:").unwrap().to_owned()));
        assert!(keys.insert(invite.call_id().unwrap().to_owned()));
        w.reject(c, 486);
        assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 486 Busy Here");
    }
    w.pass(Duration::from_secs(10));
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [cdr] = w.finish();
    assert_eq!(cdr.transferred_to, None);
}

/// TDR-702: a REFER comes by another proxy and another connection than all else; the NOTIFYs follow the dialog.
#[test]
fn a_refer_by_another_connection() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let mut draft = w.sides[teams.0]
        .dialog
        .as_mut()
        .unwrap()
        .request(Method::Refer);
    draft
        .header(Name::Contact, w.agents[TEAMS2].contact())
        .header(
            Name::ReferTo,
            "<sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a>",
        );
    assert_eq!(w.ask(TEAMS2, draft).status(), 202);
    let c = w.incoming(TEAMS);
    w.answer(c);
    assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 200 OK");
    w.pass(Duration::from_millis(100));
    assert!(w.talk(c, pbx));
    w.bye(teams);
    w.bye(c);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// TDR-703: a number behind a Microsoft host leads back to Teams and nowhere else. Teams then calls that number by an
/// INVITE of its own, which is another call with a channel of its own.
#[test]
fn a_refer_to_a_number_leads_back_to_teams() {
    let mut w = World::new();
    let (pbx, teams) = w.call_to_teams();
    let before = w.audit.invites.len();
    let uri = format!("sip:{ELSEWHERE}@sip.pstnhub.microsoft.com:5061;user=phone");
    refer(&mut w, teams, &uri);
    let c = w.incoming(TEAMS);
    let asked: Vec<Who> = w.audit.invites[before..]
        .iter()
        .map(|(who, _)| *who)
        .collect();
    assert_eq!(asked, [TEAMS]);
    let d = w.dial(TEAMS);
    let e = w.incoming(PBX);
    w.answer(e);
    assert_eq!(w.outcome(d).status(), 200);
    w.answer(c);
    assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 200 OK");
    w.bye(teams);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(pbx, c) && w.talk(d, e));
    assert_eq!(w.ledger.usage(ACME).in_use, 2);
    w.bye(pbx);
    w.hung_up(c);
    w.bye(d);
    w.hung_up(e);
    let cdrs: [_; 2] = w.finish();
    assert!(
        cdrs.iter()
            .any(|cdr| cdr.transferred_to.as_deref() == Some(ELSEWHERE))
    );
}

/// RFC 4488: who wants no NOTIFY gets none, and the transfer goes on. RFC 3515 §2.4.6: a second REFER's NOTIFYs say
/// which REFER they are about.
#[test]
fn a_refer_without_a_subscription() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let uri = format!("<sip:{ELSEWHERE}@{ACME_FQDN}>");
    w.send(teams, Method::Refer, None, |draft| {
        draft
            .header(Name::ReferTo, &uri)
            .header(Name::ReferSub, "false")
            .header(Name::Supported, "norefersub");
    });
    let accepted = w.outcome_of(teams, Method::Refer);
    assert_eq!(accepted.status(), 202);
    assert_eq!(
        accepted.header(Name::ReferSub).unwrap().text(),
        Some("false")
    );
    let c = w.incoming(PBX);
    w.ring(c);
    w.reject(c, 486);
    w.pass(Duration::from_secs(1));
    assert!(!w.has_heard(teams, Method::Notify));
    assert!(w.talk(teams, pbx));

    w.send(teams, Method::Refer, None, |draft| {
        draft.header(Name::ReferTo, &uri);
    });
    assert_eq!(w.outcome_of(teams, Method::Refer).status(), 202);
    let number = w.sides[teams.0].dialog.as_ref().unwrap().local_seq();
    let notify = w.request(teams, Method::Notify).1;
    let event = notify.header(Name::Event).unwrap().to_string();
    assert_eq!(event, format!("refer;id={number}"));
    let c = w.incoming(PBX);
    w.answer(c);
    w.acknowledged(c);
    w.hung_up(teams);
    w.bye(c);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A Refer-To that is no SIP URI, or not exactly one: 400, and nothing happens.
#[test]
fn a_refer_that_cannot_be_used() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let fine = format!("<sip:{ELSEWHERE}@{ACME_FQDN}>");
    for values in [
        vec!["<tel:+442075550999>"],
        vec!["<http://evil.example>"],
        vec!["<sip:>"],
        vec!["nonsense"],
        vec!["<sip:x@acme.eu.example?Replaces=%4>"],
        vec![&fine, &fine],
    ] {
        w.send(teams, Method::Refer, None, |draft| {
            for value in &values {
                draft.header(Name::ReferTo, value);
            }
        });
        let status = w.outcome_of(teams, Method::Refer).status();
        assert_eq!(status, 400, "{values:?}");
    }
    assert!(!w.has_heard(teams, Method::Notify));
    assert_eq!(w.audit.invites.len(), 1);
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}
