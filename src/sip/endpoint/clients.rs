//! Requests of ours. What the user asks for is an exchange: it looks for targets and tries them by one client
//! transaction each, until one answers (RFC 3263 §4.3).

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::attempt::{Attempt, Way};
use super::core::Core;
use super::deadlines::{Alarm, Timer};
use super::errands::{Errand, Errands, Ready};
use super::event::{ClientKey, Event, Failure, Output};
use super::id::{MAGIC_COOKIE, TransactionId};
use crate::sip::transaction::{ClientEvent, ClientOutput};
use crate::sip::{
    Builder, Dialog, Hop, Message, Method, NextHop, ResolveId, SendTo, Source, Target,
};

/// How many dialogs one INVITE may open.
const MAX_FORKS: usize = 16;

/// All exchanges, their transactions, and what DNS is asked on their behalf.
#[derive(Default)]
pub(super) struct Clients {
    exchanges: HashMap<ClientKey, Exchange>,
    /// Boxed, for the table has up to twice as many places as entries.
    attempts: HashMap<u64, Box<Attempt>>,
    ids: HashMap<TransactionId, u64>,
    errands: Errands,
    acks: HashMap<u64, Ack>,
}

struct Exchange {
    method: Method,
    /// None once a 2xx has come: no other target is tried then.
    draft: Option<Box<Builder>>,
    stage: Stage,
    /// Targets that are still to be tried.
    ahead: VecDeque<Way>,
    /// Until when the current target may keep silent.
    alarm: Alarm,
    /// The dialogs that 2xx opened: one, unless the INVITE was forked.
    forks: Vec<Fork>,
    /// The user did not ask for it, or has forgotten it, and hears nothing of it.
    silent: bool,
    /// Whether what a datagram should not carry goes by TCP.
    by_size: bool,
}

/// Transactions are named by their number.
#[derive(Clone, Copy)]
enum Stage {
    Beginning,
    Resolving(ResolveId),
    Trying(u64),
    /// There was a response: no other target is tried, unless it is a 503.
    Answered(u64),
    /// The user has given up: no other target is tried.
    Cancelled(u64),
}

struct Fork {
    to_tag: String,
    /// The number of its ACK, once there is one.
    ack: Option<u64>,
}

/// The ACK of a 2xx, kept for copies of that 2xx.
struct Ack {
    bytes: Bytes,
    /// The first is in use, the others are tried when it fails.
    ways: VecDeque<SendTo>,
}

impl Clients {
    /// Open transactions, and questions that will become some.
    pub fn len(&self) -> usize {
        self.attempts.len() + self.errands.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let tables = [
            self.exchanges.len(),
            self.attempts.len(),
            self.ids.len(),
            self.errands.len(),
            self.acks.len(),
        ];
        tables.into_iter().all(|len| len == 0)
    }

    pub fn request(
        &mut self,
        draft: Builder,
        next: NextHop,
        silent: bool,
        now: Instant,
        core: &mut Core,
    ) -> ClientKey {
        let (key, full) = (
            ClientKey(core.number()),
            self.len() >= core.config.max_transactions,
        );
        let method = draft.method();
        core.counters.requests_sent.add(method);
        let by_size = matches!(next, NextHop::BySize(_));
        let (ahead, alarm, forks) = (VecDeque::new(), Alarm::default(), Vec::new());
        let mut exchange = Exchange {
            method,
            draft: None,
            stage: Stage::Beginning,
            ahead,
            alarm,
            forks,
            silent,
            by_size,
        };
        match Way::known(next) {
            _ if full => {
                self.exchanges.insert(key, exchange);
                core.counters.table_full += 1;
                self.fail(key, Failure::Overloaded, core);
            }
            Ok(way) => {
                exchange.ahead = ways(vec![way], &draft, by_size, core);
                exchange.draft = Some(Box::new(draft));
                self.exchanges.insert(key, exchange);
                self.next_target(key, Failure::Timeout, now, core);
            }
            Err(hop) => {
                let errand = Errand::Request(key);
                exchange.stage = Stage::Resolving(self.ask(errand, &draft, hop, now, core));
                exchange.draft = Some(Box::new(draft));
                self.exchanges.insert(key, exchange);
            }
        }
        key
    }

