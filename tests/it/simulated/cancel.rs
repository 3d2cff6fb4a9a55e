//! Callers who give up, and parties that never answer.

use std::time::Duration;

use tollgate::b2bua::EndedBy;
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Heard;
use crate::sim::setup::*;

/// CANCEL ends both sides, and its channel is free before the called side has said so.
#[test]
fn cancel_frees_its_channel_at_once() {
    for (from, to) in [(TEAMS, PBX), (PBX, TEAMS)] {
        let mut w = World::new();
        let a = w.dial(from);
        let b = w.incoming(to);
        w.ring(b);
        w.provisional(a);
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        w.agents[to].deaf = true;
        w.cancel(a);
        assert_eq!(w.outcome(a).status(), 487);
        assert_eq!(w.ledger.usage(ACME).in_use, 0);
        w.agents[to].deaf = false;
        if to == PBX {
            w.cancelled(b);
        }
        let [cdr] = w.finish();
        assert_eq!(
            (cdr.sip_code, cdr.ended_by),
            (Some(487), Some(EndedBy::ALeg))
        );
        assert_eq!(cdr.refused_by, None);
    }
}

/// RFC 3261 §9.1: a CANCEL waits for the first provisional response.
#[test]
fn cancel_waits_for_a_provisional() {
    let mut w = World::new();
    w.agents[PBX].link.delay = Duration::from_millis(400);
    let a = w.dial(TEAMS);
    w.pass(Duration::from_millis(100));
    w.cancel(a);
    assert_eq!(w.outcome(a).status(), 487);
    let b = w.incoming(PBX);
    w.cancelled(b);
    let [_] = w.finish();
}

/// The called party answers while the CANCEL is on its way: it is acknowledged and ended, the caller hears 487.
#[test]
fn cancel_meets_the_answer() {
    for (from, to) in [(TEAMS, PBX), (PBX, TEAMS)] {
        let mut w = World::new();
        w.agents[to].on_cancel = None;
        w.agents[to].link.delay = Duration::from_millis(200);
        let a = w.dial(from);
        let b = w.incoming(to);
        w.ring(b);
        w.provisional(a);
        w.answer(b);
        w.cancel(a);
        assert_eq!(w.outcome(a).status(), 487);
        w.acknowledged(b);
        w.hung_up(b);
        let [cdr] = w.finish();
        assert_eq!(cdr.sip_code, Some(487));
    }
}

/// The Reason of a CANCEL crosses (TDR-416).
#[test]
fn the_reason_of_a_cancel_crosses() {
    let mut w = World::new();
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    w.ring(b);
    w.provisional(a);
    let (who, key) = (w.sides[a.0].who, w.sides[a.0].client.unwrap());
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    let now = w.now;
    w.agents[who].endpoint.cancel(key, Some(reason), now);
    let cancel = w.cancelled(b);
    assert_eq!(cancel.header(Name::Reason).unwrap().text(), Some(reason));
    let [_] = w.finish();
}

/// RFC 3261 §15: a caller may end an early dialog with BYE; its INVITE still gets an answer.
#[test]
fn bye_before_the_answer() {
    for rings in [true, false] {
        let mut w = World::new();
        let a = w.dial(TEAMS);
        let b = w.incoming(PBX);
        if rings {
            w.ring(b);
            let early = w.provisional(a);
            let dialog = tollgate::sip::Dialog::uac(&w.sides[a.0].invite, &early).unwrap();
            w.sides[a.0].dialog = Some(dialog);
            assert_eq!(w.bye(a), 200);
        } else {
            w.cancel(a);
        }
        assert_eq!(w.outcome_of(a, Method::Invite).status(), 487);
        w.cancelled(b);
        let [cdr] = w.finish();
        assert_eq!(cdr.sip_code, Some(487));
    }
}

/// Nobody answers for a minute: the caller hears 480, the called side a CANCEL.
#[test]
fn nobody_answers() {
    let mut w = World::new();
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    w.ring(b);
    w.provisional(a);
    w.pass(Duration::from_secs(59));
    assert_eq!(w.calls.active(), 1);
    assert_eq!(w.outcome(a).status(), 480);
    w.cancelled(b);
    let [cdr] = w.finish();
    assert_eq!(
        (cdr.sip_code, cdr.q850, cdr.refused_by),
        (Some(480), Some(19), None)
    );
}

/// A called party that was cancelled, but goes on ringing and never says more, holds nothing.
#[test]
fn a_cancelled_party_that_stays_silent() {
    let mut w = World::new();
    w.agents[PBX].on_cancel = None;
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    w.ring(b);
    w.provisional(a);
    w.cancel(a);
    assert_eq!(w.outcome(a).status(), 487);
    assert!(
        w.sides[b.0]
            .inbox
            .iter()
            .all(|h| !matches!(h, Heard::Ack(_)))
    );
    let [_] = w.finish();
}
