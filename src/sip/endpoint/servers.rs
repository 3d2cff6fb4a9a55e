//! Requests of peers: server transactions, what they are found by, and where their responses go.

use std::collections::HashMap;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::core::Core;
use super::deadlines::{Alarm, Timer};
use super::event::{Event, ServerKey};
use super::id::{Origin, TransactionId};
use crate::sip::transaction::{Response, ServerEvent, ServerOutput, Timers, server, server_invite};
use crate::sip::{Builder, Message, Method, Name, Realm, SendTo, Source, Target, Transport, Via};

/// All server transactions.
#[derive(Default)]
pub(super) struct Servers {
    /// Boxed, for the table has up to twice as many places as entries.
    all: HashMap<ServerKey, Box<Server>>,
    ids: HashMap<TransactionId, ServerKey>,
    origins: HashMap<Origin, ServerKey>,
}

struct Server {
    machine: Machine,
    id: TransactionId,
    origin: Origin,
    way: Way,
    transport: Transport,
    /// Ours, in responses to a request that had no To tag.
    tag: String,
    /// In the To of our 2xx, and so in its ACK.
    accepted_as: Option<String>,
    /// Of the last reliable provisional.
    rseq: Option<u32>,
    /// The one that waits for a PRACK.
    unacknowledged: Option<Box<Unacknowledged>>,
    alarm: Alarm,
}

/// RFC 3262 §3: one at a time.
struct Unacknowledged {
    rseq: u32,
    to_tag: String,
    /// What the user says next has to wait: another provisional, or a 2xx.
    held: Option<Builder>,
}

enum Machine {
    Invite(server_invite::State),
    Other(server::State),
}

/// A request that belongs to no transaction yet.
struct Arrival {
    message: Message,
    source: Source,
    id: TransactionId,
    way: Way,
}

/// RFC 3261 §18.2.2: where responses go.
struct Way {
    to: SendTo,
    /// Where they go when the connection is gone.
    otherwise: Option<Target>,
}

