//! What calls, network and relay count, as metrics.

use uuid::Uuid;

use super::desk::Presence;
use super::registrations::Noted;
use crate::b2bua::{Calls, Cdr, Down, Health, RegistrationState, Report};
use crate::directory::{Directory, Ledger};
use crate::media;
use crate::net::relay::RelayHandle;
use crate::net::{HandshakeFailure, Network};
use crate::sip::{Method, Realm};
use crate::store::Spool;
use crate::telemetry::ladder::recorder::Recorder;
use crate::telemetry::metrics;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tokio::sync::mpsc;

/// Turns counts into metrics.
pub(super) struct Observer {
    pub directory: Arc<ArcSwap<Directory>>,
    pub ledger: Ledger,
    pub max_calls: usize,
    pub max_announcements: usize,
    /// Gateways that a call has proven, for whoever activates customers.
    pub proven: mpsc::Sender<Uuid>,
    /// Registrations that failed or stand again, for whoever keeps events.
    pub registrations: mpsc::Sender<Noted>,
    /// Telephones that have come or gone, for whoever notes it.
    pub presence: mpsc::Sender<Presence>,
}

/// How full a queue into the shard is.
pub(super) fn queue<T>(name: &'static str, receiver: &mpsc::Receiver<T>) {
    let fill = receiver.len() as f64 / receiver.max_capacity() as f64;
    metrics::QUEUE_FILL.set([name], fill);
}

/// What ladders take, and what they had to let go.
pub(super) fn ladders(recorder: &Recorder) {
    metrics::LADDER_BYTES.set([], recorder.bytes() as f64);
    metrics::LADDER_EVICTED.total([], recorder.evicted());
}

/// How registrations at exchanges stand, and what they have done.
fn registrations(calls: &Calls) {
    let (states, failing) = calls.registration_census();
    for state in RegistrationState::KNOWN {
        let count = states.get(&state).copied().unwrap_or_default();
        metrics::REGISTRATIONS.set([state.name()], count.into());
    }
    for (code, count) in failing {
        metrics::REGISTRATIONS_FAILING.set([&code.to_string()], count.into());
    }
    let counts = calls.registration_counts();
    metrics::REGISTERS_SENT.total([], counts.sent);
    for (code, count) in &counts.answers {
        metrics::REGISTERS_ANSWERED.total([&code.to_string()], *count);
    }
    metrics::REGISTERS_ANSWERED.total(["none"], counts.unanswered);
}

fn peer(realm: Realm, name: &str, health: &Health) {
    let kind = match realm {
        Realm::Teams => "teams",
        Realm::Trunk => "trunk",
    };
    match health {
        Health::Unknown => {}
        Health::Up => metrics::peer(kind, name, None),
        Health::Down(down) => metrics::peer(
            kind,
            name,
            Some(match down {
                Down::Timeout => metrics::Down::Timeout,
                Down::Transport(_) => metrics::Down::Transport,
                Down::Unresolvable(_) => metrics::Down::Dns,
                Down::Response { .. } => metrics::Down::Response,
            }),
        ),
    }
}

/// Methods that are counted by name.
const METHODS: [Method; 14] = [
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Cancel,
    Method::Options,
    Method::Register,
    Method::Prack,
    Method::Update,
    Method::Info,
    Method::Notify,
    Method::Subscribe,
    Method::Refer,
    Method::Message,
    Method::Publish,
];

