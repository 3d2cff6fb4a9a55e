//! The steps of one Sync.

use super::ending::{close, finish};
use super::push::Unfinished;
use super::report::{Outcome, Report, SyncProblem};
use super::{Asker, Syncs};
use crate::directory::Number;
use crate::provisioning::{
    Held, Knowledge, NumberStatus, Seat, SeatKind, Seats, SyncState, Verdict, judge, user_cap,
};
use crate::store::{
    Change, CustomerRecord, Seated, StoreError, customers, devices, numbers, registrations,
    services, tasks, users,
};
use std::collections::HashSet;
use uuid::Uuid;

/// How far a Sync is when calls obey it, in percent.
const HALF: u8 = 50;

/// What the carrier's system said, and what that means for numbers.
struct Answer {
    known: Knowledge,
    seats: Option<Seats>,
    problem: Option<SyncProblem>,
}

/// Does all that calls obey, and keeps what came of it; what is left, if something is.
pub(super) async fn carry_out(
    syncs: &Syncs,
    customer: Uuid,
    task: Uuid,
    by: Asker,
) -> Result<Option<Unfinished>, StoreError> {
    let mut rows = syncs.0.store.rows().await?;
    let begun = tasks::start(&mut rows, task).await?;
    if !begun {
        customers::set_sync_state(&mut rows, customer, SyncState::Dirty).await?;
        rows.keep().await?;
        return Ok(None);
    }
    rows.keep().await?;
    let Some((record, seen)) = look(syncs, customer).await? else {
        return Ok(None);
    };
    let answer = ask(syncs, &record, &seen).await;

    let mut change = syncs.0.store.change().await?;
    let mut report = Report::new(by.token, false);
    report.generation = syncs.0.store.directory().load().generation;
    let leaving = numbers::teams::leaving(&mut change, customer).await?;
    let serves_differently = apply(&mut change, &record, answer, &mut report).await?
        || devices::any_active(&mut change, customer).await?;
    if serves_differently {
        report.generation += 1;
    }
    let gone = numbers::teams::gone(&mut change, customer, leaving).await?;
    let left = Unfinished::of(syncs, &mut change, record, gone, by.of_customer, report).await?;
    match &left {
        Ok(_) => tasks::advance(&mut change, task, HALF).await?,
        Err((record, report)) => close(&mut change, record, task, report).await?,
    }
    match serves_differently {
        true => change.publish_for(&[customer]).await.map(drop)?,
        false => change.keep().await?,
    }
    Ok(left.ok())
}

/// Notes that nothing was done.
pub(super) async fn give_up(
    syncs: &Syncs,
    customer: Uuid,
    task: Uuid,
    why: &StoreError,
) -> Result<(), StoreError> {
    let mut report = Report::new(Uuid::nil(), false);
    report.generation = syncs.0.store.directory().load().generation;
    report.error = Some(SyncProblem {
        code: match why {
            StoreError::Contradiction(_) => "contradiction",
            _ => "internal",
        },
        detail: match why {
            StoreError::Contradiction(_) => why.to_string(),
            _ => "the database failed".to_owned(),
        },
    });
    let mut rows = syncs.0.store.rows().await?;
    customers::set_sync_state(&mut rows, customer, SyncState::Failed).await?;
    finish(&mut rows, customer, task, SyncState::Failed, &report).await?;
    rows.keep().await
}

/// Does it all, and throws it away.
pub(super) async fn rehearse(
    syncs: &Syncs,
    customer: Uuid,
    by: Asker,
) -> Result<Report, StoreError> {
    let mut report = Report::new(by.token, true);
    if let Some((record, seen)) = look(syncs, customer).await? {
        let answer = ask(syncs, &record, &seen).await;
        let mut change = syncs.0.store.change().await?;
        let leaving = numbers::teams::leaving(&mut change, customer).await?;
        apply(&mut change, &record, answer, &mut report).await?;
        let gone = numbers::teams::gone(&mut change, customer, leaving).await?;
        let left = Unfinished::of(syncs, &mut change, record, gone, by.of_customer, report).await?;
        report = match left {
            Ok(left) => left.tried(),
            Err((_, report)) => report,
        };
    }
    report.generation = syncs.0.store.directory().load().generation;
    Ok(report)
}

/// What there is before the carrier's system is asked.
async fn look(
    syncs: &Syncs,
    customer: Uuid,
) -> Result<Option<(CustomerRecord, Vec<Held>)>, StoreError> {
    let mut connection = syncs.0.store.read().await?;
    let Some(record) = customers::find(&mut connection, customer).await? else {
        return Ok(None);
    };
    let seen = numbers::held(&mut connection, customer).await?;
    Ok(Some((record, seen)))
}

