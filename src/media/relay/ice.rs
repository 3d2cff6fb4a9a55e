//! One leg's side of ICE, as a lite agent (RFC 8445 §2.5): it answers checks, remembers where valid ones came from, and
//! says where the peer's packets go. It never sends a check of its own (TDR-840).

mod bucket;
mod paths;

use super::{Counters, Kind};
use crate::media::IceConfig;
use crate::rtp::stun::{BINDING, Class, Key, Message, Role, Transaction, Writer, kind};
use bucket::Bucket;
use paths::{Check, Paths};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Consent lasts so long after the last sign of the peer on the path that it nominated (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// Checks in a second whose integrity is looked at. A peer sends 20 (RFC 8445 §14.2), and a call has 16 forks at most.
const CHECKS: u32 = 320;
/// Error responses in a second to whom did not prove to be a peer.
const ERRORS: u32 = 20;
/// Attributes named in a 420.
const MOST_UNKNOWN: usize = 8;

/// Our side of ICE on one leg.
pub(super) struct Agent {
    config: IceConfig,
    key: Key,
    paths: Paths,
    checks: Bucket,
    errors: Bucket,
}

/// Why a STUN message gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
    /// No STUN message, or one that breaks its own rules.
    Malformed,
    /// Not a request of the method that checks are made of: a late response, a keep-alive.
    NoCheck,
    /// From somebody who does not know our credentials, and too many or too short to be answered.
    Stranger,
    /// More than a leg's peers send.
    TooMany,
}

/// What is said to a request.
enum Verdict {
    Success,
    /// To whom proved to be a peer.
    Error(u16),
    /// 420 (RFC 8489 §6.3.1).
    Unknown([u8; 2 * MOST_UNKNOWN], usize),
    /// To whom did not, without integrity: there is nothing to share yet.
    Stranger(u16),
}

impl Agent {
    pub(super) fn new(config: IceConfig, now: Instant) -> Self {
        Self {
            key: Key::new(config.ours.pwd.as_bytes()),
            paths: Paths::new(),
            config,
            checks: Bucket::new(CHECKS, now),
            errors: Bucket::new(ERRORS, now),
        }
    }

    /// Takes what was agreed; whether our credentials are new, so that everything begins anew (RFC 8445 §9).
    pub(super) fn configure(&mut self, config: IceConfig) -> bool {
        let restart = config.ours != self.config.ours;
        if restart {
            self.key = Key::new(config.ours.pwd.as_bytes());
            self.paths.restart();
        }
        self.config = config;
        self.select();
        restart
    }

    /// Answers a STUN message that came to this port: the response takes the request's place, and is so long.
    pub(super) fn answer(
        &mut self,
        port: Kind,
        from: SocketAddr,
        buffer: &mut [u8],
        length: usize,
        counters: &Counters,
        now: Instant,
    ) -> Result<usize, Ignored> {
        let datagram = buffer.get(..length).ok_or(Ignored::Malformed)?;
        let request = Message::parse(datagram).map_err(|_| Ignored::Malformed)?;
        if (request.class, request.method) != (Class::Request, BINDING) {
            return Err(Ignored::NoCheck);
        }
        let transaction = request.transaction;
        let verdict = self.judge(&request, port, from, counters, now)?;
        // Whoever is not known gets no more bytes than it sent, however it forged its address.
        let room = match verdict {
            Verdict::Stranger(_) => length,
            _ => buffer.len(),
        };
        let written = self.write(&verdict, &transaction, from, &mut buffer[..room]);
        match verdict {
            Verdict::Success => counters.checks_answered.add(),
            _ if written.is_some() => counters.checks_refused.add(),
            _ => {}
        }
        written.ok_or(Ignored::Stranger)
    }

