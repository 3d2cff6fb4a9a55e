//! Reliable provisional responses (RFC 3262) on trunk legs, and none towards Teams (TDR-413, TDR-510).

use std::time::Duration;

use tollgate::directory::ReliableProvisionals;
use tollgate::sip::{Builder, Dialog, Message, Method, Name};

use crate::sim::World;
use crate::sim::agent::{Heard, Side};
use crate::sim::setup::*;

fn with(reliable: ReliableProvisionals) -> World {
    let setup = Setup::default().trunk_with("pbx", |t| t.profile.reliable_provisionals = reliable);
    World::with(setup, 61)
}

fn number(message: &Message, name: Name) -> u32 {
    message
        .header(name)
        .and_then(|v| v.number())
        .expect("a number")
}

/// The exchange calls and insists on reliable responses.
fn insists(w: &mut World) -> Side {
    w.dial_with(PBX, ALICE, |draft| {
        draft.header(Name::Require, "100rel");
    })
}

/// A PRACK of the caller after this provisional; its answer.
fn prack(w: &mut World, side: Side, heard: &Message, rack: &str, sdp: Option<String>) -> Message {
    let dialog = Dialog::uac(&w.sides[side.0].invite, heard).expect("an early dialog");
    w.sides[side.0].dialog.get_or_insert(dialog);
    w.send(side, Method::Prack, sdp, |draft| {
        draft.header(Name::Rack, rack);
    });
    w.outcome_of(side, Method::Prack)
}

fn provisionals(w: &World, side: Side) -> usize {
    let is_one =
        |heard: &&Heard| matches!(heard, Heard::Response(m) if (101..200).contains(&m.status()));
    w.sides[side.0].inbox.iter().filter(is_one).count()
}

/// TDR-510: a trunk that rings reliably gets a PRACK for each response, in order; the description in the 183 is the
/// answer, and the 200 needs none. Teams hears 183 and no word of 100rel. The numbers of the dialog go on.
#[test]
fn a_reliable_trunk_is_acknowledged() {
    let mut w = World::new();
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    assert!(w.sides[b.0].invite.has_token(Name::Supported, "100rel"));
    let sdp = w.describe(b, "sendrecv");
    let mut cseq = number_of_invite(&w, b);
    for (status, sdp) in [(183, Some(sdp)), (180, None)] {
        w.reply(b, status, sdp, |draft| {
            draft.header(Name::Require, "100rel");
        });
        let (_, prack) = w.request(b, Method::Prack);
        let next = prack.cseq().unwrap().number;
        assert_eq!(next, cseq + 1);
        cseq = next;
        let rack = prack.header(Name::Rack).unwrap().to_string();
        assert!(rack.ends_with(" 1 INVITE"), "{rack}");
    }
    let early = w.provisional(a);
    assert_eq!(early.status(), 183);
    assert!(early.header(Name::Require).is_none() && early.header(Name::Rseq).is_none());
    w.reply(b, 200, None, |_| {});
    assert_eq!(w.outcome(a).status(), 200);
    w.acknowledged(b);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(a);
    assert_eq!(w.hung_up(b).cseq().unwrap().number, cseq + 1);
    let [cdr] = w.finish();
    assert_eq!(cdr.sip_code, Some(200));
}

fn number_of_invite(w: &World, side: Side) -> u32 {
    w.sides[side.0].invite.cseq().unwrap().number
}

