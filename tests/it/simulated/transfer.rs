//! REFER, obeyed by us (TDR section 7).

mod failed;
mod pbx;
mod requests;
mod sound;

use std::time::Duration;

use tollgate::b2bua::EndedBy;
use tollgate::sip::{Message, Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::direction;
use crate::sim::setup::*;

const ELSEWHERE: &str = "+442075550999";

/// Sends a REFER that is taken.
fn refer(w: &mut World, side: Side, refer_to: &str) {
    assert_eq!(refer_status(w, side, refer_to), 202);
    let trying = notified(w, side);
    assert_eq!(trying.0, "SIP/2.0 100 Trying");
    assert!(trying.1.starts_with("active"));
}

fn refer_status(w: &mut World, side: Side, refer_to: &str) -> u16 {
    w.send(side, Method::Refer, None, |draft| {
        draft
            .header_fmt(Name::ReferTo, format_args!("<{refer_to}>"))
            .header(Name::ReferredBy, REFERRED_BY);
    });
    w.outcome_of(side, Method::Refer).status()
}

const REFERRED_BY: &str =
    "<sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:AbC;x-tt=Q2FsbA%3D%3D>";

/// The next NOTIFY: what happened, and whether more is to come.
fn notified(w: &mut World, side: Side) -> (String, String) {
    let notify: Message = w.request(side, Method::Notify).1;
    let event = notify.header(Name::Event).unwrap().to_string();
    assert!(
        event == "refer" || event.starts_with("refer;id="),
        "{event}"
    );
    assert_eq!(notify.content_type(), Some("message/sipfrag"));
    let state = notify
        .header(Name::SubscriptionState)
        .unwrap()
        .text()
        .unwrap()
        .to_owned();
    (
        String::from_utf8(notify.body().to_vec())
            .unwrap()
            .trim_end()
            .to_owned(),
        state,
    )
}

/// A user of Teams hands its partner on to a number that its customer may call, through our gateway's own name. The
/// referrer hears how it goes and leaves by itself; the other two talk.
#[test]
fn teams_hands_a_call_on_to_a_number() {
    for teams_calls in [true, false] {
        let mut w = World::new();
        let (x, y) = if teams_calls {
            w.call_from_teams()
        } else {
            w.call_to_teams()
        };
        let (teams, pbx) = if teams_calls { (x, y) } else { (y, x) };
        w.reinvite(teams, "inactive");
        refer(
            &mut w,
            teams,
            &format!("sip:{ELSEWHERE}@{ACME_FQDN}:5061;user=phone;transport=tls"),
        );
        let c = w.incoming(PBX);
        assert!(w.sides[c.0].invite.request_uri().contains(ELSEWHERE));
        assert_eq!(direction(&w.described(c)), "sendrecv", "TDR-608");
        let referred_by = w.sides[c.0].invite.header(Name::ReferredBy);
        assert!(referred_by.is_none(), "it names a tenant of Microsoft's");
        w.ring(c);
        assert_eq!(notified(&mut w, teams).0, "SIP/2.0 180 Ringing");
        w.answer(c);
        let done = notified(&mut w, teams);
        assert_eq!(done.0, "SIP/2.0 200 OK");
        assert!(done.1.starts_with("terminated"));
        w.pass(Duration::from_millis(100));
        assert!(w.talk(pbx, c), "who was held is held no more");
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        assert!(
            !w.has_heard(teams, Method::Bye),
            "TDR-708: Teams says BYE itself"
        );
        assert_eq!(w.bye(teams), 200);
        w.pass(Duration::from_secs(20));
        assert!(w.talk(pbx, c));
        w.bye(c);
        w.hung_up(pbx);
        let [cdr] = w.finish();
        assert_eq!(cdr.transferred_to.as_deref(), Some(ELSEWHERE));
    }
}

/// TDR-704 to TDR-706: a Microsoft URI is used byte for byte, and Referred-By goes along. A referrer that does not
/// leave hears BYE after some seconds.
#[test]
fn teams_hands_a_call_on_to_one_of_its_own() {
    let mut w = World::new();
    let (pbx, teams) = w.call_to_teams();
    let uri = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:fce2158f-0E99-4ff7-a0b3;x-t=Tenant;u=%41";
    refer(&mut w, teams, uri);
    let c = w.incoming(TEAMS);
    let invite = w.sides[c.0].invite.clone();
    assert_eq!(invite.request_uri(), uri);
    assert_eq!(invite.to().unwrap().uri, uri);
    assert_eq!(
        invite.header(Name::ReferredBy).unwrap().text(),
        Some(REFERRED_BY)
    );
    let contact = invite.contact().unwrap().unwrap();
    assert!(contact.uri.contains(ACME_FQDN));
    w.answer(c);
    assert_eq!(notified(&mut w, teams).0, "SIP/2.0 200 OK");
    w.hung_up(teams);
    assert!(w.talk(pbx, c));
    w.bye(pbx);
    w.hung_up(c);
    let [cdr] = w.finish();
    assert_eq!(cdr.ended_by, Some(EndedBy::ALeg));
}

/// REFER with Replaces: the referrer has two calls, and makes its two partners one. One channel and one record go with
/// each call.
#[test]
fn two_calls_become_one() {
    for (first_from_teams, second_from_teams) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let mut w = World::new();
        let mut call = |from_teams: bool| {
            let (a, b) = if from_teams {
                w.call_from_teams()
            } else {
                w.call_to_teams()
            };
            if from_teams { (a, b) } else { (b, a) }
        };
        let (one, partner) = call(first_from_teams);
        let (other, joined) = call(second_from_teams);
        let dialog = w.sides[other.0].dialog.as_ref().unwrap().id().clone();
        let uri = format!(
            "sip:{ELSEWHERE}@{ACME_FQDN}?Replaces={}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
            dialog.call_id,
            dialog.remote_tag.unwrap(),
            dialog.local_tag
        );
        assert_eq!(w.ledger.usage(ACME).in_use, 2);
        refer(&mut w, one, &uri);
        assert_eq!(notified(&mut w, one).0, "SIP/2.0 200 OK");
        w.hung_up(other);
        w.pass(Duration::from_millis(100));
        assert!(w.talk(partner, joined));
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        w.hung_up(one);
        assert_eq!(w.reinvite(joined, "sendrecv").status(), 200);
        assert!(w.talk(partner, joined));
        w.bye(joined);
        w.hung_up(partner);
        let cdrs: [_; 2] = w.finish();
        assert!(cdrs.iter().any(|cdr| cdr.transferred_to.is_some()));
        assert!(
            cdrs.iter()
                .any(|cdr| cdr.reason.contains("transferred to another call"))
        );
    }
}

