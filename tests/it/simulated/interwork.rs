//! Sides that do not share a codec: what is offered, what is converted, and what cannot be.

use std::sync::Arc;
use std::time::Duration;

use tollgate::audio::{Coding, Law};
use tollgate::directory::Profile;
use tollgate::media::{Fate, Passage};
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::{formats, line};
use crate::sim::setup::*;

const A: Coding = Coding::G711(Law::A);
const MU: Coding = Coding::G711(Law::Mu);

/// What the relay does with packets that go out to this side.
fn passage(w: &World, side: Side) -> Passage {
    let (_, leg) = w.leg(side).expect("a leg");
    let config = leg.config.as_ref().expect("a configured leg");
    (*config.passage).clone()
}

/// What a leg has of a payload type and what it makes of it.
fn converted(w: &World, to: Side, payload_type: u8) -> Option<(Coding, u8)> {
    let passage = passage(w, to);
    match passage.of(payload_type) {
        Fate::Voice(from) => Some((from, passage.voice?.payload_type)),
        _ => None,
    }
}

/// The PBX knows µ-law only, Teams A-law only: whoever calls, each is offered the other law after what the caller offers,
/// and the relay converts both ways; telephone events pass as they are.
#[test]
fn who_shares_no_law_talks_all_the_same() {
    for (from, to) in [(TEAMS, PBX), (PBX, TEAMS)] {
        let mut w = World::new();
        w.agents[TEAMS].codecs = vec![8, 101];
        w.agents[PBX].codecs = vec![0, 101];
        let a = w.dial(from);
        let b = w.incoming(to);
        let (own, other) = if from == TEAMS { (8, 0) } else { (0, 8) };
        assert_eq!(formats(&w.described(b)), [own, other, 101]);
        w.answer(b);
        let answer = w.outcome(a);
        assert_eq!(
            (answer.status(), formats(&answer.body())),
            (200, vec![own, 101])
        );
        w.acknowledged(b);
        w.pass(Duration::from_millis(100));
        assert!(w.talk(a, b));
        let (teams, pbx) = if from == TEAMS { (a, b) } else { (b, a) };
        assert_eq!(converted(&w, pbx, 8), Some((A, 0)));
        assert_eq!(converted(&w, teams, 0), Some((MU, 8)));
        assert_eq!(passage(&w, pbx).of(101), Fate::As(101));
        w.bye(a);
        w.hung_up(b);
        let [cdr] = w.finish();
        let codecs = [cdr.a_media, cdr.b_media].map(|media| media.and_then(|m| m.codec));
        let names = |n| if n == 0 { "PCMU" } else { "PCMA" }.to_owned();
        assert_eq!(codecs, [Some(names(own)), Some(names(other))]);
    }
}

