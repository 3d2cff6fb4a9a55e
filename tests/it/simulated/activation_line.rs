//! The line on which telephones are activated (provisioning rules: section 12.1).

use std::time::Duration;

use tollgate::audio::Announcement;
use tollgate::b2bua::{ActivationAnswer, Report, Resynced, WakeUp};
use tollgate::media::{Event, KeySink, Play};
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::setup::*;

const CODE: &str = "1234567890123";

/// A telephone out of its box is registered.
fn world(seed: u64) -> World {
    let mut setup = Setup::default().with_phones();
    setup.rows.phones[0].active = false;
    let mut w = World::with(setup, seed);
    assert_eq!(w.register(DESK, UNBOXED).status(), 200);
    w
}

/// It lifts the handset, and hears what to do.
fn lifted(w: &mut World) -> Side {
    let line = w.dial_from(DESK, UNBOXED, "activate");
    assert_eq!(w.outcome(line).status(), 200);
    w.pass(Duration::from_millis(100));
    assert_eq!(says(w, line), Some(Announcement::ActivationEnter));
    line
}

/// What is being said.
fn says(w: &World, line: Side) -> Option<Announcement> {
    let Play { clip, .. } = w.leg(line)?.1.play.clone()?;
    let all = Announcement::ALL.into_iter();
    all.into_iter().find(|which| which.built_in() == clip)
}

fn press(w: &mut World, line: Side, keys: &str) {
    let (leg, _) = w.leg(line).unwrap();
    for key in keys.chars() {
        let duration = Duration::from_millis(100);
        w.media(Event::Key { leg, key, duration });
        w.pass(Duration::from_millis(200));
    }
}

fn answer(w: &mut World, answer: ActivationAnswer) {
    let (id, mac, code) = w.codes.pop().expect("a question");
    assert_eq!((mac, code.as_str()), (DESK_MAC, CODE));
    w.order(|calls, now| calls.activated(id, answer, now));
}

fn outcomes(w: &World) -> Vec<&'static str> {
    let outcome = |report: &Report| match report {
        Report::Activation { outcome } => Some(*outcome),
        _ => None,
    };
    w.reports.iter().filter_map(outcome).collect()
}

/// D-21: a telephone that nobody has activated reaches `activate` and nothing else.
#[test]
fn nobody_but_the_activation_is_reached() {
    let mut w = world(110);
    for number in ["1002", OUTSIDE, ALICE] {
        let call = w.dial_from(DESK, UNBOXED, number);
        assert_eq!(w.outcome(call).status(), 403, "{number}");
    }
    let line = lifted(&mut w);
    assert_eq!(w.ledger.usage(ACME).in_use, 0);
    assert_eq!(w.bye(line), 200);
    assert_eq!(outcomes(&w), ["abandoned"]);
    let records: [_; 3] = w.finish();
    for record in records {
        assert_eq!(record.refused_by.as_deref(), Some("bootstrap"));
    }
}

/// D-22: thirteen digits by telephone events; when they are right it hears so, we hang up, and it is told to look for its
/// configuration once the call is over.
#[test]
fn a_code_that_is_right() {
    let mut w = world(111);
    let line = lifted(&mut w);
    let ear = w.leg(line).unwrap().1.ear.clone().unwrap();
    assert_eq!((ear.keys, ear.listens), (KeySink::Told, false));
    press(&mut w, line, "1");
    assert_eq!(says(&w, line), None, "it has heard enough");
    press(&mut w, line, &CODE[1..]);
    answer(&mut w, ActivationAnswer::Bound);
    assert_eq!(says(&w, line), Some(Announcement::ActivationThankYou));
    let wake_up = WakeUp::CheckSync { reboot: true };
    w.order(|calls, now| calls.resync(UNBOXED.user, wake_up, now));
    assert!(w.agents[DESK].notified.is_empty(), "it is in a call");
    w.hung_up(line);
    w.pass(Duration::from_secs(6));
    let notify = w.agents[DESK].notified.pop().unwrap();
    let event = notify.header(Name::Event).unwrap().to_string();
    assert_eq!(event, "check-sync;reboot=true");
    let told: Vec<_> = w.resynced.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(told, [Resynced::Deferred, Resynced::Confirmed]);
    assert_eq!(outcomes(&w), ["bound"]);
    let [] = w.finish();
}

/// D-26, D-27: three wrong codes end the call, whatever was wrong; if nobody knows codes that is said, and it ends too.
#[test]
fn codes_that_are_not() {
    let mut w = world(112);
    let line = lifted(&mut w);
    for told in [ActivationAnswer::NotValid, ActivationAnswer::Locked] {
        press(&mut w, line, CODE);
        answer(&mut w, told);
        assert_eq!(says(&w, line), Some(Announcement::ActivationNotValid));
    }
    press(&mut w, line, "12*");
    assert_eq!(says(&w, line), Some(Announcement::ActivationEnter));
    press(&mut w, line, "123#");
    assert_eq!(says(&w, line), Some(Announcement::ActivationNotValid));
    let said = Announcement::ActivationNotValid.built_in().duration();
    w.pass(said);
    assert_eq!(says(&w, line), Some(Announcement::ActivationGoodbye));
    w.hung_up(line);

    let line = lifted(&mut w);
    press(&mut w, line, CODE);
    answer(&mut w, ActivationAnswer::Busy);
    assert_eq!(says(&w, line), Some(Announcement::ActivationBusy));
    w.hung_up(line);
    // A line is over when its BYE is answered.
    w.pass(Duration::from_secs(1));
    assert_eq!(outcomes(&w), ["refused", "busy"]);
    let [] = w.finish();
}

/// A telephone that has keys by INFO or by tones only is heard as well: INFO counts where no telephone events were agreed
/// on, and the relay listens to the voice.
#[test]
fn keys_by_other_ways() {
    let mut w = world(113);
    w.agents[DESK].codecs = vec![8, 0];
    let line = lifted(&mut w);
    let ear = w.leg(line).unwrap().1.ear.clone().unwrap();
    assert_eq!((ear.keys, ear.listens), (KeySink::Told, true));
    for key in CODE.chars() {
        w.send(line, Method::Info, None, |draft| {
            let body = format!("Signal={key}\r\nDuration=160\r\n");
            draft.body("application/dtmf-relay", body);
        });
        assert_eq!(w.outcome_of(line, Method::Info).status(), 200);
    }
    answer(&mut w, ActivationAnswer::Bound);
    w.hung_up(line);
    let [] = w.finish();
}