impl Servers {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.ids.is_empty() && self.origins.is_empty()
    }

    /// Takes a sound request.
    pub fn request(&mut self, message: Message, source: Source, now: Instant, core: &mut Core) {
        let Ok(via) = message.via() else {
            core.counters.malformed += 1;
            return;
        };
        let way = Way::back(&via, &source);
        let invite = || {
            self.ids
                .get(&TransactionId::server(&message, &via, Method::Invite))
                .copied()
        };
        match message.method() {
            Method::Ack => {
                let same_branch = invite();
                self.ack(message, source, same_branch, now, core);
            }
            method => {
                let id = TransactionId::server(&message, &via, method);
                if let Some(&key) = self.ids.get(&id) {
                    core.counters.retransmissions_received += 1;
                    self.drive(key, ServerEvent::Copy, now, core);
                } else if method == Method::Cancel {
                    let invite = invite();
                    self.cancel(
                        Arrival {
                            message,
                            source,
                            id,
                            way,
                        },
                        invite,
                        now,
                        core,
                    );
                } else {
                    self.begin(
                        Arrival {
                            message,
                            source,
                            id,
                            way,
                        },
                        now,
                        core,
                    );
                }
            }
        }
    }

    /// Answers without a transaction what cannot have one. An ACK is never answered.
    pub fn refuse(message: &Message, source: &Source, status: u16, reason: &str, core: &mut Core) {
        let (Ok(via), false) = (message.via(), message.method() == Method::Ack) else {
            return;
        };
        let way = Way::back(&via, source);
        let request = message.clone().received_from(source.remote);
        let mut draft = Builder::response(&request, status, reason);
        draft.to_tag(&core.random.token(10));
        if status == 503 {
            // Without it the peer would take a 503 for a 500 (RFC 3261 §21.5.4).
            draft.header(Name::RetryAfter, "1");
        }
        core.counters.responses_sent.add(status);
        core.send(0, way.to, draft.finish(None).bytes().clone());
    }

    pub fn respond(&mut self, key: ServerKey, mut draft: Builder, now: Instant, core: &mut Core) {
        let Some(server) = self.all.get_mut(&key) else {
            core.counters.late_answers += 1;
            return;
        };
        let status = draft.status();
        if status > 100 {
            draft.to_tag(&server.tag);
        }
        if let Some(unacknowledged) = &mut server.unacknowledged
            && status < 300
        {
            unacknowledged.held = Some(draft);
            return;
        }
        let reliable = server.is_reliable(&draft);
        if reliable {
            // RFC 3262 §3: from a number that nobody can guess, with room for many more.
            let rseq = server
                .rseq
                .map_or_else(|| 1 + core.random.u32() / 4, |last| last + 1);
            server.rseq = Some(rseq);
            draft.header_fmt(Name::Rseq, format_args!("{rseq}"));
        }
        let message = draft.finish(None);
        if let (true, Some(rseq)) = (reliable, server.rseq) {
            server.unacknowledged = Some(Box::new(Unacknowledged {
                rseq,
                to_tag: message.to_tag().unwrap_or_default().to_owned(),
                held: None,
            }));
        }
        match (&server.machine, status) {
            (Machine::Invite(server_invite::State::Proceeding { .. }), 200..=299) => {
                server.accepted_as = message.to_tag().map(str::to_owned);
            }
            // What was refused may be tried again by another way.
            (_, 300..) => forget(&mut self.origins, &server.origin, key),
            _ => {}
        }
        let response = Response {
            status,
            bytes: message.bytes().clone(),
            reliable,
        };
        self.drive(key, ServerEvent::Respond(response), now, core);
    }

    pub fn expire(&mut self, key: ServerKey, now: Instant, core: &mut Core) {
        self.drive(key, ServerEvent::Timeout, now, core);
    }

    /// The network could not send a response. Says whether it was one of these.
    pub fn send_failed(&mut self, number: u64, now: Instant, core: &mut Core) -> bool {
        let key = ServerKey(number);
        let Some(server) = self.all.get_mut(&key) else {
            return false;
        };
        if let Some(target) = server.way.otherwise.take() {
            server.way.to = SendTo::Target(target);
            self.drive(key, ServerEvent::Copy, now, core);
        }
        true
    }

    fn begin(&mut self, arrival: Arrival, now: Instant, core: &mut Core) {
        let method = arrival.message.method();
        core.counters.requests_received.add(method);
        let origin = Origin::of(&arrival.message, method);
        if arrival.message.to_tag().is_none() && self.origins.contains_key(&origin) {
            // RFC 3261 §8.2.2.2: a fork before us sent it twice.
            core.counters.refused += 1;
            return Self::refuse(&arrival.message, &arrival.source, 482, "", core);
        }
        let pracked = match method {
            Method::Prack => match self.pracked(&arrival.message) {
                Some(key) => Some(key),
                None => {
                    // RFC 3262 §3: it acknowledges nothing.
                    core.counters.refused += 1;
                    return Self::refuse(&arrival.message, &arrival.source, 481, "", core);
                }
            },
            _ => None,
        };
        let Some((key, message, source)) = self.insert(arrival, origin, core) else {
            return;
        };
        if method == Method::Invite {
            self.respond(key, Builder::response(&message, 100, ""), now, core);
        }
        core.report(Event::Request {
            key,
            message,
            source,
        });
        if let Some(invite) = pracked {
            self.on_prack(invite, now, core);
        }
    }

    /// The INVITE whose reliable provisional a PRACK acknowledges.
    fn pracked(&self, prack: &Message) -> Option<ServerKey> {
        let mut parts = prack.header(Name::Rack)?.text()?.split_ascii_whitespace();
        let mut number = || parts.next()?.parse::<u32>().ok();
        let (rseq, cseq) = (number()?, number()?);
        let is_invite =
            parts.next().map(str::as_bytes).map(Method::from_bytes) == Some(Method::Invite);
        let origin = Origin::numbered(prack, Method::Invite, cseq);
        let key = *self.origins.get(&origin).filter(|_| is_invite)?;
        let waits = self.all.get(&key)?.unacknowledged.as_ref()?;
        (waits.rseq == rseq && Some(waits.to_tag.as_str()) == prack.to_tag()).then_some(key)
    }

    /// What had to wait for the PRACK goes out.
    fn on_prack(&mut self, invite: ServerKey, now: Instant, core: &mut Core) {
        let server = self.all.get_mut(&invite);
        let held = server.and_then(|server| server.unacknowledged.take()?.held);
        self.drive(invite, ServerEvent::Prack, now, core);
        if let Some(draft) = held {
            self.respond(invite, draft, now, core);
        }
    }

    /// RFC 3261 §9.2. The CANCEL is answered like any other request; the INVITE is the user's to answer.
    fn cancel(
        &mut self,
        arrival: Arrival,
        invite: Option<ServerKey>,
        now: Instant,
        core: &mut Core,
    ) {
        core.counters.requests_received.add(Method::Cancel);
        let Some((invite, server)) = invite.and_then(|key| Some((key, self.all.get(&key)?))) else {
            core.counters.refused += 1;
            return Self::refuse(&arrival.message, &arrival.source, 481, "", core);
        };
        let pending = matches!(
            server.machine,
            Machine::Invite(
                server_invite::State::Proceeding { .. } | server_invite::State::Reliable { .. }
            )
        );
        let tag = server.tag.clone();
        let origin = Origin::of(&arrival.message, Method::Cancel);
        let Some((key, message, _)) = self.insert(arrival, origin, core) else {
            return;
        };
        let mut draft = Builder::response(&message, 200, "");
        draft.to_tag(&tag);
        self.respond(key, draft, now, core);
        if pending {
            core.report(Event::Cancelled {
                key: invite,
                message,
            });
        }
    }

    /// The ACK of a refusal has its INVITE's branch; that of a 2xx is found by the call (RFC 3261 §17.2.3).
    fn ack(
        &mut self,
        message: Message,
        source: Source,
        same_branch: Option<ServerKey>,
        now: Instant,
        core: &mut Core,
    ) {
        core.counters.requests_received.add(Method::Ack);
        let same_call = || {
            self.origins
                .get(&Origin::of(&message, Method::Invite))
                .copied()
        };
        let known = same_branch.or_else(same_call).filter(|key| {
            let accepted_as = self
                .all
                .get(key)
                .and_then(|server| server.accepted_as.as_deref());
            accepted_as.is_none() || accepted_as == message.to_tag()
        });
        match known {
            None => {
                core.counters.unmatched_acks += 1;
                core.report(Event::Ack {
                    message,
                    source,
                    key: None,
                });
            }
            Some(key) => {
                if self.drive(key, ServerEvent::Ack, now, core) {
                    core.report(Event::Ack {
                        message,
                        source,
                        key: Some(key),
                    });
                }
            }
        }
    }

    /// Opens a transaction, or refuses the request where there are too many.
    /// Gives back the message as its Via tells where it came from (RFC 3261 §18.2.1).
    fn insert(
        &mut self,
        arrival: Arrival,
        origin: Origin,
        core: &mut Core,
    ) -> Option<(ServerKey, Message, Source)> {
        let Arrival {
            message,
            source,
            id,
            way,
        } = arrival;
        if self.all.len() >= core.config.max_transactions {
            core.counters.table_full += 1;
            Self::refuse(&message, &source, 503, "", core);
            return None;
        }
        let key = ServerKey(core.number());
        let machine = match message.method() {
            Method::Invite => Machine::Invite(server_invite::State::Proceeding { last: None }),
            _ => Machine::Other(server::State::Proceeding { last: None }),
        };
        self.ids.insert(id.clone(), key);
        self.origins.insert(origin.clone(), key);
        let (tag, alarm, transport) = (core.random.token(10), Alarm::default(), source.transport);
        self.all.insert(
            key,
            Box::new(Server {
                machine,
                id,
                origin,
                way,
                transport,
                tag,
                accepted_as: None,
                rseq: None,
                unacknowledged: None,
                alarm,
            }),
        );
        Some((key, message.received_from(source.remote), source))
    }

    /// Gives the event to the machine and does what it wants. Says whether it was an ACK that the user waits for.
    fn drive(&mut self, key: ServerKey, event: ServerEvent, now: Instant, core: &mut Core) -> bool {
        let Some(server) = self.all.get_mut(&key) else {
            return false;
        };
        let (mut outputs, mut acknowledged) = (Vec::new(), false);
        server.machine.on(
            event,
            now,
            &core.config.timers(server.transport),
            &mut outputs,
        );
        for output in outputs {
            match output {
                ServerOutput::Send(response) => {
                    core.counters.responses_sent.add(response.status);
                    core.send(key.0, server.way.to.clone(), response.bytes);
                }
                ServerOutput::Repeat(response) => {
                    core.counters.retransmissions_sent += 1;
                    core.send(key.0, server.way.to.clone(), response.bytes);
                }
                ServerOutput::Acknowledged => acknowledged = true,
                ServerOutput::NoPrack => {
                    server.unacknowledged = None;
                    core.counters.unacknowledged += 1;
                    core.report(Event::NoPrack { key });
                }
                ServerOutput::NoAck => {
                    core.counters.unacknowledged += 1;
                    core.report(Event::NoAck { key });
                }
            }
        }
        core.deadlines.set(
            Timer::Server(key),
            &mut server.alarm,
            server.machine.deadline(),
        );
        if server.machine.has_ended() {
            self.remove(key);
        }
        acknowledged
    }

    fn remove(&mut self, key: ServerKey) {
        if let Some(server) = self.all.remove(&key) {
            self.ids.remove(&server.id);
            forget(&mut self.origins, &server.origin, key);
        }
    }
}

