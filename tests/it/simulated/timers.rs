//! Session timers (RFC 4028), each leg for itself.

use std::time::Duration;

use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::setup::*;

/// TDR-512: Teams is to refresh. While it does the call lives; once it stops, both sides hear BYE before the interval
/// is over.
#[test]
fn a_refresher_that_stops() {
    let mut w = World::new();
    let a = w.dial_with(TEAMS, OUTSIDE, |draft| {
        draft.header(Name::SessionExpires, "1800;refresher=uac");
    });
    let b = w.incoming(PBX);
    w.answer(b);
    let answer = w.outcome(a);
    assert_eq!(
        answer.header(Name::SessionExpires).unwrap().text(),
        Some("1800;refresher=uac")
    );
    assert!(answer.has_token(Name::Require, "timer"));
    for _ in 0..3 {
        w.pass(Duration::from_secs(1600));
        let same = w.sides[a.0].media.again("sendrecv");
        w.send(a, Method::Invite, Some(same), |draft| {
            draft
                .header(Name::SessionExpires, "1800;refresher=uac")
                .header(Name::Supported, "timer");
        });
        assert_eq!(w.outcome_of(a, Method::Invite).status(), 200);
        assert!(!w.has_heard(b, Method::Invite));
    }
    w.pass(Duration::from_secs(1760));
    assert_eq!(w.calls.active(), 1);
    w.hung_up(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert!(cdr.reason.contains("session timer"), "{}", cdr.reason);
}

/// We are to refresh: at half the interval, with an unchanged description and on that leg alone.
#[test]
fn we_refresh() {
    let mut w = World::new();
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    assert_eq!(
        w.sides[b.0]
            .invite
            .header(Name::SessionExpires)
            .unwrap()
            .text(),
        Some("1800")
    );
    let sdp = w.describe(b, "sendrecv");
    let accept = |draft: &mut tollgate::sip::Builder| {
        draft
            .header(Name::SessionExpires, "1800;refresher=uac")
            .header(Name::Require, "timer");
    };
    w.reply(b, 200, Some(sdp.clone()), accept);
    w.outcome(a);
    w.acknowledged(b);
    let offer = w.described(b);
    for _ in 0..4 {
        w.pass(Duration::from_secs(890));
        assert!(!w.has_heard(b, Method::Invite));
        let refresh = w.request(b, Method::Invite);
        assert_eq!(refresh.1.body(), offer);
        assert_eq!(
            refresh.1.header(Name::SessionExpires).unwrap().text(),
            Some("1800;refresher=uac")
        );
        w.respond(b, &refresh, 200, Some(sdp.clone()), accept);
        w.acknowledged(b);
        w.pass(Duration::from_millis(100));
        assert!(!w.has_heard(a, Method::Invite) && w.talk(a, b));
    }
    w.bye(b);
    w.hung_up(a);
    let [_] = w.finish();
}

/// A refresh of ours that nobody knows the call of, or that nobody answers, ends it.
#[test]
fn our_refresh_fails() {
    for silent in [true, false] {
        let mut w = World::new();
        let a = w.dial(TEAMS);
        let b = w.incoming(PBX);
        let sdp = w.describe(b, "sendrecv");
        w.reply(b, 200, Some(sdp), |draft| {
            draft.header(Name::SessionExpires, "1800;refresher=uac");
        });
        w.outcome(a);
        w.pass(Duration::from_secs(890));
        if silent {
            w.agents[PBX].deaf = true;
        } else {
            let refresh = w.request(b, Method::Invite);
            w.respond(b, &refresh, 481, None, |_| {});
        }
        w.hung_up(a);
        let [cdr] = w.finish();
        assert!(cdr.reason.contains("no longer knows"), "{}", cdr.reason);
    }
}

/// TDR-414: 422 is tried again once, with the interval that was asked for.
#[test]
fn an_interval_that_is_too_small() {
    let mut w = World::new();
    let a = w.dial(PBX);
    let first = w.incoming(TEAMS);
    w.reply(first, 422, None, |draft| {
        draft.header(Name::MinSe, "3600");
    });
    let second = w.incoming(TEAMS);
    let (one, two) = (&w.sides[first.0].invite, &w.sides[second.0].invite);
    assert_eq!(
        two.header(Name::SessionExpires).unwrap().text(),
        Some("3600")
    );
    assert_eq!(
        (one.call_id().unwrap(), two.cseq().unwrap().number),
        (two.call_id().unwrap(), 2)
    );
    w.reply(second, 422, None, |draft| {
        draft.header(Name::MinSe, "3600");
    });
    assert!((400..500).contains(&w.outcome(a).status()));
    let [_] = w.finish();
}
