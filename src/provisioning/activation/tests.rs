use super::*;
use proptest::prelude::*;
use time::macros::datetime;

const START: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

fn why() -> Failure {
    Failure::new("domain_not_ready", "not yet")
}

fn run(method: Method, events: &[Event]) -> State {
    events.iter().fold(State::Inactive(None), |state, event| {
        state
            .on(method, event.clone(), START)
            .expect("it belongs here")
    })
}

/// O-07, O-09: the automatic way passes every step of the figure in its order, and is activating until the last is done.
#[test]
fn the_automatic_way_has_ten_steps() {
    let mut state = run(Method::Automatic, &[Event::Start, Event::Consented]);
    let mut steps = Vec::new();
    while let Some(step) = state.step() {
        assert_eq!(state.name(), "activating");
        steps.push(step.name());
        state = state.on(Method::Automatic, Event::Done, START).unwrap();
    }
    assert_eq!(
        steps,
        [
            "consent_check",
            "domains_created",
            "dns_publishing",
            "verifying",
            "activation_user",
            "license_assigned",
            "waiting_propagation",
            "voice_route",
            "test"
        ]
    );
    assert_eq!(state.name(), "active");
}

/// O-15, O-22: the manual way publishes the codes and waits; the first call makes it usable, the last gateway's whole.
#[test]
fn the_manual_way_ends_by_calls() {
    let waiting = run(Method::Manual, &[Event::Start, Event::Done]);
    assert_eq!(waiting.step(), Some(Step::AwaitingAdminCenter));
    let on = |state: &State, event| state.on(Method::Manual, event, START).unwrap();
    let some = on(&waiting, Event::Proven { all: false });
    assert_eq!((some.name(), some.is_in_service()), ("degraded", true));
    assert_eq!(on(&some, Event::Proven { all: true }).name(), "active");
    assert_eq!(on(&waiting, Event::Proven { all: true }).name(), "active");
    assert_eq!(
        waiting.on(Method::Manual, Event::Done, START),
        Err(Misplaced::Stale)
    );
}

/// O-10: what a start means in every state.
#[test]
fn a_start_is_taken_once() {
    let start = |state: &State| state.on(Method::Automatic, Event::Start, START);
    let failed = State::Failed(Step::LicenseAssigned, why());
    assert_eq!(
        start(&failed).unwrap().step(),
        Some(Step::LicenseAssigned),
        "O-29"
    );
    let incomplete = State::ConsentIncomplete(why());
    assert_eq!(
        start(&incomplete).unwrap().step(),
        Some(Step::ConsentPending)
    );
    assert_eq!(
        start(&run(Method::Automatic, &[Event::Start])),
        Err(Misplaced::Started)
    );
    assert_eq!(start(&State::Active(START)), Err(Misplaced::AlreadyActive));
    assert_eq!(
        start(&State::Degraded(START, why())),
        Err(Misplaced::AlreadyActive)
    );
}

/// O-04, and the quarter of an hour that a consent page is waited for.
#[test]
fn a_consent_that_does_not_come_leaves_it_inactive() {
    let pending = run(Method::Automatic, &[Event::Start]);
    let refused = pending
        .on(Method::Automatic, Event::Refused(why()), START)
        .unwrap();
    assert_eq!(
        (refused.name(), refused.failure()),
        ("inactive", Some(&why()))
    );
    let expired = |minutes| {
        pending.on(
            Method::Automatic,
            Event::Expired,
            START + Duration::minutes(minutes),
        )
    };
    assert_eq!(expired(14), Err(Misplaced::Stale));
    assert_eq!(
        expired(15).unwrap().failure().unwrap().code,
        "consent_expired"
    );
}

