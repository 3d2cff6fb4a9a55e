//! Registering at customers' exchanges in the names of their users (RFC 3261 §10.2), so that calls come in on their
//! bindings and go out in their names.
//!
//! The directory says who is to be registered; what is not in it any more is removed from its registrar. `client` is one
//! registration as a state machine, `answer` reads what registrars say, `pace` says how fast, `standing` tells calls where
//! registrations stand. A registration has no timer and no task of its own: all deadlines are in one ordered set.
//!
//! What begins, or begins again after a failure, goes through one token bucket, so that neither a start nor an exchange
//! that comes back causes a storm. Renewals do not: they are spread by chance, and come before what waits. REGISTERs that
//! are out are bounded; the endpoint tries each registrar's targets in turn (RFC 3263 §4.3).

mod answer;
mod client;
mod failing;
mod keep_alive;
mod pace;
mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use imbl::ordmap::DiffItem;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use self::client::{Client, Next, Stage, Style};
use self::failing::Failing;
use self::keep_alive::{KeepAlives, PING};
use self::pace::Bucket;
pub(super) use self::standing::Standing;
use super::core::Core;
use super::{Calls, Output, Report};
use crate::base::Random;
use crate::directory::{Directory, Registration};
use crate::sip::{ClientKey, Failure, Message, SendId, SendTo, Source, Transport};

/// How many registrations there may be, and how fast they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// First REGISTERs and repeated ones in a second, of all exchanges together.
    pub per_second: u32,
    /// Registrations of this process; those beyond wait until there is room.
    pub most: usize,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            per_second: 200,
            most: 100_000,
        }
    }
}

/// Where a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PbxRegistrationState)]
pub enum RegistrationState {
    /// Nobody wants it: it is disabled, or its customer or user may not call.
    Disabled,
    /// The exchange has not answered yet.
    Pending,
    /// The exchange sends us the user's calls.
    Registered,
    /// The exchange does not want us, or does not answer.
    Failed,
    /// It stood until the exchange did not renew it in time.
    Expired,
    /// The exchange is asked to forget us.
    Leaving,
}

impl RegistrationState {
    /// All but [`RegistrationState::Disabled`], of which nobody here knows.
    pub const KNOWN: [Self; 5] = [
        Self::Pending,
        Self::Registered,
        Self::Failed,
        Self::Expired,
        Self::Leaving,
    ];

    /// As in the API, metrics and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Pending => "pending",
            Self::Registered => "registered",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Leaving => "leaving",
        }
    }
}

/// What is known of one registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationView {
    /// Whose.
    pub id: Uuid,
    /// Where it is.
    pub state: RegistrationState,
    /// The exchange's last answer; none where nobody answered, or nobody was asked yet.
    pub last_code: Option<u16>,
    /// The same in words.
    pub last_reason: Option<String>,
    /// Since when it stands without a break.
    pub registered_at: Option<OffsetDateTime>,
    /// Until when it stands unless it is renewed.
    pub expires_at: Option<OffsetDateTime>,
    /// When the next REGISTER goes out; none while it waits for its turn or for an answer.
    pub next_attempt_at: Option<OffsetDateTime>,
}

/// What all registrations together have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationCounts {
    /// REGISTERs that were sent, without repetitions.
    pub sent: u64,
    /// Final answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// REGISTERs that nobody answered.
    pub unanswered: u64,
}

/// What is noted of a client elsewhere than in itself.
#[derive(Debug, Default)]
struct Noted {
    deadline: Option<Instant>,
    counted: Option<Counted>,
    in_line: bool,
}

/// By what a client is counted: its state, and the last code if it failed.
type Counted = (RegistrationState, Option<u16>);

/// REGISTERs that may be out at once. An exchange that has fallen silent holds each for half a minute.
const MOST_ASKING: usize = 5_000;
/// How much faster the registrars are told that we go down.
const HASTE: u32 = 10;

/// All registrations of one process.
#[derive(Debug)]
pub(super) struct Registrations {
    most: usize,
    boot: String,
    clients: HashMap<u64, Client>,
    by_line: HashMap<Uuid, u64>,
    /// Those that there is no room for.
    waiting: BTreeSet<Uuid>,
    asking: HashMap<ClientKey, u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Renewals, and what is to be forgotten.
    urgent: VecDeque<u64>,
    ready: VecDeque<u64>,
    bucket: Bucket,
    keep_alives: KeepAlives,
    counts: RegistrationCounts,
    census: BTreeMap<Counted, u32>,
    failing: Failing,
    serial: u64,
    stops: bool,
}

