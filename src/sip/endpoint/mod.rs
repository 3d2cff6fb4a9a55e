//! The endpoint: requests and responses for the transaction user above, messages for the network below.
//!
//! It keeps RFC 3261 §8, §9, §17 and §18 with RFC 6026, and fails over between targets as RFC 3263 §4.3 has it. Bytes,
//! answers of DNS, drafts and the time go in; what to send, what to ask and what happened come out of
//! [`Endpoint::poll`]. After every call the caller polls until there is nothing left, and asks
//! [`Endpoint::deadline`] when to call [`Endpoint::expire`].
//!
//! ```text
//!  user ── request, cancel, acknowledge ──▶ clients: an exchange tries targets, an attempt is one transaction
//!       ── respond ───────────────────────▶ servers: one transaction a request
//!  network ── receive, resolved, send_failed ─▶ both
//! ```

mod attempt;
mod clients;
mod config;
mod core;
mod counters;
mod deadlines;
mod errands;
mod event;
mod id;
mod servers;
#[cfg(test)]
mod tests;

pub use config::{Config, Identity, SentBy};
pub use counters::{ByClass, ByMethod, Counters};
pub use event::{ClientKey, Event, Failure, Output, ServerKey};

use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use self::clients::Clients;
use self::core::Core;
use self::deadlines::Timer;
use self::servers::Servers;
use super::{Builder, Message, Name, NextHop, ParseError, ResolveId, SendId, Source, Target};
use crate::base::Random;

/// All transactions of one shard.
pub struct Endpoint {
    core: Core,
    clients: Clients,
    servers: Servers,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("transactions", &self.transactions())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without any transaction. Branches and tags are drawn from `random`.
    pub fn new(config: Config, sent_by: SentBy, random: Random) -> Self {
        let core = Core::new(config, sent_by, random);
        Self {
            core,
            clients: Clients::default(),
            servers: Servers::default(),
        }
    }

    /// Takes a datagram, or one message that was framed from a stream. What cannot be read is answered 400 where there
    /// is enough of it to answer to, and else counted.
    pub fn receive(&mut self, bytes: Bytes, source: Source, now: Instant) {
        let parsed = match source.transport.is_reliable() {
            true => Message::parse(bytes.clone()),
            false => Message::parse_datagram(bytes.clone()),
        };
        match parsed {
            Ok(message) if message.is_request() => self.receive_request(message, source, now),
            Ok(message) => self.receive_response(message, source, now),
            // RFC 5626 §4.4.1: a keep-alive.
            Err(ParseError::Empty) => {}
            Err(error) => {
                self.core.counters.malformed += 1;
                if let Some(request) = Message::salvage(bytes) {
                    self.refuse_malformed(&request, &source, error);
                }
            }
        }
    }

    /// Whether a request of ours is larger than a datagram should be (RFC 3261 §18.1.1).
    pub fn is_large(&self, draft: &Builder) -> bool {
        self.core.is_large(draft)
    }

    /// Sends a request. The draft needs no Via: each target gets its own. What becomes of it is told by events of this
    /// key, none of which comes before this returns.
    pub fn request(&mut self, draft: Builder, next: NextHop, now: Instant) -> ClientKey {
        self.clients
            .request(draft, next, false, now, &mut self.core)
    }

    /// RFC 3261 §9.1: gives an INVITE up. The CANCEL waits for the first provisional. The INVITE still ends by an event:
    /// a response, mostly 487, perhaps a 2xx that was faster, which wants an ACK and a BYE, or a failure. `reason` becomes
    /// the CANCEL's Reason header (RFC 3326). Another request than an INVITE, or one that has ended, stays as it is.
    pub fn cancel(&mut self, key: ClientKey, reason: Option<&str>, now: Instant) {
        self.clients.cancel(key, reason, now, &mut self.core);
    }

    /// The user hears no more of the INVITE `key`. Should other forks answer it after all, while its transaction lasts,
    /// they are acknowledged and hung up on.
    pub fn forget(&mut self, key: ClientKey) {
        self.clients.forget_user(key);
    }

