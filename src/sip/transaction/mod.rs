//! The transactions of RFC 3261 §17 with the Accepted states of RFC 6026, as the figures draw them.
//!
//! Each is an enum whose `on` takes an event and the time, and says what to do. None of them knows a message, a table
//! or an address: the endpoint keeps those and carries out what they say.

pub(crate) mod client;
pub(crate) mod client_invite;
pub(crate) mod server;
pub(crate) mod server_invite;

use std::time::{Duration, Instant};

use bytes::Bytes;

/// RFC 3261 §17, table 4, for one kind of transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timers {
    /// Estimate of the round trip.
    pub t1: Duration,
    /// Longest interval between copies.
    pub t2: Duration,
    /// How long a message may stay in the network.
    pub t4: Duration,
    /// How long an INVITE may ring.
    pub c: Duration,
    /// A stream loses nothing, so that no copies go out and none are waited for.
    pub reliable: bool,
}

impl Timers {
    /// Timers B, F, H, L and M.
    fn patience(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D: as long as the other side may repeat its refusal.
    fn d(&self) -> Duration {
        if self.reliable {
            Duration::ZERO
        } else {
            self.t1 * 64
        }
    }

    /// Timers I and K: as long as copies may still be on their way.
    fn i(&self) -> Duration {
        if self.reliable {
            Duration::ZERO
        } else {
            self.t4
        }
    }

    /// Timer J. On a stream the RFC has none; it is T4 here, because the connection may turn out to be gone when the
    /// response is written, and then the response is wanted once more for the other way (RFC 3261 §18.2.2).
    fn j(&self) -> Duration {
        if self.reliable { self.t4 } else { self.t1 * 64 }
    }
}

/// A message that goes out again and again, at growing intervals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repeat {
    at: Instant,
    interval: Duration,
}

impl Repeat {
    /// The first copy is due after T1, on datagrams.
    fn over(now: Instant, t: &Timers) -> Option<Self> {
        (!t.reliable).then(|| Self::after(t.t1, now))
    }

    fn after(interval: Duration, now: Instant) -> Self {
        Self {
            at: now + interval,
            interval,
        }
    }

    /// Counts from now, so that a stalled process does not send a burst of copies.
    fn doubled(self, longest: Duration, now: Instant) -> Self {
        Self::after((self.interval * 2).min(longest), now)
    }
}

/// A response on its way to the network, printed.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub status: u16,
    pub bytes: Bytes,
    /// A provisional that the peer has to acknowledge by PRACK (RFC 3262).
    pub reliable: bool,
}

/// What happens to a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientEvent {
    /// A response of this status.
    Response(u16),
    /// The user wants the INVITE to end (RFC 3261 §9.1).
    Cancel,
    /// The user has turned to another target; whatever comes is late.
    Abandon,
    /// The network could not send.
    Unsendable,
    /// The deadline has come.
    Timeout,
}

/// What a client transaction wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientOutput {
    /// Send the request, or a copy of it.
    Request,
    /// Send the ACK of a refusal.
    Acknowledge,
    /// Send a CANCEL, a transaction of its own.
    Cancel,
    /// Give the response to the user.
    Report,
    /// Tell the user that no response will come.
    Failed,
}

/// What happens to a server transaction.
#[derive(Debug, Clone)]
pub(crate) enum ServerEvent {
    /// The user answers.
    Respond(Response),
    /// The request came once more.
    Copy,
    /// An INVITE's final response was acknowledged.
    Ack,
    /// An INVITE's reliable provisional response was acknowledged.
    Prack,
    /// The deadline has come.
    Timeout,
}

/// What a server transaction wants done.
#[derive(Debug, Clone)]
pub(crate) enum ServerOutput {
    /// Send the response, for the first time.
    Send(Response),
    /// Send a copy of the response.
    Repeat(Response),
    /// Give the ACK of a 2xx to the user.
    Acknowledged,
    /// Tell the user that no ACK came.
    NoAck,
    /// Tell the user that no PRACK came.
    NoPrack,
}

fn earlier(repeat: Option<Repeat>, end: Instant) -> Instant {
    repeat.map_or(end, |repeat| repeat.at.min(end))
}

#[cfg(test)]
const UDP: Timers = Timers {
    t1: Duration::from_millis(500),
    t2: Duration::from_secs(4),
    t4: Duration::from_secs(5),
    c: Duration::from_secs(180),
    reliable: false,
};

#[cfg(test)]
const TLS: Timers = Timers {
    reliable: true,
    ..UDP
};

#[cfg(test)]
fn response(status: u16) -> ServerEvent {
    ServerEvent::Respond(Response {
        status,
        bytes: Bytes::from(status.to_string()),
        reliable: false,
    })
}
