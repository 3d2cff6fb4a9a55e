use std::collections::BTreeSet;
use std::time::Instant;

use super::event::{ClientKey, ServerKey};
use crate::sip::ResolveId;

/// Whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A server transaction.
    Server(ServerKey),
    /// A client transaction.
    Client(u64),
    /// A request of ours that waits for its target's first sign.
    Exchange(ClientKey),
    /// A question to DNS.
    Errand(ResolveId),
}

/// All deadlines; each owner has one at most, and keeps it in an [`Alarm`].
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Instant, Timer)>);

/// What [`Deadlines`] holds for one owner.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Instant>);

impl Deadlines {
    pub fn set(&mut self, timer: Timer, alarm: &mut Alarm, at: Option<Instant>) {
        if alarm.0 == at {
            return;
        }
        if let Some(was) = alarm.0 {
            self.0.remove(&(was, timer));
        }
        alarm.0 = at;
        self.0.extend(at.map(|at| (at, timer)));
    }

    pub fn first(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The first that is due. It stays until its owner sets the next one.
    pub fn due(&self, now: Instant) -> Option<Timer> {
        self.0
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, timer)| *timer)
    }
}