    pub fn cancel(&mut self, key: ClientKey, reason: Option<&str>, now: Instant, core: &mut Core) {
        let Some(exchange) = self.exchanges.get_mut(&key) else {
            return;
        };
        if exchange.method != Method::Invite {
            return;
        }
        match exchange.stage {
            Stage::Resolving(id) => {
                let ready = self.errands.forget(id, core);
                self.fail(key, Failure::Cancelled, core);
                self.go_on(ready, now, core);
            }
            Stage::Trying(number) | Stage::Answered(number) => {
                exchange.stage = Stage::Cancelled(number);
                if let Some(attempt) = self.attempts.get_mut(&number) {
                    attempt.reason = reason.map(str::to_owned);
                }
                self.drive(
                    number,
                    ClientEvent::Cancel,
                    None,
                    Failure::Timeout,
                    now,
                    core,
                );
            }
            Stage::Beginning | Stage::Cancelled(_) => {}
        }
    }

    /// The user hears no more of this INVITE. Dialogs that 2xx of other forks still open are ended (RFC 3261 §13.2.2.4).
    pub fn forget_user(&mut self, key: ClientKey) {
        if let Some(exchange) = self.exchanges.get_mut(&key) {
            exchange.silent = true;
        }
    }

    /// The user hears no more of this request, which is no INVITE, and the peer none either.
    pub fn give_up(&mut self, key: ClientKey, now: Instant, core: &mut Core) {
        let Some(exchange) = self.exchanges.get(&key) else {
            return;
        };
        let stage = exchange.stage;
        if let Stage::Resolving(id) = stage {
            let ready = self.errands.forget(id, core);
            self.go_on(ready, now, core);
        }
        self.end(key, core);
        self.abandon(stage, now, core);
    }

    pub fn acknowledge(
        &mut self,
        key: ClientKey,
        draft: Builder,
        next: NextHop,
        now: Instant,
        core: &mut Core,
    ) {
        core.counters.requests_sent.add(Method::Ack);
        match Way::known(next) {
            Ok(way) => self.send_ack(key, &draft, vec![way], core),
            Err(hop) => {
                let errand = Errand::Ack(key, Box::new(draft.clone()));
                self.ask(errand, &draft, hop, now, core);
            }
        }
    }

    pub fn resolved(
        &mut self,
        id: ResolveId,
        targets: Result<Vec<Target>, String>,
        now: Instant,
        core: &mut Core,
    ) {
        let ready = self.errands.answer(id, targets, core);
        self.go_on(ready, now, core);
    }

    /// Sends what has its targets.
    fn go_on(&mut self, ready: Ready, now: Instant, core: &mut Core) {
        for (errand, answer) in ready {
            let found = match answer {
                Ok(targets) if targets.is_empty() => Err("the name leads nowhere".to_owned()),
                Ok(targets) => Ok(targets.into_iter().map(Way::to).collect::<Vec<_>>()),
                Err(reason) => Err(reason),
            };
            match (errand, found) {
                (Errand::Request(key), Ok(found)) => {
                    if let Some(exchange) = self.exchanges.get_mut(&key) {
                        let draft = exchange.draft.as_deref();
                        exchange.ahead = draft
                            .map(|draft| ways(found, draft, exchange.by_size, core))
                            .unwrap_or_default();
                        self.next_target(key, Failure::Timeout, now, core);
                    }
                }
                (Errand::Ack(key, draft), Ok(found)) => self.send_ack(key, &draft, found, core),
                (Errand::Request(key), Err(reason)) => {
                    core.counters.unresolvable += 1;
                    self.fail(key, Failure::Unresolvable(reason), core);
                }
                (Errand::Ack(..), Err(_)) => core.counters.unresolvable += 1,
            }
        }
    }

    /// Takes a sound response.
    pub fn response(&mut self, message: Message, source: Source, now: Instant, core: &mut Core) {
        let branch = message.via().ok().and_then(|via| via.branch);
        let number = branch.and_then(|branch| {
            self.ids
                .get(&TransactionId::client(branch, message.method()))
        });
        let Some(&number) = number else {
            core.counters.unmatched_responses += 1;
            return;
        };
        let status = message.status();
        core.counters.responses_received.add(status);
        self.drive(
            number,
            ClientEvent::Response(status),
            Some((message, source)),
            Failure::Timeout,
            now,
            core,
        );
    }

    /// A transaction's deadline has come.
    pub fn expire(&mut self, number: u64, now: Instant, core: &mut Core) {
        self.drive(
            number,
            ClientEvent::Timeout,
            None,
            Failure::Timeout,
            now,
            core,
        );
    }

