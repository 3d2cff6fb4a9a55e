//! Every call, a refused one too, tells why it went as it did.

use std::time::Duration;

use tollgate::b2bua::{Cdr, Fact, Failing, Found, LimitOf, LimitOutcome, Music, Screening};
use tollgate::sip::{Method, Name};

use crate::sim::World;
use crate::sim::setup::*;

fn facts(cdr: &Cdr) -> Vec<&Fact> {
    assert_eq!(cdr.why.left_out, 0);
    cdr.why.steps.iter().map(|step| &step.fact).collect()
}

/// The steps' names, in order.
fn steps(cdr: &Cdr) -> Vec<String> {
    let name = |fact: &Fact| {
        let value = serde_json::to_value(fact).unwrap();
        value["step"].as_str().unwrap().to_owned()
    };
    facts(cdr).into_iter().map(name).collect()
}

fn pick<'a, T>(cdr: &'a Cdr, pick: impl Fn(&'a Fact) -> Option<T>) -> Vec<T> {
    cdr.why.steps.iter().filter_map(|s| pick(&s.fact)).collect()
}

/// A call that fails over: who it was, what it was let in by, where it could go and in which order, what each attempt
/// brought with the words of the far end, and how it ended; every leg's Call-ID is in it.
#[test]
fn a_call_that_fails_over_tells_every_step() {
    let mut w = World::with(Setup::default().with_backup(), 2);
    let a = w.dial(TEAMS);
    let b = w.incoming(PBX);
    let first = w.sides[b.0].invite.call_id().unwrap().to_owned();
    w.reply(b, 503, None, |draft| {
        draft.header(Name::Reason, "Q.850;cause=41;text=\"line card\"");
    });
    let b = w.incoming(BACKUP);
    let second = w.sides[b.0].invite.call_id().unwrap().to_owned();
    w.ring(b);
    w.provisional(a);
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.bye(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    let expected = [
        "received",
        "peer",
        "gateway",
        "customer",
        "number",
        "caller",
        "limit",
        "candidates",
        "limit",
        "attempt",
        "failed",
        "limit",
        "attempt",
        "progress",
        "answered",
        "ended",
    ];
    assert_eq!(steps(&cdr), expected);
    let attempts = pick(&cdr, |fact| match fact {
        Fact::Attempt { peer, call_id, .. } => Some((peer.as_str(), call_id.clone())),
        _ => None,
    });
    assert_eq!(attempts, [("pbx", first), ("backup", second)]);
    let failed = pick(&cdr, |fact| match fact {
        Fact::Failed {
            peer,
            failure,
            next,
        } => Some((peer.as_str(), failure, *next)),
        _ => None,
    });
    let said = Failing::Status {
        status: 503,
        phrase: "Service Unavailable".into(),
        reasons: vec!["Q.850;cause=41;text=\"line card\"".into()],
    };
    assert_eq!(failed, [("pbx", &said, true)]);
    let candidates = pick(&cdr, |fact| match fact {
        Fact::Candidates { targets } => Some(
            targets
                .iter()
                .map(|t| (t.peer.as_str(), t.up))
                .collect::<Vec<_>>(),
        ),
        _ => None,
    });
    assert_eq!(candidates, [vec![("pbx", true), ("backup", true)]]);
    let text = cdr.why.to_string();
    for words in [
        "customer acme",
        "Microsoft's certificate and range",
        "1 of 10 in use",
        "backup answered",
        "over: bye",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

/// A limit is told with its values at that instant: the customer's, and the trunk's.
#[test]
fn a_busy_limit_is_told_with_its_values() {
    let setup = Setup::default()
        .acme_with(|c| c.max_channels = 2)
        .trunk_with("pbx", |t| t.cac_max_sessions = Some(1));
    let mut w = World::with(setup, 8);
    let (a, b) = w.call_to_teams();
    let refused = w.dial(PBX);
    assert_eq!(w.outcome(refused).status(), 486);
    let carried = w.dial(CARRIER);
    w.incoming(TEAMS);
    let busy = w.dial(CARRIER);
    assert_eq!(w.outcome(busy).status(), 486);
    w.cancel(carried);
    w.outcome(carried);
    w.bye(a);
    w.hung_up(b);
    let cdrs = w.finish_all();
    let busy: Vec<_> = cdrs
        .iter()
        .flat_map(|cdr| {
            pick(cdr, |fact| match fact {
                Fact::Limit {
                    of,
                    name,
                    in_use,
                    limit,
                    outcome: LimitOutcome::Busy,
                } => Some((*of, name.as_str(), *in_use, *limit)),
                _ => None,
            })
        })
        .collect();
    assert_eq!(
        busy,
        [
            (LimitOf::Trunk, "pbx", 1, Some(1)),
            (LimitOf::Customer, "acme", 2, Some(2))
        ]
    );
    let last = cdrs.iter().find(|c| c.sip_code == Some(486)).unwrap();
    assert!(
        matches!(facts(last).last(), Some(Fact::Refused { status: 486, q850: Some(34), rule, .. }) if rule == "limit")
    );
}

/// A refused call tells the number and the caller that decided, and what is known of them (TDR-313, TDR-1212).
#[test]
fn a_refusal_tells_the_number_that_decided() {
    let number = |cdr: &Cdr| {
        pick(cdr, |fact| match fact {
            Fact::Number { number, found, .. } => Some((number.clone(), *found)),
            _ => None,
        })
    };
    for (who, called, found) in [
        (PBX, "+14255559999", Found::Nobodys),
        (CARRIER, GONE, Found::OutOfService),
        (PBX, RIVALS, Found::Foreign),
    ] {
        let mut w = World::new();
        let a = w.dial_with(who, called, |_| {});
        w.outcome(a);
        let [cdr] = w.finish();
        assert_eq!(number(&cdr), [(called.to_owned(), found)]);
        assert!(
            matches!(facts(&cdr).last(), Some(Fact::Refused { .. })),
            "{:?}",
            steps(&cdr)
        );
    }
    let mut w = World::new();
    let a = w.dial_uri(TEAMS, &format!("sip:{OUTSIDE}@{ACME_FQDN}"), RIVALS, |_| {});
    assert_eq!(w.outcome(a).status(), 403);
    let [cdr] = w.finish();
    let screened = pick(&cdr, |fact| match fact {
        Fact::Caller {
            presented,
            screening,
            ..
        } => Some((presented.as_str(), *screening)),
        _ => None,
    });
    assert_eq!(screened, [(RIVALS, Screening::Refused)]);

    let mut w = World::new();
    let a = w.dial(STRANGER);
    w.outcome(a);
    let [cdr] = w.finish();
    assert_eq!(steps(&cdr), ["received", "refused"]);
}

/// What DNS said, and that a proxy could not be reached, stands between the attempts (TDR-211).
#[test]
fn dns_and_dead_connections_are_told() {
    let mut w = World::new();
    // It has answered OPTIONS before, or it would be tried last.
    w.pass(Duration::from_secs(1));
    w.agents[TEAMS].unreachable = true;
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS2);
    w.reject(b, 486);
    w.outcome(a);
    let [cdr] = w.finish();
    let resolved = pick(&cdr, |fact| match fact {
        Fact::Resolved { addresses, failure } => Some((addresses.len(), failure.is_none())),
        _ => None,
    });
    assert_eq!(resolved, [(1, true), (1, true)]);
    let failed = pick(&cdr, |fact| match fact {
        Fact::Failed { failure, next, .. } => Some((failure.to_string(), *next)),
        _ => None,
    });
    assert_eq!(
        failed,
        [
            ("not reached: connection refused".to_owned(), true),
            ("answered 486 Busy Here".to_owned(), false)
        ]
    );

    let setup = Setup::default().trunk_with("pbx", |t| t.host = "nowhere.example".into());
    let mut w = World::with(setup, 3);
    let a = w.dial(TEAMS);
    assert_eq!(w.outcome(a).status(), 503);
    let [cdr] = w.finish();
    let text = cdr.why.to_string();
    assert!(
        text.contains("DNS failed") && text.contains("its name leads nowhere"),
        "{text}"
    );
}

/// Hold, resume and transfer are told by whose doing they are; a live call's trace is seen by each of its names.
#[test]
fn hold_and_transfer_are_told() {
    let mut w = World::new();
    let (teams, pbx) = w.call_from_teams();
    w.reinvite(teams, "inactive");
    w.reinvite(teams, "inactive");
    w.reinvite(teams, "sendrecv");
    let id = w.calls.list()[0].id.to_string();
    let call_id = w.sides[pbx.0].invite.call_id().unwrap().to_owned();
    let live = w.calls.why(&id).unwrap();
    assert_eq!(w.calls.why(&call_id).unwrap().trace, live.trace);
    assert!(live.call_ids.contains(&call_id) && w.calls.why("nobody").is_none());
    w.send(teams, Method::Refer, None, |draft| {
        draft.header_fmt(
            Name::ReferTo,
            format_args!("<sip:+442075550999@evil.example>"),
        );
    });
    assert_eq!(w.outcome_of(teams, Method::Refer).status(), 403);
    w.send(teams, Method::Refer, None, |draft| {
        draft.header_fmt(
            Name::ReferTo,
            format_args!("<sip:+442075550999@{ACME_FQDN}>"),
        );
    });
    assert_eq!(w.outcome_of(teams, Method::Refer).status(), 202);
    let c = w.incoming(PBX);
    w.answer(c);
    w.request(teams, Method::Notify);
    w.bye(teams);
    w.bye(c);
    w.hung_up(pbx);
    let [cdr] = w.finish();
    let later = pick(&cdr, |fact| match fact {
        Fact::Held { .. }
        | Fact::Resumed { .. }
        | Fact::Refer { .. }
        | Fact::Transferred { .. } => Some(fact.clone()),
        _ => None,
    });
    let by = || ACME_FQDN.to_owned();
    assert_eq!(
        later,
        [
            Fact::Held {
                by: by(),
                music: Music::BuiltIn
            },
            Fact::Resumed { by: by() },
            Fact::Refer {
                by: by(),
                refused: Some(403)
            },
            Fact::Refer {
                by: by(),
                refused: None
            },
            Fact::Transferred {
                to: "+442075550999".into()
            },
        ]
    );
}
