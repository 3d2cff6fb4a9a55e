//! Channels, emergency calls, draining, operators.

use std::time::Duration;

use tollgate::b2bua::{Counting, EndedBy, Silence};
use tollgate::directory::Usage;
use tollgate::media::{self, LegReport};
use tollgate::sip::Name;

use crate::sim::World;
use crate::sim::setup::*;

/// Three channels: the fourth call is refused with 486 and cause 34, whichever way it goes, while two calls ring and
/// one is up. What ends makes room at once.
#[test]
fn the_limit_is_exact_and_counts_ringing_calls() {
    let mut w = World::with(Setup::default().acme_with(|c| c.max_channels = 3), 7);
    let (up, _) = w.call_from_teams();
    let ringing = w.dial(PBX);
    let called = w.incoming(TEAMS);
    w.ring(called);
    w.provisional(ringing);
    let third = w.dial(CARRIER);
    let silent = w.incoming(TEAMS);
    for who in [TEAMS, PBX, CARRIER] {
        let refused = w.dial(who);
        let answer = w.outcome(refused);
        assert_eq!(answer.status(), 486);
        let reason = answer.header(Name::Reason).unwrap();
        assert!(reason.text().unwrap().starts_with("Q.850;cause=34"));
    }
    assert_eq!(
        w.ledger.usage(ACME),
        Usage {
            in_use: 3,
            peak: 3,
            refused: 3
        }
    );
    w.cancel(ringing);
    assert_eq!(w.outcome(ringing).status(), 487);
    assert_eq!(w.ledger.usage(ACME).in_use, 2);
    let again = w.dial(TEAMS);
    let b = w.incoming(PBX);
    assert_eq!(w.ledger.usage(ACME).in_use, 3);
    w.reject(b, 486);
    w.outcome(again);
    w.reject(silent, 480);
    w.outcome(third);
    w.bye(up);
    let cdrs = w.finish_all();
    let refused = cdrs
        .iter()
        .filter(|cdr| cdr.refused_by.as_deref() == Some("limit"));
    assert_eq!((cdrs.len(), refused.count()), (7, 3));
}

/// A trunk's own limit holds in both directions together; a second trunk may take what the first cannot.
#[test]
fn a_trunk_has_a_limit_of_its_own() {
    let setup = Setup::default().trunk_with("pbx", |t| t.cac_max_sessions = Some(1));
    let mut w = World::with(setup, 8);
    let (a, b) = w.call_to_teams();
    for who in [TEAMS, PBX] {
        let refused = w.dial(who);
        assert_eq!(w.outcome(refused).status(), 486);
    }
    assert_eq!(
        w.ledger.usage(ACME).in_use,
        1,
        "what the trunk refused took no channel"
    );
    w.bye(a);
    w.hung_up(b);
    let (a, _) = w.call_from_teams();
    w.bye(a);
    let [_, _, _, _] = w.finish();

    let setup = Setup::default()
        .with_backup()
        .trunk_with("pbx", |t| t.cac_max_sessions = Some(0));
    let mut w = World::with(setup, 8);
    let (a, _) = w.connect(TEAMS, BACKUP);
    w.bye(a);
    let [_] = w.finish();
}

/// TDR-1007: an emergency call passes a full limit and every screening; it counts as a call.
#[test]
fn an_emergency_call_is_never_refused() {
    let setup = Setup::default()
        .acme_with(|c| c.max_channels = 0)
        .trunk_with("pbx", |t| t.cac_max_sessions = Some(0));
    let mut w = World::with(setup, 9);
    let uri = format!("sip:112@{ACME_FQDN}:5061;user=phone");
    let a = w.dial_uri(TEAMS, &uri, "anonymous", |_| {});
    let b = w.incoming(PBX);
    assert!(w.sides[b.0].invite.request_uri().starts_with("sip:112@"));
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    assert_eq!(w.ledger.usage(ACME).in_use, 1);
    w.bye(a);
    let [cdr] = w.finish();
    assert!(cdr.emergency);
}

