//! Hold, resume, music, refreshes, other codecs: requests that change a call which is up.

use std::sync::Arc;
use std::time::Duration;

use tollgate::audio::{Clip, Law};
use tollgate::b2bua::Music;
use tollgate::directory::{MohMethod, Profile, Role};
use tollgate::media::Play;
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::{direction, formats, line};
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

/// T-26: with `pbx_moh` the PBX is told that Teams holds, and plays the music; the relay plays none.
#[test]
fn the_pbx_plays_the_music() {
    for teams_calls in [true, false] {
        let mut w = World::with(Setup::default().acme_with(|c| c.pbx_moh = true), 5);
        let (a, b) = if teams_calls {
            w.call_from_teams()
        } else {
            w.call_to_teams()
        };
        let (teams, pbx) = if teams_calls { (a, b) } else { (b, a) };
        for (form, told, answer) in [
            ("inactive", "sendonly", "recvonly"),
            ("sendrecv", "sendrecv", "sendrecv"),
        ] {
            assert_eq!(w.reinvite(teams, form).status(), 200);
            let request = w.request(pbx, Method::Invite);
            assert_eq!(direction(&request.1.body()), told);
            let sdp = w.describe(pbx, answer);
            w.respond(pbx, &request, 200, Some(sdp), |_| {});
            w.acknowledged(pbx);
            assert_eq!(w.music(pbx), None);
        }
        assert!(w.talk(a, b));
        w.bye(a);
        w.hung_up(b);
        let [cdr] = w.finish();
        assert_eq!(cdr.music, Some(Music::Pbx));
    }
}

/// The PBX's own music is to be heard, and it wants a REFER to it.
fn referring() -> Setup {
    let setup = Setup::default().acme_with(|c| c.pbx_moh = true);
    setup.trunk_with("pbx", |pbx| {
        pbx.profile.moh_method = MohMethod::Refer;
        pbx.profile.moh_target = Some("moh".into());
    })
}

/// What the PBX says of a REFER (RFC 3515 §2.4.4).
fn notify(w: &mut World, pbx: Side, status: &str) {
    let end = !status.starts_with('1');
    w.send(pbx, Method::Notify, None, |draft| {
        let state = if end {
            "terminated;reason=noresource"
        } else {
            "active;expires=60"
        };
        draft
            .header(Name::Event, "refer")
            .header(Name::SubscriptionState, state)
            .body(
                "message/sipfrag;version=2.0",
                format!("SIP/2.0 {status}\r\n"),
            );
    });
    assert_eq!(w.outcome_of(pbx, Method::Notify).status(), 200);
}

/// The PBX agrees to this direction.
fn told(w: &mut World, pbx: Side, direction_told: &str) {
    let request = w.request(pbx, Method::Invite);
    assert_eq!(direction(&request.1.body()), direction_told);
    let answer = if direction_told == "sendonly" {
        "recvonly"
    } else {
        "sendrecv"
    };
    let sdp = w.describe(pbx, answer);
    w.respond(pbx, &request, 200, Some(sdp), |_| {});
    w.acknowledged(pbx);
}

/// `moh_method` `refer`: while Teams holds the PBX is referred to its music, and gets no re-INVITE; one with sendrecv takes
/// the party back. As often as Teams holds, whoever called.
#[test]
fn the_pbx_is_referred_to_its_music() {
    for teams_calls in [true, false] {
        let mut w = World::with(referring(), 31);
        let (a, b) = if teams_calls {
            w.call_from_teams()
        } else {
            w.call_to_teams()
        };
        let (teams, pbx) = if teams_calls { (a, b) } else { (b, a) };
        for _ in 0..2 {
            assert_eq!(w.reinvite(teams, "inactive").status(), 200);
            let refer = w.request(pbx, Method::Refer);
            let header = |name| refer.1.header(name).unwrap().to_string();
            assert_eq!(header(Name::ReferTo), "<sip:moh@192.0.2.10:5060>");
            assert!(header(Name::ReferredBy).contains("192.0.2.1"));
            w.respond(pbx, &refer, 202, None, |_| {});
            notify(&mut w, pbx, "100 Trying");
            notify(&mut w, pbx, "200 OK");
            w.pass(Duration::from_secs(60));
            assert!(!w.has_heard(pbx, Method::Invite));
            assert_eq!(w.music(pbx), None, "the PBX plays it");
            assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
            told(&mut w, pbx, "sendrecv");
            assert!(w.talk(a, b));
        }
        w.bye(a);
        w.hung_up(b);
        let [cdr] = w.finish();
        assert_eq!(cdr.music, Some(Music::Pbx));
    }
}

/// A PBX that refuses the REFER, says nothing to it, or finds out later that it leads nowhere, is put on hold by re-INVITE
/// after all, and in this call is not asked again.
#[test]
fn a_refused_referral_becomes_a_hold() {
    for refusal in ["405", "silence", "later"] {
        let mut w = World::with(referring(), 32);
        let (teams, pbx) = w.call_from_teams();
        assert_eq!(w.reinvite(teams, "inactive").status(), 200);
        let refer = w.request(pbx, Method::Refer);
        match refusal {
            "405" => w.respond(pbx, &refer, 405, None, |_| {}),
            "later" => {
                w.respond(pbx, &refer, 202, None, |_| {});
                notify(&mut w, pbx, "503 Service Unavailable");
            }
            _ => {}
        }
        told(&mut w, pbx, "sendonly");
        assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
        told(&mut w, pbx, "sendrecv");
        assert_eq!(w.reinvite(teams, "inactive").status(), 200);
        told(&mut w, pbx, "sendonly");
        assert!(!w.has_heard(pbx, Method::Refer), "{refusal}");
        if refusal == "silence" {
            w.respond(pbx, &refer, 603, None, |_| {});
        }
        w.bye(teams);
        w.hung_up(pbx);
        let [_] = w.finish();
    }
}