impl Observer {
    /// One event of a call.
    pub fn report(&self, calls: &Calls, report: &Report) {
        let way = |outgoing: bool| if outgoing { "out" } else { "in" };
        match report {
            Report::Invite { peer, outgoing } => metrics::INVITES.add([peer, way(*outgoing)], 1),
            Report::Response {
                peer,
                outgoing,
                status,
            } => {
                metrics::RESPONSES.add([peer, way(*outgoing), &format!("{}xx", status / 100)], 1);
            }
            Report::Refused { customer, reason } => {
                metrics::CALLS_REFUSED.add([reason], 1);
                if let Some(customer) = customer {
                    metrics::CHANNELS_REJECTED.add([&self.name(*customer), reason], 1);
                }
            }
            Report::Unproven { trunk, reason } => {
                metrics::CREDENTIALS_REFUSED.add([trunk, reason], 1);
            }
            Report::ForeignCaller { trunk } => metrics::CALLERS_FOREIGN.add([trunk], 1),
            Report::KeyLost { trunk } => metrics::KEYS_LOST.add([trunk], 1),
            Report::LargeDatagram { trunk } => metrics::LARGE_DATAGRAMS.add([trunk], 1),
            Report::Announcement { which, outcome } => {
                metrics::ANNOUNCEMENTS.add([which, outcome], 1);
                metrics::ANNOUNCEMENTS_ACTIVE.set([], calls.announcing() as f64);
            }
            Report::Admitted { direction, .. } => {
                metrics::CALLS.add([direction.name()], 1);
                metrics::CALLS_ACTIVE.set([], calls.active() as f64);
            }
            Report::Answered { after, .. } => metrics::CALL_SETUP.record([], *after),
            Report::Ended { one_way, .. } => {
                if let Some(why) = one_way {
                    metrics::MEDIA_ONE_WAY.add([why.name()], 1);
                }
                metrics::CALLS_ACTIVE.set([], calls.active() as f64);
            }
            Report::Register { outcome } => {
                metrics::PHONE_REGISTERS.add([outcome], 1);
                metrics::PHONES_REGISTERED.set([], calls.phones_registered() as f64);
            }
            Report::Activation { outcome } => metrics::ACTIVATIONS.add([outcome], 1),
            Report::PhoneOnline { device } => self.presence(*device, true),
            Report::PhoneOffline { device } => self.presence(*device, false),
            Report::GatewayProven { gateway } => self.proven(*gateway),
            Report::Dropped { .. } => metrics::CALLS_REFUSED.add(["dropped"], 1),
            Report::PeerChanged {
                realm,
                name,
                health,
            } => peer(*realm, name, health),
            Report::Registration { .. } => self.registration(report),
        }
    }

    /// The call does not wait. If there are too many the next call proves the gateway again.
    fn proven(&self, gateway: Uuid) {
        if self.proven.try_send(gateway).is_err() {
            metrics::QUEUE_DROPPED.add(["proven_gateways"], 1);
        }
    }

    /// What is lost here is found out when the telephone registers again, or when telephones are looked for.
    fn presence(&self, device: Uuid, is_registered: bool) {
        let presence = Presence {
            device,
            is_registered,
        };
        if self.presence.try_send(presence).is_err() {
            metrics::QUEUE_DROPPED.add(["phone_presence"], 1);
        }
    }

    /// Calls do not wait for the database. What it has no room for is counted, and stands in the API all the same.
    fn registration(&self, report: &Report) {
        if let Some(noted) = Noted::of(report)
            && self.registrations.try_send(noted).is_err()
        {
            metrics::QUEUE_DROPPED.add(["registration_events"], 1);
        }
    }

    /// One event of the relay.
    pub fn media(&self, event: &media::Event) {
        if let media::Event::Inactive { .. } = event {
            metrics::MEDIA_INACTIVE.add([], 1);
        }
    }

    /// Keeps a record.
    pub fn record(&self, spool: &Spool, cdr: &Cdr) {
        match spool.append(cdr) {
            Ok(()) => metrics::CDR_WRITTEN.add([], 1),
            Err(error) => {
                metrics::CDR_FAILED.add([], 1);
                tracing::error!(call = %cdr.id, %error, "a call record is lost");
            }
        }
    }

    /// Everything that is counted elsewhere, and what stands at a level.
    pub fn look(&self, calls: &Calls, network: &Network, relay: &RelayHandle) {
        let directory = self.directory.load();
        // Seen from the start, so that "none failed" can be told from "nobody counts".
        metrics::CDR_FAILED.add([], 0);
        metrics::DIRECTORY_GENERATION.set([], directory.generation as f64);
        metrics::CALLS_ACTIVE.set([], calls.active() as f64);
        metrics::CALLS_LIMIT.set([], self.max_calls as f64);
        metrics::ANNOUNCEMENTS_ACTIVE.set([], calls.announcing() as f64);
        metrics::ANNOUNCEMENTS_LIMIT.set([], self.max_announcements as f64);
        // Not every customer: of many thousands most have no call, and each would be a series.
        let calling = self.ledger.customers().into_iter();
        for customer in calling.filter_map(|id| directory.customer(id)) {
            metrics::CHANNELS_LIMIT.set([&customer.account_id], customer.max_channels.into());
            metrics::CHANNELS_IN_USE.set(
                [&customer.account_id],
                self.ledger.usage(customer.id).in_use.into(),
            );
        }
        registrations(calls);
        self.endpoint(calls);
        self.network(network);
        self.relay(relay);
        metrics::MEDIA_PORTS_FREE.set([], calls.ports_free() as f64);
        metrics::MEDIA_PORTS_HURRIED.total([], calls.ports_hurried());
    }

