//! Keys that a trunk tells by INFO, or is told of by INFO.

use std::time::Duration;

use tollgate::b2bua::Report;
use tollgate::directory::{Dtmf, TrunkState};
use tollgate::media::{Event, Fate, KeySink};
use tollgate::sip::{Builder, Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::formats;
use crate::sim::setup::*;

/// A world whose PBX has keys in this form, which `change` may alter.
fn world(dtmf: Dtmf) -> World {
    let setup = Setup::default().trunk_with("pbx", |trunk| trunk.profile.dtmf = dtmf);
    World::with(setup, 1)
}

fn tell(w: &mut World, side: Side, kind: &str, body: &str) -> tollgate::sip::Message {
    w.send(side, Method::Info, None, |draft| {
        draft.body(kind, body);
    });
    w.outcome_of(side, Method::Info)
}

/// The relay hears of a key on its way to this side.
fn press(w: &mut World, side: Side, key: char, ms: u64) {
    let (leg, _) = w.leg(side).expect("a leg");
    let duration = Duration::from_millis(ms);
    w.media(Event::Key { leg, key, duration });
}

/// TDR-813: whoever calls, a trunk with keys by INFO or by tones hears nothing of telephone events in descriptions, and Teams
/// does all the same.
#[test]
fn teams_has_events_whatever_the_trunk_has() {
    for dtmf in [Dtmf::Info, Dtmf::Inband] {
        for (from, to) in [(TEAMS, PBX), (PBX, TEAMS)] {
            let mut w = world(dtmf);
            w.agents[PBX].codecs = vec![8, 101];
            let a = w.dial(from);
            let b = w.incoming(to);
            w.answer(b);
            w.outcome(a);
            w.acknowledged(b);
            w.pass(Duration::from_millis(100));
            let (teams, pbx) = if from == TEAMS { (a, b) } else { (b, a) };
            assert!(formats(&w.described(teams)).contains(&101), "{dtmf:?}");
            assert!(!formats(&w.described(pbx)).contains(&101), "{dtmf:?}");
            let passage = |side| w.leg(side).unwrap().1.config.clone().unwrap().passage;
            assert_eq!(passage(teams).keys, KeySink::Events(101));
            assert_eq!(passage(teams).listens, dtmf == Dtmf::Inband);
            assert_eq!(passage(pbx).of(101), Fate::Key);
            let sink = match dtmf {
                Dtmf::Info => KeySink::Told,
                _ => KeySink::Tones,
            };
            assert_eq!(passage(pbx).keys, sink);
            w.bye(a);
            w.hung_up(b);
            let [_] = w.finish();
        }
    }
}

/// INFO of the PBX becomes events towards Teams; TDR-511: nothing of it reaches Teams as INFO.
#[test]
fn keys_by_info_become_events() {
    let mut w = world(Dtmf::Info);
    let (teams, pbx) = w.call_from_teams();
    for (kind, body) in [
        ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"),
        ("Application/DTMF-Relay", "Signal= * \r\nDuration= 250"),
        ("application/dtmf", "7"),
    ] {
        assert_eq!(tell(&mut w, pbx, kind, body).status(), 200, "{body}");
    }
    let dialled = w.leg(teams).unwrap().1.dialled.clone();
    assert_eq!(dialled, [('5', 160), ('*', 250), ('7', 160)]);
    w.pass(Duration::from_secs(1));
    assert!(!w.has_heard(teams, Method::Info));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// RFC 6086 §4.2.2, RFC 3261 §21.4.13: what we do not understand is refused with what we do: 415 with Accept, 469 with
/// Recv-Info, 400 for nonsense. An empty INFO is 200, and so is any of Teams (TDR-511). The call does not notice.
#[test]
fn what_is_not_understood_is_refused() {
    let mut w = world(Dtmf::Info);
    let (teams, pbx) = w.call_from_teams();
    let other = tell(
        &mut w,
        pbx,
        "application/vnd.nortelnetworks.digits",
        "p=Digit",
    );
    assert_eq!(other.status(), 415);
    let accept = other.header(Name::Accept).unwrap().to_string();
    assert_eq!(accept, "application/dtmf-relay, application/dtmf");
    for body in ["Signal=xyz\r\n", "hello", "Signal=5\r\nDuration=long"] {
        assert_eq!(
            tell(&mut w, pbx, "application/dtmf-relay", body).status(),
            400
        );
    }
    let package = |draft: &mut Builder| {
        draft.header(Name::Extension("Info-Package"), "foo");
    };
    w.send(pbx, Method::Info, None, package);
    let refused = w.outcome_of(pbx, Method::Info);
    assert_eq!(refused.status(), 469);
    assert!(refused.header(Name::Extension("Recv-Info")).is_some());
    w.send(pbx, Method::Info, None, |_| {});
    assert_eq!(w.outcome_of(pbx, Method::Info).status(), 200);
    assert_eq!(tell(&mut w, teams, "text/plain", "hello").status(), 200);
    assert_eq!(w.leg(teams).unwrap().1.dialled, []);
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A trunk with telephone events that sends INFO besides has pressed the key once; one that has none agreed on is understood
/// by INFO.
#[test]
fn a_key_that_came_by_media_is_not_told_again() {
    for (codecs, keys) in [(vec![8, 101], 0), (vec![8], 1)] {
        let mut w = World::new();
        w.agents[PBX].codecs = codecs;
        let (pbx, teams) = w.call_to_teams();
        let body = "Signal=5\r\nDuration=160\r\n";
        assert_eq!(
            tell(&mut w, pbx, "application/dtmf-relay", body).status(),
            200
        );
        assert_eq!(w.leg(teams).unwrap().1.dialled.len(), keys);
        w.bye(teams);
        w.hung_up(pbx);
        let [_] = w.finish();
    }
}

/// One INFO for each key, one at a time and in order; what is refused is left out, and the next follows.
#[test]
fn keys_are_told_in_order() {
    let mut w = world(Dtmf::Info);
    let (teams, pbx) = w.call_from_teams();
    for (key, ms) in [('1', 160), ('#', 90), ('D', 400)] {
        press(&mut w, pbx, key, ms);
    }
    for (status, body) in [
        (200, "Signal=1\r\nDuration=160\r\n"),
        (415, "Signal=#\r\nDuration=90\r\n"),
        (200, "Signal=D\r\nDuration=400\r\n"),
    ] {
        let info = w.request(pbx, Method::Info);
        assert_eq!(info.1.content_type(), Some("application/dtmf-relay"));
        assert_eq!(info.1.body(), body);
        w.pass(Duration::from_millis(300));
        assert!(!w.has_heard(pbx, Method::Info), "one at a time");
        w.respond(pbx, &info, status, None, |_| {});
    }
    w.pass(Duration::from_secs(1));
    assert!(!w.has_heard(pbx, Method::Info));
    assert!(w.talk(teams, pbx));
    w.bye(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// A trunk that answers no INFO does not gather keys without bound; those that find no room are counted.
#[test]
fn keys_beyond_the_queue_are_counted() {
    let mut w = world(Dtmf::Info);
    let (teams, pbx) = w.call_from_teams();
    for _ in 0..40 {
        press(&mut w, pbx, '1', 100);
    }
    let lost = w
        .reports
        .iter()
        .filter(|r| matches!(r, Report::KeyLost { trunk } if trunk == "pbx"));
    assert_eq!(lost.count(), 7, "one is out, and 32 wait");
    w.bye(teams);
    let info = w.request(pbx, Method::Info);
    w.hung_up(pbx);
    w.respond(pbx, &info, 481, None, |_| {});
    let [_] = w.finish();
}

/// The trunk knows of no such call any more: it ends (RFC 3261 §12.2.1.2).
#[test]
fn an_info_that_finds_no_call_ends_it() {
    let mut w = world(Dtmf::Info);
    let (teams, pbx) = w.call_from_teams();
    press(&mut w, pbx, '1', 100);
    let info = w.request(pbx, Method::Info);
    w.respond(pbx, &info, 481, None, |_| {});
    w.hung_up(teams);
    w.hung_up(pbx);
    let [_] = w.finish();
}

/// Between two trunks with INFO a key goes from one to the other without the relay.
#[test]
fn info_meets_info() {
    let setup = Setup::default()
        .trunk_with("pbx", |trunk| {
            trunk.profile.dtmf = Dtmf::Info;
            trunk.profile.calls_out = true;
        })
        .trunk_with("carrier", |trunk| {
            trunk.profile.dtmf = Dtmf::Info;
            trunk.state = TrunkState::InService;
        });
    let mut w = World::with(setup, 1);
    let a = w.dial_uri(PBX, &format!("sip:{OUTSIDE}@192.0.2.1"), ALICE, |_| {});
    let b = w.incoming(CARRIER);
    w.answer(b);
    w.outcome(a);
    w.acknowledged(b);
    w.pass(Duration::from_millis(100));
    assert_eq!(tell(&mut w, a, "application/dtmf", "9").status(), 200);
    let info = w.request(b, Method::Info);
    assert_eq!(info.1.body(), "Signal=9\r\nDuration=160\r\n");
    w.respond(b, &info, 200, None, |_| {});
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}
