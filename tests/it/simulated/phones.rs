//! Calls of desk telephones and to them (provisioning rules: section 7).

use std::time::Duration;

use tollgate::audio::Law;
use tollgate::b2bua::{Direction, Resynced, WakeUp};
use tollgate::directory::Directory;
use tollgate::media::Play;
use tollgate::sip::{Message, Method, Name, Uri};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::line;
use crate::sim::setup::*;

/// Both telephones are registered.
fn world(seed: u64) -> World {
    let mut w = World::with(Setup::default().with_phones(), seed);
    assert_eq!(w.register(DESK, DESK_ACCOUNT).status(), 200);
    assert_eq!(w.register(HALL, HALL_ACCOUNT).status(), 200);
    w
}

/// Whoever is called rings and answers, and both talk.
fn answered(w: &mut World, a: Side, to: Who) -> Side {
    let b = w.incoming(to);
    w.ring(b);
    assert_eq!(w.provisional(a).status(), 180);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.acknowledged(b);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(a, b), "both talk");
    b
}

fn caller(invite: &Message) -> String {
    let from = invite.from().unwrap();
    let user = Uri::parse(from.uri).unwrap().user.unwrap().to_owned();
    match from.display_text() {
        Some(name) => format!("{name} {user}"),
        None => user,
    }
}

/// D-33: from a telephone to a Teams user of its customer, in its own name and number, and to the world outside by a
/// carrier; each call takes one of the customer's channels.
#[test]
fn a_phone_calls_teams_and_outside() {
    for (number, to) in [(ALICE, TEAMS), (OUTSIDE, CARRIER)] {
        let mut w = world(90);
        let a = w.dial_from(DESK, DESK_ACCOUNT, number);
        let b = answered(&mut w, a, to);
        assert_eq!(w.ledger.usage(ACME).in_use, 1);
        let invite = w.sides[b.0].invite.clone();
        assert_eq!(caller(&invite), format!("desk {DESK_NUMBER}"));
        assert!(invite.header(Name::ProxyAuthorization).is_none());
        assert_eq!(w.bye(a), 200);
        w.hung_up(b);
        let [cdr] = w.finish();
        let way = if to == TEAMS {
            Direction::ToTeams
        } else {
            Direction::BetweenTrunks
        };
        assert_eq!((cdr.direction, cdr.from.as_str()), (way, DESK_NUMBER));
        assert_eq!((cdr.customer_id, cdr.sip_code), (Some(ACME), Some(200)));
    }
}

/// D-33: a call of a carrier, and one of Teams, to the number of a telephone ring there, at the Contact that it registered.
#[test]
fn a_phone_is_called() {
    for from in [CARRIER, TEAMS] {
        let mut w = world(91);
        let a = w.dial_with(from, DESK_NUMBER, |_| {});
        let b = answered(&mut w, a, DESK);
        let invite = w.sides[b.0].invite.clone();
        assert_eq!(invite.request_uri(), "sip:desk@203.0.113.5:5060");
        let number = if from == TEAMS { ALICE } else { OUTSIDE };
        assert!(caller(&invite).ends_with(number));
        assert_eq!(w.bye(b), 200);
        w.hung_up(a);
        let [cdr] = w.finish();
        assert_eq!(cdr.to, DESK_NUMBER);
    }
}

/// By extension from one telephone to another: the one without a number shows its extension.
#[test]
fn phones_call_each_other() {
    let mut w = world(92);
    let a = w.dial_from(HALL, HALL_ACCOUNT, "1001");
    let b = answered(&mut w, a, DESK);
    assert_eq!(caller(&w.sides[b.0].invite), "hall 1002");
    assert_eq!(w.bye(b), 200);
    w.hung_up(a);
    let [cdr] = w.finish();
    assert_eq!((cdr.from.as_str(), cdr.to.as_str()), ("1002", "1001"));
    assert_eq!(cdr.direction, Direction::BetweenTrunks);
}