async fn ask(syncs: &Syncs, customer: &CustomerRecord, seen: &[Held]) -> Answer {
    let Some(backend) = &syncs.0.backend else {
        return Answer {
            known: Knowledge::NoBackend,
            seats: None,
            problem: None,
        };
    };
    let asked: Vec<Number> = seen.iter().map(|held| held.number).collect();
    let question = backend.seats(&customer.settings.account_id, &asked);
    let problem = match tokio::time::timeout(syncs.0.timeout, question).await {
        Ok(Ok(seats)) => {
            let asked: HashSet<Number> = asked.into_iter().collect();
            return Answer {
                known: Knowledge::told(asked, &seats),
                seats: Some(seats),
                problem: None,
            };
        }
        Ok(Err(error)) => SyncProblem {
            code: error.code(),
            detail: error.to_string(),
        },
        Err(_) => SyncProblem {
            code: "backend_unreachable",
            detail: format!("no answer within {} s", syncs.0.timeout.as_secs()),
        },
    };
    tracing::warn!(customer = %customer.id, code = problem.code, "the carrier's system is of no help to a Sync");
    Answer {
        known: Knowledge::Silent,
        seats: None,
        problem: Some(problem),
    }
}

/// Writes everything; whether calls have to obey another directory.
async fn apply(
    change: &mut Change,
    customer: &CustomerRecord,
    answer: Answer,
    report: &mut Report,
) -> Result<bool, StoreError> {
    report.error = answer.problem;
    if let Some(seats) = &answer.seats {
        seat_users(change, customer, seats, report).await?;
    }
    let mut serves_differently = false;
    for held in numbers::held(change, customer.id).await? {
        let verdict = judge(&held, &answer.known);
        serves_differently |= settle(change, customer.id, &held, verdict, report).await?;
    }
    report.counts.registrations = registrations::follow_users(change, customer.id).await?;
    serves_differently |= report.counts.registrations > 0;
    serves_differently |= numbers::follow_users(change, customer.id).await? > 0;
    Ok(serves_differently)
}

/// Whether it changes what calls may do.
async fn settle(
    change: &mut Change,
    customer: Uuid,
    held: &Held,
    verdict: Verdict,
    report: &mut Report,
) -> Result<bool, StoreError> {
    let number = held.number.as_str();
    let Verdict::Stand { status, in_service } = verdict else {
        report.number(number, Some(Outcome::Removed), None);
        numbers::settle(change, customer, &held.number, verdict, None).await?;
        return Ok(held.in_service);
    };
    let outcome = match (held.in_service, in_service) {
        (false, true) => Some(Outcome::Added),
        (true, false) => Some(Outcome::Removed),
        _ if status.is_some_and(NumberStatus::is_blocked) => Some(Outcome::Blocked),
        _ if status != held.status => Some(Outcome::Updated),
        _ => None,
    };
    // One that left service because it is blocked is both.
    if outcome == Some(Outcome::Removed) && status.is_some_and(NumberStatus::is_blocked) {
        report.counts.blocked += 1;
    }
    report.number(number, outcome, status);
    if status != held.status || in_service != held.in_service {
        numbers::settle(change, customer, &held.number, verdict, None).await?;
    }
    Ok(in_service != held.in_service)
}

/// Makes users of seats, gives them their numbers, and disables those whose seats are gone.
async fn seat_users(
    change: &mut Change,
    customer: &CustomerRecord,
    seats: &Seats,
    report: &mut Report,
) -> Result<(), StoreError> {
    let id = customer.id;
    let bought = services::licensed_users(change, id).await?;
    let cap = user_cap(customer.settings.user_limit, bought);
    let of_teams = || {
        seats
            .seats
            .iter()
            .filter(|seat| seat.kind == SeatKind::Teams)
    };
    let ids: Vec<&str> = of_teams().map(|seat| seat.id.as_str()).collect();
    let gone = users::unseat(change, id, &ids).await?;
    report.counts.users_disabled = u32::try_from(gone).unwrap_or(u32::MAX);
    for seat in of_teams() {
        let room = match cap {
            Some(cap) => users::counted(change, id).await? < cap,
            None => true,
        };
        match users::seat(change, id, seat, room).await {
            Ok(seated) => {
                note(report, seat, seated);
                if let Some(user) = seated.user() {
                    give_numbers(change, id, seat, user).await?;
                }
            }
            Err(StoreError::Faults(faults)) => {
                let first = faults
                    .first()
                    .map(|f| format!("{}: {}", f.field, f.message));
                fail(report, seat, "invalid", first.unwrap_or_default());
            }
            Err(StoreError::Taken(what)) => {
                fail(report, seat, "in_use", format!("{what} is taken"))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn note(report: &mut Report, seat: &Seat, seated: Seated) {
    match seated {
        Seated::Created(_) => {
            report.counts.users_created += 1;
            report.seat(&seat.id, Outcome::Added, None);
        }
        Seated::Updated(_) => {
            report.counts.users_updated += 1;
            report.seat(&seat.id, Outcome::Updated, None);
        }
        Seated::Unchanged(_) => {}
        Seated::Full => {
            let detail = "no more users are allowed".to_owned();
            fail(report, seat, "user_limit_reached", detail);
        }
    }
}

fn fail(report: &mut Report, seat: &Seat, code: &'static str, detail: String) {
    report.counts.errors += 1;
    report.seat(
        &seat.id,
        Outcome::Failed,
        Some(SyncProblem { code, detail }),
    );
}

async fn give_numbers(
    change: &mut Change,
    customer: Uuid,
    seat: &Seat,
    user: Uuid,
) -> Result<(), StoreError> {
    for text in &seat.numbers {
        let Ok(number) = text.parse::<Number>() else {
            continue;
        };
        if numbers::give(change, customer, &number, user).await? {
            users::first_number(change, user, &number).await?;
        }
    }
    Ok(())
}