    /// The current target has kept silent for too long (TDR-213).
    pub fn expire_exchange(&mut self, key: ClientKey, now: Instant, core: &mut Core) {
        let Some(exchange) = self.exchanges.get_mut(&key) else {
            return;
        };
        core.deadlines
            .set(Timer::Exchange(key), &mut exchange.alarm, None);
        core.counters.timeouts += 1;
        self.next_target(key, Failure::Timeout, now, core);
    }

    /// Whose request waits for this answer of DNS.
    pub fn asker(&self, id: ResolveId) -> Option<ClientKey> {
        self.errands.asker(id)
    }

    /// DNS does not answer.
    pub fn expire_errand(&mut self, id: ResolveId, now: Instant, core: &mut Core) {
        self.resolved(id, Err("no answer".to_owned()), now, core);
    }

    /// The network could not send what has this number. One ACK tries its next way.
    pub fn send_failed(&mut self, number: u64, reason: String, now: Instant, core: &mut Core) {
        match self.acks.get_mut(&number) {
            Some(ack) if ack.ways.len() > 1 => {
                ack.ways.pop_front();
                core.send(number, ack.ways[0].clone(), ack.bytes.clone());
            }
            Some(_) => {}
            None => self.drive(
                number,
                ClientEvent::Unsendable,
                None,
                Failure::Transport(reason),
                now,
                core,
            ),
        }
    }

    fn ask(
        &mut self,
        errand: Errand,
        draft: &Builder,
        hop: Hop,
        now: Instant,
        core: &mut Core,
    ) -> ResolveId {
        let until = now + core.config.t1 * 64;
        let id = self.errands.add(errand, draft, until, core);
        core.out.push_back(Output::Resolve { id, hop });
        id
    }

    /// Leaves the current target, if there is one, and tries the next by a new transaction. Without one the exchange
    /// has failed.
    fn next_target(&mut self, key: ClientKey, failure: Failure, now: Instant, core: &mut Core) {
        let Some(exchange) = self.exchanges.get_mut(&key) else {
            return;
        };
        core.deadlines
            .set(Timer::Exchange(key), &mut exchange.alarm, None);
        let (stage, silent) = (exchange.stage, exchange.silent);
        let given_up = matches!(stage, Stage::Cancelled(_));
        let ahead = exchange.ahead.pop_front().filter(|_| !given_up);
        let Some((way, draft)) = ahead.zip(exchange.draft.as_deref()) else {
            self.fail(key, failure, core);
            return self.abandon(stage, now, core);
        };
        let (number, transport) = (core.number(), way.transport);
        let branch = new_branch(core);
        let via = core.sent_by.via(transport, &branch);
        let request = draft.finish(Some(&via));
        exchange.stage = Stage::Trying(number);
        if request.method() == Method::Invite || !exchange.ahead.is_empty() {
            let until = now + core.config.trying_timeout;
            core.deadlines
                .set(Timer::Exchange(key), &mut exchange.alarm, Some(until));
        }
        self.abandon(stage, now, core);
        if stage.number().is_some() {
            core.counters.failovers += 1;
            if !silent {
                core.report(Event::NextTarget { key, failure });
            }
        }
        let t = core.config.timers(transport);
        let attempt = Attempt::new(request, branch, way, Some(key), now, &t);
        self.begin(number, attempt, core);
    }

    /// Nobody waits for this target any more. Should it answer after all, it is cancelled or hung up on.
    fn abandon(&mut self, stage: Stage, now: Instant, core: &mut Core) {
        let Some(number) = stage.number() else { return };
        self.disown(number);
        self.drive(
            number,
            ClientEvent::Abandon,
            None,
            Failure::Timeout,
            now,
            core,
        );
    }

    fn begin(&mut self, number: u64, mut attempt: Attempt, core: &mut Core) {
        core.send(
            number,
            attempt.way.to.clone(),
            attempt.request.bytes().clone(),
        );
        core.deadlines.set(
            Timer::Client(number),
            &mut attempt.alarm,
            attempt.machine.deadline(),
        );
        self.ids.insert(attempt.id.clone(), number);
        self.attempts.insert(number, Box::new(attempt));
    }

