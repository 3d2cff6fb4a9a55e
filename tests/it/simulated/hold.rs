//! Hold, resume, music, refreshes, other codecs: requests that change a call which is up.

mod offers;
mod pbx_music;

use std::sync::Arc;
use std::time::Duration;

use tollgate::audio::{Clip, Law};
use tollgate::b2bua::Music;
use tollgate::media::Play;
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::{direction, line};
use crate::sim::setup::*;

/// TDR-604, T-28: Teams holds and resumes, as caller and as called. It is answered as it asked, the other side sees no
/// re-INVITE, and hears music meanwhile.
#[test]
fn teams_holds_and_resumes() {
    for teams_calls in [true, false] {
        for (form, answered) in [("inactive", "inactive"), ("sendonly", "recvonly")] {
            let mut w = World::new();
            let (a, b) = if teams_calls {
                w.call_from_teams()
            } else {
                w.call_to_teams()
            };
            let (teams, pbx) = if teams_calls { (a, b) } else { (b, a) };
            let held = w.reinvite(teams, form);
            assert_eq!(
                (held.status(), direction(&held.body()).as_str()),
                (200, answered)
            );
            assert_eq!(w.music(pbx), Some(Play::music(Law::A, 8)), "{form}");
            assert_eq!(w.music(teams), None);
            assert!(!w.has_heard(pbx, Method::Invite));
            let resumed = w.reinvite(teams, "sendrecv");
            assert_eq!(direction(&resumed.body()), "sendrecv");
            assert!(w.talk(a, b));
            assert!(!w.has_heard(pbx, Method::Invite));
            w.bye(a);
            w.hung_up(b);
            let [cdr] = w.finish();
            assert_eq!(cdr.music, Some(Music::BuiltIn));
        }
    }
}

/// Who is held hears the piece of its own carrier or partner, if there is one.
#[test]
fn a_customer_has_music_of_its_own() {
    let own = Arc::new(Clip::new([500; 16_000]));
    let piece = own.clone();
    let setup = Setup::default().acme_with(|acme| acme.music = Some(piece));
    let mut w = World::with(setup, 7);
    let (teams, pbx) = w.call_from_teams();
    w.reinvite(teams, "inactive");
    let expected = Play {
        clip: own,
        ..Play::music(Law::A, 8)
    };
    assert_eq!(w.music(pbx), Some(expected));
    w.reinvite(teams, "sendrecv");
    assert_eq!(w.music(pbx), None);
    w.bye(teams);
    w.finish::<1>();
}

/// TDR-601, TDR-602: in whatever way a PBX holds, Teams sees none of it. It hears our music, or with sendonly that of
/// the PBX.
#[test]
fn a_pbx_holds_in_every_way() {
    let ways = [
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
        ("0.0.0.0", ""),
    ];
    for (way, answered) in ways {
        for teams_calls in [true, false] {
            let mut w = World::new();
            let (a, b) = if teams_calls {
                w.call_from_teams()
            } else {
                w.call_to_teams()
            };
            let (teams, pbx) = if teams_calls { (a, b) } else { (b, a) };
            let sdp = if way == "0.0.0.0" {
                let sdp = w.describe(pbx, "sendrecv");
                sdp.replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0")
            } else {
                w.describe(pbx, way)
            };
            w.send(pbx, Method::Invite, Some(sdp), |_| {});
            let held = w.outcome_of(pbx, Method::Invite);
            assert_eq!(held.status(), 200, "{way}");
            if !answered.is_empty() {
                assert_eq!(direction(&held.body()), answered);
            }
            let text = String::from_utf8(held.body().to_vec()).unwrap();
            assert_eq!(line(&text, "c=IN IP4 "), Some("192.0.2.1"));
            let music = (way != "sendonly" && way != "0.0.0.0").then_some(Play::music(Law::A, 8));
            assert_eq!(w.music(teams), music, "{way}");
            assert!(!w.has_heard(teams, Method::Invite), "{way}");
            assert_eq!(w.reinvite(pbx, "sendrecv").status(), 200);
            assert!(w.talk(a, b), "{way}");
            w.bye(b);
            w.hung_up(a);
            let [_] = w.finish();
        }
    }
}

/// Both hold: each is held by the other, and both resume.
#[test]
fn both_hold() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    assert_eq!(w.reinvite(a, "inactive").status(), 200);
    assert_eq!(w.reinvite(b, "inactive").status(), 200);
    assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
    assert_eq!(w.music(a), Some(Play::music(Law::A, 8)));
    assert_eq!(w.reinvite(b, "sendrecv").status(), 200);
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// TDR-607: a re-INVITE without a description is answered with a full offer; the ACK brings the answer.
#[test]
fn resumed_without_an_offer() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    assert_eq!(w.reinvite(b, "inactive").status(), 200);
    assert!(w.music(a).is_some());
    let answer = w.describe(b, "sendrecv");
    w.sides[b.0].ack_sdp = Some(answer);
    w.send(b, Method::Invite, None, |_| {});
    let offer = w.outcome_of(b, Method::Invite);
    assert_eq!(
        (offer.status(), direction(&offer.body()).as_str()),
        (200, "sendrecv")
    );
    w.pass(Duration::from_millis(100));
    assert!(w.talk(a, b));
    assert!(!w.has_heard(a, Method::Invite));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// RFC 3311: an UPDATE holds and resumes as a re-INVITE does, and without a description just refreshes.
