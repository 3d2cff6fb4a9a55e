//! Sync: the one operation that makes calls obey what is stored of a customer's numbers and seats.
//!
//! It asks the carrier's system first, and then does everything in one transaction of the store: users, statuses of
//! numbers, what leaves, the job's report, and the next directory. So either all of it holds or nothing, and calls see
//! one generation more, or the same one when nothing changed for them. The call path never waits for it. Then users get their
//! numbers at Microsoft, where that is the asker's to do.

mod ending;
mod push;
mod report;
mod run;

pub use push::{PushError, Pushing, TeamsTenants};
pub use report::{Counts, Item, ItemKind, Outcome, PushReport, Report, SyncProblem};

use crate::backend::SeatBackend;
use crate::store::{Store, StoreError, TaskKind, TaskRecord, customers, tasks};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

/// Syncs at once.
const AT_ONCE: usize = 4;
/// Syncs whose users get their numbers at Microsoft at once.
const PUSHES: usize = 8;
/// Syncs that may wait for their turn.
const WAITING: usize = 1000;

/// Runs Syncs. Clones share everything.
#[derive(Debug, Clone)]
pub struct Syncs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    backend: Option<Arc<dyn SeatBackend>>,
    timeout: Duration,
    tenants: Option<Arc<dyn TeamsTenants>>,
    turns: Semaphore,
    pushes: Semaphore,
    begun: AtomicUsize,
    over: Notify,
}

/// Who asks for a Sync.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// By which token.
    pub token: Uuid,
    /// Whether it is somebody of the customer, whose users are their own business.
    pub of_customer: bool,
}

/// Why a Sync does not begin.
#[derive(Debug, thiserror::Error)]
pub enum SyncRefusal {
    /// The customer has one under way.
    #[error("a Sync of the customer is under way")]
    Running,
    /// Too many wait.
    #[error("too many Syncs wait for their turn")]
    Busy,
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Syncs {
    /// Of this store, by what the carrier's system says within so much time; without tenants nobody's number is anybody's
    /// business at Microsoft.
    pub fn new(
        store: Store,
        backend: Option<Arc<dyn SeatBackend>>,
        timeout: Duration,
        tenants: Option<Arc<dyn TeamsTenants>>,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            backend,
            timeout,
            tenants,
            turns: Semaphore::new(AT_ONCE),
            pushes: Semaphore::new(PUSHES),
            begun: AtomicUsize::new(0),
            over: Notify::new(),
        }))
    }

    /// Begins a Sync of a customer. It goes on whether or not somebody waits for it.
    ///
    /// # Errors
    /// [`SyncRefusal`].
    pub async fn begin(&self, customer: Uuid, by: Asker) -> Result<TaskRecord, SyncRefusal> {
        if self.0.begun.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.0.begun.fetch_sub(1, Ordering::Relaxed);
            return Err(SyncRefusal::Busy);
        }
        let noted = self.note(customer).await;
        if noted.is_err() {
            self.0.begun.fetch_sub(1, Ordering::Relaxed);
        }
        let task = noted?;
        let (syncs, id) = (self.clone(), task.id);
        tokio::spawn(async move {
            syncs.in_turn(customer, id, by).await;
            syncs.0.begun.fetch_sub(1, Ordering::Relaxed);
            syncs.0.over.notify_waiters();
        });
        Ok(task)
    }

    async fn note(&self, customer: Uuid) -> Result<TaskRecord, SyncRefusal> {
        let mut rows = self.0.store.rows().await?;
        let noted = tasks::insert(&mut rows, TaskKind::Sync, customer).await;
        let task = noted.map_err(|error| match error {
            StoreError::Taken(_) => SyncRefusal::Running,
            error => error.into(),
        })?;
        let running = crate::provisioning::SyncState::Running;
        customers::set_sync_state(&mut rows, customer, running).await?;
        rows.keep().await?;
        Ok(task)
    }

    async fn in_turn(&self, customer: Uuid, task: Uuid, by: Asker) {
        if let Err(error) = self.carry_out(customer, task, by).await {
            tracing::error!(%customer, %error, "a Sync failed");
            if let Err(error) = run::give_up(self, customer, task, &error).await {
                tracing::error!(%customer, %error, "the failure of a Sync could not be kept");
            }
        }
    }

    async fn carry_out(&self, customer: Uuid, task: Uuid, by: Asker) -> Result<(), StoreError> {
        let unfinished = {
            // Never closed.
            let _turn = self.0.turns.acquire().await.ok();
            run::carry_out(self, customer, task, by).await?
        };
        let Some(unfinished) = unfinished else {
            return Ok(());
        };
        let _turn = self.0.pushes.acquire().await.ok();
        push::carry_out(self, task, unfinished).await
    }

    /// What a Sync would do now, without doing it.
    ///
    /// # Errors
    /// The database.
    pub async fn dry_run(&self, customer: Uuid, by: Asker) -> Result<Report, StoreError> {
        run::rehearse(self, customer, by).await
    }

    /// The task, when it is over or `patience` is; none if there is no such task.
    ///
    /// # Errors
    /// The database.
    pub async fn wait(
        &self,
        task: Uuid,
        patience: Duration,
    ) -> Result<Option<TaskRecord>, StoreError> {
        let end = tokio::time::Instant::now() + patience;
        loop {
            // Before the look, so that what ends after it is heard of.
            let over = self.0.over.notified();
            let found = tasks::find(&mut *self.0.store.read().await?, task).await?;
            let is_over = found.as_ref().is_none_or(|task| task.state.is_over());
            if is_over || tokio::time::timeout_at(end, over).await.is_err() {
                return Ok(found);
            }
        }
    }
}