/// Where they share a codec nothing is converted, whatever else each of them has; the further codec comes last.
#[test]
fn what_is_shared_is_not_converted() {
    let mut w = World::new();
    w.agents[TEAMS].codecs = vec![0, 101];
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    assert_eq!(
        formats(&w.described(b)),
        [0, 8, 101],
        "though the PBX's profile has PCMA first"
    );
    w.sides[b.0].media.codecs = vec![0, 8, 101];
    w.answer(b);
    assert_eq!(formats(&w.outcome(a).body()), [0, 101]);
    w.acknowledged(b);
    w.pass(Duration::from_millis(100));
    assert_eq!(
        (passage(&w, a).of(0), passage(&w, b).of(0)),
        (Fate::As(0), Fate::As(0))
    );
    assert_eq!(passage(&w, b).converts(), None);
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// G.722 phones behind a PBX whose profile allows nothing else: Teams is offered what can be made of it.
#[test]
fn g722_meets_g711() {
    for (from, to) in [(TEAMS, PBX), (PBX, TEAMS)] {
        let setup = Setup::default().trunk_with("pbx", |trunk| {
            trunk.profile.codecs = vec!["G722".into(), "telephone-event".into()];
        });
        let mut w = World::with(setup, 1);
        w.agents[PBX].codecs = vec![9, 101];
        let a = w.dial(from);
        let b = w.incoming(to);
        let wanted = if to == PBX {
            vec![9, 101]
        } else {
            vec![8, 0, 101]
        };
        assert_eq!(formats(&w.described(b)), wanted);
        w.answer(b);
        let answer = formats(&w.outcome(a).body());
        assert_eq!(answer[..], if to == PBX { [8, 101] } else { [9, 101] });
        w.acknowledged(b);
        w.pass(Duration::from_millis(100));
        let (teams, pbx) = if from == TEAMS { (a, b) } else { (b, a) };
        assert_eq!(converted(&w, pbx, 8), Some((A, 9)));
        assert_eq!(converted(&w, teams, 9), Some((Coding::G722, 8)));
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}

/// What is neither shared nor converted: 488 with a Warning that says so, before anybody is called; the record says `media`.
#[test]
fn what_cannot_be_converted_is_refused() {
    let teams = Profile {
        codecs: vec!["SILK".into(), "G729".into(), "PCMA".into()],
        ..Profile::teams()
    };
    let setup = Setup::default().config_with(|config| config.teams_profile = Arc::new(teams));
    let mut w = World::with(setup, 1);
    w.agents[TEAMS].codecs = vec![18, 101];
    let a = w.dial(TEAMS);
    let refused = w.outcome(a);
    let text = |name| {
        refused
            .header(name)
            .map(|v| v.to_string())
            .unwrap_or_default()
    };
    assert_eq!(refused.status(), 488);
    assert!(
        text(Name::Warning).contains("no audio codec"),
        "{}",
        text(Name::Warning)
    );
    assert!(
        text(Name::Reason).contains("cause=88"),
        "{}",
        text(Name::Reason)
    );
    assert!(w.audit.invites.is_empty(), "nobody was called");
    let [cdr] = w.finish();
    assert_eq!(
        (cdr.refused_by.as_deref(), cdr.sip_code),
        (Some("media"), Some(488))
    );
}

/// The called party answers with a codec that it was not offered: the call ends, and the caller hears 488.
#[test]
fn an_answer_out_of_nowhere_is_refused() {
    let mut w = World::new();
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    w.sides[b.0].media.codecs = vec![18];
    w.answer(b);
    w.hung_up(b);
    assert_eq!(w.outcome(a).status(), 488);
    let [cdr] = w.finish();
    assert_eq!(cdr.refused_by.as_deref(), Some("media"));
}

/// Inside a call: the PBX goes over to µ-law, Teams is asked and keeps to A-law, by answering so or by refusing; the PBX
/// gets its way, and we convert.
#[test]
fn a_change_that_the_other_will_not_follow_is_converted() {
    for refuses in [true, false] {
        let mut w = World::new();
        w.agents[TEAMS].codecs = vec![8, 101];
        let (pbx, teams) = w.call_to_teams();
        w.sides[pbx.0].media.codecs = vec![0, 101];
        let sdp = w.describe(pbx, "sendrecv");
        w.send(pbx, Method::Invite, Some(sdp), |_| {});
        let asked = w.request(teams, Method::Invite);
        assert_eq!(formats(&asked.1.body()), [0, 8, 101]);
        let sdp = w.describe(teams, "sendrecv");
        let (status, sdp) = if refuses {
            (488, None)
        } else {
            (200, Some(sdp))
        };
        w.respond(teams, &asked, status, sdp, |_| {});
        let answer = w.outcome_of(pbx, Method::Invite);
        assert_eq!(
            (answer.status(), formats(&answer.body())),
            (200, vec![0, 101])
        );
        w.pass(Duration::from_millis(100));
        assert!(w.talk(pbx, teams));
        assert_eq!(converted(&w, teams, 0), Some((MU, 8)));
        assert_eq!(converted(&w, pbx, 8), Some((A, 0)));
        w.bye(pbx);
        w.hung_up(teams);
        let [_] = w.finish();
    }
}

/// An INVITE without an offer from a PBX that knows µ-law only, when Teams took A-law: our late offer has both.
#[test]
fn a_late_offer_leaves_room_for_conversion() {
    let mut w = World::new();
    w.agents[TEAMS].codecs = vec![8, 101];
    w.agents[PBX].codecs = vec![0, 101];
    let a = w.dial_with(PBX, ALICE, |draft| {
        draft.body("application/sdp", "").remove(Name::ContentType);
    });
    let b = w.incoming(TEAMS);
    w.answer(b);
    let answer = w.describe(a, "sendrecv");
    w.sides[a.0].ack_sdp = Some(answer);
    let offer = w.outcome(a);
    assert_eq!(formats(&offer.body()), [8, 0, 101]);
    w.acknowledged(b);
    w.pass(Duration::from_millis(200));
    assert!(w.talk(a, b));
    assert_eq!(converted(&w, a, 8), Some((A, 0)));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// TDR-814: Teams has comfort noise, its PBX does not answer with any: neither is sent some, and what the PBX, which was
/// offered it, sends all the same becomes silence.
#[test]
fn noise_stays_with_who_has_it() {
    let mut w = World::new();
    w.agents[TEAMS].codecs = vec![8, 13, 101];
    w.agents[PBX].codecs = vec![8, 101];
    let (teams, pbx) = w.call_from_teams();
    assert!(!formats(&w.described(teams)).contains(&13));
    assert_eq!(passage(&w, pbx).of(13), Fate::Dropped);
    assert_eq!(passage(&w, teams).of(13), Fate::Silence);
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// TDR-818: video, T.38 and messages beside the voice are answered with port 0, each in its place and in every answer.
#[test]
fn other_media_are_refused_in_their_places() {
    for (who, to) in [(TEAMS, PBX), (PBX, TEAMS)] {
        let mut w = World::new();
        let number = if who == TEAMS { OUTSIDE } else { ALICE };
        let others = |sdp: &str| {
            let (head, audio) = sdp.split_at(sdp.find("m=audio").expect("audio"));
            format!(
                "{head}m=video 4002 RTP/AVP 31 34\r\na=rtpmap:34 H263/90000\r\n{audio}\
                 m=image 4004 udptl t38\r\na=T38FaxVersion:0\r\n\
                 m=message 4006 TCP/MSRP *\r\na=path:msrp://192.0.2.9:4006/x;tcp\r\n\
                 m=text 4008 RTP/AVP 98\r\n"
            )
        };
        let a = w.dial_with(who, number, |draft| {
            let sdp = String::from_utf8(draft.body_bytes().to_vec()).expect("text");
            draft.body("application/sdp", others(&sdp));
        });
        let b = w.incoming(to);
        let offered = w.described(b);
        let lines = |sdp: &[u8]| {
            let text = std::str::from_utf8(sdp).expect("text").to_owned();
            let media = text.lines().filter(|line| line.starts_with("m="));
            media.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&offered).len(), 1, "only voice goes on");
        w.answer(b);
        let answer = w.outcome(a).body();
        let refused = |lines: &[String]| {
            assert_eq!(lines.len(), 5, "{lines:?}");
            assert_eq!(lines[0], "m=video 0 RTP/AVP 31 34");
            assert!(lines[1].starts_with("m=audio ") && !lines[1].starts_with("m=audio 0"));
            assert_eq!(lines[2], "m=image 0 udptl t38");
            assert_eq!(lines[3], "m=message 0 TCP/MSRP *");
            assert_eq!(lines[4], "m=text 0 RTP/AVP 98");
        };
        refused(&lines(&answer));
        w.acknowledged(b);
        // A fax begins inside the call: T.38 beside the voice is refused, the voice goes on.
        let again = others(&w.describe(a, "sendrecv"));
        w.send(a, Method::Invite, Some(again), |_| {});
        let answer = w.outcome_of(a, Method::Invite);
        assert_eq!(answer.status(), 200);
        refused(&lines(&answer.body()));
        // In the voice's place: there is nothing left to answer.
        let fax = w.describe(a, "sendrecv");
        let voice = line(&fax, "m=").expect("audio").to_owned();
        let fax = fax.replace(&format!("m={voice}"), "m=image 4004 udptl t38");
        w.send(a, Method::Invite, Some(fax), |_| {});
        let refused = w.outcome_of(a, Method::Invite);
        assert_eq!(refused.status(), 488);
        assert!(refused.header(Name::Warning).is_some());
        w.pass(Duration::from_millis(100));
        assert!(w.talk(a, b));
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}

/// The PBX wants packets of 30 ms, Teams has 20 (TDR-812): the voice is cut anew both ways. Where neither asks for anything
/// else than it gets, nothing is.
#[test]
fn packets_are_cut_as_each_side_wants() {
    for (wanted, cut) in [
        ("a=ptime:30", true),
        ("a=ptime:20", false),
        ("a=maxptime:40", false),
    ] {
        let mut w = World::new();
        let a = w.dial_with(PBX, ALICE, |draft| {
            let sdp = String::from_utf8(draft.body_bytes().to_vec()).expect("text");
            let sdp = sdp.replace("a=sendrecv", &format!("{wanted}\r\na=sendrecv"));
            draft.body("application/sdp", sdp);
        });
        let b = w.incoming(TEAMS);
        let offered = w.described(b);
        let offered = std::str::from_utf8(&offered).expect("text");
        assert_eq!(line(offered, "a=ptime:"), Some("20"), "TDR-812");
        let answer = w.describe(b, "sendrecv");
        let answer = answer.replace("a=sendrecv", "a=ptime:20\r\na=sendrecv");
        w.reply(b, 200, Some(answer), |_| {});
        assert_eq!(w.outcome(a).status(), 200);
        w.acknowledged(b);
        w.pass(Duration::from_millis(100));
        let ms = [a, b].map(|side| passage(&w, side).packet_ms);
        assert_eq!(
            ms,
            if cut { [Some(30), Some(20)] } else { [None; 2] },
            "{wanted}"
        );
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}