impl Registrations {
    /// Nobody is registered.
    pub fn new(config: &RegistrationConfig, now: Instant, random: &mut Random) -> Self {
        Self {
            most: config.most,
            boot: random.token(16),
            clients: HashMap::new(),
            by_line: HashMap::new(),
            waiting: BTreeSet::new(),
            asking: HashMap::new(),
            deadlines: BTreeSet::new(),
            urgent: VecDeque::new(),
            ready: VecDeque::new(),
            bucket: Bucket::new(config.per_second, now),
            keep_alives: KeepAlives::default(),
            counts: RegistrationCounts::default(),
            census: BTreeMap::new(),
            failing: Failing::default(),
            serial: 0,
            stops: false,
        }
    }

    /// What has changed since the directory before: it costs that, not what is there. Nothing is sent before
    /// [`Registrations::expire`].
    pub fn follow(&mut self, core: &mut Core, before: &Directory) {
        if self.stops {
            return;
        }
        let after = Arc::clone(&core.directory);
        for change in before.registrations().diff(after.registrations()) {
            match change {
                DiffItem::Add(_, line) => self.want(core, line),
                DiffItem::Update { new: (_, line), .. } => self.want(core, line),
                DiffItem::Remove(id, _) => self.drop_line(core, *id),
            }
        }
    }

    fn want(&mut self, core: &mut Core, line: &Arc<Registration>) {
        let Some(&key) = self.by_line.get(&line.id) else {
            if self.clients.len() >= self.most {
                self.waiting.insert(line.id);
            } else {
                self.begin(core, Arc::clone(line));
            }
            return;
        };
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let line = Arc::clone(line);
        match (client.line.is_same_binding(&line), client.leaves) {
            (true, true) => client.stay(line),
            (true, false) => client.replace(line),
            (false, _) => {
                client.successor = Some(line);
                client.leave();
            }
        }
        self.settle(core, key);
    }

    fn drop_line(&mut self, core: &mut Core, line: Uuid) {
        self.waiting.remove(&line);
        let Some(&key) = self.by_line.get(&line) else {
            return;
        };
        if let Some(client) = self.clients.get_mut(&key) {
            client.successor = None;
            client.leave();
        }
        self.settle(core, key);
    }

    fn begin(&mut self, core: &mut Core, line: Arc<Registration>) {
        self.serial += 1;
        let key = self.serial;
        self.by_line.insert(line.id, key);
        self.clients.insert(key, Client::new(line, key));
        self.settle(core, key);
    }

    /// We go down: every registrar is told, as many as there is time for. Nobody registers any more.
    pub fn stop(&mut self, core: &mut Core) {
        if std::mem::replace(&mut self.stops, true) {
            return;
        }
        self.waiting.clear();
        self.keep_alives.clear();
        self.bucket.hurry(HASTE);
        for key in self.clients.keys().copied().collect::<Vec<_>>() {
            if let Some(client) = self.clients.get_mut(&key) {
                client.successor = None;
                client.leave();
            }
            self.settle(core, key);
        }
        self.pump(core);
    }

    /// Whether there is no registrar left to be told that we go down.
    pub fn is_idle(&self) -> bool {
        !self.stops || self.clients.is_empty()
    }

    /// Asks the exchange of this registration now, however long it would have waited. `false` if there is no such.
    pub fn restart(&mut self, core: &mut Core, line: Uuid) -> bool {
        let Some(&key) = self.by_line.get(&line) else {
            return self.waiting.contains(&line);
        };
        if let Some(client) = self.clients.get_mut(&key) {
            client.hurry();
        }
        self.settle(core, key);
        self.pump(core);
        true
    }

    /// A response to a REGISTER. Returns whether the key was one of these.
    pub fn on_response(
        &mut self,
        core: &mut Core,
        of: ClientKey,
        message: &Message,
        source: &Source,
    ) -> bool {
        if message.status() < 200 {
            return self.asking.contains_key(&of);
        }
        let Some(key) = self.asking.remove(&of) else {
            return false;
        };
        *self.counts.answers.entry(message.status()).or_default() += 1;
        let now = core.now;
        if let Some(client) = self.clients.get_mut(&key) {
            match client.on_answer(message, source, now, &mut core.random) {
                Next::Again => self.send(core, key),
                Next::Settled => {
                    self.keep_alive(key, now);
                    self.settle(core, key);
                }
            }
        }
        self.pump(core);
        true
    }

