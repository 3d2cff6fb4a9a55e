//! What is heard while a call is handed on: ringback, the target's own sound, music on hold.

use std::sync::Arc;
use std::time::Duration;

use tollgate::audio::{Law, tones};
use tollgate::directory::Profile;
use tollgate::media::{Play, Sound};
use tollgate::sip::Method;

use super::{ELSEWHERE, refer, told_the_end};
use crate::sim::World;
use crate::sim::sdp::direction;
use crate::sim::setup::*;

/// What the ITU recommends, in A-law.
fn ringback() -> Play {
    Play {
        sound: Sound::Ringback,
        clip: tones::ringback(None),
        law: Law::A,
        payload_type: 8,
    }
}

/// TDR-710, TDR-605: who is handed on hears the target ring, but only after some seconds, in which music on hold would
/// have answered. It goes on when the referrer leaves or holds, and stops at the answer or the failure. A profile can
/// have it earlier or never.
#[test]
fn who_is_handed_on_hears_ringback() {
    let tone = Some(ringback());
    for (after, answers, leaves) in [
        (5, true, true),
        (5, false, false),
        (1, true, false),
        (0, true, false),
    ] {
        let setup = Setup::default().config_with(|config| {
            config.teams_profile = Arc::new(Profile {
                transfer_ringback_s: after,
                ..Profile::teams()
            });
        });
        let mut w = World::with(setup, 41);
        let (teams, pbx) = w.call_from_teams();
        refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
        let c = w.incoming(TEAMS);
        w.pass(Duration::from_secs(10));
        assert_eq!(w.music(pbx), None, "nothing rings yet");
        w.ring(c);
        w.pass(
            Duration::from_millis(u64::from(after) * 1000)
                .saturating_sub(Duration::from_millis(200)),
        );
        assert_eq!(w.music(pbx), None);
        w.pass(Duration::from_secs(1));
        let expected = tone.clone().filter(|_| after > 0);
        assert_eq!(w.music(pbx), expected);
        if leaves {
            w.bye(teams);
        } else {
            assert_eq!(w.reinvite(teams, "inactive").status(), 200);
            assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
        }
        w.pass(Duration::from_secs(1));
        assert_eq!(w.music(pbx), expected);
        if answers {
            w.answer(c);
            w.pass(Duration::from_millis(200));
            assert!(w.talk(c, pbx));
        } else {
            w.reject(c, 480);
            w.pass(Duration::from_millis(200));
            assert!(w.talk(teams, pbx));
        }
        w.bye(pbx);
        let [_] = w.finish();
    }
}

/// TDR-710: a target behind a trunk that sends sound before it answers is heard by who is handed on, whatever the
/// referrer does meanwhile, and instead of our ringback. When the target will not, the two have each other back; when it
/// answers, they talk on.
#[test]
fn who_is_handed_on_hears_the_targets_own_sound() {
    for (rings_first, leaves, answers) in [
        (false, false, true),
        (true, false, true),
        (false, true, true),
        (true, false, false),
        (false, true, false),
    ] {
        let mut w = World::new();
        let (pbx, teams) = w.call_to_teams();
        w.reinvite(teams, "inactive");
        refer(&mut w, teams, &format!("sip:{ELSEWHERE}@{ACME_FQDN}:5061"));
        let c = w.incoming(PBX);
        if rings_first {
            w.ring(c);
            w.pass(Duration::from_secs(7));
            assert_eq!(w.music(pbx), Some(ringback()));
        }
        let sdp = w.describe(c, "sendrecv");
        w.reply(c, 183, Some(sdp), |_| {});
        w.pass(Duration::from_secs(10));
        assert!(w.talk(pbx, c), "neither music nor ringback");
        if leaves {
            w.bye(teams);
        } else {
            assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
            assert_eq!(w.reinvite(pbx, "sendrecv").status(), 200);
        }
        w.pass(Duration::from_secs(1));
        assert!(w.talk(pbx, c), "whatever the referrer does");
        match (answers, leaves) {
            (true, _) => {
                w.answer(c);
                w.pass(Duration::from_secs(1));
                assert!(w.talk(pbx, c));
                w.bye(c);
                w.hung_up(pbx);
            }
            (false, false) => {
                w.reject(c, 486);
                w.pass(Duration::from_secs(1));
                assert!(w.talk(pbx, teams), "they have each other back");
                w.bye(pbx);
            }
            (false, true) => {
                w.reject(c, 486);
                w.hung_up(pbx);
            }
        }
        let [_] = w.finish();
    }
}

/// TDR-505: Teams' own 183 carries no sound: who is handed on hears our ringback.
#[test]
fn a_183_of_teams_is_ringback() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
    let c = w.incoming(TEAMS);
    let sdp = w.describe(c, "sendrecv");
    w.reply(c, 183, Some(sdp), |_| {});
    w.pass(Duration::from_secs(6));
    assert_eq!(w.music(pbx), Some(ringback()));
    w.reject(c, 480);
    w.bye(pbx);
    let [_] = w.finish();
}

/// Who is handed on holds while the target rings: the target hears music until that ends. Who hands on may hold and
/// resume meanwhile.
#[test]
fn a_hold_while_a_transfer_runs() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
    let c = w.incoming(TEAMS);
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    assert_eq!(w.music(pbx), Some(Play::music(Law::A, 8)));
    assert_eq!(w.reinvite(pbx, "inactive").status(), 200);
    w.answer(c);
    assert_eq!(told_the_end(&mut w, teams), "SIP/2.0 200 OK");
    w.pass(Duration::from_millis(100));
    assert_eq!(
        (w.music(c), w.music(pbx)),
        (Some(Play::music(Law::A, 8)), None)
    );
    assert_eq!(w.reinvite(pbx, "sendrecv").status(), 200);
    assert!(w.talk(c, pbx));
    w.bye(teams);
    w.bye(c);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// The customer's PBX was told of the hold that went before a transfer, and is told that it is over.
#[test]
fn the_pbx_is_told_that_the_hold_before_a_transfer_is_over() {
    let mut w = World::with(Setup::default().acme_with(|c| c.pbx_moh = true), 45);
    let (teams, pbx) = w.call_from_teams();
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    let answer = |w: &mut World, told: &str, answer: &str| {
        let request = w.request(pbx, Method::Invite);
        assert_eq!(direction(&request.1.body()), told);
        let sdp = w.describe(pbx, answer);
        w.respond(pbx, &request, 200, Some(sdp), |_| {});
        w.acknowledged(pbx);
    };
    answer(&mut w, "sendonly", "recvonly");
    refer(&mut w, teams, "sip:sip.pstnhub.microsoft.com;x-m=8:orgid:a");
    let c = w.incoming(TEAMS);
    w.answer(c);
    answer(&mut w, "sendrecv", "sendrecv");
    w.pass(Duration::from_millis(100));
    assert!(w.talk(c, pbx));
    w.bye(teams);
    w.bye(pbx);
    w.hung_up(c);
    let [_] = w.finish();
}