/// No more calls at once than the process may have, and no more legs than there are ports: 503, with which Teams goes
/// elsewhere.
#[test]
fn the_process_has_limits_too() {
    let mut w = World::with(Setup::default().config_with(|c| c.max_calls = 1), 10);
    let (a, _) = w.call_from_teams();
    let refused = w.dial(TEAMS);
    assert_eq!(w.outcome(refused).status(), 503);
    w.bye(a);
    let cdrs = w.finish_all();
    assert!(
        cdrs.iter()
            .any(|cdr| cdr.refused_by.as_deref() == Some("overload"))
    );
}

/// TDR-218: a drained SBC refuses new calls with 503 and lets the others go on.
#[test]
fn draining_refuses_new_calls_only() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    w.calls.drain();
    let refused = w.dial(TEAMS);
    assert_eq!(w.outcome(refused).status(), 503);
    assert_eq!(w.reinvite(a, "inactive").status(), 200);
    w.bye(b);
    w.hung_up(a);
    let [_, _] = w.finish();
}

/// Shutting down ends calls that are up with BYE, and those that are not with 503 and CANCEL.
#[test]
fn shutting_down_ends_everything() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    let ringing = w.dial(PBX);
    let called = w.incoming(TEAMS);
    w.ring(called);
    w.provisional(ringing);
    let now = w.now;
    w.calls.shut_down(now);
    w.hung_up(a);
    w.hung_up(b);
    assert_eq!(w.outcome(ringing).status(), 503);
    w.cancelled(called);
    let cdrs: [_; 2] = w.finish();
    assert!(cdrs.iter().all(|cdr| cdr.ended_by == Some(EndedBy::Us)));
}

/// An operator ends a call, up or ringing.
#[test]
fn an_operator_hangs_up() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    let ringing = w.dial(PBX);
    let called = w.incoming(TEAMS);
    w.ring(called);
    w.provisional(ringing);
    let now = w.now;
    for view in w.calls.list() {
        assert!(w.calls.hang_up(view.id, now));
        assert!(!w.calls.hang_up(view.id, now));
    }
    w.hung_up(a);
    w.hung_up(b);
    assert_eq!(w.outcome(ringing).status(), 480);
    w.cancelled(called);
    let cdrs: [_; 2] = w.finish();
    assert!(
        cdrs.iter()
            .all(|cdr| cdr.ended_by == Some(EndedBy::Operator))
    );
}

/// A call ends when its time is over.
#[test]
fn no_call_outlasts_the_longest_time() {
    let hour = Duration::from_secs(3600);
    let mut w = World::with(
        Setup::default().config_with(|c| c.max_duration = Some(hour)),
        11,
    );
    let (a, b) = w.call_from_teams();
    w.pass(hour - Duration::from_secs(5));
    assert_eq!(w.calls.active(), 1);
    w.hung_up(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert_eq!(cdr.ended_by, Some(EndedBy::Us));
}

/// A peer that sends no media for too long ends the call; what the relay was told to watch is off while one holds.
#[test]
fn silence_ends_a_call() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    let watched = |w: &World| w.leg(b).unwrap().1.config.as_ref().unwrap().inactivity;
    assert_eq!(watched(&w), Some(Duration::from_secs(30)));
    w.reinvite(a, "inactive");
    assert_eq!(watched(&w), None);
    w.reinvite(a, "sendrecv");
    let (leg, _) = w.leg(b).unwrap();
    w.media(media::Event::Inactive { leg });
    w.hung_up(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert!(cdr.reason.contains("no media"), "{}", cdr.reason);
}

/// Who was not heard, and why, is in the record and its trace, unless the call was too short to tell. Who was heard is
/// judged.
#[test]
fn one_way_audio_is_explained() {
    for (seconds, expected) in [(10, Some(Silence::WrongSource)), (1, None)] {
        let mut w = World::new();
        let (a, b) = w.call_from_teams();
        let (leg, _) = w.leg(b).unwrap();
        let strangers = LegReport {
            sent: 500,
            wrong_source: 500,
            ..LegReport::default()
        };
        w.relay.reports.insert(leg, strangers);
        w.pass(Duration::from_secs(seconds));
        w.bye(a);
        w.hung_up(b);
        let [cdr] = w.finish();
        let told = cdr.why.to_string();
        let text = "the called party was not heard: wrong_source";
        assert_eq!(told.contains(text), expected.is_some(), "{told}");
        let (teams, pbx) = (cdr.a_media.unwrap(), cdr.b_media.unwrap());
        assert_eq!((teams.silence, pbx.silence), (None, expected));
        assert_eq!((teams.mos_estimate, pbx.mos_estimate), (Some(4.4), None));
        assert_eq!(teams.srtp.as_deref(), Some("AES_CM_128_HMAC_SHA1_80"));
        assert_eq!((pbx.srtp, pbx.codec.as_deref()), (None, Some("PCMA")));
    }
}

/// An operator asks what goes through a live call; the record counts everything once all the same.
#[test]
fn live_media_is_counted_on_request() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    let id = w.calls.list()[0].id;
    assert!(w.calls.count_media(id, w.now));
    assert_eq!(w.calls.media_of(id), Some(Counting::Pending));
    let (leg, _) = w.leg(a).unwrap();
    w.media(media::Event::Flowing { leg });
    w.pass(Duration::from_millis(10));
    let Some(Counting::Done(legs)) = w.calls.media_of(id) else {
        panic!("the relay has counted");
    };
    let told = legs.iter().map(|leg| (leg.caller, leg.media.received));
    assert_eq!(told.collect::<Vec<_>>(), [(true, 20), (false, 20)]);
    w.bye(a);
    w.hung_up(b);
    assert!(!w.calls.count_media(id, w.now));
    assert_eq!(w.calls.media_of(id), None);
    let [cdr] = w.finish();
    assert_eq!(cdr.a_media.map(|side| side.received), Some(50));
}