    /// Gives the event to the transaction's machine and does what it wants. `failure` is the reason if that makes it
    /// fail.
    fn drive(
        &mut self,
        number: u64,
        event: ClientEvent,
        mut response: Option<(Message, Source)>,
        failure: Failure,
        now: Instant,
        core: &mut Core,
    ) {
        let Some(attempt) = self.attempts.get_mut(&number) else {
            return;
        };
        let (mut outputs, was_accepted) = (Vec::new(), attempt.machine.is_accepted());
        attempt.machine.on(
            event,
            now,
            &core.config.timers(attempt.way.transport),
            &mut outputs,
        );
        core.deadlines.set(
            Timer::Client(number),
            &mut attempt.alarm,
            attempt.machine.deadline(),
        );
        for output in outputs {
            let Some(attempt) = self.attempts.get(&number) else {
                return;
            };
            match (output, attempt.owner) {
                (ClientOutput::Request, _) => {
                    core.counters.retransmissions_sent += 1;
                    let bytes = attempt.request.bytes().clone();
                    core.send(number, attempt.way.to.clone(), bytes);
                }
                (ClientOutput::Acknowledge, _) => {
                    if let Some((refusal, _)) = &response {
                        let bytes = attempt.ack(refusal).bytes().clone();
                        core.send(number, attempt.way.to.clone(), bytes);
                    }
                }
                (ClientOutput::Cancel, _) => {
                    let (cancel, branch) = (attempt.cancel(), attempt.branch.clone());
                    let (way, t) = (
                        attempt.way.clone(),
                        core.config.timers(attempt.way.transport),
                    );
                    let number = core.number();
                    core.counters.requests_sent.add(Method::Cancel);
                    let attempt = Attempt::new(cancel, branch, way, None, now, &t);
                    self.begin(number, attempt, core);
                }
                (ClientOutput::Report, Some(key)) => {
                    if let Some((message, source)) = response.take() {
                        self.answered(key, number, message, source, now, core);
                    }
                }
                (ClientOutput::Report, None) => {
                    if let Some((message, _)) = &response {
                        self.dismiss(ClientKey(0), number, message, was_accepted, now, core);
                    }
                }
                (ClientOutput::Failed, Some(key)) => {
                    core.counters.timeouts += u64::from(failure == Failure::Timeout);
                    self.failed(key, failure.clone(), now, core);
                }
                (ClientOutput::Failed, None) => {}
            }
        }
        if self
            .attempts
            .get(&number)
            .is_some_and(|attempt| attempt.machine.has_ended())
        {
            self.remove(number, core);
        }
    }

    fn answered(
        &mut self,
        key: ClientKey,
        number: u64,
        message: Message,
        source: Source,
        now: Instant,
        core: &mut Core,
    ) {
        let Some(exchange) = self.exchanges.get_mut(&key) else {
            return;
        };
        core.deadlines
            .set(Timer::Exchange(key), &mut exchange.alarm, None);
        if matches!(exchange.stage, Stage::Trying(_)) {
            exchange.stage = Stage::Answered(number);
        }
        let given_up = matches!(exchange.stage, Stage::Cancelled(_));
        let silent = exchange.silent;
        match (message.status(), exchange.method) {
            (100..=199, _) => {}
            // RFC 3263 §4.3: as if it had not been reached.
            (503, _) if !exchange.ahead.is_empty() && !given_up => {
                return self.next_target(key, Failure::Unavailable, now, core);
            }
            (200..=299, Method::Invite) => {
                let to_tag = message.to_tag().unwrap_or_default();
                if let Some(fork) = exchange.forks.iter().find(|fork| fork.to_tag == to_tag) {
                    let ack = fork.ack;
                    return self.repeat_ack(ack, core);
                }
                if exchange.forks.len() == MAX_FORKS {
                    core.counters.forks_dropped += 1;
                    return;
                }
                exchange.draft = None;
                exchange.forks.push(Fork {
                    to_tag: to_tag.to_owned(),
                    ack: None,
                });
                if silent {
                    return self.dismiss(key, number, &message, false, now, core);
                }
            }
            _ => self.end(key, core),
        }
        if !silent {
            core.report(Event::Response {
                key,
                message,
                source,
            });
        }
    }

    /// Before any response an attempt's failure leads to the next target. An INVITE that rang for too long, or did not
    /// end when it was cancelled, has failed for good.
    fn failed(&mut self, key: ClientKey, failure: Failure, now: Instant, core: &mut Core) {
        match self.exchanges.get(&key).map(|exchange| exchange.stage) {
            Some(Stage::Answered(_)) => self.fail(key, failure, core),
            _ => self.next_target(key, failure, now, core),
        }
    }

