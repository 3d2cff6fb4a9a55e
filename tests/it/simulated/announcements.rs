//! What refused callers hear before they are refused, where their trunk wants that; and that it is no call.

use std::sync::Arc;
use std::time::Duration;

use tollgate::audio::{Announcement, Clip, Law};
use tollgate::b2bua::{EndedBy, Fact, Report};
use tollgate::directory::{
    ActivationState, AdminState, Announcements, GatewayState, Profile, ReliableProvisionals, Srtp,
};
use tollgate::media::{Play, Sound};
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::direction;
use crate::sim::setup::*;

/// Longer than any built-in announcement.
const ITS_TIME: Duration = Duration::from_secs(7);

/// Callers by these trunks hear why they are refused.
fn announcing(way: Announcements) -> Setup {
    let mut setup = Setup::default();
    for trunk in &mut setup.rows.trunks {
        trunk.profile.announcements = way;
    }
    setup
}

fn at(number: &str) -> String {
    format!("sip:{number}@192.0.2.1")
}

/// What the caller hears now.
fn heard(w: &World, caller: Side) -> Option<Play> {
    w.leg(caller).and_then(|(_, leg)| leg.play.clone())
}

fn playing(which: Announcement) -> Option<Play> {
    Some(Play {
        sound: Sound::Announcement,
        clip: which.built_in(),
        law: Law::A,
        payload_type: 8,
    })
}

/// What became of announcements.
fn outcomes(w: &World) -> Vec<(&'static str, &'static str)> {
    let outcome = |report: &Report| match report {
        Report::Announcement { which, outcome } => Some((*which, *outcome)),
        _ => None,
    };
    w.reports.iter().filter_map(outcome).collect()
}

fn is_answered(w: &World) -> bool {
    let is = |report: &Report| matches!(report, Report::Answered { .. } | Report::Admitted { .. });
    w.reports.iter().any(is)
}

/// As early media: a 183 with a description, the sound, and then the very status and Reason that there would have been
/// without. The record is that of a refused call, which has no answer, but lasted.
#[test]
fn a_refused_caller_hears_why_and_is_refused() {
    type Change = fn(&mut Setup);
    let rows: [(Change, &str, u16, Announcement, &str); 4] = [
        (|_| {}, GONE, 404, Announcement::NotInService, "number"),
        (
            |s| s.acme().admin_state = AdminState::Disabled,
            ALICE,
            480,
            Announcement::NotActive,
            "disabled",
        ),
        (
            |s| s.acme().activation_state = ActivationState::Inactive,
            ALICE,
            480,
            Announcement::NotActive,
            "inactive",
        ),
        (
            |s| s.rows.gateways[0].state = GatewayState::Verified,
            ALICE,
            480,
            Announcement::NotActive,
            "inactive",
        ),
    ];
    for (change, number, status, which, rule) in rows {
        let reason = |way| {
            let mut setup = announcing(way);
            change(&mut setup);
            let mut w = World::with(setup, 3);
            let caller = w.dial_uri(CARRIER, &at(number), OUTSIDE, |_| {});
            if way == Announcements::Early {
                let progress = w.provisional(caller);
                assert_eq!(progress.status(), 183);
                assert_eq!(direction(&progress.body()), "sendrecv");
                w.pass(Duration::from_secs(1));
                assert_eq!(heard(&w, caller), playing(which));
                assert_eq!((w.calls.announcing(), w.calls.active()), (1, 0));
                w.pass(ITS_TIME);
                assert_eq!(w.calls.announcing(), 0);
                assert_eq!(outcomes(&w), [(which.name(), "played")]);
            }
            let refusal = w.outcome(caller);
            assert_eq!(refusal.status(), status);
            assert!(!is_answered(&w) && w.audit.invites.is_empty());
            let [cdr] = w.finish();
            assert_eq!((cdr.sip_code, cdr.answer), (Some(status), None));
            assert_eq!(cdr.refused_by.as_deref(), Some(rule));
            let lasted = cdr.end - cdr.start;
            assert_eq!(
                lasted >= Duration::from_secs(5),
                way == Announcements::Early
            );
            let told = cdr.why.steps.iter().any(|step| {
                step.fact
                    == Fact::Announced {
                        announcement: which,
                        with_answer: false,
                    }
            });
            assert_eq!(told, way == Announcements::Early);
            refusal.header(Name::Reason).map(|value| value.to_string())
        };
        let (plain, announced) = (reason(Announcements::Off), reason(Announcements::Early));
        assert!(plain.is_some() && plain == announced, "{rule}");
    }
}

