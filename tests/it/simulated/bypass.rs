//! Media bypass as signalling sees it: who says what of ICE to whom, and what the relay is told.

use tollgate::b2bua::EndedBy;
use tollgate::media::{self, IceConfig};
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::line;
use crate::sim::setup::*;

fn world() -> World {
    World::with(Setup::default().with_media_bypass(), 1)
}

/// User name fragment and password in the SBC's last description.
fn credentials(w: &World, side: Side) -> (String, String) {
    let sdp = w.described(side);
    let text = std::str::from_utf8(&sdp).unwrap();
    let find = |start| line(text, start).expect("ICE").to_owned();
    (find("a=ice-ufrag:"), find("a=ice-pwd:"))
}

/// What the relay knows of ICE on the leg that this side sends to.
fn known(w: &World, side: Side) -> Option<IceConfig> {
    w.leg(side).expect("a leg").1.ice.clone()
}

/// The status of the answer to a re-INVITE with this description.
fn reinvited(w: &mut World, side: Side, sdp: String) -> u16 {
    w.send(side, Method::Invite, Some(sdp), |_| {});
    w.outcome_of(side, Method::Invite).status()
}

/// TDR-840, TDR-842: the relay answers checks from the INVITE on, for whichever fork; the 200 tells it whose count. TDR-512:
/// no session timer. TDR-846: Contacts carry the port of this region. TDR-819: nothing of ICE reaches the PBX.
#[test]
fn a_call_to_teams_offers_ice() {
    let mut w = world();
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    let invite = w.sides[b.0].invite.clone();
    assert!(invite.header(Name::SessionExpires).is_none());
    assert!(invite.contact().unwrap().unwrap().uri.contains(":5062;"));
    let (ufrag, pwd) = credentials(&w, b);
    let ice = known(&w, b).expect("told with the INVITE");
    assert_eq!(
        (ice.ours.ufrag, ice.ours.pwd, ice.remote_ufrag),
        (ufrag, pwd, None)
    );
    w.ring(b);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.acknowledged(b);
    let theirs = w.sides[b.0].media.ice.clone().map(|(ufrag, _)| ufrag);
    assert_eq!(known(&w, b).unwrap().remote_ufrag, theirs);
    assert_eq!(known(&w, a), None);
    let to_pbx = w.described(a);
    assert!(!std::str::from_utf8(&to_pbx).unwrap().contains("ice"));
    assert!(w.talk(a, b));
    assert_eq!(w.bye(a), 200);
    let [cdr] = w.finish();
    assert_eq!(cdr.sip_code, Some(200));
}

/// TDR-841: an offer without candidates is refused with 488, and the caller is told why; inside a call, too, which goes
/// on as it was.
#[test]
fn an_offer_without_candidates_is_refused() {
    let mut w = world();
    let plain = "v=0\r\no=- 1 1 IN IP4 52.112.7.7\r\ns=-\r\nc=IN IP4 52.112.7.7\r\nt=0 0\r\nm=audio 30000 RTP/SAVP 8\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:gzX7I22ZCuQ9z9shBLv7pchxcuvGvC4DF5+m4aWg|2^31\r\na=rtcp-mux\r\n";
    let refused = w.dial_with(TEAMS, OUTSIDE, |draft| {
        draft.body("application/sdp", plain);
    });
    let outcome = w.outcome(refused);
    let warning = outcome
        .header(Name::Warning)
        .and_then(|w| w.text())
        .unwrap();
    assert!(
        outcome.status() == 488 && warning.contains("no ICE candidates"),
        "{warning}"
    );

    let (a, b) = w.call_from_teams();
    assert_eq!(reinvited(&mut w, a, plain.to_owned()), 488);
    assert!(w.talk(a, b));
    assert_eq!(w.bye(b), 200);
    let [first, second] = w.finish();
    assert_eq!((first.sip_code, second.sip_code), (Some(488), Some(200)));
}

/// TDR-847: several re-INVITEs in a row right after the answer, one with the chosen candidate (TDR-842), are answered
/// each with the same credentials, address and port (TDR-843), and the PBX hears of none (TDR-505). TDR-818: video is
/// refused in its place.
#[test]
fn reinvites_at_the_answer_change_nothing() {
    let mut w = world();
    let (a, b) = w.call_from_teams();
    let (before, port) = (credentials(&w, a), w.leg(a).unwrap().1.port);
    for more in [
        "",
        "a=remote-candidates:1 192.0.2.1 20000\r\n",
        "m=video 5000 RTP/SAVP 100\r\n",
    ] {
        let sdp = w.describe(a, "sendrecv") + more;
        assert_eq!(reinvited(&mut w, a, sdp), 200);
        assert_eq!(
            (credentials(&w, a), w.leg(a).unwrap().1.port),
            (before.clone(), port)
        );
    }
    let answer = w.described(a);
    assert!(answer.ends_with(b"m=video 0 RTP/SAVP 100\r\n"));
    assert!(w.talk(a, b) && !w.has_heard(b, Method::Invite));
    assert_eq!(w.bye(a), 200);
    let [cdr] = w.finish();
    assert_eq!(cdr.sip_code, Some(200));
}

/// TDR-844: new credentials of Teams are answered by new ones of ours at the same address and port; the relay begins
/// anew with them, and goes on with them through what follows.
#[test]
fn a_restart_reaches_the_relay() {
    let mut w = world();
    let (a, b) = w.call_from_teams();
    let (before, port) = (credentials(&w, a), w.leg(a).unwrap().1.port);
    let media = &mut w.sides[a.0].media;
    media.ice = Some(("MpUf".into(), "MpPassword0123456789abcd".into()));
    media.port += 100;
    assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
    let after = credentials(&w, a);
    assert!(before.0 != after.0 && before.1 != after.1);
    let ice = known(&w, a).unwrap();
    assert_eq!((ice.ours.ufrag, ice.ours.pwd), after.clone());
    assert_eq!(
        (ice.remote_ufrag.as_deref(), w.leg(a).unwrap().1.port),
        (Some("MpUf"), port)
    );
    assert_eq!(w.reinvite(a, "inactive").status(), 200);
    assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
    assert_eq!(credentials(&w, a), after);
    assert!(w.talk(a, b));
    assert_eq!(w.bye(a), 200);
    let [cdr] = w.finish();
    assert_eq!(cdr.sip_code, Some(200));
}

/// RFC 7675: whoever ceased to consent is gone, and the call ends; a call on hold goes on, because nobody needs the path.
#[test]
fn lost_consent_ends_a_call_unless_it_is_held() {
    let mut w = world();
    let (a, b) = w.call_from_teams();
    let lost = media::Event::ConsentLost {
        leg: w.leg(a).unwrap().0,
        reason: "nothing came".into(),
    };
    assert_eq!(w.reinvite(a, "inactive").status(), 200);
    w.media(lost.clone());
    assert_eq!(w.calls.active(), 1);
    assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
    w.media(lost);
    w.hung_up(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert_eq!(
        (cdr.ended_by, cdr.reason.as_str()),
        (Some(EndedBy::Us), "one side ceased to consent to media")
    );
}