    fn fail(&mut self, key: ClientKey, failure: Failure, core: &mut Core) {
        let silent = self
            .exchanges
            .get(&key)
            .is_none_or(|exchange| exchange.silent);
        self.end(key, core);
        if !silent {
            core.report(Event::Failed { key, failure });
        }
    }

    fn end(&mut self, key: ClientKey, core: &mut Core) {
        let Some(mut exchange) = self.exchanges.remove(&key) else {
            return;
        };
        core.deadlines
            .set(Timer::Exchange(key), &mut exchange.alarm, None);
        if let Some(number) = exchange.stage.number() {
            self.disown(number);
        }
        for fork in exchange.forks {
            fork.ack.and_then(|number| self.acks.remove(&number));
        }
    }

    fn disown(&mut self, number: u64) {
        if let Some(attempt) = self.attempts.get_mut(&number) {
            attempt.owner = None;
        }
    }

    fn remove(&mut self, number: u64, core: &mut Core) {
        let Some(attempt) = self.attempts.remove(&number) else {
            return;
        };
        self.ids.remove(&attempt.id);
        if let Some(key) = attempt.owner {
            self.end(key, core);
        }
    }

    /// A response that nobody waits for. After a 2xx to an INVITE the call is taken and ended, else the callee would hear
    /// silence. A copy only wants the ACK again.
    fn dismiss(
        &mut self,
        key: ClientKey,
        number: u64,
        response: &Message,
        is_copy: bool,
        now: Instant,
        core: &mut Core,
    ) {
        let Some(attempt) = self.attempts.get(&number) else {
            return;
        };
        if response.status() / 100 != 2 || attempt.request.method() != Method::Invite {
            return;
        }
        let Ok(mut dialog) = Dialog::uac(&attempt.request, response) else {
            return;
        };
        let hop = NextHop::Hop(dialog.next_hop(attempt.way.realm));
        let ack = dialog.ack(dialog.local_seq());
        self.acknowledge(key, ack, hop.clone(), now, core);
        if !is_copy {
            let bye = dialog.request(Method::Bye);
            self.request(bye, hop, true, now, core);
        }
    }

    fn send_ack(&mut self, key: ClientKey, draft: &Builder, ways: Vec<Way>, core: &mut Core) {
        let Some(transport) = ways.first().map(|way| way.transport) else {
            return;
        };
        let branch = new_branch(core);
        let via = core.sent_by.via(transport, &branch);
        let message = draft.finish(Some(&via));
        let (number, bytes) = (core.number(), message.bytes().clone());
        // Its Via names the transport, so only ways of the same one can take its place.
        let ways: VecDeque<_> = ways
            .into_iter()
            .filter(|way| way.transport == transport)
            .map(|way| way.to)
            .collect();
        core.send(number, ways[0].clone(), bytes.clone());
        let to_tag = message.to_tag().unwrap_or_default();
        let forks = self
            .exchanges
            .get_mut(&key)
            .into_iter()
            .flat_map(|exchange| &mut exchange.forks);
        if let Some(fork) = forks.into_iter().find(|fork| fork.to_tag == to_tag) {
            if let Some(old) = fork.ack.replace(number) {
                self.acks.remove(&old);
            }
            self.acks.insert(number, Ack { bytes, ways });
        }
    }

    fn repeat_ack(&self, number: Option<u64>, core: &mut Core) {
        if let Some((number, ack)) =
            number.and_then(|number| Some((number, self.acks.get(&number)?)))
        {
            core.counters.retransmissions_sent += 1;
            core.send(number, ack.ways[0].clone(), ack.bytes.clone());
        }
    }
}

impl Stage {
    /// The number of the transaction that is under way.
    fn number(self) -> Option<u64> {
        match self {
            Self::Trying(number) | Self::Answered(number) | Self::Cancelled(number) => Some(number),
            Self::Beginning | Self::Resolving(_) => None,
        }
    }
}

/// These ways; where the request is too large for a datagram and goes by its size, each by UDP after one by TCP.
fn ways(found: Vec<Way>, draft: &Builder, by_size: bool, core: &Core) -> VecDeque<Way> {
    if !by_size || !core.is_large(draft) {
        return found.into();
    }
    let both = |way: Way| way.by_tcp().into_iter().chain([way]);
    found.into_iter().flat_map(both).collect()
}

/// A branch that nothing else has.
fn new_branch(core: &mut Core) -> String {
    format!("{MAGIC_COOKIE}{}", core.random.token(16))
}