/// RFC 3262 §4: copies are not acknowledged again, and one that came before its turn not at all.
#[test]
fn reliable_responses_are_taken_in_order() {
    let mut w = World::new();
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    let invite = w.sides[b.0].invite.clone();
    let tag = w.sides[b.0].tag.clone();
    let ring = |rseq: u32| {
        let mut draft = Builder::response(&invite, 180, "");
        draft
            .to_tag(&tag)
            .header(Name::Contact, "<sip:pbx@192.0.2.10:5060>")
            .header(Name::Require, "100rel")
            .header_fmt(Name::Rseq, format_args!("{rseq}"));
        draft.finish(None).bytes().clone()
    };
    for (rseq, acknowledged) in [
        (7, true),
        (7, false),
        (9, false),
        (8, true),
        (7, false),
        (9, true),
    ] {
        w.inject(PBX, ring(rseq));
        w.pass(Duration::from_secs(1));
        let racks = std::mem::take(&mut w.audit.racks);
        let wanted: Vec<String> = acknowledged
            .then(|| format!("{rseq} 1 INVITE"))
            .into_iter()
            .collect();
        assert_eq!(racks, wanted);
    }
    assert_eq!(w.provisional(a).status(), 180);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// RFC 3262 §3: to a caller that insists, 180 is reliable and repeated until its PRACK; the 200 waits for that.
#[test]
fn a_caller_that_insists_is_rung_reliably() {
    let mut w = World::new();
    let a = insists(&mut w);
    let b = w.incoming(TEAMS);
    assert!(!w.sides[b.0].invite.has_token(Name::Supported, "100rel"));
    w.ring(b);
    let ringing = w.provisional(a);
    assert!(ringing.has_token(Name::Require, "100rel"));
    let allow = ringing.header(Name::Allow).unwrap().to_string();
    assert!(allow.contains("PRACK"), "{allow}");
    w.pass(Duration::from_secs(2));
    assert_eq!(provisionals(&w, a), 2);
    w.answer(b);
    w.pass(Duration::from_secs(1));
    assert!(!w.sides[a.0].decided, "the 200 waits");
    let rack = format!("{} 1 INVITE", number(&ringing, Name::Rseq));
    assert_eq!(prack(&mut w, a, &ringing, &rack, None).status(), 200);
    let answer = w.outcome_of(a, Method::Invite);
    assert_eq!((answer.status(), answer.to_tag()), (200, ringing.to_tag()));
    w.acknowledged(b);
    w.pass(Duration::from_secs(1));
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// RFC 3262 §3: a PRACK of what was never said is 481, and so is one of what was acknowledged already. §5: an offer in one
/// is 488, and acknowledges all the same.
#[test]
fn pracks_that_fit_nothing() {
    let mut w = World::new();
    let a = insists(&mut w);
    let b = w.incoming(TEAMS);
    w.ring(b);
    let ringing = w.provisional(a);
    let rseq = number(&ringing, Name::Rseq);
    for rack in [
        format!("{} 1 INVITE", rseq + 1),
        format!("{rseq} 2 INVITE"),
        format!("{rseq} 1 UPDATE"),
        "nonsense".to_owned(),
    ] {
        assert_eq!(
            prack(&mut w, a, &ringing, &rack, None).status(),
            481,
            "{rack}"
        );
    }
    let offer = w.describe(a, "sendrecv");
    let rack = format!("{rseq} 1 INVITE");
    let refused = prack(&mut w, a, &ringing, &rack, Some(offer));
    assert_eq!(refused.status(), 488);
    assert!(refused.header(Name::Warning).is_some(), "a clear answer");
    assert_eq!(prack(&mut w, a, &ringing, &rack, None).status(), 481);
    w.answer(b);
    assert_eq!(w.outcome_of(a, Method::Invite).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// RFC 3262 §3: without a PRACK the INVITE is refused after 64 T1, whether the called party still rings or has answered.
#[test]
fn no_prack_ends_the_call() {
    for answered in [false, true] {
        let mut w = World::new();
        let a = insists(&mut w);
        let b = w.incoming(TEAMS);
        w.ring(b);
        w.provisional(a);
        if answered {
            w.answer(b);
        }
        w.pass(Duration::from_secs(31));
        assert!(!w.sides[a.0].decided);
        assert_eq!(w.outcome(a).status(), 504);
        if answered {
            w.hung_up(b);
        } else {
            w.cancelled(b);
        }
        let [cdr] = w.finish();
        assert_eq!(cdr.q850, Some(102));
    }
}

/// TDR-413, TDR-510: Teams is not asked for it, and gets none; if it insists it is told that we do not.
#[test]
fn teams_has_no_part_in_it() {
    let mut w = World::new();
    let a = w.dial_with(TEAMS, OUTSIDE, |draft| {
        draft.header(Name::Require, "100rel");
    });
    let answer = w.outcome(a);
    assert_eq!(answer.status(), 420);
    assert!(answer.has_token(Name::Unsupported, "100rel"));
    let a = w.dial_with(TEAMS, OUTSIDE, |draft| {
        draft.header(Name::Supported, "100rel");
    });
    let b = w.incoming(PBX);
    w.ring(b);
    assert!(w.provisional(a).header(Name::Require).is_none());
    w.reject(b, 486);
    w.outcome(a);
    let [_, _] = w.finish();
}

/// A trunk may be kept from it, or held to it.
#[test]
fn each_trunk_has_its_way() {
    let mut w = with(ReliableProvisionals::Never);
    let a = insists(&mut w);
    assert_eq!(w.outcome(a).status(), 420);
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    assert!(!w.sides[b.0].invite.has_token(Name::Supported, "100rel"));
    w.reject(b, 486);
    w.outcome(a);
    let [_, _] = w.finish();

    let mut w = with(ReliableProvisionals::Required);
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    assert!(w.sides[b.0].invite.has_token(Name::Require, "100rel"));
    w.reject(b, 486);
    w.outcome(a);
    let supports = w.dial_with(PBX, ALICE, |draft| {
        draft.header(Name::Supported, "100rel");
    });
    let b = w.incoming(TEAMS);
    w.ring(b);
    assert!(w.provisional(supports).has_token(Name::Require, "100rel"));
    w.reject(b, 480);
    assert_eq!(w.outcome(supports).status(), 480, "a refusal does not wait");
    let [_, _] = w.finish();
}

/// RFC 3262 §5: without an offer in the INVITE the first reliable response would need one; there is none, and so no
/// ringing either.
#[test]
fn a_late_offer_is_not_rung_reliably() {
    let mut w = World::new();
    let a = w.dial_with(PBX, ALICE, |draft| {
        draft.header(Name::Require, "100rel").body("text/plain", "");
        draft.remove(Name::ContentType);
    });
    let b = w.incoming(TEAMS);
    w.ring(b);
    w.pass(Duration::from_secs(2));
    assert_eq!(provisionals(&w, a), 0);
    let sdp = w.describe(a, "sendrecv");
    w.sides[a.0].ack_sdp = Some(sdp);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}