/// Replaces that names no call, or that of another customer, or the referrer's own: 481 in the NOTIFY, and all goes on.
#[test]
fn replaces_names_no_call() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let own = w.sides[teams.0].dialog.as_ref().unwrap().id().clone();
    for (call_id, tag) in [
        ("nobody", "x"),
        (own.call_id.as_str(), own.remote_tag.as_deref().unwrap()),
    ] {
        let uri = format!("sip:x@{ACME_FQDN}?Replaces={call_id}%3Bto-tag%3D{tag}%3Bfrom-tag%3D1");
        refer(&mut w, teams, &uri);
        assert!(notified(&mut w, teams).0.starts_with("SIP/2.0 481"));
    }
    assert!(w.talk(teams, pbx));
    w.bye(pbx);
    w.hung_up(teams);
    let [_] = w.finish();
}

/// The next NOTIFY that is the last one: what came of the transfer.
fn told_the_end(w: &mut World, side: Side) -> String {
    loop {
        let (line, state) = notified(w, side);
        if state.starts_with("terminated") {
            return line;
        }
    }
}

/// Identity and history of the caller's INVITE go along when the caller is handed on, and stay behind when the caller
/// hands somebody on: they would name the wrong one.
#[test]
fn the_callers_identity_is_the_callers() {
    for caller_stays in [true, false] {
        let mut w = World::new();
        let (from, to) = if caller_stays {
            (PBX, TEAMS)
        } else {
            (TEAMS, PBX)
        };
        let number = if caller_stays { ALICE } else { OUTSIDE };
        let a = w.dial_with(from, number, |draft| {
            draft.header(Name::PAssertedIdentity, "<tel:+442075550123>");
        });
        let b = w.incoming(to);
        w.answer(b);
        w.outcome(a);
        w.acknowledged(b);
        let teams = if caller_stays { b } else { a };
        refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
        let c = w.incoming(TEAMS);
        let identity = w.sides[c.0].invite.header(Name::PAssertedIdentity);
        assert_eq!(identity.is_some(), caller_stays);
        w.answer(c);
        w.acknowledged(c);
        w.bye(a);
        w.pass(Duration::from_secs(1));
        w.bye(c);
        w.bye(b);
        let [_] = w.finish();
    }
}
