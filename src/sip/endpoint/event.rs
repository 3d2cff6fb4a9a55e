use bytes::Bytes;

use crate::sip::{Hop, Message, ResolveId, SendId, SendTo, Source};

/// Names a request of ours from [`request`](super::Endpoint::request) on. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub(super) u64);

/// Names a request of a peer from [`Event::Request`] on. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(pub(super) u64);

/// What the endpoint wants done, or has to tell.
#[derive(Debug, Clone)]
// A queue of a handful; boxing each event would cost more than the room.
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Write these bytes; if that fails, say so with [`send_failed`](super::Endpoint::send_failed).
    Send {
        /// Whose bytes they are.
        id: SendId,
        /// Where they go.
        to: SendTo,
        /// The whole message.
        bytes: Bytes,
    },
    /// Ask DNS; the answer goes to [`resolved`](super::Endpoint::resolved). An address literal is never asked for.
    Resolve {
        /// Names the question.
        id: ResolveId,
        /// What to look for.
        hop: Hop,
    },
    /// For the transaction user.
    Event(Event),
}

/// What the transaction user hears.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new request that is no ACK and no CANCEL. Its copies are absorbed; an INVITE has been answered 100 already
    /// (TDR-503). The user answers it, in the end with a final response.
    Request {
        /// To answer it by.
        key: ServerKey,
        /// Sound by [`Message::check`].
        message: Message,
        /// Where it came from.
        source: Source,
    },
    /// The ACK of a 2xx, once.
    Ack {
        /// Perhaps with an answer in it.
        message: Message,
        /// Where it came from.
        source: Source,
        /// The INVITE that it acknowledges; `None` when that is not known, or no longer.
        key: Option<ServerKey>,
    },
    /// The peer gives its INVITE up. The CANCEL is answered; the INVITE is not, and waits for a 487.
    Cancelled {
        /// The INVITE.
        key: ServerKey,
        /// The CANCEL, perhaps with a Reason.
        message: Message,
    },
    /// A response: any number of provisional ones, then one final. After a 2xx to an INVITE those of other forks may
    /// follow, with other To tags; each wants an ACK, and those that are not wanted a BYE (RFC 3261 §13.2.2.4).
    Response {
        /// The request.
        key: ClientKey,
        /// Sound by [`Message::check`].
        message: Message,
        /// Where it came from.
        source: Source,
    },
    /// One of several targets of a request has failed, and the next one is being tried.
    NextTarget {
        /// The request.
        key: ClientKey,
        /// Why the last one failed.
        failure: Failure,
    },
    /// No final response will come.
    Failed {
        /// The request.
        key: ClientKey,
        /// Why.
        failure: Failure,
    },
    /// No PRACK came for a reliable provisional response: the INVITE is to be refused (RFC 3262 §3), and a 2xx that the
    /// user has given meanwhile was not sent.
    NoPrack {
        /// The INVITE.
        key: ServerKey,
    },
    /// No ACK came for a final response: a call that was answered must end (RFC 3261 §13.3.1.4), a refused one has.
    NoAck {
        /// The INVITE.
        key: ServerKey,
    },
}

/// Why no final response will come. Where a request had several targets, the last one's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer kept silent, or rang for too long.
    #[error("the peer did not answer in time")]
    Timeout,
    /// It answered 503, and there were other targets.
    #[error("the peer answered 503")]
    Unavailable,
    /// It could not be sent.
    #[error("the request could not be sent: {0}")]
    Transport(String),
    /// DNS knows no target.
    #[error("the next hop could not be resolved: {0}")]
    Unresolvable(String),
    /// The user cancelled it before it went anywhere.
    #[error("cancelled before it was sent")]
    Cancelled,
    /// The limit on transactions is reached.
    #[error("too many transactions are open")]
    Overloaded,
}