/// Teams resumes before the PBX has answered the REFER: whoever was handed to the music comes back as soon as it has; and
/// if it then says that the music failed, nobody cares.
#[test]
fn a_resume_overtakes_a_referral() {
    let mut w = World::with(referring(), 33);
    let (teams, pbx) = w.call_from_teams();
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    let refer = w.request(pbx, Method::Refer);
    assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
    w.pass(Duration::from_millis(200));
    assert!(!w.has_heard(pbx, Method::Invite));
    w.respond(pbx, &refer, 202, None, |_| {});
    told(&mut w, pbx, "sendrecv");
    notify(&mut w, pbx, "487 Request Terminated");
    w.pass(Duration::from_secs(1));
    assert!(!w.has_heard(pbx, Method::Invite));
    assert!(w.talk(teams, pbx));
    w.bye(pbx);
    w.hung_up(teams);
    let [_] = w.finish();
}

/// The PBX is told of a hold with a re-INVITE that meets one of its own: after both, it knows.
#[test]
fn a_hold_is_told_in_spite_of_glare() {
    let mut w = World::with(Setup::default().acme_with(|c| c.pbx_moh = true), 6);
    let (a, b) = w.call_from_teams();
    assert_eq!(w.reinvite(a, "inactive").status(), 200);
    let first = w.request(b, Method::Invite);
    w.respond(b, &first, 491, None, |_| {});
    w.pass(Duration::from_millis(50));
    assert_eq!(w.reinvite(b, "sendrecv").status(), 200, "theirs goes first");
    let again = w.request(b, Method::Invite);
    assert_eq!(direction(&again.1.body()), "sendonly");
    let sdp = w.describe(b, "recvonly");
    w.respond(b, &again, 200, Some(sdp), |_| {});
    w.acknowledged(b);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

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

/// `pbx_moh` is a promise of the customer's PBX. A carrier's line is held by us, with our music, and sees no re-INVITE.
#[test]
fn a_carrier_plays_no_music() {
    let setup = Setup::default()
        .acme_with(|acme| acme.pbx_moh = true)
        .trunk_with("pbx", |trunk| trunk.role = Role::Carrier);
    let mut w = World::with(setup, 53);
    let (teams, carrier) = w.call_from_teams();
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    assert_eq!(w.music(carrier), Some(Play::music(Law::A, 8)));
    w.pass(Duration::from_secs(5));
    assert!(!w.has_heard(carrier, Method::Invite));
    w.bye(teams);
    w.hung_up(carrier);
    let [cdr] = w.finish();
    assert_eq!(cdr.music, Some(Music::BuiltIn));
}

/// Teams resumes before the PBX has answered the hold that it was told: it is told of the end as soon as it has.
#[test]
fn a_hold_that_is_over_before_it_is_told() {
    let mut w = World::with(Setup::default().acme_with(|c| c.pbx_moh = true), 51);
    let (teams, pbx) = w.call_from_teams();
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    let hold = w.request(pbx, Method::Invite);
    assert_eq!(w.reinvite(teams, "sendrecv").status(), 200);
    for (request, answer) in [(Some(hold), "recvonly"), (None, "sendrecv")] {
        let request = request.unwrap_or_else(|| w.request(pbx, Method::Invite));
        let sdp = w.describe(pbx, answer);
        w.respond(pbx, &request, 200, Some(sdp), |_| {});
        w.acknowledged(pbx);
    }
    assert_eq!(direction(&w.described(pbx)), "sendrecv");
    w.pass(Duration::from_secs(10));
    assert!(!w.has_heard(pbx, Method::Invite), "it knows all there is");
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// `pbx_moh`: a refresh of Teams while it holds, and one of the PBX, are answered as before and cross to nobody
/// (TDR-512, TDR-513).
#[test]
fn refreshes_while_the_pbx_plays_the_music() {
    let mut w = World::with(Setup::default().acme_with(|c| c.pbx_moh = true), 52);
    let (teams, pbx) = w.call_from_teams();
    assert_eq!(w.reinvite(teams, "inactive").status(), 200);
    let hold = w.request(pbx, Method::Invite);
    let sdp = w.describe(pbx, "recvonly");
    w.respond(pbx, &hold, 200, Some(sdp), |_| {});
    w.acknowledged(pbx);
    for (side, other, form) in [(teams, pbx, "inactive"), (pbx, teams, "recvonly")] {
        let same = w.sides[side.0].media.again(form);
        w.send(side, Method::Invite, Some(same), |_| {});
        assert_eq!(w.outcome_of(side, Method::Invite).status(), 200);
        w.pass(Duration::from_secs(5));
        assert!(!w.has_heard(other, Method::Invite), "{form}");
        assert!(!w.has_heard(side, Method::Invite), "{form}");
    }
    assert_eq!(direction(&w.described(pbx)), "sendonly");
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
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
