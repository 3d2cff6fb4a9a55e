//! Calls: a back-to-back user agent as one value (RFC 7092 §3.2.1, anchoring media).
//!
//! In go bytes from peers, DNS answers, the relay's events, operators' wishes and the time; out come bytes, DNS
//! questions, commands to the relay, CDRs and reports. Each leg has a Call-ID, tags, CSeq and Contact of its own, and
//! nothing crosses from one to the other that `header_policy` does not name.
//!
//! `setup` leads from the first INVITE to an answer, `invite` writes ours, `in_dialog` and `modify` deal with what comes
//! within a call, `keys` with INFO, `bridge` has each side hear the right thing, `transfer` obeys REFER, `replaces` INVITEs that go on with a
//! call, `registrations` has us called by customers' exchanges, `teardown` ends calls; `refusal` is the one place where *why* becomes a status.

mod admission;
mod announcement;
mod body;
mod bridge;
mod call;
mod cdr;
mod challenges;
mod core;
mod desk;
mod explain;
mod extensions;
mod header_policy;
mod hints;
mod history;
mod identity;
mod in_dialog;
mod invite;
mod ivr;
mod keys;
mod leg;
mod modify;
mod moh;
mod output;
mod quality;
mod record;
mod refusal;
mod registrar;
mod registrations;
mod reliable;
mod replaces;
mod resync;
mod session_timer;
mod setup;
mod teardown;
mod transfer;
mod troubles;
mod view;
mod watch;
mod why;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::cdr::{Cdr, Direction, EndedBy, MediaCounts, Music, Silence};
pub use self::core::{Config, UnknownPeers};
pub use self::hints::Hints;
pub use self::ivr::{ActivationAnswer, ActivationId};
pub use self::output::{Output, Report};
pub use self::quality::{Counting, LiveMedia};
pub use self::refusal::{Answer, Refusal, Towards};
pub use self::registrar::{PhoneView, RegistrarConfig};
pub use self::registrations::{
    RegistrationConfig, RegistrationCounts, RegistrationState, RegistrationView,
};
pub use self::resync::{Resynced, WakeUp};
pub use self::troubles::{DownPeer, FailingRegistrations, Part, PeerOf, Troubles};
pub use self::view::{CallState, CallView, CallWhy, LegState, LegView};
pub use self::watch::{Down, Health};
pub use self::why::{
    Candidate, Credentials, Fact, Failing, Found, LimitOf, LimitOutcome, Proof, Screening, Step,
    Trace,
};

use self::announcement::Announcements;
use self::call::{Call, CallKey, Stage};
use self::challenges::Challenges;
use self::core::Core;
use self::ivr::Lines;
use self::registrations::Registrations;
use self::resync::Resyncs;
use self::teardown::Ended;
use crate::base::Random;
use crate::directory::{Directory, Ledger};
use crate::media::{self, LegId, LegReport, Ports};
use crate::sip::{
    Endpoint, Event, Message, Method, Name, Output as SipOutput, Realm, ResolveId, SendId, SentBy,
    ServerKey, Source, Target, Uri,
};

/// All calls of one process, and the transaction layer under them.
pub struct Calls {
    core: Core,
    /// Boxed: a call takes kilobytes, and a table has up to twice as many places as entries.
    calls: HashMap<CallKey, Box<Call>>,
    deadlines: BTreeSet<(Instant, CallKey)>,
    registered: HashMap<CallKey, Instant>,
    challenges: Challenges,
    announcements: Announcements,
    registrations: Registrations,
    resyncs: Resyncs,
    lines: Lines,
    next_call: u64,
    draining: bool,
}

impl Calls {
    /// No calls yet. `wall` is the wall clock at `now`.
    #[allow(clippy::too_many_arguments, reason = "the one place that joins them")]
    pub fn new(
        config: Config,
        endpoint: Endpoint,
        sent_by: SentBy,
        directory: Arc<Directory>,
        ledger: Ledger,
        ports: Ports,
        random: Random,
        now: Instant,
        wall: OffsetDateTime,
    ) -> Self {
        let settings = config.registrations;
        let mut core = Core::new(
            config, endpoint, sent_by, directory, ledger, ports, random, now, wall,
        );
        let registrations = Registrations::new(&settings, now, &mut core.random);
        let mut calls = Self {
            core,
            calls: HashMap::new(),
            deadlines: BTreeSet::new(),
            registered: HashMap::new(),
            challenges: Challenges::default(),
            announcements: Announcements::default(),
            registrations,
            resyncs: Resyncs::default(),
            lines: Lines::default(),
            next_call: 0,
            draining: false,
        };
        let nobody = Directory::default();
        calls.watch_directory(&nobody);
        calls.registrations.follow(&mut calls.core, &nobody);
        calls
    }

