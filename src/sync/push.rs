//! The last step of a Sync: users get their numbers at Microsoft.
//!
//! Calls obey the new directory before it begins, and go on obeying it whatever comes of this step.

use super::Syncs;
use super::ending::close;
use super::report::{Report, SyncProblem};
use crate::microsoft::{NumberChange, NumberOutcome, WantedNumber, WantedNumbers};
use crate::provisioning::{PushSituation, TeamsPush};
use crate::store::numbers::teams;
use crate::store::{Change, CustomerRecord, StoreError};
use std::collections::HashSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of numbers, some time later.
pub type Pushing<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<NumberOutcome>, PushError>> + Send + 'a>>;

/// Customers' tenants at Microsoft.
pub trait TeamsTenants: Debug + Send + Sync {
    /// Gives users of a customer's tenant their numbers; what is not done at `deadline` has failed.
    fn set_numbers<'a>(
        &'a self,
        customer: Uuid,
        numbers: &'a WantedNumbers,
        deadline: Instant,
    ) -> Pushing<'a>;
}

/// Why nothing could be done in a tenant.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Nobody has signed in for the customer, or it no longer counts.
    #[error("nobody has signed in for the customer")]
    NotSignedIn,
    /// Something else.
    #[error("{code}: {detail}")]
    Failed {
        /// For programs; stable.
        code: &'static str,
        /// For people.
        detail: String,
    },
}

/// A Sync that calls obey, and of which this step is left.
pub(super) struct Unfinished {
    customer: CustomerRecord,
    report: Report,
    numbers: WantedNumbers,
}

impl Unfinished {
    /// What is left of a Sync, if something is; the report says why not. `gone`: numbers that nobody should have any more.
    pub(super) async fn of(
        syncs: &Syncs,
        change: &mut Change,
        customer: CustomerRecord,
        gone: Vec<String>,
        by_customer: bool,
        mut report: Report,
    ) -> Result<Result<Self, (CustomerRecord, Report)>, StoreError> {
        let wanted = teams::wanted(change, customer.id).await?;
        let wanted = wanted.into_iter().map(|number| WantedNumber {
            number: number.number,
            upn: number.upn,
            object_id: number.object_id,
        });
        let numbers = WantedNumbers {
            wanted: wanted.collect(),
            gone,
            policy: customer.settings.account_id.clone(),
        };
        report.teams_push.outcome = TeamsPush::of(PushSituation {
            configured: syncs.0.tenants.is_some(),
            activation: customer.settings.activation_state,
            any: !numbers.wanted.is_empty() || !numbers.gone.is_empty(),
            by_customer,
            co_managed: customer.can_manage,
            done_before: customer.teams_pushed,
        });
        Ok(match report.teams_push.outcome {
            TeamsPush::Due => Ok(Self {
                customer,
                report,
                numbers,
            }),
            _ => Err((customer, report)),
        })
    }

    /// What would be done, for a Sync that is only tried.
    pub(super) fn tried(self) -> Report {
        self.report
    }
}

/// Does it, and keeps what came of the whole Sync.
pub(super) async fn carry_out(
    syncs: &Syncs,
    task: Uuid,
    unfinished: Unfinished,
) -> Result<(), StoreError> {
    let Unfinished {
        customer,
        mut report,
        numbers,
    } = unfinished;
    let done = match &syncs.0.tenants {
        Some(tenants) => {
            let deadline = Instant::now() + PATIENCE;
            tenants.set_numbers(customer.id, &numbers, deadline).await
        }
        None => Err(PushError::NotSignedIn),
    };
    let mut rows = syncs.0.store.rows().await?;
    match done {
        Ok(outcomes) => {
            note(&mut rows, customer.id, &mut report, &outcomes).await?;
            settle(&mut rows, customer.id, &numbers.gone, &outcomes).await?;
        }
        Err(PushError::NotSignedIn) => report.teams_push.outcome = TeamsPush::SkippedNoToken,
        Err(PushError::Failed { code, detail }) => {
            tracing::warn!(customer = %customer.id, code, "users were not given their numbers at Microsoft");
            report.teams_push.outcome = TeamsPush::Failed;
            report.teams_push.error = Some(SyncProblem { code, detail });
        }
    }
    close(&mut rows, &customer, task, &report).await?;
    rows.keep().await
}

async fn note(
    rows: &mut Change,
    customer: Uuid,
    report: &mut Report,
    outcomes: &[NumberOutcome],
) -> Result<(), StoreError> {
    report.teams_push.outcome = TeamsPush::Done;
    for NumberOutcome { number, change } in outcomes {
        let push = &mut report.teams_push;
        match change {
            Ok(NumberChange::None) => push.unchanged += 1,
            Ok(NumberChange::Assigned) => push.assigned += 1,
            Ok(NumberChange::Unassigned) => push.unassigned += 1,
            Err(error) => {
                push.failed += 1;
                push.outcome = TeamsPush::Failed;
                teams::differs(rows, customer, number, &error.detail).await?;
                report.refused_by_teams(number, error.fault.name(), &error.detail);
            }
        }
    }
    Ok(())
}

/// Forgets the numbers that nobody has any more.
async fn settle(
    rows: &mut Change,
    customer: Uuid,
    gone: &[String],
    outcomes: &[NumberOutcome],
) -> Result<(), StoreError> {
    let gone: HashSet<&String> = gone.iter().collect();
    let settled =
        |outcome: &&NumberOutcome| outcome.change.is_ok() && gone.contains(&outcome.number);
    for outcome in outcomes.iter().filter(settled) {
        teams::settled(rows, customer, &outcome.number).await?;
    }
    Ok(())
}
