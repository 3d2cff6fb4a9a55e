//! Carries activations out: takes one step of each that is due, beside the calls and never in their way.
//!
//! What a step found out goes into the store together with the state that follows, in one change; whoever changed the
//! activation meanwhile wins, and the step is looked at again. So it goes on after a crash where it was.

mod steps;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::directory::{ActivationState, GatewayState};
use crate::microsoft::Microsoft;
use crate::net::clock::Clock;
use crate::net::zone::Zones;
use crate::provisioning::activation::{Event, State, Step};
use crate::store::activations::{self, ActivationRecord};
use crate::store::{GatewayProgress, Store, StoreError, events, gateways};
use steps::Found;

/// Steps that are worked on at once: each may wait for Microsoft for as long as a request may take.
const AT_ONCE: usize = 8;
/// The longest sleep, in case that somebody else wrote to the database.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two tries when the database does not answer.
const RECOVERY: Duration = Duration::from_secs(5);

/// What activations are carried out with.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub store: Store,
    pub microsoft: Option<Microsoft>,
    pub zones: Zones,
    pub clock: Clock,
    pub wake: Arc<Notify>,
    /// Of users that activate gateways.
    pub usage_location: String,
}

impl Runner {
    /// Runs for ever. `proven` tells of gateways that a call from Teams has named.
    pub async fn run(self, mut proven: mpsc::Receiver<Uuid>) {
        let mut work = JoinSet::new();
        let mut busy = HashSet::new();
        loop {
            let next = match self.begin(&mut work, &mut busy).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "activations wait for the database");
                    tokio::time::sleep(RECOVERY).await;
                    continue;
                }
            };
            let far = self.clock.now() + LONGEST;
            tokio::select! {
                Some(done) = work.join_next(), if !work.is_empty() => match done {
                    Ok(id) => { busy.remove(&id); }
                    Err(error) => {
                        tracing::error!(%error, "a step of an activation has failed");
                        // Whose it was is not known; all are looked at again, and a state's version keeps them apart.
                        busy.clear();
                    }
                },
                Some(gateway) = proven.recv() => {
                    if let Err(error) = self.proven(gateway).await {
                        tracing::warn!(%error, %gateway, "a proven gateway is not noted; the next call proves it again");
                    }
                }
                () = self.wake.notified() => {}
                () = self.clock.until(next.unwrap_or(far).min(far)) => {}
            }
        }
    }

    /// Starts what is due, as far as there is room, and tells when the next one is.
    async fn begin(
        &self,
        work: &mut JoinSet<Uuid>,
        busy: &mut HashSet<Uuid>,
    ) -> Result<Option<time::OffsetDateTime>, StoreError> {
        let mut connection = self.store.read().await?;
        // Those that are being worked on are still due, and first in the list.
        let due = activations::due(&mut connection, self.clock.now(), 2 * AT_ONCE as u32).await?;
        for record in due {
            if work.len() < AT_ONCE && busy.insert(record.id) {
                let runner = self.clone();
                work.spawn(async move {
                    let id = record.id;
                    runner.advance(record).await;
                    id
                });
            }
        }
        let now = self.clock.now();
        // What is overdue is being worked on, and its end wakes us.
        Ok(activations::next_due(&mut connection)
            .await?
            .filter(|next| *next > now))
    }

    /// One step of one activation.
    async fn advance(&self, record: ActivationRecord) {
        let found = match self.step(&record).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, activation = %record.id, "a step of an activation waits for the database");
                tokio::time::sleep(RECOVERY).await;
                return;
            }
        };
        if let Err(error) = self.note(&record, found).await {
            tracing::warn!(%error, activation = %record.id, "a step of an activation could not be noted");
            tokio::time::sleep(RECOVERY).await;
        }
    }

    /// Stores what a step found out.
    async fn note(&self, record: &ActivationRecord, found: Found) -> Result<(), StoreError> {
        let now = self.clock.now();
        let state = match record.state.on(record.method, found.event, now) {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, activation = %record.id, state = record.state.name(), "a step found what cannot be");
                tokio::time::sleep(RECOVERY).await;
                return Ok(());
            }
        };
        let mut change = self.store.change().await?;
        if !activations::save(&mut change, record, &state, now).await? {
            return Ok(());
        }
        for progress in &found.gateways {
            gateways::progress(&mut change, progress).await?;
        }
        self.tell(&mut change, record, &state).await?;
        change.publish_for(&[record.customer_id]).await?;
        Ok(())
    }

    /// What follows from a new state for calls, and for whoever listens.
    async fn tell(
        &self,
        change: &mut crate::store::Change,
        before: &ActivationRecord,
        state: &State,
    ) -> Result<(), StoreError> {
        let (customer, now) = (before.customer_id, self.clock.now());
        activations::set_state(change, customer, directory_state(state)).await?;
        let detail =
            json!({ "method": before.method, "step": state.step(), "error": state.failure() });
        let kind = match (before.state.is_in_service(), state) {
            (false, state) if state.is_in_service() => "customer.activated",
            (true, State::Degraded(..)) if matches!(before.state, State::Active(_)) => {
                "customer.degraded"
            }
            (true, State::Active(_)) if matches!(before.state, State::Degraded(..)) => {
                "customer.recovered"
            }
            (_, State::Failed(..)) => "activation.failed",
            (_, State::Inactive(_)) => "activation.ended",
            _ if before.state.step() != state.step() => "activation.step",
            _ if before.state.failure() != state.failure() => "activation.waiting",
            _ => return Ok(()),
        };
        tracing::info!(%customer, state = state.name(), step = state.step().map(Step::name), kind, "activation");
        events::insert(change, now, kind, customer, &detail).await
    }

    /// A call from Teams named a verified gateway: Microsoft knows the way.
    async fn proven(&self, gateway: Uuid) -> Result<(), StoreError> {
        let mut change = self.store.change().await?;
        let Some(found) = gateways::find_any(&mut change, gateway).await? else {
            return Ok(());
        };
        if found.settings.state != GatewayState::Verified {
            return Ok(());
        }
        let customer = found.customer_id;
        let open = activations::open(&mut change, customer).await?;
        let in_service = crate::store::customers::find(&mut change, customer)
            .await?
            .is_some_and(|customer| {
                customer.settings.activation_state != ActivationState::Inactive
            });
        if !in_service {
            return Ok(());
        }
        let progress = GatewayProgress {
            state: GatewayState::Active,
            error: None,
            ..GatewayProgress::from(&found)
        };
        gateways::progress(&mut change, &progress).await?;
        let now = self.clock.now();
        events::insert(
            &mut change,
            now,
            "gateway.active",
            customer,
            &json!({ "fqdn": found.fqdn }),
        )
        .await?;
        if let Some(open) = open {
            let all = gateways::of_customer(&mut change, customer).await?;
            let settled = |state| matches!(state, GatewayState::Active | GatewayState::Disabled);
            let all = all.iter().all(|gateway| settled(gateway.settings.state));
            if let Ok(state) = open.state.on(open.method, Event::Proven { all }, now) {
                activations::save(&mut change, &open, &state, now).await?;
                self.tell(&mut change, &open, &state).await?;
            }
        }
        change.publish_for(&[customer]).await?;
        Ok(())
    }
}

/// What calls obey.
fn directory_state(state: &State) -> ActivationState {
    match state {
        State::Running(work) if work.step != Step::Withdrawing => ActivationState::Activating,
        State::Running(_)
        | State::Inactive(_)
        | State::ConsentIncomplete(_)
        | State::Failed(..) => ActivationState::Inactive,
        State::Active(_) => ActivationState::Active,
        State::Degraded(..) => ActivationState::Degraded,
    }
}
