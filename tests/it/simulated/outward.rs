//! Calls of a customer's exchange to the world outside, by a carrier: Teams has no part in them.

use tollgate::b2bua::Direction;
use tollgate::directory::TrunkState;

use crate::sim::World;
use crate::sim::setup::*;

fn may_call_out() -> Setup {
    Setup::default()
        .trunk_with("pbx", |t| t.profile.calls_out = true)
        .trunk_with("carrier", |t| t.state = TrunkState::InService)
}

/// The exchange calls out in the name of its number; the call takes a channel and is recorded as what it is.
#[test]
fn an_exchange_calls_out_by_the_carrier() {
    let mut w = World::with(may_call_out(), 71);
    let uri = format!("sip:{OUTSIDE}@192.0.2.1");
    let a = w.dial_uri(PBX, &uri, ALICE, |_| {});
    let b = w.incoming(CARRIER);
    assert!(w.sides[b.0].invite.from().unwrap().uri.contains(ALICE));
    assert_eq!(w.ledger.usage(ACME).in_use, 1);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.pass(std::time::Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(b);
    w.hung_up(a);
    let [cdr] = w.finish();
    assert_eq!(
        (cdr.direction, cdr.customer_id),
        (Direction::BetweenTrunks, Some(ACME))
    );
}

/// No open relay: not in another's name, not without one, not by a carrier, not where the trunk does not say so.
#[test]
fn nobody_else_calls_out() {
    for (setup, who, caller, status) in [
        (may_call_out(), PBX, RIVALS, 403),
        (may_call_out(), PBX, "+4930123456", 403),
        (may_call_out(), PBX, "anonymous", 403),
        (may_call_out(), CARRIER, ALICE, 404),
        (may_call_out(), RIVAL, RIVALS, 404),
        (Setup::default(), PBX, ALICE, 404),
    ] {
        let mut w = World::with(setup, 72);
        let a = w.dial_uri(who, "sip:+9001234567@192.0.2.1", caller, |_| {});
        assert_eq!(w.outcome(a).status(), status, "{caller}");
        assert_eq!(w.audit.invites.len(), 0);
        let [_] = w.finish();
    }
}

/// TDR-1007: an emergency call of the exchange passes every limit, and shows who calls, whatever that is.
#[test]
fn an_exchange_calls_for_help() {
    let setup = may_call_out().acme_with(|c| c.max_channels = 0);
    let mut w = World::with(setup, 73);
    let a = w.dial_uri(PBX, "sip:112@192.0.2.1", "100", |_| {});
    let b = w.incoming(CARRIER);
    assert!(w.sides[b.0].invite.request_uri().starts_with("sip:112@"));
    w.reject(b, 486);
    w.outcome(a);
    let [cdr] = w.finish();
    assert!(cdr.emergency);
}
