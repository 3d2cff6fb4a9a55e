use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::Event;

/// Reports that may wait for room.
const REPORTS_WAITING: usize = 1024;

/// The one queue into the shard.
pub(super) struct Inbox {
    events: mpsc::Sender<Event>,
    reports: Arc<Semaphore>,
}

impl Inbox {
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        let reports = Arc::new(Semaphore::new(REPORTS_WAITING));
        Self { events, reports }
    }

    /// Waits for room; false when nobody listens any more.
    pub async fn arrive(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Does not wait; false when there is no room.
    pub fn try_arrive(&self, event: Event) -> bool {
        self.events.try_send(event).is_ok()
    }

    /// Does not wait either, for the shard itself may be the caller; a task waits for room instead. False when too
    /// many such tasks wait already.
    pub fn report(&self, event: Event, runtime: &Handle) -> bool {
        let event = match self.events.try_send(event) {
            Err(mpsc::error::TrySendError::Full(event)) => event,
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return true,
        };
        let Ok(turn) = self.reports.clone().try_acquire_owned() else {
            return false;
        };
        let events = self.events.clone();
        runtime.spawn(async move {
            let _ = events.send(event).await; // nobody listens any more
            drop(turn);
        });
        true
    }

    /// How many arrivals wait for the shard.
    pub fn waiting(&self) -> usize {
        self.events.max_capacity() - self.events.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::SendId;

    /// What is reported to a busy shard arrives late, but arrives; so many reports wait, and no more.
    #[tokio::test]
    async fn reports_wait_for_room() {
        let (events, mut arrivals) = mpsc::channel(1);
        let inbox = Inbox::new(events);
        let report = |n| {
            let (id, reason) = (SendId(n), String::new());
            inbox.report(Event::SendFailed { id, reason }, &Handle::current())
        };
        let all = 1 + REPORTS_WAITING as u64;
        assert!((0..all).all(report));
        assert!(!report(all), "one too many");
        assert_eq!(inbox.waiting(), 1);
        for expected in 0..all {
            let Some(Event::SendFailed { id, .. }) = arrivals.recv().await else {
                panic!("report {expected}")
            };
            assert_eq!(id, SendId(expected));
        }
        assert!(report(all), "there is room again");
    }
}