/// An emergency call passes where all channels are in use, and from a telephone without a number too.
#[test]
fn emergency_calls_pass() {
    let setup = Setup::default()
        .with_phones()
        .acme_with(|c| c.max_channels = 0);
    let mut w = World::with(setup, 93);
    w.register(HALL, HALL_ACCOUNT);
    let refused = w.dial_from(HALL, HALL_ACCOUNT, "1001");
    assert_eq!(w.outcome(refused).status(), 486);
    let a = w.dial_from(HALL, HALL_ACCOUNT, "112");
    let b = answered(&mut w, a, CARRIER);
    assert!(w.sides[b.0].invite.request_uri().starts_with("sip:112@"));
    assert_eq!(w.bye(a), 200);
    w.hung_up(b);
    let [busy, call] = w.finish();
    assert_eq!(busy.refused_by.as_deref(), Some("limit"));
    assert!(call.emergency);
}

/// The table of refusals, towards telephones and about them: not registered and silent ones are 480, unknown numbers 404,
/// somebody without a number may not call outside.
#[test]
fn refusals_of_and_about_phones() {
    let mut w = World::with(Setup::default().with_phones(), 94);
    w.register(HALL, HALL_ACCOUNT);
    let told = |w: &mut World, number: &str| {
        let side = w.dial_from(HALL, HALL_ACCOUNT, number);
        w.outcome(side).status()
    };
    assert_eq!(told(&mut w, "1001"), 480, "it has not registered");
    assert_eq!(told(&mut w, "1999"), 404);
    assert_eq!(told(&mut w, OUTSIDE), 403);
    assert_eq!(w.register(DESK, DESK_ACCOUNT).status(), 200);
    w.agents[DESK].unreachable = true;
    assert_eq!(told(&mut w, "1001"), 480, "its connection is gone");
    w.agents[DESK].unreachable = false;
    w.agents[DESK].deaf = true;
    let side = w.dial_from(HALL, HALL_ACCOUNT, "1001");
    assert_eq!(w.outcome(side).status(), 480, "it is switched off");
    let records = w.finish_all();
    let by: Vec<_> = records
        .iter()
        .filter_map(|cdr| cdr.refused_by.as_deref())
        .collect();
    assert_eq!(
        by,
        [
            "device_offline",
            "number",
            "caller",
            "device_offline",
            "device_offline"
        ]
    );
}

/// A telephone holds with sendonly and has no music of its own: its partner hears ours, until it resumes.
#[test]
fn a_phone_holds() {
    let mut w = world(95);
    let a = w.dial_from(DESK, DESK_ACCOUNT, ALICE);
    let b = answered(&mut w, a, TEAMS);
    let held = w.reinvite(a, "sendonly");
    assert_eq!(held.status(), 200);
    assert_eq!(w.music(b), Some(Play::music(Law::A, 8)));
    assert!(!w.has_heard(b, Method::Invite), "Teams hears of no hold");
    assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert!(cdr.music.is_some());
}

fn refer(w: &mut World, side: Side, refer_to: &str) {
    w.send(side, Method::Refer, None, |draft| {
        draft.header_fmt(Name::ReferTo, format_args!("<{refer_to}>"));
    });
    assert_eq!(w.outcome_of(side, Method::Refer).status(), 202);
}

/// A telephone hands its caller on to another one by extension: blind, by REFER.
#[test]
fn a_blind_transfer() {
    let mut w = world(96);
    let a = w.dial_with(CARRIER, DESK_NUMBER, |_| {});
    let b = answered(&mut w, a, DESK);
    refer(&mut w, b, "sip:1002@192.0.2.1");
    let c = w.incoming(HALL);
    w.answer(c);
    w.acknowledged(c);
    w.pass(Duration::from_millis(100));
    assert!(w.talk(a, c), "the caller talks to the other telephone");
    w.bye(b);
    w.bye(c);
    w.hung_up(a);
    let [cdr] = w.finish();
    assert_eq!(cdr.transferred_to.as_deref(), Some("1002"));
}