    fn name(&self, customer: Uuid) -> String {
        self.directory
            .load()
            .customer(customer)
            .map_or_else(|| customer.to_string(), |c| c.account_id.clone())
    }

    fn endpoint(&self, calls: &Calls) {
        let counters = calls.endpoint().counters();
        for method in METHODS {
            metrics::SIP_RECEIVED
                .total([&method.to_string()], counters.requests_received.of(method));
        }
        metrics::SIP_MALFORMED.total([], counters.malformed);
        metrics::SIP_RETRANSMISSIONS.total(["in"], counters.retransmissions_received);
        metrics::SIP_RETRANSMISSIONS.total(["out"], counters.retransmissions_sent);
        metrics::SIP_TIMEOUTS.total([], counters.timeouts);
        metrics::SIP_TRANSPORT_FAILURES.total([], counters.transport_failures);
        metrics::SIP_TRANSACTIONS.set([], calls.endpoint().transactions() as f64);
        metrics::SIP_TABLE_FULL.total([], counters.table_full);
    }

    fn network(&self, network: &Network) {
        let counters = network.counters();
        metrics::CONNECTIONS.set([], network.connections() as f64);
        for why in HandshakeFailure::ALL {
            let failures = counters.accepting(why).get() + counters.opening(why).get();
            metrics::TLS_FAILURES.total([why.label()], failures);
        }
        metrics::QUEUE_DROPPED.total(["arrivals"], counters.datagrams_dropped.get());
        metrics::QUEUE_DROPPED.total(["connection"], counters.queue_full.get());
        for certificate in network.certificates() {
            let ends = certificate
                .not_after
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let name = if certificate.listener {
                "listener"
            } else {
                "dialler"
            };
            metrics::CERTIFICATE_EXPIRY.set([name], ends.as_secs_f64());
        }
    }

    fn relay(&self, relay: &RelayHandle) {
        let counters = relay.counters();
        metrics::RTP_PACKETS.total(["in"], counters.received.get());
        metrics::RTP_PACKETS.total(["out"], counters.sent.get());
        metrics::SRTP_FAILURES.total([], counters.authentication_failures.get());
        metrics::RTP_SOURCE_MOVES.total([], counters.source_moves.get());
        for (reason, counter) in [
            ("replayed", &counters.replayed),
            ("wrong_source", &counters.wrong_source),
            ("unknown_stream", &counters.unknown_streams),
            ("malformed", &counters.malformed),
            ("not_connected", &counters.not_connected),
            ("held", &counters.held),
            ("payload_type", &counters.payload_type),
            ("key", &counters.keys),
            ("repacked", &counters.repacked),
            ("unprotectable", &counters.unprotectable),
            ("stale", &counters.stale),
            ("receive_buffer", &counters.dropped_by_system),
            ("send_failed", &counters.send_failures),
        ] {
            metrics::RTP_DROPPED.total([reason], counter.get());
        }
        for (result, counter) in [
            ("answered", &counters.checks_answered),
            ("refused", &counters.checks_refused),
            ("malformed", &counters.checks_malformed),
            ("no_request", &counters.no_checks),
            ("stranger", &counters.checks_of_strangers),
            ("too_many", &counters.checks_limited),
        ] {
            metrics::ICE_CHECKS.total([result], counter.get());
        }
        for (event, counter) in [
            ("nominated", &counters.nominations),
            ("restarted", &counters.ice_restarts),
            ("consent_lost", &counters.consents_lost),
            ("refused", &counters.paths_refused),
        ] {
            metrics::ICE_PATHS.total([event], counter.get());
        }
        metrics::MEDIA_LEGS.set([], counters.legs.get() as f64);
        for (thread, legs) in relay.legs_by_thread().into_iter().enumerate() {
            metrics::MEDIA_THREAD_LEGS.set([&thread.to_string()], legs as f64);
        }
        metrics::MEDIA_RECEIVE_BUFFER.set([], relay.receive_buffer() as f64);
        metrics::QUEUE_DROPPED.total(["relay_commands"], relay.commands_lost());
        metrics::QUEUE_DROPPED.total(["relay_events"], counters.events_lost.get());
        metrics::QUEUE_DROPPED.total(["keys"], counters.keys_lost.get());
    }
}