/// After a 200, for callers whose carriers let no early media through: the sound, then a BYE with the Reason of the refusal.
/// It still is no answered call.
#[test]
fn an_answered_announcement_is_no_answered_call() {
    let mut w = World::with(announcing(Announcements::Answered), 4);
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
    assert_eq!(w.outcome(caller).status(), 200);
    w.pass(Duration::from_secs(1));
    assert_eq!(heard(&w, caller), playing(Announcement::NotInService));
    let refresh = w.reinvite(caller, "sendrecv");
    assert_eq!(refresh.status(), 488, "nothing is to be agreed on");
    let bye = w.hung_up(caller);
    let reason = bye.header(Name::Reason).unwrap().to_string();
    assert!(reason.starts_with("Q.850;cause=1;"), "{reason}");
    assert!(!is_answered(&w));
    let [cdr] = w.finish();
    assert_eq!((cdr.sip_code, cdr.answer), (Some(404), None));
    assert_eq!(cdr.refused_by.as_deref(), Some("number"));
}

/// One more call than the customer may have: the announcement takes no channel of the customer's, and gives back the
/// trunk's when it is over.
#[test]
fn an_announcement_takes_no_channel_of_the_customer() {
    let mut setup = announcing(Announcements::Early).acme_with(|acme| acme.max_channels = 1);
    setup.trunk("pbx").cac_max_sessions = Some(2);
    let mut w = World::with(setup, 5);
    let (first, called) = w.call_to_teams();
    let second = w.dial(PBX);
    assert_eq!(w.provisional(second).status(), 183);
    w.pass(Duration::from_secs(1));
    assert_eq!(heard(&w, second), playing(Announcement::LimitReached));
    let trunk = w.directory.trunks().find(|t| t.name == "pbx").unwrap().id;
    let in_use = |w: &World| {
        (
            w.ledger.usage(ACME).in_use,
            w.ledger.trunk_usage(trunk).in_use,
        )
    };
    assert_eq!(in_use(&w), (1, 2));
    // The trunk has no third channel, so its third call is refused at once.
    let third = w.dial(PBX);
    assert_eq!(w.outcome(third).status(), 486);
    w.pass(ITS_TIME);
    assert_eq!(w.outcome(second).status(), 486);
    assert_eq!(in_use(&w), (1, 1));
    assert_eq!(
        outcomes(&w),
        [("limit_reached", "played"), ("limit_reached", "no_channel")]
    );
    w.bye(first);
    w.hung_up(called);
    let [_, _, _] = w.finish();
}

/// There are as many at once as the configuration says, and one more caller is refused at once. Off means none at all.
#[test]
fn announcements_are_bounded_in_number() {
    for most in [3, 0] {
        let setup = announcing(Announcements::Early).config_with(|c| c.max_announcements = most);
        let mut w = World::with(setup, 6);
        for n in 0..5 {
            let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
            if n < most {
                assert_eq!(w.provisional(caller).status(), 183);
            } else {
                assert_eq!(w.outcome(caller).status(), 404);
            }
        }
        assert_eq!(w.calls.announcing(), most);
        let full = outcomes(&w).iter().filter(|(_, o)| *o == "full").count();
        assert_eq!(full, 5 - most);
        let [_, _, _, _, _] = w.finish();
    }
}

/// Ports that calls might need are not for announcements.
#[test]
fn announcements_leave_ports_to_calls() {
    let setup = announcing(Announcements::Early).config_with(|c| c.max_calls = 250);
    let mut w = World::with(setup, 7);
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
    assert_eq!(w.outcome(caller).status(), 404);
    assert_eq!(outcomes(&w), [("not_in_service", "full")]);
    let [_] = w.finish();
}

/// What an operator brought is heard instead, cut off after the time that the configuration allows.
#[test]
fn an_announcement_is_bounded_in_time() {
    let own = Arc::new(Clip::new(vec![500; 8000 * 600]));
    let mut setup = announcing(Announcements::Early)
        .config_with(|c| c.announcement_max = Duration::from_secs(2));
    let brought = (Announcement::NotInService, own.clone());
    setup.rows.announcements = [brought].into();
    let mut w = World::with(setup, 8);
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
    w.provisional(caller);
    w.pass(Duration::from_secs(1));
    assert_eq!(heard(&w, caller).map(|play| play.clip), Some(own));
    w.pass(Duration::from_millis(1200));
    assert_eq!(w.outcome(caller).status(), 404);
    let [_] = w.finish();
}

/// Whoever wants an ambulance is not to listen to tones: what could be an emergency number is refused at once.
#[test]
fn emergency_calls_hear_no_announcement() {
    for number in ["112", "911"] {
        let mut setup = announcing(Announcements::Early);
        setup.acme().admin_state = AdminState::Disabled;
        for who in [CARRIER, PBX] {
            let mut w = World::with(announcing(Announcements::Early), 9);
            let caller = w.dial_uri(who, &at(number), OUTSIDE, |_| {});
            assert!(w.outcome(caller).status() >= 400, "{number}");
            assert!(outcomes(&w).is_empty());
            let [_] = w.finish();
        }
        setup.trunk("pbx").profile.calls_out = true;
        let mut w = World::with(setup, 9);
        let caller = w.dial_uri(PBX, &at(number), ALICE, |_| {});
        assert_eq!(w.outcome(caller).status(), 403);
        assert!(outcomes(&w).is_empty());
        let [_] = w.finish();
    }
}