    /// RFC 8489 §9.1.3, RFC 8445 §7.3. Nothing changes before the integrity is proved.
    fn judge(
        &mut self,
        request: &Message,
        port: Kind,
        from: SocketAddr,
        counters: &Counters,
        now: Instant,
    ) -> Result<Verdict, Ignored> {
        let Some(username) = request.username().filter(|_| request.has_integrity()) else {
            return self.stranger(400, now);
        };
        let ours = self.config.ours.ufrag.as_bytes();
        let Some(fork) = username
            .strip_prefix(ours)
            .and_then(|u| u.strip_prefix(b":"))
        else {
            return self.stranger(401, now);
        };
        if !self.checks.take(now) {
            return Err(Ignored::TooMany);
        }
        if !request.is_authentic(&self.key) {
            return self.stranger(401, now);
        }
        if let Some(unknown) = unknown(request) {
            return Ok(unknown);
        }
        // We are always controlled; whoever claims to be so too must change (RFC 8445 §7.3.1.1).
        if matches!(request.role(), Some(Role::Controlled(_))) {
            return Ok(Verdict::Error(487));
        }
        let check = Check {
            port,
            from,
            fork,
            priority: request.priority(),
            nominates: request.nominates(),
        };
        self.paths.check(&check, counters, now);
        self.select();
        Ok(Verdict::Success)
    }

    fn stranger(&mut self, status: u16, now: Instant) -> Result<Verdict, Ignored> {
        if self.errors.take(now) {
            Ok(Verdict::Stranger(status))
        } else {
            Err(Ignored::Stranger)
        }
    }

    fn write(
        &self,
        verdict: &Verdict,
        transaction: &Transaction,
        from: SocketAddr,
        into: &mut [u8],
    ) -> Option<usize> {
        let class = match verdict {
            Verdict::Success => Class::Success,
            _ => Class::Error,
        };
        let mut writer = Writer::new(into, class, BINDING, transaction);
        match verdict {
            Verdict::Success => writer.mapped(from).integrity(&self.key),
            Verdict::Error(status) => writer.error(*status).integrity(&self.key),
            Verdict::Unknown(types, length) => writer
                .error(420)
                .attribute(kind::UNKNOWN_ATTRIBUTES, &types[..*length])
                .integrity(&self.key),
            Verdict::Stranger(status) => writer.error(*status),
        }
        .fingerprint()
        .finish()
    }

    /// Where packets go from this port, as far as checks tell.
    pub(super) fn destination(&self, port: Kind) -> Option<SocketAddr> {
        self.paths.selected(port)
    }

    /// Whether the peer nominated the path to this address; packets that come from there need no other reason.
    pub(super) fn is_nominated(&self, port: Kind, address: SocketAddr) -> bool {
        self.paths.is_nominated(port, address)
    }

    /// An authentic packet of media came from here: the peer is alive on that path.
    pub(super) fn heard(&mut self, port: Kind, from: SocketAddr, now: Instant) {
        self.paths.heard(port, from, now);
    }

    /// The nominated path for RTP on which there has been no sign of the peer for too long; told once, and forgotten.
    pub(super) fn lost_consent(&mut self, now: Instant) -> Option<SocketAddr> {
        let lost = self.paths.expire(now, CONSENT);
        self.select();
        lost
    }

    fn select(&mut self) {
        let fork = self.config.remote_ufrag.as_deref();
        self.paths.select(fork.map(str::as_bytes));
    }
}

/// Attributes that must be understood and are not, as a 420 names them.
fn unknown(request: &Message) -> Option<Verdict> {
    let (mut types, mut length) = ([0; 2 * MOST_UNKNOWN], 0);
    for (place, kind) in types
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(request.unknown())
    {
        *place = kind.to_be_bytes();
        length += 2;
    }
    (length > 0).then_some(Verdict::Unknown(types, length))
}

/// What a lost consent is told with.
pub(super) fn reason(path: SocketAddr) -> String {
    let seconds = CONSENT.as_secs();
    format!("neither a check nor a packet came from {path} for {seconds} s (RFC 7675 §5.1)")
}