    /// A REGISTER without an answer. Returns whether the key was one of these.
    pub fn on_failure(&mut self, core: &mut Core, of: ClientKey, failure: &Failure) -> bool {
        let Some(key) = self.asking.remove(&of) else {
            return false;
        };
        self.counts.unanswered += 1;
        if let Some(client) = self.clients.get_mut(&key) {
            client.on_failure(failure, core.now, &mut core.random);
        }
        self.settle(core, key);
        self.pump(core);
        true
    }

    /// Does what is due.
    pub fn expire(&mut self, core: &mut Core) {
        let now = core.now;
        while let Some(&(at, key)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let Some(client) = self.clients.get_mut(&key) else {
                continue;
            };
            client.noted.deadline = None;
            let is_due = client.on_time(now);
            if is_due && client.binding.is_some() && self.asking.len() < MOST_ASKING {
                self.send(core, key);
                continue;
            }
            if is_due {
                client.stage = Stage::Queued;
            }
            self.settle(core, key);
        }
        while let Some((flow, registrar)) = self.keep_alives.pop(now) {
            core.outputs.push_back(Output::Send {
                // Of no transaction: whether it arrives the next REGISTER tells.
                id: SendId(0),
                to: SendTo::Flow(flow, registrar),
                bytes: Bytes::from_static(PING),
            });
        }
        self.pump(core);
    }

    /// When to call [`Registrations::expire`].
    pub fn deadline(&self) -> Option<Instant> {
        let waits = !(self.urgent.is_empty() && self.ready.is_empty());
        let turn = (waits && self.asking.len() < MOST_ASKING).then(|| self.bucket.next());
        let first = self.deadlines.first().map(|(at, _)| *at);
        [turn, first, self.keep_alives.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is known of this registration; nothing of one that nobody wants.
    pub fn view(&self, core: &Core, line: Uuid) -> Option<RegistrationView> {
        let Some(client) = self.by_line.get(&line).and_then(|k| self.clients.get(k)) else {
            return self.waiting.contains(&line).then(|| RegistrationView {
                id: line,
                state: RegistrationState::Pending,
                last_code: None,
                last_reason: Some("there are as many registrations as there may be".to_owned()),
                registered_at: None,
                expires_at: None,
                next_attempt_at: None,
            });
        };
        let next = match client.stage {
            Stage::Resting(until) => Some(until),
            _ => None,
        };
        Some(RegistrationView {
            id: line,
            state: client.state(),
            last_code: client.last.as_ref().and_then(|last| last.code),
            last_reason: client.last.as_ref().map(|last| last.reason.to_string()),
            registered_at: client.binding.map(|binding| core.wall_at(binding.since)),
            expires_at: client.binding.map(|binding| core.wall_at(binding.until)),
            next_attempt_at: next.map(|at| core.wall_at(at)),
        })
    }

    /// How many there are of each state, and of those that fail with each code; 0 stands for no answer.
    pub fn census(&self) -> (BTreeMap<RegistrationState, u32>, BTreeMap<u16, u32>) {
        let mut states = BTreeMap::<_, u32>::new();
        let mut codes = BTreeMap::<_, u32>::new();
        for ((state, code), count) in &self.census {
            *states.entry(*state).or_default() += count;
            if let Some(code) = code {
                *codes.entry(*code).or_default() += count;
            }
        }
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        *states.entry(RegistrationState::Pending).or_default() += waiting;
        (states, codes)
    }

    /// Whose fail.
    pub fn failing(&self) -> &Failing {
        &self.failing
    }

    /// What they have done.
    pub fn counts(&self) -> &RegistrationCounts {
        &self.counts
    }

    /// Sends what waits, as far as the bucket and the number of those that are out allow.
    fn pump(&mut self, core: &mut Core) {
        while self.asking.len() < MOST_ASKING {
            let queue = match self.urgent.is_empty() {
                false => &mut self.urgent,
                true => &mut self.ready,
            };
            let Some(&key) = queue.front() else { return };
            let client = self.clients.get_mut(&key);
            let client = client.filter(|client| client.stage == Stage::Queued);
            if client.is_some() && !self.bucket.take(core.now) {
                return;
            }
            queue.pop_front();
            if let Some(client) = client {
                client.noted.in_line = false;
                self.send(core, key);
            }
        }
    }

    fn send(&mut self, core: &mut Core, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let style = Style {
            boot: &self.boot,
            own: core.own(client.line.transport()).to_string(),
            product: &core.config.product,
        };
        let (draft, next) = client.ask(&style, &mut core.random);
        let of = core.endpoint.request(draft, next, core.now);
        self.asking.insert(of, key);
        self.counts.sent += 1;
        self.settle(core, key);
    }

    fn keep_alive(&mut self, key: u64, now: Instant) {
        let Some(client) = self.clients.get(&key) else {
            return;
        };
        if let (Some(binding), Some(every)) = (client.binding, client.line.pbx.keep_alive)
            && binding.transport == Transport::Udp
            && !self.stops
        {
            let (at, flow) = (binding.registrar, binding.flow);
            self.keep_alives.keep(at, flow, every, binding.until, now);
        }
    }

    /// After anything happened to a client: it is in line, its deadline is noted, calls know where it stands, it is
    /// counted; or it is forgotten whole, and another may take its place.
    fn settle(&mut self, core: &mut Core, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let is_over = client.stage == Stage::Over;
        if client.stage == Stage::Queued && !client.noted.in_line {
            client.noted.in_line = true;
            match client.leaves || client.binding.is_some() {
                true => self.urgent.push_back(key),
                false => self.ready.push_back(key),
            }
        }
        let deadline = client.deadline().filter(|_| !is_over);
        let noted = std::mem::replace(&mut client.noted.deadline, deadline);
        if noted != deadline {
            if let Some(at) = noted {
                self.deadlines.remove(&(at, key));
            }
            self.deadlines.extend(deadline.map(|at| (at, key)));
        }
        core.standing.set(&client.line, client.stands_at());
        let counted = (!is_over).then(|| (client.state(), client.failing_code()));
        let before = std::mem::replace(&mut client.noted.counted, counted);
        if before != counted {
            if let Some(of) = before {
                leave_census(&mut self.census, of);
            }
            if let Some(of) = counted {
                *self.census.entry(of).or_default() += 1;
            }
            match (fails(before), fails(counted)) {
                (false, true) => self.failing.enter(&client.line),
                (true, false) => self.failing.leave(&client.line),
                _ => {}
            }
        }
        if let (Some((was, _)), Some((is, _))) = (before, counted)
            && was != is
        {
            let last = client.last.as_ref();
            core.report(Report::Registration {
                customer: client.line.customer,
                id: client.line.id,
                was,
                is,
                code: last.and_then(|last| last.code),
                reason: last.map(|last| last.reason.to_string()),
            });
        }
        if is_over {
            self.forget(core, key);
        }
    }

    fn forget(&mut self, core: &mut Core, key: u64) {
        let Some(client) = self.clients.remove(&key) else {
            return;
        };
        self.by_line.remove(&client.line.id);
        core.standing.set(&client.line, None);
        let next = client.successor.or_else(|| {
            let id = self.waiting.pop_first()?;
            core.directory.registrations().get(&id).cloned()
        });
        if let Some(next) = next {
            self.begin(core, next);
        }
    }
}

fn fails(counted: Option<Counted>) -> bool {
    let state = counted.map(|(state, _)| state);
    matches!(
        state,
        Some(RegistrationState::Failed | RegistrationState::Expired)
    )
}

fn leave_census(census: &mut BTreeMap<Counted, u32>, of: Counted) {
    if let Some(count) = census.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            census.remove(&of);
        }
    }
}