impl Server {
    /// Whether a response is to be acknowledged by PRACK: the user says so by requiring it.
    fn is_reliable(&self, draft: &Builder) -> bool {
        matches!(self.machine, Machine::Invite(_))
            && (101..200).contains(&draft.status())
            && draft.requires("100rel")
    }
}

impl Machine {
    fn on(&mut self, event: ServerEvent, now: Instant, t: &Timers, out: &mut Vec<ServerOutput>) {
        match self {
            Self::Invite(state) => {
                *state =
                    mem::replace(state, server_invite::State::Terminated).on(event, now, t, out);
            }
            Self::Other(state) => {
                *state = mem::replace(state, server::State::Terminated).on(event, now, t, out)
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Invite(state) => state.deadline(),
            Self::Other(state) => state.deadline(),
        }
    }

    fn has_ended(&self) -> bool {
        matches!(
            self,
            Self::Invite(server_invite::State::Terminated) | Self::Other(server::State::Terminated)
        )
    }
}

impl Way {
    /// On streams the connection that the request came on; on datagrams its source, or the sent-by's port of a peer that
    /// does not know RFC 3581. One that names a private address and sends from another sits behind NAT, where the port
    /// in its sent-by leads to nobody.
    fn back(via: &Via<'_>, source: &Source) -> Self {
        let port = via.port.unwrap_or(source.transport.default_port());
        let sent_by = SocketAddr::new(source.remote.ip(), port);
        let named: Option<Ipv4Addr> = via.host.parse().ok();
        let behind_nat = named.is_some_and(|named| {
            named.is_private() && source.remote.ip().to_canonical() != IpAddr::V4(named)
        });
        let direct = source.transport.is_reliable() || via.rport.is_some() || behind_nat;
        let to = SendTo::Flow(source.flow, if direct { source.remote } else { sent_by });
        let realm = source
            .certificate
            .as_ref()
            .map_or(Realm::Trunk, |certificate| certificate.realm);
        let otherwise = Target {
            transport: source.transport,
            address: sent_by,
            name: via.host.to_owned(),
            realm,
        };
        Self {
            to,
            otherwise: Some(otherwise),
        }
    }
}

fn forget(origins: &mut HashMap<Origin, ServerKey>, origin: &Origin, key: ServerKey) {
    if origins.get(origin) == Some(&key) {
        origins.remove(origin);
    }
}