/// A telephone that talks to a caller and to a Teams user joins the two: attended, by REFER with Replaces.
#[test]
fn an_attended_transfer() {
    let mut w = world(97);
    let a = w.dial_with(CARRIER, DESK_NUMBER, |_| {});
    let b = answered(&mut w, a, DESK);
    assert_eq!(w.reinvite(b, "sendonly").status(), 200);
    let c = w.dial_from(DESK, DESK_ACCOUNT, ALICE);
    let d = answered(&mut w, c, TEAMS);
    let dialog = w.sides[c.0].dialog.as_ref().unwrap().id().clone();
    let replaces = format!(
        "{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
        dialog.call_id,
        dialog.remote_tag.unwrap(),
        dialog.local_tag
    );
    refer(
        &mut w,
        b,
        &format!("sip:{ALICE}@192.0.2.1?Replaces={replaces}"),
    );
    w.pass(Duration::from_secs(1));
    assert!(w.talk(a, d), "the caller talks to the Teams user");
    w.bye(b);
    w.bye(a);
    w.hung_up(d);
    let records = w.finish_all();
    assert_eq!(records.len(), 2);
}

/// SRTP is optional for telephones: one that offers keys gets keys, and what we offer can be met without.
#[test]
fn srtp_is_optional() {
    let mut w = world(98);
    let a = w.dial_with(CARRIER, DESK_NUMBER, |_| {});
    let b = answered(&mut w, a, DESK);
    let offer = String::from_utf8(w.sides[b.0].invite.body().to_vec()).unwrap();
    assert!(
        line(&offer, "m=audio ").unwrap().contains(" RTP/AVP "),
        "{offer}"
    );
    w.bye(a);
    w.hung_up(b);
    w.agents[DESK].secure = true;
    let a = w.dial_from(DESK, DESK_ACCOUNT, OUTSIDE);
    let b = answered(&mut w, a, CARRIER);
    let answer = String::from_utf8(w.described(a).to_vec()).unwrap();
    assert!(line(&answer, "a=crypto:").is_some(), "{answer}");
    w.bye(a);
    w.hung_up(b);
    let [_, _] = w.finish();
}

/// A telephone that answers has the last word where it is: what comes from its address by another port reaches it there,
/// and nothing of a stranger's counts.
#[test]
fn requests_follow_the_phone() {
    let mut w = world(99);
    let a = w.dial_from(DESK, DESK_ACCOUNT, ALICE);
    let b = answered(&mut w, a, TEAMS);
    w.agents[DESK].address.set_port(40_000);
    assert_eq!(w.reinvite(a, "sendrecv").status(), 200);
    w.bye(b);
    w.hung_up(a);
    let [_] = w.finish();
}

/// NOTIFYs that a telephone has got, with their Events.
fn woken(w: &mut World, who: Who) -> Vec<Message> {
    let agent = &mut w.agents[who];
    std::mem::take(&mut agent.notified)
}

fn resync(w: &mut World, user: &str) {
    let wake_up = WakeUp::CheckSync { reboot: true };
    w.order(|calls, now| calls.resync(user, wake_up, now));
}