    /// The user gives up a request that is no INVITE: it is not repeated, and nothing is told of it any more.
    pub fn give_up(&mut self, key: ClientKey, now: Instant) {
        self.clients.give_up(key, now, &mut self.core);
    }

    /// Sends the ACK of a 2xx to the INVITE `key`, and once more for every copy of that 2xx, which is known by its To
    /// tag.
    pub fn acknowledge(&mut self, key: ClientKey, draft: Builder, next: NextHop, now: Instant) {
        self.clients
            .acknowledge(key, draft, next, now, &mut self.core);
    }

    /// Answers a request. The To gets a tag unless it has one. A final response is repeated as its transaction demands,
    /// a 2xx to an INVITE until its ACK (RFC 3261 §13.3.1.4). A provisional response to an INVITE that requires `100rel`
    /// gets its RSeq here and is repeated until its PRACK (RFC 3262 §3); until then further ones and a 2xx wait, the
    /// last of them taking the others' place. After a final response nothing more is sent.
    pub fn respond(&mut self, key: ServerKey, draft: Builder, now: Instant) {
        self.servers.respond(key, draft, now, &mut self.core);
    }

    /// Answers [`Output::Resolve`], with targets in the order of trial or the reason why there are none.
    pub fn resolved(&mut self, id: ResolveId, targets: Result<Vec<Target>, String>, now: Instant) {
        self.clients.resolved(id, targets, now, &mut self.core);
    }

    /// The network could not send what [`Output::Send`] said.
    pub fn send_failed(&mut self, id: SendId, reason: String, now: Instant) {
        self.core.counters.transport_failures += 1;
        if !self.servers.send_failed(id.0, now, &mut self.core) {
            self.clients.send_failed(id.0, reason, now, &mut self.core);
        }
    }

    /// What to do next; nothing when all is done that could be done now.
    pub fn poll(&mut self) -> Option<Output> {
        self.core.out.pop_front()
    }

    /// When [`Endpoint::expire`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.core.deadlines.first()
    }

    /// Does what was due until now.
    pub fn expire(&mut self, now: Instant) {
        while let Some(timer) = self.core.deadlines.due(now) {
            match timer {
                Timer::Server(key) => self.servers.expire(key, now, &mut self.core),
                Timer::Client(number) => self.clients.expire(number, now, &mut self.core),
                Timer::Exchange(key) => self.clients.expire_exchange(key, now, &mut self.core),
                Timer::Errand(id) => self.clients.expire_errand(id, now, &mut self.core),
            }
        }
    }

    /// Which request of ours waits for this answer of DNS.
    pub fn asker(&self, id: ResolveId) -> Option<ClientKey> {
        self.clients.asker(id)
    }

    /// What was done so far.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// How many transactions are open, those of peers and ours.
    pub fn transactions(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Whether nothing at all is held, in any table.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.clients.is_empty() && self.deadline().is_none()
    }

    fn receive_request(&mut self, message: Message, source: Source, now: Instant) {
        if let Err(error) = message.check() {
            self.core.counters.malformed += 1;
            return self.refuse_malformed(&message, &source, error);
        }
        self.servers.request(message, source, now, &mut self.core);
    }

    fn receive_response(&mut self, message: Message, source: Source, now: Instant) {
        if message.check().is_err() {
            self.core.counters.malformed += 1;
            return;
        }
        // RFC 3261 §8.1.3.3: one with further Vias was meant for another.
        if message.values(Name::Via).nth(1).is_some() {
            self.core.counters.unmatched_responses += 1;
            return;
        }
        self.clients.response(message, source, now, &mut self.core);
    }

    /// RFC 3261 §8.2.6.2: a response needs these headers of its request.
    fn refuse_malformed(&mut self, request: &Message, source: &Source, error: impl fmt::Display) {
        let needed = [Name::From, Name::To, Name::CallId, Name::CSeq];
        if needed
            .into_iter()
            .all(|name| request.header(name).is_some())
        {
            self.core.counters.refused += 1;
            Servers::refuse(request, source, 400, &error.to_string(), &mut self.core);
        }
    }
}