/// Provisioning §10: 1, 2, 5, 10, 15, 30, 60 minutes, then hourly, and no longer than two days; 5 minutes, then 15, then
/// hourly where people are waited for.
#[test]
fn tries_become_rarer_and_end() {
    let tries = |method, events: &[Event]| {
        let (mut state, mut now, mut minutes) = (run(method, events), START, Vec::new());
        while let Some(due) = state.due() {
            minutes.push((due - now).whole_minutes());
            now = due;
            state = state.on(method, Event::NotYet(why(), None), now).unwrap();
        }
        assert_eq!(state.failure().unwrap().code, "timeout");
        (minutes, now - START)
    };
    let (minutes, in_all) = tries(Method::Automatic, &[Event::Start, Event::Consented]);
    assert_eq!(minutes[..10], [0, 1, 2, 5, 10, 15, 30, 60, 60, 60]);
    assert!((48..=49).contains(&in_all.whole_hours()));
    let (minutes, in_all) = tries(Method::Manual, &[Event::Start, Event::Done]);
    assert_eq!(minutes[..10], [0, 5, 5, 5, 15, 15, 15, 15, 60, 60]);
    assert_eq!(in_all.whole_days(), 14);
}

/// Who asks for a longer pause gets it, and a shorter one shortens nothing.
#[test]
fn a_longer_pause_is_kept() {
    let state = run(Method::Automatic, &[Event::Start, Event::Consented]);
    for (asked, seconds) in [(None, 60), (Some(5), 60), (Some(3600), 3600)] {
        let next = state
            .on(Method::Automatic, Event::NotYet(why(), asked), START)
            .unwrap();
        assert_eq!((next.due().unwrap() - START).whole_seconds(), seconds);
    }
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Start),
        Just(Event::Consented),
        Just(Event::Refused(why())),
        Just(Event::NotConsented(why())),
        Just(Event::Done),
        Just(Event::LeftToAdministrator),
        (0..100_u32).prop_map(|s| Event::NotYet(why(), Some(s))),
        Just(Event::Broken(why())),
        any::<bool>().prop_map(|all| Event::Proven { all }),
        Just(Event::Healthy),
        Just(Event::Expired),
        Just(Event::Cancel),
    ]
}

proptest! {
    /// Whatever happens in whatever order: calls pass only after a call or the last step proved it, a start is refused
    /// exactly while one is under way or done, a step that is due is due at a time that has not passed, whoever is
    /// cancelled ends inactive, and an event that is out of place changes nothing.
    #[test]
    fn every_order_of_events_keeps_the_rules(
        manual in any::<bool>(),
        happened in prop::collection::vec((events(), 0..7200_i64), 0..60),
    ) {
        let method = if manual { Method::Manual } else { Method::Automatic };
        let (mut state, mut now) = (State::Inactive(None), START);
        for (event, seconds) in happened {
            now += Duration::seconds(seconds);
            let before = state.clone();
            let Ok(next) = state.on(method, event.clone(), now) else {
                if event == Event::Start {
                    prop_assert!(!before.can_start());
                }
                continue;
            };
            if event == Event::Start {
                prop_assert!(before.can_start());
                prop_assert_eq!(next.name(), "activating");
            }
            if next.is_in_service() && !before.is_in_service() {
                let proven = matches!(event, Event::Proven { .. })
                    || event == Event::Done && before.step() == Some(Step::Test);
                prop_assert!(proven, "{:?} by {:?}", before, event);
            }
            if manual {
                let ours = next.step().is_some_and(|step| {
                    matches!(step, Step::DomainsCreated | Step::Verifying | Step::ActivationUser | Step::VoiceRoute)
                });
                prop_assert!(!ours, "O-21: nothing is done at Microsoft by hand");
            }
            if let State::Running(work) = &next {
                prop_assert!(work.due >= now || next == before);
                // Nothing is tried for longer than its patience, and the pause before the last try.
                let ends = matches!(event, Event::NotYet(..)) && work.step != Step::Withdrawing;
                prop_assert!(!ends || now - work.since < patience(work.step));
            }
            if event == Event::Cancel {
                let ended = next.is_inactive() || next.step() == Some(Step::Withdrawing);
                prop_assert!(ended && !next.is_in_service());
            }
            state = next;
        }
    }
}
