//! Gives the users of a tenant the numbers that they should have.
//!
//! What is as it should be is left alone, so the same again asks and changes nothing. Microsoft does each change in its own
//! time: some are begun together, and then asked about until they are over.

use super::telephony::{NumberAssignment, OperationState};
use super::{Fault, Graph, MicrosoftError, Reaction};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Changes that are begun together.
const AT_ONCE: usize = 20;
/// Tries of a request that fails in passing.
const TRIES: u32 = 4;
/// The longest pause between two tries, and between two questions about an operation.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The kind of policy that leads a user's calls to our gateways.
const ROUTING_POLICY: &str = "OnlineVoiceRoutingPolicy";

/// A number that a user should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedNumber {
    /// As Teams writes it: E.164, perhaps with `;ext=`.
    pub number: String,
    /// The user's name to sign in.
    pub upn: String,
    /// The user's id at Microsoft, where it is known.
    pub object_id: Option<Uuid>,
}

/// All of a tenant's users that have numbers of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedNumbers {
    /// What they should have.
    pub wanted: Vec<WantedNumber>,
    /// What nobody should have any more.
    pub gone: Vec<String>,
    /// The name of the policy by which their calls come to us.
    pub policy: String,
}

/// What was done about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberChange {
    /// Nothing: it was as it should be.
    None,
    /// Its user was given it.
    Assigned,
    /// It was taken away.
    Unassigned,
}

/// What became of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberOutcome {
    /// Which.
    pub number: String,
    /// What was done, or why nothing was.
    pub change: Result<NumberChange, MicrosoftError>,
}

/// A change that Microsoft has begun, and its operation; none where nothing is to be done.
type Begun = Option<(NumberChange, String)>;

impl Graph<'_> {
    /// Gives users their numbers, with the policy that leads their calls here, and takes away what is gone. What is not done
    /// at `deadline` has failed.
    ///
    /// # Errors
    /// The numbers that the tenant has cannot be listed. What is wrong with one number is told of that one.
    pub async fn set_numbers(
        &self,
        numbers: &WantedNumbers,
        deadline: Instant,
    ) -> Result<Vec<NumberOutcome>, MicrosoftError> {
        let listed = self.retried(deadline, || self.number_assignments()).await?;
        let theirs: HashMap<&str, &NumberAssignment> = listed
            .iter()
            .filter(|one| one.assignment_target_id.is_some())
            .map(|one| (one.telephone_number.as_str(), one))
            .collect();
        let mut outcomes = Vec::new();
        for numbers_of_some in numbers.gone.chunks(AT_ONCE) {
            let mut begun = Vec::new();
            for number in numbers_of_some {
                let known = theirs.contains_key(number.as_str());
                begun.push((number, self.begin_removal(number, known, deadline).await));
            }
            for (number, begun) in begun {
                outcomes.push(self.outcome(number, begun, deadline).await);
            }
        }
        for numbers_of_some in numbers.wanted.chunks(AT_ONCE) {
            let mut begun = Vec::new();
            for wanted in numbers_of_some {
                let owner = theirs.get(wanted.number.as_str());
                let owner = owner.and_then(|one| one.assignment_target_id);
                let change = self.begin_assignment(wanted, owner, &numbers.policy, deadline);
                let change = change.await;
                begun.push((&wanted.number, change));
            }
            for (number, begun) in begun {
                outcomes.push(self.outcome(number, begun, deadline).await);
            }
        }
        Ok(outcomes)
    }

    async fn begin_removal(
        &self,
        number: &str,
        known: bool,
        deadline: Instant,
    ) -> Result<Begun, MicrosoftError> {
        if !known {
            return Ok(None);
        }
        let begin = || self.unassign_number(number);
        let operation = self.retried(deadline, begin).await?;
        Ok(Some((NumberChange::Unassigned, operation)))
    }

    async fn begin_assignment(
        &self,
        wanted: &WantedNumber,
        owner: Option<Uuid>,
        policy: &str,
        deadline: Instant,
    ) -> Result<Begun, MicrosoftError> {
        let user = match wanted.object_id {
            Some(user) => user,
            None => {
                let found = self.retried(deadline, || self.user(&wanted.upn)).await?;
                let unknown = || {
                    let detail = format!("the tenant has no user {}", wanted.upn);
                    MicrosoftError::new(Fault::NotFound, detail)
                };
                found.ok_or_else(unknown)?.id
            }
        };
        if owner == Some(user) {
            return Ok(None);
        }
        // Before the number: who has that has both, and what is refused halfway is tried again the next time.
        let give = || self.assign_policy(ROUTING_POLICY, policy, user);
        self.retried(deadline, give).await?;
        if owner.is_some() {
            // Teams gives nobody what somebody else has.
            let begin = || self.unassign_number(&wanted.number);
            let operation = self.retried(deadline, begin).await?;
            self.over(&operation, deadline).await?;
        }
        let begin = || self.assign_number(&wanted.number, user);
        let operation = self.retried(deadline, begin).await?;
        Ok(Some((NumberChange::Assigned, operation)))
    }

    async fn outcome(
        &self,
        number: &str,
        begun: Result<Begun, MicrosoftError>,
        deadline: Instant,
    ) -> NumberOutcome {
        let change = match begun {
            Err(error) => Err(error),
            Ok(None) => Ok(NumberChange::None),
            Ok(Some((change, operation))) => {
                let over = self.over(&operation, deadline).await;
                over.map(|()| change)
            }
        };
        NumberOutcome {
            number: number.to_owned(),
            change,
        }
    }

    /// Waits until an operation is over.
    async fn over(&self, operation: &str, deadline: Instant) -> Result<(), MicrosoftError> {
        let mut pause = Duration::from_secs(1);
        loop {
            let now = self.retried(deadline, || self.operation(operation)).await?;
            match now.status {
                OperationState::Succeeded | OperationState::Skipped => return Ok(()),
                OperationState::Failed => {
                    let detail = now.numbers.into_iter().find_map(|one| one.status_detail);
                    let detail = detail.unwrap_or_else(|| "Microsoft does not say why".to_owned());
                    return Err(MicrosoftError::new(Fault::BadRequest, detail));
                }
                OperationState::NotStarted | OperationState::Running => {}
            }
            if Instant::now() + pause > deadline {
                let detail = "Microsoft takes too long";
                return Err(MicrosoftError::new(Fault::Throttled, detail));
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// The same again while it fails in passing, as late as Microsoft wants.
    async fn retried<T, F: Future<Output = Result<T, MicrosoftError>>>(
        &self,
        deadline: Instant,
        request: impl Fn() -> F,
    ) -> Result<T, MicrosoftError> {
        let mut tries = 1;
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = error
                .retry_after
                .unwrap_or_else(|| Duration::from_secs(1 << tries));
            let gives_up = tries == TRIES
                || error.fault.reaction() != Reaction::Retry
                || pause > LONGEST_PAUSE
                || Instant::now() + pause > deadline;
            if gives_up {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }
}
