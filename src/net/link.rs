use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::sip::{Flow, Realm, SendId};

/// The near end of one TCP or TLS connection: what is to be written goes in here, also before it is open.
#[derive(Debug)]
pub(super) struct Link {
    pub flow: Flow,
    /// Whom it leads to; nothing where a peer showed no certificate.
    pub realm: Option<Realm>,
    queue: mpsc::Sender<Outgoing>,
    queued: AtomicUsize,
    limit: usize,
    retire: Notify,
    retired: AtomicBool,
    opened: Instant,
    heard: AtomicU64,
    spoke: AtomicU64,
    carried: AtomicU64,
}

/// What waits to be written.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A SIP message; `again` if another connection ended with it still in its queue.
    Message {
        id: SendId,
        bytes: Bytes,
        again: bool,
    },
    /// RFC 5626 §3.5.1: a ping or the answer to one.
    KeepAlive(&'static [u8]),
}

impl Outgoing {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Message { bytes, .. } => bytes,
            Self::KeepAlive(bytes) => bytes,
        }
    }
}

/// Why a link takes nothing more, with what it did not take.
#[derive(Debug)]
pub(super) enum Unsent {
    /// As much as allowed is waiting already.
    Full(Outgoing),
    /// The connection has ended.
    Closed(Outgoing),
}

impl Link {
    pub fn new(
        flow: Flow,
        realm: Option<Realm>,
        messages: usize,
        bytes: usize,
    ) -> (Self, mpsc::Receiver<Outgoing>) {
        let (queue, waiting) = mpsc::channel(messages.max(1));
        let link = Self {
            flow,
            realm,
            queue,
            queued: AtomicUsize::new(0),
            limit: bytes,
            retire: Notify::new(),
            retired: AtomicBool::new(false),
            opened: Instant::now(),
            heard: AtomicU64::new(0),
            spoke: AtomicU64::new(0),
            carried: AtomicU64::new(0),
        };
        (link, waiting)
    }

    /// Adds to what is to be written; never waits.
    pub fn push(&self, outgoing: Outgoing) -> Result<(), Unsent> {
        let length = outgoing.bytes().len();
        let before = self.queued.fetch_add(length, Ordering::Relaxed);
        let full = before > 0 && before + length > self.limit;
        let pushed = match full {
            true => Err(Unsent::Full(outgoing)),
            false => self.queue.try_send(outgoing).map_err(|error| match error {
                mpsc::error::TrySendError::Full(outgoing) => Unsent::Full(outgoing),
                mpsc::error::TrySendError::Closed(outgoing) => Unsent::Closed(outgoing),
            }),
        };
        if pushed.is_err() {
            self.taken(length);
        }
        pushed
    }

    /// `bytes` have left the queue.
    pub fn taken(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Tells the connection to end once nothing is expected on it any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.retire.notify_one();
    }

    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub async fn retirement(&self) {
        self.retire.notified().await;
    }

    /// How long there has been this link.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// A complete message or keep-alive has come in.
    pub fn hears(&self) {
        self.heard.store(self.millis(), Ordering::Relaxed);
    }

    /// A message or keep-alive has been written.
    pub fn speaks(&self) {
        self.spoke.store(self.millis(), Ordering::Relaxed);
    }

    /// A message has come in or gone out.
    pub fn carries(&self) {
        self.carried.store(self.millis(), Ordering::Relaxed);
    }

    /// Whether anything has ever come in.
    pub fn has_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) > 0
    }

    /// For how long nothing has been written.
    pub fn unspoken(&self) -> Duration {
        self.since(&self.spoke)
    }

    /// For how long no message has come in or gone out.
    pub fn unused(&self) -> Duration {
        self.since(&self.carried)
    }

    /// For how long no message has come in or gone out, and no keep-alive has come in.
    pub fn unheard(&self) -> Duration {
        self.since(&self.heard).min(self.unused())
    }

    fn since(&self, moment: &AtomicU64) -> Duration {
        self.age()
            .saturating_sub(Duration::from_millis(moment.load(Ordering::Relaxed)))
    }

    /// Milliseconds of age, never 0, which stands for never.
    fn millis(&self) -> u64 {
        u64::try_from(self.age().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Outgoing {
        Outgoing::Message {
            id: SendId(1),
            bytes: vec![b'x'; length].into(),
            again: false,
        }
    }

    /// A link takes so many messages and so many bytes; what has left makes room. A single message always fits.
    #[tokio::test]
    async fn the_queue_is_bounded_both_ways() {
        let (link, mut waiting) = Link::new(Flow(1), None, 3, 100);
        assert!(link.push(message(60)).is_ok());
        assert!(matches!(link.push(message(60)), Err(Unsent::Full(_))));
        assert!(link.push(message(20)).is_ok() && link.push(message(20)).is_ok());
        assert!(matches!(link.push(message(0)), Err(Unsent::Full(_))));
        link.taken(waiting.recv().await.unwrap().bytes().len());
        assert!(link.push(message(60)).is_ok());
        let (gone, waiting) = Link::new(Flow(2), None, 3, 100);
        drop(waiting);
        assert!(matches!(gone.push(message(1)), Err(Unsent::Closed(_))));
        let (long, _waiting) = Link::new(Flow(3), None, 3, 100);
        assert!(long.push(message(5000)).is_ok());
    }
}
