//! Offers that hold nobody: refreshes, other codecs, and requests that meet.

use std::sync::Arc;
use std::time::Duration;

use tollgate::directory::Profile;
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::formats;
use crate::sim::setup::*;

/// TDR-512, TDR-513: a refresh with an unchanged description gets the same answer, version and all, and stays on its
/// own leg.
#[test]
fn a_refresh_changes_nothing() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    for (side, other) in [(a, b), (b, a)] {
        let before = w.described(side);
        let same = w.sides[side.0].media.again("sendrecv");
        w.send(side, Method::Invite, Some(same), |_| {});
        let answer = w.outcome_of(side, Method::Invite);
        assert_eq!(answer.status(), 200);
        if side == a {
            assert_eq!(answer.body(), before);
        }
        assert!(!w.has_heard(other, Method::Invite));
        assert!(w.talk(a, b));
    }
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// A codec that the other side has not agreed to must cross, or nobody would understand. The first request waits for
/// the other side's word.
#[test]
fn another_codec_crosses() {
    let mut w = World::new();
    let (a, b) = only_a_law(&mut w);
    w.sides[b.0].media.codecs = vec![0, 101];
    let sdp = w.describe(b, "sendrecv");
    w.send(b, Method::Invite, Some(sdp), |_| {});
    let request = w.request(a, Method::Invite);
    assert_eq!(formats(&request.1.body())[0], 0);
    w.sides[a.0].media.codecs = vec![0, 101];
    let sdp = w.describe(a, "sendrecv");
    w.respond(a, &request, 200, Some(sdp), |_| {});
    let answer = w.outcome_of(b, Method::Invite);
    assert_eq!((answer.status(), formats(&answer.body())[0]), (200, 0));
    w.pass(Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// The other side will not have the codec, which cannot be converted: 488, and the call goes on as it was.
#[test]
fn another_codec_is_refused() {
    let names = || ["PCMA", "PCMU", "G729"].map(str::to_owned).to_vec();
    let setup = Setup::default()
        .trunk_with("pbx", |trunk| trunk.profile.codecs = names())
        .config_with(|config| {
            config.teams_profile = Arc::new(Profile {
                codecs: names(),
                ..Profile::teams()
            });
        });
    let mut w = World::with(setup, 1);
    let (a, b) = only_a_law(&mut w);
    let port = w.sides[b.0].media.port;
    w.sides[b.0].media.codecs = vec![18, 101];
    let sdp = w.describe(b, "sendrecv");
    w.send(b, Method::Invite, Some(sdp), |_| {});
    let request = w.request(a, Method::Invite);
    w.respond(a, &request, 488, None, |_| {});
    assert_eq!(w.outcome_of(b, Method::Invite).status(), 488);
    assert_eq!(w.sides[b.0].media.port, port);
    assert!(w.talk(a, b));
    assert_eq!(
        w.reinvite(a, "inactive").status(),
        200,
        "the leg is free for the next exchange"
    );
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// RFC 3261 §14.1: our re-INVITE meets theirs. Each is refused with 491; theirs comes again first, then ours, and
/// whoever waited for it has an answer.
#[test]
fn glare_with_a_codec_change() {
    for theirs_comes_between in [true, false] {
        let mut w = World::new();
        let (a, b) = only_a_law(&mut w);
        w.sides[b.0].media.codecs = vec![0, 101];
        let sdp = w.describe(b, "sendrecv");
        w.send(b, Method::Invite, Some(sdp), |_| {});
        let ours = w.request(a, Method::Invite);
        assert_eq!(w.reinvite(a, "sendrecv").status(), 491, "ours is out");
        w.respond(a, &ours, 491, None, |_| {});
        w.pass(Duration::from_millis(100));
        if theirs_comes_between {
            assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
        }
        let again = w.request(a, Method::Invite);
        w.sides[a.0].media.codecs = vec![0, 101];
        let sdp = w.describe(a, "sendrecv");
        w.respond(a, &again, 200, Some(sdp), |_| {});
        assert_eq!(w.outcome_of(b, Method::Invite).status(), 200);
        w.pass(Duration::from_millis(100));
        assert!(w.talk(a, b));
        w.bye(b);
        w.hung_up(a);
        let [_] = w.finish();
    }
}

/// A peer that answers 491 for ever does not keep the other one waiting for ever.
#[test]
fn glare_without_end() {
    let mut w = World::new();
    let (a, b) = only_a_law(&mut w);
    w.sides[b.0].media.codecs = vec![0, 101];
    let sdp = w.describe(b, "sendrecv");
    w.send(b, Method::Invite, Some(sdp), |_| {});
    for _ in 0..5 {
        let ours = w.request(a, Method::Invite);
        w.respond(a, &ours, 491, None, |_| {});
    }
    assert_eq!(w.outcome_of(b, Method::Invite).status(), 491);
    w.bye(b);
    w.hung_up(a);
    let [_] = w.finish();
}

/// BYE comes while a re-INVITE of ours waits for its next try: the waiting request is answered 487, nothing is left.
#[test]
fn bye_amid_glare() {
    let mut w = World::new();
    let (a, b) = only_a_law(&mut w);
    w.sides[b.0].media.codecs = vec![0, 101];
    let sdp = w.describe(b, "sendrecv");
    w.send(b, Method::Invite, Some(sdp), |_| {});
    let ours = w.request(a, Method::Invite);
    w.respond(a, &ours, 491, None, |_| {});
    w.pass(Duration::from_millis(50));
    assert_eq!(w.bye(a), 200);
    assert_eq!(w.outcome_of(b, Method::Invite).status(), 487);
    w.hung_up(b);
    let [_] = w.finish();
}

/// An offer that Teams may not make (plain RTP), and a body that is none: refused, and the call goes on.
#[test]
fn an_offer_inside_the_call_is_refused() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    let plain = w.describe(b, "sendrecv");
    w.send(a, Method::Invite, Some(plain), |_| {});
    assert_eq!(w.outcome_of(a, Method::Invite).status(), 488);
    w.send(a, Method::Invite, None, |draft| {
        draft.body("text/plain", "hello");
    });
    let refused = w.outcome_of(a, Method::Invite);
    assert_eq!(refused.status(), 415);
    assert!(refused.header(Name::Extension("Accept")).is_some());
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// A call between Teams and its PBX in which Teams took PCMA alone.
fn only_a_law(w: &mut World) -> (Side, Side) {
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    w.sides[b.0].media.codecs = vec![8, 101];
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.acknowledged(b);
    w.pass(Duration::from_millis(100));
    (b, a)
}

/// TDR-511: UPDATE and re-INVITE meet. While an offer of ours is out, an UPDATE with one is refused with 491 and one
/// without is answered; while theirs waits, a further one is refused with 500 and Retry-After (RFC 3311 §5.2).
#[test]
fn update_meets_reinvite() {
    let mut w = World::new();
    let (a, b) = only_a_law(&mut w);
    w.sides[b.0].media.codecs = vec![0, 101];
    let sdp = w.describe(b, "sendrecv");
    w.send(b, Method::Invite, Some(sdp.clone()), |_| {});
    let ours = w.request(a, Method::Invite);
    let theirs = w.describe(a, "sendrecv");
    w.send(a, Method::Update, Some(theirs), |_| {});
    assert_eq!(w.outcome_of(a, Method::Update).status(), 491);
    w.send(a, Method::Update, None, |_| {});
    assert_eq!(w.outcome_of(a, Method::Update).status(), 200);
    w.send(b, Method::Update, Some(sdp), |_| {});
    let later = w.outcome_of(b, Method::Update);
    assert_eq!(later.status(), 500);
    assert!(later.header(Name::RetryAfter).is_some());
    w.sides[a.0].media.codecs = vec![0, 101];
    let answer = w.describe(a, "sendrecv");
    w.respond(a, &ours, 200, Some(answer), |_| {});
    assert_eq!(w.outcome_of(b, Method::Invite).status(), 200);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(b);
    w.hung_up(a);
    let [_] = w.finish();
}