/// D-24, D-34: NOTIFY goes to the contact that is registered, and says what it wants; one that asks for credentials gets
/// its own; one that says nothing for four seconds is not asked again; one that is not registered is told nothing.
#[test]
fn a_phone_is_told_to_look_for_its_configuration() {
    let mut w = world(101);
    resync(&mut w, "DESK");
    w.pass(Duration::from_secs(1));
    let told = woken(&mut w, DESK);
    let [notify] = &told[..] else {
        panic!("one NOTIFY");
    };
    assert_eq!(notify.request_uri(), "sip:desk@203.0.113.5:5060");
    let event = notify.header(Name::Event).unwrap().to_string();
    assert_eq!(event, "check-sync;reboot=true");
    assert!(notify.header(Name::SubscriptionState).is_some());
    let desk = |outcome| ("desk".to_owned(), outcome);
    assert_eq!(w.resynced, [desk(Resynced::Confirmed)]);

    w.resynced.clear();
    w.agents[DESK].asks_notify = true;
    resync(&mut w, "desk");
    w.pass(Duration::from_secs(1));
    let told = woken(&mut w, DESK);
    let [_, proven] = &told[..] else {
        panic!("two NOTIFYs");
    };
    let mut challenger = w.agents[DESK].challenger.take().unwrap();
    let password = |_: &str| Some(DESK_ACCOUNT.password.to_owned());
    let user = challenger.check(proven, password, w.now);
    assert_eq!(user.as_deref(), Ok("desk"));
    assert_eq!(w.resynced, [desk(Resynced::Confirmed)]);

    w.resynced.clear();
    w.agents[DESK].deaf = true;
    resync(&mut w, "desk");
    w.pass(Duration::from_secs(5));
    assert_eq!(w.resynced, [desk(Resynced::Unconfirmed)]);
    w.agents[DESK].deaf = false;
    w.pass(Duration::from_secs(30));
    assert!(woken(&mut w, DESK).is_empty(), "it restarts only once");

    w.resynced.clear();
    resync(&mut w, "nobody");
    let nobody = ("nobody".to_owned(), Resynced::NotRegistered);
    assert_eq!(w.resynced, [nobody]);
    let [] = w.finish();
}

/// A telephone in a call is told when the call is over.
#[test]
fn a_phone_in_a_call_is_left_alone() {
    let mut w = world(102);
    let a = w.dial_from(DESK, DESK_ACCOUNT, "1002");
    let b = answered(&mut w, a, HALL);
    resync(&mut w, "desk");
    w.pass(Duration::from_secs(20));
    let desk = |outcome| ("desk".to_owned(), outcome);
    assert_eq!(w.resynced, [desk(Resynced::Deferred)]);
    assert!(woken(&mut w, DESK).is_empty());
    w.bye(b);
    w.hung_up(a);
    w.pass(Duration::from_secs(6));
    assert_eq!(woken(&mut w, DESK).len(), 1);
    assert_eq!(w.resynced[1..], [desk(Resynced::Confirmed)]);
    let [_] = w.finish();
}

/// D-22, D-37: a telephone that was activated meanwhile is found as the one out of its box; one that was deactivated is
/// told, and then is registered no more.
#[test]
fn a_phone_whose_credentials_hold_no_longer_is_told() {
    let mut setup = Setup::default().with_phones();
    setup.rows.phones[0].active = false;
    let mut w = World::with(setup, 103);
    assert_eq!(w.register(DESK, UNBOXED).status(), 200);
    let publish = |w: &mut World, active: bool| {
        let mut rows = Setup::default().with_phones().rows;
        rows.generation = w.directory.generation + 1;
        rows.phones[0].active = active;
        w.directory = Directory::compile(rows).unwrap().into();
        let directory = w.directory.clone();
        w.calls.set_directory(directory, w.now);
    };
    publish(&mut w, true);
    resync(&mut w, "desk");
    w.pass(Duration::from_secs(1));
    let told = woken(&mut w, DESK);
    let [notify] = &told[..] else {
        panic!("one NOTIFY");
    };
    let to = Uri::parse(notify.to().unwrap().uri).unwrap().user;
    assert_eq!(to, Some(UNBOXED.user));
    assert_eq!(
        w.calls.phones_registered(),
        0,
        "it has to come as what it is now"
    );
    assert_eq!(w.register(DESK, DESK_ACCOUNT).status(), 200);
    publish(&mut w, false);
    assert_eq!(w.calls.phones_registered(), 1);
    resync(&mut w, "desk");
    w.pass(Duration::from_secs(1));
    assert_eq!(woken(&mut w, DESK).len(), 1);
    assert_eq!(w.calls.phones_registered(), 0);
    let [] = w.finish();
}
