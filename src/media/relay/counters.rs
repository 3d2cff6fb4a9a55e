use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread counts and all may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more. Only the thread that owns the relay may: it pays for no locked instruction.
    pub(crate) fn add(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    /// Sets a level instead of counting.
    pub(crate) fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }
}

/// What one relay did since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Legs open now.
    pub legs: Counter,
    /// Packets that arrived, RTP and RTCP.
    pub received: Counter,
    /// Packets handed to the network: forwarded ones, music and reports.
    pub sent: Counter,
    /// Of these the network refused.
    pub send_failures: Counter,
    /// Arrived with a wrong SRTP or SRTCP tag.
    pub authentication_failures: Counter,
    /// SRTP or SRTCP seen before.
    pub replayed: Counter,
    /// From an address that may not send on the leg.
    pub wrong_source: Counter,
    /// Times that a peer went on from elsewhere than before.
    pub source_moves: Counter,
    /// Of more synchronisation sources than a peer has.
    pub unknown_streams: Counter,
    /// Neither RTP nor RTCP, too short or too long.
    pub malformed: Counter,
    /// Came before the leg was configured or connected.
    pub not_connected: Counter,
    /// Not forwarded because one side is on hold or hears music.
    pub held: Counter,
    /// Of a payload type that was not agreed with the other side.
    pub payload_type: Counter,
    /// Telephone events that went on in another form, and voice that had to make way for them.
    pub keys: Counter,
    /// Held back to go on in packets of another length.
    pub repacked: Counter,
    /// Keys that were not sent, because too many waited or the peer has no way to take them.
    pub keys_lost: Counter,
    /// Could not be protected again: a copy, a source too many, or a key used up.
    pub unprotectable: Counter,
    /// Connectivity checks answered with success (RFC 8445 §7.3).
    pub checks_answered: Counter,
    /// Checks answered with an error: 400, 401, 420 or 487.
    pub checks_refused: Counter,
    /// STUN messages dropped because they break STUN's own rules.
    pub checks_malformed: Counter,
    /// STUN messages dropped because they are no requests.
    pub no_checks: Counter,
    /// Checks dropped because their sender does not know our credentials and asks too often.
    pub checks_of_strangers: Counter,
    /// Checks dropped because there were more of them than a leg's peers send.
    pub checks_limited: Counter,
    /// Paths not remembered because the leg has too many.
    pub paths_refused: Counter,
    /// Paths that peers nominated.
    pub nominations: Counter,
    /// Times that ICE began anew on a leg.
    pub ice_restarts: Counter,
    /// Nominated paths on which the peer ceased to consent (RFC 7675).
    pub consents_lost: Counter,
    /// Waited so long to be read that newer ones took their place.
    pub stale: Counter,
    /// Dropped by the operating system, because a socket's buffer was full.
    pub dropped_by_system: Counter,
    /// Legs not opened because there were too many.
    pub legs_refused: Counter,
    /// Events that nobody took in time.
    pub events_lost: Counter,
}

/// Why a packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    Authentication,
    Replayed,
    WrongSource,
    UnknownStream,
    Malformed,
    NotConnected,
    Held,
    PayloadType,
    Key,
    Repacked,
    Unprotectable,
    CheckMalformed,
    NoCheck,
    CheckOfStranger,
    TooManyChecks,
}

impl Counters {
    /// All of them, in one order.
    fn all(&self) -> [&Counter; size_of::<Self>() / size_of::<Counter>()] {
        [
            &self.legs,
            &self.received,
            &self.sent,
            &self.send_failures,
            &self.authentication_failures,
            &self.replayed,
            &self.wrong_source,
            &self.source_moves,
            &self.unknown_streams,
            &self.malformed,
            &self.not_connected,
            &self.held,
            &self.payload_type,
            &self.keys,
            &self.repacked,
            &self.keys_lost,
            &self.unprotectable,
            &self.checks_answered,
            &self.checks_refused,
            &self.checks_malformed,
            &self.no_checks,
            &self.checks_of_strangers,
            &self.checks_limited,
            &self.paths_refused,
            &self.nominations,
            &self.ice_restarts,
            &self.consents_lost,
            &self.stale,
            &self.dropped_by_system,
            &self.legs_refused,
            &self.events_lost,
        ]
    }

    /// What several relays count together.
    pub fn sum<'a>(relays: impl Iterator<Item = &'a Self>) -> Self {
        let sum = Self::default();
        for relay in relays {
            for (total, part) in sum.all().into_iter().zip(relay.all()) {
                total.set(total.get() + part.get());
            }
        }
        sum
    }

    /// So many packets were too old to be looked at.
    pub(crate) fn dropped_as_stale(&self, packets: u64) {
        self.stale.set(self.stale.get() + packets);
    }

    /// The operating system had no room for so many packets.
    pub(crate) fn dropped_by_system(&self, packets: u64) {
        let counter = &self.dropped_by_system;
        counter.set(counter.get() + packets);
    }

    /// A packet that the table counted as sent was refused by the network.
    pub(crate) fn send_failed(&self) {
        self.send_failures.add();
    }

    pub(super) fn dropped(&self, why: Dropped) {
        match why {
            Dropped::Authentication => &self.authentication_failures,
            Dropped::Replayed => &self.replayed,
            Dropped::WrongSource => &self.wrong_source,
            Dropped::UnknownStream => &self.unknown_streams,
            Dropped::Malformed => &self.malformed,
            Dropped::NotConnected => &self.not_connected,
            Dropped::Held => &self.held,
            Dropped::PayloadType => &self.payload_type,
            Dropped::Key => &self.keys,
            Dropped::Repacked => &self.repacked,
            Dropped::Unprotectable => &self.unprotectable,
            Dropped::CheckMalformed => &self.checks_malformed,
            Dropped::NoCheck => &self.no_checks,
            Dropped::CheckOfStranger => &self.checks_of_strangers,
            Dropped::TooManyChecks => &self.checks_limited,
        }
        .add();
    }
}
