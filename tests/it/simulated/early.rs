//! From the INVITE to the answer: what the caller hears, forks, late offers.

use tollgate::media::Fate;
use tollgate::sip::{Builder, Method, Name};

use crate::sim::World;
use crate::sim::agent::Heard;
use crate::sim::sdp::{direction, formats};
use crate::sim::setup::*;

/// TDR-504 to TDR-506: Teams rings twice under two tags, then says 183 with a description under a third, and answers
/// under the first. The caller has one early dialog, and rings once.
#[test]
fn forks_of_teams_are_one_ringing_call() {
    let mut w = World::new();
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    for tag in ["one", "two"] {
        w.reply(b, 180, None, |draft| {
            draft.to_tag(tag);
        });
    }
    let sdp = w.describe(b, "sendrecv");
    w.reply(b, 183, Some(sdp.clone()), |draft| {
        draft.to_tag("three");
    });
    let ringing = w.provisional(a);
    assert_eq!((ringing.status(), ringing.body().len()), (180, 0));
    w.pass(std::time::Duration::from_secs(1));
    let more = w.sides[a.0]
        .inbox
        .iter()
        .filter(|h| matches!(h, Heard::Response(m) if m.status() > 100));
    assert_eq!(more.count(), 0, "one is enough");
    w.reply(b, 200, Some(sdp), |draft| {
        draft.to_tag("one");
    });
    let answer = w.outcome(a);
    assert_eq!((answer.status(), answer.to_tag()), (200, ringing.to_tag()));
    w.acknowledged(b);
    w.pass(std::time::Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// TDR-505: Teams' 183 brings no ringing; the caller hears 180 and rings by itself. The answer may come under a tag
/// that nobody has seen.
#[test]
fn a_183_of_teams_becomes_180() {
    let mut w = World::new();
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    let sdp = w.describe(b, "sendrecv");
    w.reply(b, 183, Some(sdp), |_| {});
    let ringing = w.provisional(a);
    assert_eq!((ringing.status(), ringing.body().len()), (180, 0));
    let sdp = w.describe(b, "sendrecv");
    w.reply(b, 200, Some(sdp), |draft| {
        draft.to_tag("never-seen");
    });
    assert_eq!(w.outcome(a).status(), 200);
    w.acknowledged(b);
    w.bye(b);
    w.hung_up(a);
    let [cdr] = w.finish();
    assert!(cdr.ringing.is_some());
}

/// TDR-508: what a PBX plays before it answers, Teams hears.
#[test]
fn early_media_of_a_pbx_reaches_teams() {
    let mut w = World::new();
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    w.ring(b);
    assert_eq!(w.provisional(a).status(), 180);
    let sdp = w.describe(b, "sendrecv");
    w.reply(b, 183, Some(sdp.clone()), |_| {});
    let early = w.provisional(a);
    assert_eq!(early.status(), 183);
    assert!(w.talk(a, b), "the relay joins them before the answer");
    w.reply(b, 200, Some(sdp), |_| {});
    let answer = w.outcome(a);
    assert_eq!(answer.body(), early.body(), "the answer stays what it was");
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// A 183 without a description says no more than 180.
#[test]
fn a_bare_183_becomes_180() {
    let mut w = World::new();
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    w.reply(b, 183, None, |_| {});
    assert_eq!(w.provisional(a).status(), 180);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    let [_] = w.finish();
}

/// RFC 3261 §13.2.2.4: a second fork answers too. It is acknowledged and ended at once; the call goes on.
#[test]
fn a_second_answer_is_acknowledged_and_ended() {
    let mut w = World::new();
    let (a, b) = w.call_to_teams();
    let invite = w.sides[b.0].invite.clone();
    let mut second = Builder::response(&invite, 200, "");
    let contact = w.agents[TEAMS].contact();
    second.to_tag("other-fork").header(Name::Contact, contact);
    let sdp = w.describe(b, "sendrecv");
    second.body("application/sdp", sdp);
    let bytes = second.finish(None).bytes().clone();
    for _ in 0..2 {
        w.inject(TEAMS, bytes.clone());
        w.pass(std::time::Duration::from_secs(1));
    }
    let strays: Vec<_> = w.agents[TEAMS]
        .strays
        .iter()
        .map(|m| (m.method(), m.to_tag().unwrap().to_owned()))
        .collect();
    let expected =
        [Method::Ack, Method::Bye, Method::Ack].map(|method| (method, "other-fork".to_owned()));
    assert_eq!(strays, expected, "a repeated 2xx is acknowledged again");
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [_] = w.finish();
}

/// An INVITE without an offer: Teams gets a full one, the caller's answer comes in its ACK.
#[test]
fn a_late_offer_towards_teams() {
    let mut w = World::new();
    let a = w.dial_with(PBX, ALICE, |draft| {
        draft.body("application/sdp", "").remove(Name::ContentType);
    });
    let b = w.incoming(TEAMS);
    assert_eq!(direction(&w.described(b)), "sendrecv");
    w.ring(b);
    w.provisional(a);
    let answer_in_ack = w.describe(a, "sendrecv");
    w.sides[a.0].ack_sdp = Some(answer_in_ack);
    w.answer(b);
    let answer = w.outcome(a);
    let voice: Vec<u8> = formats(&answer.body())
        .into_iter()
        .filter(|c| *c < 96 && *c != 13)
        .collect();
    assert_eq!(voice, [8, 0], "first what Teams agreed to first");
    w.pass(std::time::Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(b);
    w.hung_up(a);
    let [_] = w.finish();
}

/// The same, but the ACK has no answer: the call cannot be, and both sides hear so.
#[test]
fn a_late_offer_without_an_answer_ends() {
    let mut w = World::new();
    let a = w.dial_with(PBX, ALICE, |draft| {
        draft.body("application/sdp", "").remove(Name::ContentType);
    });
    let b = w.incoming(TEAMS);
    w.answer(b);
    w.outcome(a);
    w.hung_up(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert!(cdr.reason.contains("media"), "{}", cdr.reason);
}

/// An answer without a description, or with one that cannot be used, is acknowledged, ended and told as a failure.
#[test]
fn an_answer_that_cannot_be_used() {
    for sdp in [None, Some("v=0\r\n".to_owned())] {
        let mut w = World::new();
        let a = w.dial(TEAMS);
        let b = w.incoming(PBX);
        let wanted = if sdp.is_none() { 502 } else { 488 };
        w.reply(b, 200, sdp, |_| {});
        assert_eq!(w.outcome(a).status(), wanted);
        w.acknowledged(b);
        w.hung_up(b);
        let [_] = w.finish();
    }
}

/// An answer whose Contact leads nowhere cannot even be acknowledged; the caller is told, nothing stays behind.
#[test]
fn an_answer_that_cannot_be_acknowledged() {
    let mut w = World::new();
    w.agents[PBX].link.delay = std::time::Duration::from_millis(1);
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    let sdp = w.describe(b, "sendrecv");
    w.reply(b, 200, Some(sdp), |draft| {
        draft.replace(Name::Contact, "<tel:+442075550123>");
    });
    assert_eq!(w.outcome(a).status(), 502);
    let [_] = w.finish();
}

/// Max-Forwards goes down by one on its way through us.
#[test]
fn max_forwards_counts_down() {
    let mut w = World::new();
    let a = w.dial_with(PBX, ALICE, |draft| {
        draft.replace(Name::MaxForwards, "7");
    });
    let b = w.incoming(TEAMS);
    assert_eq!(w.sides[b.0].invite.max_forwards().unwrap(), Some(6));
    w.reject(b, 480);
    assert_eq!(w.outcome(a).status(), 480);
    let [_] = w.finish();
}

/// RFC 3261 §13.2.2.4: the second fork answers when its call is over and forgotten. It is acknowledged and ended all the
/// same, as long as the INVITE's transaction lasts; later nobody knows it.
#[test]
fn a_second_answer_after_the_call() {
    let mut w = World::new();
    let (a, b) = w.call_to_teams();
    let invite = w.sides[b.0].invite.clone();
    w.bye(a);
    w.hung_up(b);
    w.pass(std::time::Duration::from_secs(5));
    assert!(w.calls.is_idle(), "the call is forgotten");
    let contact = w.agents[TEAMS].contact();
    let sdp = w.describe(b, "sendrecv");
    let answer = |w: &mut World, tag: &str| {
        let mut draft = Builder::response(&invite, 200, "");
        draft.to_tag(tag).header(Name::Contact, &contact);
        draft.body("application/sdp", &sdp);
        w.inject(TEAMS, draft.finish(None).bytes().clone());
        w.pass(std::time::Duration::from_secs(1));
    };
    answer(&mut w, "late");
    answer(&mut w, "late");
    answer(&mut w, "later");
    w.pass(std::time::Duration::from_secs(40));
    answer(&mut w, "too-late");
    let strays: Vec<_> = w.agents[TEAMS]
        .strays
        .iter()
        .map(|m| (m.method(), m.to_tag().unwrap()))
        .collect();
    let expected = [
        (Method::Ack, "late"),
        (Method::Bye, "late"),
        (Method::Ack, "late"),
        (Method::Ack, "later"),
        (Method::Bye, "later"),
    ];
    assert_eq!(strays, expected);
    let [_] = w.finish();
}

/// TDR-814: comfort noise (payload type 13) that a side offers is offered on and answered; one that did not offer it is not
/// sent any.
#[test]
fn comfort_noise_is_offered_on_and_answered() {
    for (from, to, offers) in [(PBX, TEAMS, true), (TEAMS, PBX, true), (PBX, TEAMS, false)] {
        let mut w = World::new();
        let number = if from == TEAMS { OUTSIDE } else { ALICE };
        let a = w.dial_with(from, number, |draft| {
            let text = String::from_utf8(draft.body_bytes().to_vec()).unwrap();
            let with = text
                .replace(" 8 0 101\r\n", " 8 0 13 101\r\n")
                .replace("a=fmtp:101", "a=rtpmap:13 CN/8000\r\na=fmtp:101");
            if offers {
                draft.body("application/sdp", with);
            }
        });
        let b = w.incoming(to);
        assert_eq!(formats(&w.described(b)).contains(&13), offers);
        if offers {
            w.sides[b.0].media.codecs = vec![8, 13, 101];
        }
        w.answer(b);
        let answer = w.outcome(a);
        assert_eq!(
            (answer.status(), formats(&answer.body()).contains(&13)),
            (200, offers)
        );
        w.acknowledged(b);
        w.pass(std::time::Duration::from_millis(100));
        let passes = |side| {
            let config = w.leg(side).unwrap().1.config.as_ref().unwrap();
            config.passage.of(13) == Fate::As(13)
        };
        assert!(!offers || passes(a) && passes(b));
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}