/// The relay cannot open a leg's ports, of the caller or of the called: the caller hears 503.
#[test]
fn the_relay_fails() {
    for caller in [true, false] {
        let mut w = World::new();
        let a = w.dial(TEAMS);
        let b = w.incoming(PBX);
        let ids: Vec<_> = w.relay.open.keys().copied().collect();
        let leg = if caller {
            *ids.iter().min().unwrap()
        } else {
            *ids.iter().max().unwrap()
        };
        w.relay.open.remove(&leg);
        w.media(media::Event::Failed {
            leg,
            reason: "address in use".into(),
        });
        assert_eq!(w.outcome(a).status(), 503);
        w.pass(Duration::from_secs(1));
        assert!(w.sides[b.0].over);
        let [_] = w.finish();
    }
}

/// Nobody acknowledges our 200, or the ACK is lost a few times: the first ends after half a minute with BYE to both,
/// the second not at all.
#[test]
fn an_answer_without_an_ack() {
    let mut w = World::new();
    w.agents[PBX].acknowledges = false;
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.pass(Duration::from_secs(30));
    assert_eq!(w.calls.active(), 1);
    w.hung_up(b);
    let bye = w.hung_up(a);
    assert!(
        bye.header(Name::Reason)
            .unwrap()
            .text()
            .unwrap()
            .contains("cause=102")
    );
    let [cdr] = w.finish();
    assert!(cdr.reason.contains("not acknowledged"), "{}", cdr.reason);

    let mut w = World::new();
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    w.answer(b);
    w.agents[PBX].link.loss = 100;
    w.pass(Duration::from_secs(3));
    w.agents[PBX].link.loss = 0;
    assert_eq!(w.outcome(a).status(), 200);
    w.pass(Duration::from_secs(60));
    assert!(w.talk(a, b));
    w.bye(a);
    let [_] = w.finish();
}

/// RFC 3261 §15: the called side hangs up before the caller's ACK is in. Our BYE waits for that ACK.
#[test]
fn bye_before_the_ack() {
    let mut w = World::new();
    w.agents[PBX].link.delay = Duration::from_millis(300);
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    w.answer(b);
    w.acknowledged(b);
    assert_eq!(w.bye(b), 200);
    assert_eq!(w.ledger.usage(ACME).in_use, 0);
    assert_eq!(w.outcome(a).status(), 200);
    w.hung_up(a);
    let [cdr] = w.finish();
    assert_eq!(cdr.ended_by, Some(EndedBy::BLeg));
}
