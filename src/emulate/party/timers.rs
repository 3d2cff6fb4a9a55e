//! Repetitions, and when to give up.

use std::time::Duration;

use tokio::time::Instant;

use super::{Party, Purpose, T2};
use crate::emulate::call::{By, CallError};

impl Party {
    pub(super) fn deadline(&self) -> Instant {
        let sent = self
            .sent
            .iter()
            .flat_map(|s| s.repeat.map(|r| r.0).into_iter().chain([s.gives_up]));
        let repeating = self.repeating.iter().map(|r| r.at.min(r.gives_up));
        let steps = self.steps.front().map(|s| s.0);
        let far = Instant::now() + Duration::from_secs(3600);
        sent.chain(repeating)
            .chain(steps)
            .chain(self.over_at)
            .fold(far, Instant::min)
    }

    pub(super) async fn expire(&mut self) {
        let now = Instant::now();
        while self.steps.front().is_some_and(|s| s.0 <= now) {
            if let Some((_, step)) = self.steps.pop_front() {
                self.step(step);
            }
        }
        for sent in &mut self.sent {
            if let Some((at, interval)) = sent.repeat.filter(|(at, _)| *at <= now) {
                self.agent.send(&sent.wire, sent.bytes.clone());
                let next = if sent.method == "INVITE" {
                    interval * 2
                } else {
                    (interval * 2).min(T2)
                };
                sent.repeat = Some((at + next, next));
            }
        }
        while let Some(at) = self.sent.iter().position(|s| s.gives_up <= now) {
            let sent = self.sent.remove(at);
            match sent.purpose {
                Purpose::Call { .. } => self.end(By::Nobody, 408, None),
                Purpose::Reinvite(_, done) => drop(done.send(Err(CallError::Refused(408)))),
                Purpose::Ask(done) => drop(done.send(Err(CallError::Refused(408)))),
                Purpose::Other => {}
            }
        }
        self.expire_repeating(now).await;
    }

    pub(super) async fn expire_repeating(&mut self, now: Instant) {
        let Some(repeating) = &mut self.repeating else {
            return;
        };
        if repeating.gives_up <= now {
            let success = repeating.success;
            self.repeating = None;
            if success {
                self.agent.note("TDR-514", "a 200 was never acknowledged");
                self.bye(By::Nobody).await;
            }
        } else if repeating.at <= now {
            self.agent.send(&repeating.wire, repeating.bytes.clone());
            repeating.interval = (repeating.interval * 2).min(T2);
            repeating.at = now + repeating.interval;
        }
    }
}
