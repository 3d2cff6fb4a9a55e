//! Calls that are answered, and what each side gets to see of the other.

use tollgate::b2bua::{Direction, EndedBy};
use tollgate::sip::{Method, Name, Uri};

use crate::sim::World;
use crate::sim::sdp::{formats, line};
use crate::sim::setup::*;

/// Either side calls, either side hangs up: the other side hears BYE, and the record knows who it was.
#[test]
fn each_way_and_ended_by_each_side() {
    for (from, to, direction) in [
        (TEAMS, PBX, Direction::FromTeams),
        (PBX, TEAMS, Direction::ToTeams),
    ] {
        for caller_ends in [true, false] {
            let mut w = World::new();
            let (a, b) = w.connect(from, to);
            assert_eq!((w.calls.active(), w.ledger.usage(ACME).in_use), (1, 1));
            let (ends, hears) = if caller_ends { (a, b) } else { (b, a) };
            assert_eq!(w.bye(ends), 200);
            w.hung_up(hears);
            assert_eq!(w.ledger.usage(ACME).in_use, 0);
            let [cdr] = w.finish();
            assert_eq!((cdr.direction, cdr.sip_code), (direction, Some(200)));
            let by = if caller_ends {
                EndedBy::ALeg
            } else {
                EndedBy::BLeg
            };
            assert_eq!((cdr.ended_by, cdr.customer_id), (Some(by), Some(ACME)));
            assert_eq!(cdr.a_media.map(|m| m.received), Some(50));
            assert_eq!(cdr.b_media.map(|m| m.received), Some(50));
            assert!(cdr.ringing.is_some() && cdr.answer.is_some() && cdr.refused_by.is_none());
        }
    }
}