    /// A datagram or one framed message of a stream.
    pub fn receive(&mut self, bytes: Bytes, source: Source, now: Instant) {
        self.core.now = now;
        // A response may come from an address of a trunk that its list does not name; it finds its transaction or not.
        let drops =
            self.core.config.unknown_peers == UnknownPeers::Drop && !bytes.starts_with(b"SIP/2.0 ");
        if drops && self.is_unknown(&bytes, &source) {
            return self.core.report(Report::Dropped { source });
        }
        self.core.endpoint.receive(bytes, source, now);
        self.run();
    }

    /// What DNS said.
    pub fn resolved(&mut self, id: ResolveId, targets: Result<Vec<Target>, String>, now: Instant) {
        self.core.now = now;
        if let Some(leg) = self.core.asker(id) {
            self.with_leg(leg, |call, core| call.note_dns(core, &targets));
        }
        self.core.endpoint.resolved(id, targets, now);
        self.run();
    }

    /// A message could not be sent.
    pub fn send_failed(&mut self, id: SendId, reason: String, now: Instant) {
        self.core.now = now;
        self.core.endpoint.send_failed(id, reason, now);
        self.run();
    }

    /// What the relay said.
    pub fn media(&mut self, event: media::Event, now: Instant) {
        self.core.now = now;
        if let media::Event::Counted { leg, report } = event {
            return self.on_counted(leg, report);
        }
        let leg = match &event {
            media::Event::Counted { leg, .. }
            | media::Event::Failed { leg, .. }
            | media::Event::Flowing { leg }
            | media::Event::Inactive { leg }
            | media::Event::ConsentLost { leg, .. }
            | media::Event::Key { leg, .. }
            | media::Event::Closed { leg, .. } => *leg,
        };
        if self.announcements.has(leg) {
            if let media::Event::Failed { .. } = event {
                self.end_announcement(leg);
            }
            return self.run();
        }
        if self.lines.has(leg) {
            self.on_line_media(leg, &event);
            return self.run();
        }
        self.with_leg(leg, |call, core| match event {
            media::Event::Flowing { .. } | media::Event::Counted { .. } => {}
            media::Event::Failed { reason, .. } => {
                tracing::warn!(call = %call.id, %reason, "the relay cannot serve a leg");
                if let Some(leg) = call.leg_mut(leg) {
                    leg.media_open = false;
                }
                call.lose(core, leg, Ended::BadMedia(leg));
            }
            media::Event::Inactive { .. } => call.lose(core, leg, Ended::MediaTimeout(leg)),
            media::Event::ConsentLost { reason, .. } => call.on_consent_lost(core, leg, &reason),
            media::Event::Key { key, duration, .. } => call.on_key(core, leg, (key, duration)),
            media::Event::Closed { report, .. } => call.on_media_closed(core, leg, report),
        });
        self.run();
    }

    /// A newer snapshot. Running calls keep what they were admitted by; limits apply to the next call.
    pub fn set_directory(&mut self, directory: Arc<Directory>, now: Instant) {
        self.core.now = now;
        let before = std::mem::replace(&mut self.core.directory, directory);
        self.watch_directory(&before);
        self.registrations.follow(&mut self.core, &before);
        self.run();
    }

    /// Sets the wall clock right; only records use it.
    pub fn set_wall_clock(&mut self, wall: OffsetDateTime, now: Instant) {
        self.core.now = now;
        self.core.set_wall(wall);
    }

    /// Ends a call for an operator; `false` if there is no such call.
    pub fn hang_up(&mut self, id: Uuid, now: Instant) -> bool {
        self.core.now = now;
        let Some(key) = self.live(id) else {
            return false;
        };
        self.with_call(key, |call, core| call.hang_up(core, Ended::Operator));
        self.run();
        true
    }

    /// Refuses new calls from now on, and sends no OPTIONS, so that Teams goes elsewhere (TDR-218).
    pub fn drain(&mut self) {
        self.draining = true;
        self.give_up_challenges();
        self.registrations.stop(&mut self.core);
        self.run();
    }

