//! What an emulator sent and received, for ladders and for tests that ask about single headers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::message::Message;
use super::wire::Wire;

/// How many messages are kept; the oldest go first.
const KEPT: usize = 4096;

/// Which way a message went, seen from the emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the emulator.
    In,
    /// From the emulator.
    Out,
}

/// One message on the wire.
#[derive(Debug, Clone)]
pub struct Traced {
    /// When it was sent or read.
    pub at: Instant,
    /// Which way it went.
    pub way: Way,
    /// The dialog's Call-ID.
    pub call_id: String,
    /// The start line.
    pub first_line: String,
    /// The CSeq, which tells a response's method.
    pub cseq: String,
    /// The whole message.
    pub text: String,
    /// Our end and the peer's of the connection it went on; nothing for datagrams.
    pub ends: Option<(SocketAddr, SocketAddr)>,
}

/// Called for each message as it goes by.
type Hook = Box<dyn Fn(&Traced) + Send>;

/// The messages of one emulator; clones share them.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    kept: VecDeque<Traced>,
    hook: Option<Hook>,
}

impl Trace {
    /// All that is kept, oldest first.
    pub fn messages(&self) -> Vec<Traced> {
        self.lock().kept.iter().cloned().collect()
    }

    /// Those of one call.
    pub fn of_call(&self, call_id: &str) -> Vec<Traced> {
        self.lock()
            .kept
            .iter()
            .filter(|m| m.call_id == call_id)
            .cloned()
            .collect()
    }

    /// Calls `hook` for each message from now on. It must be quick and must not use this trace.
    pub fn watch(&self, hook: impl Fn(&Traced) + Send + 'static) {
        self.lock().hook = Some(Box::new(hook));
    }

    pub(super) fn received(&self, message: &Message, wire: &Wire) {
        self.push(Way::In, message, wire);
    }

    /// Our own messages are read back, so that what is traced is what a reader would see.
    pub(super) fn sent(&self, bytes: &[u8], wire: &Wire) {
        if let Ok(message) = Message::parse(bytes, true) {
            self.push(Way::Out, &message, wire);
        }
    }

    fn push(&self, way: Way, message: &Message, wire: &Wire) {
        let traced = Traced {
            at: Instant::now(),
            way,
            call_id: message.call_id().to_owned(),
            first_line: message.first_line().to_owned(),
            cseq: message.header("CSeq").unwrap_or_default().to_owned(),
            text: message.text.clone(),
            ends: wire.about().map(|about| about.ends),
        };
        let mut inner = self.lock();
        if let Some(hook) = &inner.hook {
            hook(&traced);
        }
        if inner.kept.len() >= KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(traced);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
