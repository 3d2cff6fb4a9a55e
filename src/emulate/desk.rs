use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::agent::{Agent, Behaviour, Note, Parts};
use super::call::{self, CallError, Dial, EmuCall};
use super::trace::Trace;
use super::wire::Inbound;

/// What both emulators are to whoever plays with them: calls that come in and go out, what becomes of them, what was
/// objected to and what went by. [`Teams`](super::Teams) and [`Pbx`](super::Pbx) have one each.
pub struct Desk {
    pub(super) agent: Arc<Agent>,
    incoming: Mutex<mpsc::Receiver<EmuCall>>,
}

impl Desk {
    pub(super) fn open(parts: Parts, inbound: mpsc::Receiver<Inbound>) -> Self {
        let (agent, incoming) = Agent::start(parts, inbound);
        Self {
            agent,
            incoming: Mutex::new(incoming),
        }
    }

    pub(super) async fn dial(&self, dial: Dial) -> Result<EmuCall, CallError> {
        call::dial(self.agent.clone(), dial).await
    }

    /// The next call that came in, answered or not; `None` when it does not come within the patience.
    pub async fn incoming(&self) -> Option<EmuCall> {
        tokio::time::timeout(self.agent.patience, async {
            self.incoming.lock().await.recv().await
        })
        .await
        .ok()
        .flatten()
    }

    /// Decides what becomes of calls to `number`.
    pub fn behave(&self, number: &str, behaviour: Behaviour) {
        self.agent.behave(number, behaviour);
    }

    /// Forgets what [`Desk::behave`] decided, ends every call, and leaves none in the queue of [`Desk::incoming`].
    pub async fn clear(&self) {
        self.agent.behave_ordinarily();
        self.agent.clear().await;
        let mut incoming = self.incoming.lock().await;
        while incoming.try_recv().is_ok() {}
    }

    /// Rules of TDR that the SBC broke so far, and descriptions and answers that were of no use, in words.
    pub fn notes(&self) -> Vec<String> {
        self.agent.notes().iter().map(ToString::to_string).collect()
    }

    /// The same since the last time, told once.
    pub fn take_notes(&self) -> Vec<Note> {
        self.agent.take_notes()
    }

    /// What went by.
    pub fn trace(&self) -> Trace {
        self.agent.trace.clone()
    }
}