    /// Ends all calls.
    pub fn shut_down(&mut self, now: Instant) {
        self.core.now = now;
        self.draining = true;
        for key in self.calls.keys().copied().collect::<Vec<_>>() {
            self.with_call(key, |call, core| call.hang_up(core, Ended::Shutdown));
        }
        self.give_up_challenges();
        self.give_up_announcements();
        self.give_up_lines();
        self.run();
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Instant) {
        self.core.now = now;
        self.core.endpoint.expire(now);
        self.run();
        while let Some(&(at, key)) = self.deadlines.first() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            self.registered.remove(&key);
            self.with_call(key, Call::on_time);
        }
        if self.core.watch.deadline().is_some_and(|at| at <= now) {
            self.on_watch_time();
        }
        self.on_challenge_time();
        self.on_announcement_time();
        self.registrations.expire(&mut self.core);
        self.on_line_time();
        if self.resyncs.deadline().is_some_and(|at| at <= now) {
            self.on_resync_time();
        }
        if self.core.registrar.deadline().is_some_and(|at| at <= now) {
            self.on_registrar_time();
        }
        self.run();
    }

    /// When to call [`Calls::expire`].
    pub fn deadline(&self) -> Option<Instant> {
        let calls = self.deadlines.first().map(|(at, _)| *at);
        let watch = if self.draining {
            None
        } else {
            self.core.watch.deadline()
        };
        let waiting = [
            self.challenges.deadline(),
            self.announcements.deadline(),
            self.registrations.deadline(),
            self.core.registrar.deadline(),
            self.resyncs.deadline(),
            self.lines.deadline(),
        ];
        [calls, watch, self.core.endpoint.deadline()]
            .into_iter()
            .chain(waiting)
            .flatten()
            .min()
    }

    /// What is to be done; ask until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// Calls that are not over.
    pub fn active(&self) -> usize {
        self.calls
            .values()
            .filter(|call| !matches!(call.stage, Stage::Over { .. }))
            .count()
    }

    /// Refused callers that hear an announcement.
    pub fn announcing(&self) -> usize {
        self.announcements.len()
    }

    /// Whether nothing is left that wants an answer: while draining, that no registrar is left to be told either.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.announcements.len() == 0
            && self.lines.len() == 0
            && self.registrations.is_idle()
    }

    /// Entries in the indexes by which an event finds its call; none where there is no call.
    pub fn indexed(&self) -> usize {
        let core = &self.core;
        core.homes.len()
            + core.dialogs.len()
            + core.clients.len()
            + core.servers.len()
            + core.call_ids.len()
            + core.moved.len()
            + core.registrar.len()
            + self.resyncs.len()
            + self.deadlines.len()
    }

    /// The transaction layer, for its counters.
    pub fn endpoint(&self) -> &Endpoint {
        &self.core.endpoint
    }

    /// Free port pairs.
    pub fn ports_free(&self) -> usize {
        self.core.ports.free(self.core.now)
    }

    /// Port pairs that were taken again before they had rested.
    pub fn ports_hurried(&self) -> u64 {
        self.core.ports.hurried()
    }

    /// Every peer that is asked with OPTIONS, by name.
    pub fn peers(&self) -> impl Iterator<Item = (Realm, &str, &Health)> {
        self.core.watch.states()
    }

    /// Takes what the transaction layer has to say until it has nothing more.
    fn run(&mut self) {
        while let Some(output) = self.core.endpoint.poll() {
            match output {
                SipOutput::Send { id, to, bytes } => {
                    self.core.outputs.push_back(Output::Send { id, to, bytes })
                }
                SipOutput::Resolve { id, hop } => {
                    self.core.outputs.push_back(Output::Resolve { id, hop })
                }
                SipOutput::Event(event) => self.on_event(event),
            }
            while let Some(join) = self.core.joins.pop() {
                self.join_calls(&join);
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Request {
                key,
                message,
                source,
            } => self.on_request(key, message, &source),
            Event::Ack {
                message,
                source,
                key,
            } => {
                let Some(leg) = message
                    .to_tag()
                    .and_then(|tag| self.core.dialogs.get(tag))
                    .copied()
                else {
                    return;
                };
                if self.announcements.has(leg) {
                    return self.on_announcement_ack(leg, &source);
                }
                if self.lines.has(leg) {
                    return self.on_line_ack(leg, &source);
                }
                self.with_leg(leg, |call, core| {
                    if let Some(of) = call.leg_mut(leg).filter(|l| l.may_come_from(&source)) {
                        of.peer.follow(&source);
                        call.on_ack(core, leg, key, &message);
                    }
                });
            }
            Event::Cancelled { key, message } => {
                let Some(leg) = self.core.servers.get(&key).copied() else {
                    return;
                };
                if self.announcements.has(leg) {
                    return self.on_announcement_cancelled(leg);
                }
                self.with_leg(leg, |call, core| call.on_cancel(core, &message));
            }
            Event::Response {
                key,
                message,
                source,
            } => {
                if self.on_options_outcome(key, Ok(&message))
                    || self.on_notified(key, Some(&message))
                {
                    return;
                }
                let core = &mut self.core;
                if self.registrations.on_response(core, key, &message, &source) {
                    return;
                }
                let Some(leg) = self.core.clients.get(&key).copied() else {
                    return;
                };
                if self.announcements.has(leg) {
                    return self.on_announcement_answer(leg, key, Some(&message));
                }
                if self.lines.has(leg) {
                    return self.on_line_answer(leg, key, Some(&message));
                }
                self.with_leg(leg, |call, core| {
                    if let Some(leg) = call.leg_mut(leg) {
                        leg.heard_from.get_or_insert(source.remote.ip());
                    }
                    call.on_response(core, leg, key, &message);
                });
            }
            Event::NextTarget { key, failure } => {
                let Some(leg) = self.core.clients.get(&key).copied() else {
                    return;
                };
                let failure = (&failure).into();
                self.with_leg(leg, |call, core| {
                    call.record.note(core.now, Fact::NextAddress { failure });
                });
            }
            Event::Failed { key, failure } => {
                if self.on_options_outcome(key, Err(&failure)) || self.on_notified(key, None) {
                    return;
                }
                if self.registrations.on_failure(&mut self.core, key, &failure) {
                    return;
                }
                let Some(leg) = self.core.clients.get(&key).copied() else {
                    return;
                };
                if self.announcements.has(leg) {
                    return self.on_announcement_answer(leg, key, None);
                }
                if self.lines.has(leg) {
                    return self.on_line_answer(leg, key, None);
                }
                self.with_leg(leg, |call, core| {
                    call.on_request_failed(core, leg, key, &failure)
                });
            }
            Event::NoPrack { key } => {
                let Some(leg) = self.core.servers.get(&key).copied() else {
                    return;
                };
                self.with_leg(leg, |call, core| call.on_no_prack(core, leg, key));
            }
            Event::NoAck { key } => {
                let Some(leg) = self.core.servers.remove(&key) else {
                    return;
                };
                if self.announcements.has(leg) {
                    return self.on_announcement_no_ack(leg);
                }
                if self.lines.has(leg) {
                    return self.on_line_no_ack(leg);
                }
                self.with_leg(leg, |call, core| call.on_no_ack(core, leg));
            }
        }
    }

    fn on_request(&mut self, key: ServerKey, message: Message, source: &Source) {
        if let Some(tag) = message.to_tag() {
            let leg = self.core.dialogs.get(tag).copied();
            if let Some(leg) = leg.filter(|leg| self.announcements.has(*leg)) {
                return self.on_announcement_request(leg, key, &message, source);
            }
            if let Some(leg) = leg.filter(|leg| self.lines.has(*leg)) {
                return self.on_line_request(leg, key, &message, source);
            }
            let Some(leg) = leg.filter(|leg| self.home(*leg).is_some()) else {
                return self.core.answer(key, &message, 481, false);
            };
            return self.with_leg(leg, |call, core| {
                let Some(of) = call.leg_mut(leg) else {
                    return;
                };
                if of.may_come_from(source) {
                    of.peer.follow(source);
                    call.on_request(core, leg, key, message);
                } else {
                    tracing::warn!(call = %call.id, from = %source.remote, "a stranger's request inside a dialog");
                    core.answer(key, &message, 403, false);
                }
            });
        }
        match message.method() {
            Method::Invite => self.on_invite(key, message, source),
            Method::Options => self.on_options(key, &message, source),
            Method::Register => self.on_register(key, &message, source),
            method => {
                let status = if matches!(
                    method,
                    Method::Bye
                        | Method::Update
                        | Method::Info
                        | Method::Notify
                        | Method::Refer
                        | Method::Prack
                ) {
                    481
                } else {
                    405
                };
                let mut draft = self.core.response(&message, status, false);
                if status == 405 {
                    draft.header(Name::Allow, core::ALLOW);
                }
                self.core.endpoint.respond(key, draft, self.core.now);
            }
        }
    }

    /// Are you there? Teams is answered in the name that it asked for (TDR-207); strangers as the policy says.
    fn on_options(&mut self, key: ServerKey, message: &Message, source: &Source) {
        let core = &mut self.core;
        // An exchange asks whether the Contact of a registration is still there.
        let registrar = core.standing.is_registrar(source.remote.ip());
        if core.directory.origin(source).is_err() && !registrar && !core.registrar.knows(source) {
            return core.answer(key, message, 403, false);
        }
        if self.draining {
            return core.answer(key, message, 503, false);
        }
        let teams = source
            .certificate
            .as_ref()
            .is_some_and(|c| c.realm == Realm::Teams);
        let host = Uri::parse(message.request_uri())
            .ok()
            .map(|uri| uri.host.to_ascii_lowercase());
        let trunk = core
            .directory
            .origin(source)
            .ok()
            .and_then(|origin| origin.trunks().first().cloned().map(leg::Peer::Trunk));
        if let Some(names) = extensions::unsupported(message, trunk.as_ref()) {
            let mut draft = core.response(message, 420, teams);
            draft.header(Name::Unsupported, names);
            return core.endpoint.respond(key, draft, core.now);
        }
        // Never an address (TDR-403): whoever asks for a name that is not ours hears one that is.
        let base = || {
            let regions = core.directory.regions().map(|region| &region.base_fqdn);
            core.own_name(regions.min()?)
        };
        let named = host.and_then(|host| core.own_name(&host)).or_else(base);
        let mut draft = core.response(message, 200, teams);
        draft
            .to_tag(&core.random.token(10))
            .header_fmt(Name::Allow, format_args!("{}, REFER", core::ALLOW))
            .header(Name::Accept, body::ACCEPTED)
            .header(Name::Supported, core::SUPPORTED);
        match named {
            Some((fqdn, port)) if teams => draft.header_fmt(
                Name::Contact,
                format_args!("<sip:{fqdn}:{port};transport=tls>"),
            ),
            _ => {
                let own = core.own(source.transport);
                draft.header_fmt(
                    Name::Contact,
                    format_args!("<sip:{own};transport={}>", source.transport),
                )
            }
        };
        core.endpoint.respond(key, draft, core.now);
    }

    fn home(&self, leg: LegId) -> Option<CallKey> {
        self.core.homes.get(&leg).copied()
    }

    fn next_key(&mut self) -> CallKey {
        self.next_call += 1;
        CallKey(self.next_call)
    }

    fn with_leg(&mut self, leg: LegId, act: impl FnOnce(&mut Call, &mut Core)) {
        if let Some(key) = self.home(leg) {
            self.with_call(key, act);
        }
    }

    fn with_call(&mut self, key: CallKey, act: impl FnOnce(&mut Call, &mut Core)) {
        if let Some(call) = self.calls.get_mut(&key) {
            act(call, &mut self.core);
        }
        self.settle(key);
    }

    /// After anything happened to a call: its next deadline is noted, or it is forgotten whole.
    fn settle(&mut self, key: CallKey) {
        let Some(call) = self.calls.get(&key) else {
            return;
        };
        let deadline = if call.is_done() {
            None
        } else {
            call.deadline()
        };
        let noted = self.registered.get(&key).copied();
        if noted != deadline {
            if let Some(at) = noted {
                self.deadlines.remove(&(at, key));
                self.registered.remove(&key);
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, key));
                self.registered.insert(key, at);
            }
        }
        if call.is_done()
            && let Some(call) = self.calls.remove(&key)
        {
            self.core.forget(&call);
            self.core.moved.retain(|_, left| *left != key);
        }
    }
}

impl Call {
    fn on_time(&mut self, core: &mut Core) {
        match &self.stage {
            Stage::Setup { gives_up, .. } if *gives_up <= core.now => {
                return self.on_ring_timeout(core);
            }
            Stage::Up {
                ends: Some(ends), ..
            } if *ends <= core.now => return self.hang_up(core, Ended::MaxDuration),
            Stage::Over { .. } => return self.write_record_if_complete(core),
            _ => {}
        }
        self.on_transfer_time(core);
        self.on_leg_time(core);
    }
}
