//! The music of a PBX: it is told of the hold, or referred to its music, and plays it itself.

use std::time::Duration;

use tollgate::audio::Law;
use tollgate::b2bua::Music;
use tollgate::directory::{MohMethod, Role};
use tollgate::media::Play;
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::direction;
use crate::sim::setup::*;

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