/// A caller that gives up, or hangs up, hears 487 or nothing more; the record says so, and which rule refused it.
#[test]
fn a_caller_may_give_up() {
    let mut w = World::with(announcing(Announcements::Early), 10);
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
    w.provisional(caller);
    w.pass(Duration::from_secs(1));
    w.cancel(caller);
    assert_eq!(w.outcome_of(caller, Method::Invite).status(), 487);
    let [cdr] = w.finish();
    assert_eq!(
        (cdr.sip_code, cdr.ended_by),
        (Some(487), Some(EndedBy::ALeg))
    );
    assert_eq!(cdr.refused_by.as_deref(), Some("number"));

    let mut w = World::with(announcing(Announcements::Answered), 11);
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
    assert_eq!(w.outcome(caller).status(), 200);
    w.pass(Duration::from_secs(1));
    assert_eq!(w.bye(caller), 200);
    let [cdr] = w.finish();
    assert_eq!((cdr.answer, cdr.ended_by), (None, Some(EndedBy::ALeg)));
}

/// Who cannot be played to is refused at once: no G.711, no offer, reliable provisionals that a caller insists on. SRTP is
/// no hindrance.
#[test]
fn a_caller_that_cannot_listen_is_refused_at_once() {
    let mut w = World::with(announcing(Announcements::Early), 12);
    let uri = at(GONE);
    for change in [0, 1, 2] {
        let caller = w.dial_uri(CARRIER, &uri, OUTSIDE, |draft| match change {
            0 => {
                let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                           m=audio 4000 RTP/AVP 9\r\na=rtpmap:9 G722/8000\r\n";
                draft.body("application/sdp", sdp);
            }
            1 => {
                draft.body("application/sdp", "");
            }
            _ => {
                draft.header(Name::Require, "100rel");
            }
        });
        assert!(w.outcome(caller).status() >= 400);
    }
    assert!(outcomes(&w).iter().all(|(_, outcome)| *outcome == "unfit"));
    assert_eq!(outcomes(&w).len(), 3);
    let [_, _, _] = w.finish();
}

/// By default nobody hears anything, and Teams never does.
#[test]
fn announcements_are_off_by_default() {
    for profile in [Profile::trunk(), Profile::teams()] {
        assert_eq!(profile.announcements, Announcements::Off);
    }
    let setup =
        announcing(Announcements::Early).acme_with(|a| a.admin_state = AdminState::Disabled);
    let mut w = World::with(setup, 13);
    let caller = w.dial(TEAMS);
    assert_eq!(w.outcome(caller).status(), 403);
    assert!(outcomes(&w).is_empty());
    let [_] = w.finish();
}

/// A shutdown refuses those who still listen.
#[test]
fn a_shutdown_ends_announcements() {
    let mut w = World::with(announcing(Announcements::Early), 14);
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
    w.provisional(caller);
    w.calls.shut_down(w.now);
    w.pass(Duration::from_secs(1));
    assert_eq!(w.outcome(caller).status(), 404);
    let [_] = w.finish();
}

/// A 200 that carried an announcement and is never acknowledged is followed by a BYE all the same (RFC 3261 §13.3.1.4).
#[test]
fn an_announcement_without_ack_ends() {
    let mut w = World::with(announcing(Announcements::Answered), 15);
    w.agents[CARRIER].acknowledges = false;
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |_| {});
    assert_eq!(w.outcome(caller).status(), 200);
    w.pass(ITS_TIME);
    assert!(!w.has_heard(caller, Method::Bye), "RFC 3261 §15");
    w.pass(Duration::from_secs(33));
    w.hung_up(caller);
    let [_] = w.finish();
}

/// The trunk's own way of SRTP holds for announcements too.
#[test]
fn an_announcement_is_as_secret_as_a_call() {
    let mut setup = announcing(Announcements::Early);
    let profile = &mut setup.trunk("carrier").profile;
    (profile.srtp, profile.reliable_provisionals) = (Srtp::Optional, ReliableProvisionals::Never);
    let mut w = World::with(setup, 16);
    let caller = w.dial_uri(CARRIER, &at(GONE), OUTSIDE, |draft| {
        let key = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 8\r\n\
             a=rtpmap:8 PCMA/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
        );
        draft.body("application/sdp", sdp);
    });
    w.provisional(caller);
    w.pass(Duration::from_secs(1));
    let (_, leg) = w.leg(caller).unwrap();
    assert!(
        leg.config
            .as_ref()
            .is_some_and(|config| config.crypto.is_some())
    );
    w.pass(ITS_TIME);
    assert_eq!(w.outcome(caller).status(), 404);
    let [_] = w.finish();
}
