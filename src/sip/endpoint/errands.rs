//! What waits for an answer of DNS. Requests of one call leave in the order in which they were made, whichever question
//! is answered first: who receives them refuses a sequence number that comes late (RFC 3261 §12.2.2).

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::core::Core;
use super::deadlines::{Alarm, Timer};
use super::event::ClientKey;
use crate::sip::{Builder, Name, ResolveId, Target};

/// What is done with the answer.
pub(super) enum Errand {
    Request(ClientKey),
    Ack(ClientKey, Box<Builder>),
}

/// What DNS says: targets, or why there are none.
pub(super) type Answer = Result<Vec<Target>, String>;

/// Who may go on, in this order.
pub(super) type Ready = Vec<(Errand, Answer)>;

#[derive(Default)]
pub(super) struct Errands {
    open: HashMap<ResolveId, Waiting>,
    /// The open ones of each Call-ID, oldest first.
    lines: HashMap<Box<[u8]>, VecDeque<ResolveId>>,
}

struct Waiting {
    errand: Errand,
    call_id: Box<[u8]>,
    alarm: Alarm,
    /// It is there, but an older one's is not.
    answer: Option<Answer>,
}

impl Errands {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// One more, on behalf of this message; it has until then.
    pub fn add(
        &mut self,
        errand: Errand,
        draft: &Builder,
        until: Instant,
        core: &mut Core,
    ) -> ResolveId {
        let (id, mut alarm) = (ResolveId(core.number()), Alarm::default());
        core.deadlines
            .set(Timer::Errand(id), &mut alarm, Some(until));
        let call_id: Box<[u8]> = draft.value(Name::CallId).unwrap_or_default().into();
        self.lines.entry(call_id.clone()).or_default().push_back(id);
        let waiting = Waiting {
            errand,
            call_id,
            alarm,
            answer: None,
        };
        self.open.insert(id, waiting);
        id
    }

    /// Whose request waits for this answer.
    pub fn asker(&self, id: ResolveId) -> Option<ClientKey> {
        match self.open.get(&id)?.errand {
            Errand::Request(key) => Some(key),
            Errand::Ack(..) => None,
        }
    }

    /// The answer has come; who may go on now.
    pub fn answer(&mut self, id: ResolveId, answer: Answer, core: &mut Core) -> Ready {
        let Some(waiting) = self.open.get_mut(&id).filter(|w| w.answer.is_none()) else {
            return Vec::new();
        };
        core.deadlines
            .set(Timer::Errand(id), &mut waiting.alarm, None);
        waiting.answer = Some(answer);
        let call_id = waiting.call_id.clone();
        self.advance(&call_id)
    }

    /// Nobody wants this one any more; who waited for it only.
    pub fn forget(&mut self, id: ResolveId, core: &mut Core) -> Ready {
        let Some(mut waiting) = self.open.remove(&id) else {
            return Vec::new();
        };
        core.deadlines
            .set(Timer::Errand(id), &mut waiting.alarm, None);
        if let Some(line) = self.lines.get_mut(&waiting.call_id) {
            line.retain(|other| *other != id);
        }
        self.advance(&waiting.call_id)
    }

    /// Takes those at the head of the line that have their answers.
    fn advance(&mut self, call_id: &[u8]) -> Ready {
        let mut ready = Vec::new();
        let Some(line) = self.lines.get_mut(call_id) else {
            return ready;
        };
        while let Some(id) = line.front() {
            let answer = self.open.get_mut(id).and_then(|first| first.answer.take());
            let Some(answer) = answer else { break };
            let first = self.open.remove(id);
            ready.extend(first.map(|first| (first.errand, answer)));
            line.pop_front();
        }
        if line.is_empty() {
            self.lines.remove(call_id);
        }
        ready
    }
}