/// TDR-401: what an INVITE to Teams must be made of, with the customer's name in Contact (TDR-402) and the PBX's
/// P-Asserted-Identity (TDR-410); the rest is seen to by the audit of all messages.
#[test]
fn an_invite_to_teams_is_ours_alone() {
    let mut w = World::new();
    let a = w.dial_with(PBX, ALICE, |draft| {
        draft
            .header(Name::Extension("X-Secret"), "plan")
            .header(Name::PAssertedIdentity, "<sip:+442075550123@pbx.example>")
            .header(
                Name::Diversion,
                "<sip:+14255550199@pbx.example>;reason=unconditional",
            )
            .header(Name::Extension("Subject"), "greetings");
    });
    let b = w.incoming(TEAMS);
    let invite = w.sides[b.0].invite.clone();
    assert_eq!(
        invite.request_uri(),
        "sip:+14255550100@sip.pstnhub.microsoft.com:5061;user=phone;transport=tls"
    );
    let from = invite.from().unwrap();
    assert_eq!(from.display, Some(&b"\"Jane Doe\""[..]));
    assert_eq!(
        from.uri,
        "sip:+442075550123@acme.eu.example:5061;user=phone"
    );
    let contact = invite.contact().unwrap().unwrap();
    assert_eq!(
        contact.uri,
        "sip:+442075550123@acme.eu.example:5061;transport=tls"
    );
    assert_eq!(invite.max_forwards().unwrap(), Some(69));
    assert!(
        invite
            .header(Name::Allow)
            .unwrap()
            .text()
            .unwrap()
            .contains("REFER")
    );
    assert!(invite.header(Name::Extension("X-MS-SBC")).is_some());
    // What the policy names crosses, and nothing else.
    assert!(invite.header(Name::PAssertedIdentity).is_some());
    assert!(invite.header(Name::Extension("Subject")).is_some());
    assert!(invite.header(Name::Extension("X-Secret")).is_none());
    assert!(invite.header(Name::Diversion).is_none());
    assert_eq!(
        invite.header(Name::UserAgent).unwrap().text(),
        Some("Tollgate/0")
    );
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// The PBX sees its own kind of INVITE: plain RTP, our address, no word of Microsoft.
#[test]
fn an_invite_to_a_pbx_is_ours_alone() {
    let mut w = World::new();
    let a = w.dial_with(TEAMS, OUTSIDE, |draft| {
        draft
            .header(Name::Extension("X-MS-UserLocation"), "external")
            .header(Name::Extension("Ms-Conversation-ID"), "abc")
            .header(
                Name::HistoryInfo,
                "<sip:+14255550111@sip.pstnhub.microsoft.com>;index=1",
            )
            .header(
                Name::PAssertedIdentity,
                "<tel:+14255550100>, <sip:alice@contoso.com>",
            );
    });
    let b = w.incoming(PBX);
    // TDR-311, TDR-907: operators see what the peer does not.
    let hints = w.calls.list()[0].hints.clone().expect("what Teams told");
    assert_eq!(hints.user_location.as_deref(), Some("external"));
    assert_eq!(hints.conversation_id.as_deref(), Some("abc"));
    let invite = w.sides[b.0].invite.clone();
    assert_eq!(
        invite.request_uri(),
        "sip:+442075550123@192.0.2.10:5060;user=phone"
    );
    assert_eq!(
        Uri::parse(invite.contact().unwrap().unwrap().uri)
            .unwrap()
            .host,
        "192.0.2.1"
    );
    for name in [
        Name::HistoryInfo,
        Name::PAssertedIdentity,
        Name::RecordRoute,
    ] {
        assert!(invite.header(name).is_none(), "{name:?}");
    }
    let allow = invite.header(Name::Allow).unwrap();
    assert!(
        !allow.text().unwrap().contains("REFER"),
        "a PBX may not transfer by default"
    );
    let sdp = String::from_utf8(w.described(b).to_vec()).unwrap();
    assert!(
        line(&sdp, "m=audio ").unwrap().contains(" RTP/AVP "),
        "{sdp}"
    );
    assert!(
        !sdp.contains("crypto") && sdp.contains("192.0.2.1"),
        "{sdp}"
    );
    assert_eq!(formats(&w.described(b))[0], 8);
    w.reject(b, 486);
    assert_eq!(w.outcome(a).status(), 486);
    let [_] = w.finish();
}

/// TDR-309: requests inside a dialog follow the route set, and carry the remote target byte for byte.
#[test]
fn requests_to_teams_follow_its_route_and_keep_its_contact() {
    let mut w = World::new();
    let (a, b) = w.call_to_teams();
    w.bye(a);
    let bye = w.hung_up(b);
    assert_eq!(
        bye.request_uri(),
        "sip:sip.pstnhub.microsoft.com:5061;x-i=6F3a;x-c=0/d/1"
    );
    let route = bye.header(Name::Route).unwrap();
    assert_eq!(
        route.text(),
        Some("<sip:sip-du-a.pstnhub.microsoft.com:5061;transport=tls;lr>")
    );
    let [_] = w.finish();
}

/// Each leg has a Call-ID, tags, and CSeq numbers of its own. The audit looks at every message; here it is shown to
/// have had something to look at.
#[test]
fn nothing_of_a_dialog_is_shared_by_the_legs() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    let (one, other) = (&w.sides[a.0].invite, &w.sides[b.0].invite);
    assert_ne!(one.call_id().unwrap(), other.call_id().unwrap());
    assert_ne!(one.from_tag(), other.from_tag());
    assert_eq!(w.audit.invites.len(), 1);
    assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
    assert!(
        !w.has_heard(b, Method::Invite),
        "the numbers of one leg do not move the other's"
    );
    w.bye(a);
    let bye = w.hung_up(b);
    assert_eq!(bye.cseq().unwrap().number, 2);
    let [_] = w.finish();
}

/// The Reason of a BYE crosses, for the other side's records (RFC 3326).
#[test]
fn the_reason_of_a_bye_crosses() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    w.send(b, Method::Bye, None, |draft| {
        draft.header(Name::Reason, "Q.850;cause=31");
    });
    let bye = w.hung_up(a);
    assert_eq!(
        bye.header(Name::Reason).unwrap().text(),
        Some("Q.850;cause=31")
    );
    let [_] = w.finish();
}

/// Both hang up at once: each BYE is answered 200, and there is one record.
#[test]
fn bye_meets_bye() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    w.send(a, Method::Bye, None, |_| {});
    w.send(b, Method::Bye, None, |_| {});
    assert_eq!(w.outcome_of(a, Method::Bye).status(), 200);
    assert_eq!(w.outcome_of(b, Method::Bye).status(), 200);
    let [_] = w.finish();
}

/// A BYE that crosses ours on the wire is answered too.
#[test]
fn bye_meets_our_bye() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    w.agents[PBX].link.delay = std::time::Duration::from_millis(300);
    w.send(a, Method::Bye, None, |_| {});
    w.pass(std::time::Duration::from_millis(100));
    assert_eq!(w.bye(b), 200);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert_eq!(cdr.ended_by, Some(EndedBy::ALeg));
}