impl Client {
    fn state(&self) -> RegistrationState {
        match (self.leaves, self.binding, &self.last) {
            (true, _, _) if self.successor.is_none() => RegistrationState::Leaving,
            (_, Some(_), _) => RegistrationState::Registered,
            _ if self.expired => RegistrationState::Expired,
            (_, None, Some(_)) if self.failures > 0 => RegistrationState::Failed,
            _ => RegistrationState::Pending,
        }
    }

    /// The code of the last failure, if that was the last thing to happen; 0 for no answer.
    fn failing_code(&self) -> Option<u16> {
        let last = self.last.as_ref().filter(|_| self.failures > 0)?;
        Some(last.code.unwrap_or(0))
    }
}

impl Calls {
    /// What is known of these registrations, in the same order; nothing of those that nobody wants.
    pub fn registrations(&self, ids: &[Uuid]) -> Vec<RegistrationView> {
        let views = ids
            .iter()
            .filter_map(|id| self.registrations.view(&self.core, *id));
        views.collect()
    }

    /// Asks an exchange now; `false` if there is no such registration.
    pub fn restart_registration(&mut self, id: Uuid, now: Instant) -> bool {
        self.core.now = now;
        let found = self.registrations.restart(&mut self.core, id);
        self.run();
        found
    }

    /// How many registrations there are of each state, and how many fail with each code; 0 stands for no answer.
    pub fn registration_census(&self) -> (BTreeMap<RegistrationState, u32>, BTreeMap<u16, u32>) {
        self.registrations.census()
    }

    /// What registrations have done.
    pub fn registration_counts(&self) -> &RegistrationCounts {
        self.registrations.counts()
    }
}