#[test]
fn held_by_update() {
    let mut w = World::new();
    let (a, b) = w.call_from_teams();
    for (form, music) in [
        ("inactive", Some(Play::music(Law::A, 8))),
        ("sendrecv", None),
    ] {
        let sdp = w.describe(b, form);
        w.send(b, Method::Update, Some(sdp), |_| {});
        let answer = w.outcome_of(b, Method::Update);
        assert_eq!(
            (answer.status(), direction(&answer.body()).as_str()),
            (200, form)
        );
        assert_eq!(w.music(a), music);
    }
    w.send(b, Method::Update, None, |_| {});
    let answer = w.outcome_of(b, Method::Update);
    assert_eq!((answer.status(), answer.body().len()), (200, 0));
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// What must never change of a Teams leg: address, port and key (TDR-804, TDR-834).
fn place(w: &World, side: Side) -> (Option<String>, Option<String>, Option<u16>) {
    let sdp = w.described(side);
    let text = std::str::from_utf8(&sdp).unwrap();
    let own = |start| line(text, start).map(str::to_owned);
    (own("c="), own("a=crypto:"), crate::sim::sdp::port(&sdp))
}

/// TDR-804, TDR-834: through hold and resume of either side, refreshes, UPDATE and codec changes our address, port and
/// key towards Teams stay what they were.
#[test]
fn nothing_moves_the_media_of_teams() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let before = place(&w, teams);
    for round in 0..3 {
        for (side, form) in [
            (teams, "inactive"),
            (teams, "sendrecv"),
            (pbx, "sendonly"),
            (pbx, "sendrecv"),
            (teams, "sendrecv"),
        ] {
            assert_eq!(w.reinvite(side, form).status(), 200);
            assert_eq!(place(&w, teams), before, "{form}");
        }
        w.sides[teams.0].media.codecs = vec![0, 101];
        let sdp = w.describe(teams, "sendrecv");
        w.send(teams, Method::Update, Some(sdp), |_| {});
        assert_eq!(w.outcome_of(teams, Method::Update).status(), 200);
        assert_eq!(place(&w, teams), before, "round {round}");
        w.sides[teams.0].media.codecs = vec![8, 0, 101];
        assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
    }
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// TDR-834: a new key of Teams begins a new receiving context and leaves ours alone; the same key again, 27 minutes on,
/// changes nothing for the relay, so that its rollover counters go on.
#[test]
fn a_new_key_of_teams() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    let crypto = |w: &World| {
        w.leg(teams)
            .unwrap()
            .1
            .config
            .clone()
            .unwrap()
            .crypto
            .unwrap()
    };
    let first = crypto(&w);
    w.pass(Duration::from_secs(27 * 60));
    let same = w.sides[teams.0].media.again("sendrecv");
    w.send(teams, Method::Invite, Some(same), |_| {});
    assert_eq!(w.outcome_of(teams, Method::Invite).status(), 200);
    assert_eq!(crypto(&w), first);
    let key = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    w.sides[teams.0].media.key = Some(key.into());
    assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
    let second = crypto(&w);
    assert_ne!(second.receive, first.receive);
    assert_eq!(second.send, first.send);
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// TDR-607: Teams holds, and its PBX sends a re-INVITE without an offer: it gets a full one, Teams is left alone, and
/// the PBX still hears music.
#[test]
fn an_empty_reinvite_while_teams_holds() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    let before = place(&w, teams);
    let answer = w.describe(pbx, "sendrecv");
    w.sides[pbx.0].ack_sdp = Some(answer);
    w.send(pbx, Method::Invite, None, |_| {});
    let offer = w.outcome_of(pbx, Method::Invite);
    assert_eq!(direction(&offer.body()), "sendrecv");
    w.pass(Duration::from_millis(100));
    assert_eq!(w.music(pbx), Some(Play::music(Law::A, 8)));
    assert!(!w.has_heard(teams, Method::Invite));
    assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
    assert_eq!(place(&w, teams), before);
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A PBX holds, and we refresh its session at half time, with the description that stood: it still holds afterwards.
#[test]
fn our_refresh_does_not_end_a_hold() {
    let mut w = World::new();
    let teams = w.dial(TEAMS);
    let pbx = w.incoming(PBX);
    let sdp = w.describe(pbx, "sendrecv");
    w.reply(pbx, 200, Some(sdp), |draft| {
        draft.header(Name::SessionExpires, "1800;refresher=uac");
    });
    w.outcome(teams);
    w.acknowledged(pbx);
    assert_eq!(w.reinvite(pbx, "inactive").status(), 200);
    assert_eq!(w.music(teams), Some(Play::music(Law::A, 8)));
    w.pass(Duration::from_secs(890));
    let refresh = w.request(pbx, Method::Invite);
    assert_eq!(direction(&refresh.1.body()), "inactive");
    let sdp = w.sides[pbx.0].media.again("inactive");
    w.respond(pbx, &refresh, 200, Some(sdp), |_| {});
    w.acknowledged(pbx);
    w.pass(Duration::from_secs(1));
    assert_eq!(w.music(teams), Some(Play::music(Law::A, 8)), "still held");
    assert_eq!(w.reinvite(pbx, "sendrecv").status(), 200);
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}
