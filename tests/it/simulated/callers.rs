//! Whose numbers a trunk presents to Teams (TDR-410, TDR-1212).

use tollgate::b2bua::{Cdr, Fact, Report, Screening};
use tollgate::directory::{Callers, NumberFormat};
use tollgate::sip::Name;

use crate::sim::World;
use crate::sim::setup::*;

fn with(callers: Callers) -> Setup {
    Setup::default().trunk_with("pbx", |trunk| trunk.profile.callers = callers)
}

/// A call of the PBX for Alice in this caller's name, perhaps diverted by somebody; its record, and whether it reached
/// Teams.
fn call(setup: Setup, caller: &str, diverted_by: Option<&str>) -> (Cdr, bool, usize) {
    let mut w = World::with(setup, 74);
    let a = w.dial_uri(PBX, &format!("sip:{ALICE}@192.0.2.1"), caller, |draft| {
        if let Some(by) = diverted_by {
            let value = format!("<sip:{by}@192.0.2.10>;reason=unconditional");
            draft.header(Name::Diversion, value);
        }
    });
    w.pass(std::time::Duration::from_secs(1));
    let reached = w.audit.invites.len() == 1;
    if reached {
        let b = w.incoming(TEAMS);
        w.reject(b, 486);
    }
    let status = w.outcome(a).status();
    assert_eq!(status, if reached { 486 } else { 403 }, "{caller}");
    let is_foreign = |r: &&Report| matches!(r, Report::ForeignCaller { trunk } if trunk == "pbx");
    let foreign = w.reports.iter().filter(is_foreign).count();
    let refused = w.reports.iter().any(|report| {
        matches!(
            report,
            Report::Refused {
                customer: Some(ACME),
                reason: "caller"
            }
        )
    });
    assert_eq!(refused, !reached, "{caller}");
    let [cdr] = w.finish();
    (cdr, reached, foreign)
}

fn screening(cdr: &Cdr) -> Option<Screening> {
    cdr.why.steps.iter().find_map(|step| match &step.fact {
        Fact::Caller { screening, .. } => Some(*screening),
        _ => None,
    })
}

/// TDR-410: through an exchange with lines of its own calls whoever likes, a user of another customer too, and hears the
/// called one ring. That the number is another customer's is told and counted all the same.
#[test]
fn an_exchange_passes_on_calls_of_everybody() {
    for (caller, told, foreign) in [
        (OUTSIDE, Screening::NotFromTeams, 0),
        (BOB, Screening::NotFromTeams, 0),
        ("204", Screening::NotFromTeams, 0),
        ("anonymous", Screening::NotFromTeams, 0),
        (RIVALS, Screening::Foreign, 1),
    ] {
        let (cdr, reached, counted) = call(with(Callers::Any), caller, None);
        assert!(reached, "{caller}");
        assert_eq!(
            (screening(&cdr), counted),
            (Some(told), foreign),
            "{caller}"
        );
    }
}

/// TDR-1212: a trunk whose profile says that it brings nobody else's calls presents no other customer's number, and where
/// the customer screens callers none but its own; refused, counted, and told with the caller that decided. A call that
/// one of the customer's numbers diverted keeps its caller.
#[test]
fn a_trunk_presents_no_more_than_its_profile_says() {
    use Callers::{NotOthers, Own};
    for (callers, caller, diverted_by, told) in [
        (NotOthers, OUTSIDE, None, Screening::Outside),
        (NotOthers, BOB, None, Screening::Passed),
        (NotOthers, "204", None, Screening::Outside),
        (NotOthers, RIVALS, None, Screening::Refused),
        (NotOthers, RIVALS, Some(RIVALS), Screening::Refused),
        (NotOthers, RIVALS, Some(BOB), Screening::Foreign),
        (Own, BOB, None, Screening::Passed),
        (Own, "204", None, Screening::Outside),
        (Own, GONE, None, Screening::Refused),
        (Own, OUTSIDE, None, Screening::Refused),
        (Own, OUTSIDE, Some(OUTSIDE), Screening::Refused),
        (Own, OUTSIDE, Some(BOB), Screening::Outside),
        (Own, RIVALS, None, Screening::Refused),
    ] {
        let what = format!("{callers:?} {caller} {diverted_by:?}");
        let (cdr, reached, _) = call(with(callers), caller, diverted_by);
        assert_eq!(screening(&cdr), Some(told), "{what}");
        assert_eq!(reached, told != Screening::Refused, "{what}");
        let rule = (!reached).then_some("caller");
        assert_eq!(
            cdr.refused_by.as_deref(),
            rule.or(Some("far_end")),
            "{what}"
        );
    }
    let unscreened = with(Own).acme_with(|acme| acme.caller_screening = false);
    assert!(call(unscreened, OUTSIDE, None).1, "the customer's choice");
}

/// The same where the exchange writes numbers as they are dialled at home: a number is known in every form.
#[test]
fn callers_are_known_in_the_trunks_own_form() {
    let national = || {
        with(Callers::Own).trunk_with("pbx", |trunk| {
            trunk.number_format = NumberFormat::National {
                country_code: "1".into(),
                trunk_prefix: "1".into(),
                international_prefix: "011".into(),
            }
        })
    };
    for (caller, diverted_by, seen) in [
        ("14255550101", None, Some(BOB)),
        ("14255550200", None, None),
        ("011442075550123", Some("14255550101"), Some(OUTSIDE)),
        ("011442075550123", Some("14255550200"), None),
    ] {
        let (cdr, reached, _) = call(national(), caller, diverted_by);
        assert_eq!(reached, seen.is_some(), "{caller}");
        assert!(seen.is_none_or(|seen| cdr.from == seen), "{}", cdr.from);
    }
}
