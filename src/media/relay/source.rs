use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// After so long without a packet from where the peer was, it may go on from elsewhere. That is also how often a source
/// can move at most.
const SILENCE: Duration = Duration::from_secs(2);

/// Who may send on a port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule<'a> {
    /// What the peer's session description says.
    pub(super) signalled: SocketAddr,
    /// Packets prove by themselves that they are the peer's.
    pub(super) authenticated: bool,
    /// The peer may be somewhere else than it says: in one of these networks.
    pub(super) elsewhere: Option<&'a [IpNet]>,
}

impl Rule<'_> {
    fn is_signalled(&self, from: SocketAddr) -> bool {
        from.ip() == self.signalled.ip()
    }

    /// Whether the first packet may come from here.
    fn may_begin(&self, from: SocketAddr) -> bool {
        let elsewhere = self.elsewhere.unwrap_or_default();
        self.authenticated
            || self.is_signalled(from)
            || elsewhere.iter().any(|net| net.contains(&from.ip()))
    }
}

/// The source that a port listens to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lock {
    /// Where the peer was heard last, and when.
    source: Option<(SocketAddr, Instant)>,
    /// It went away from there without proof once already: only signalling gives it another turn.
    moved: bool,
}

impl Lock {
    /// The source, once there is one.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        self.source.map(|(source, _)| source)
    }

    /// Whether a packet from here may be looked at.
    pub(super) fn admits(&self, from: SocketAddr, rule: Rule, now: Instant) -> bool {
        let Some((source, heard)) = self.source else {
            return rule.may_begin(from);
        };
        if from == source || from == rule.signalled || self.gives_way(from, rule) {
            return true;
        }
        let silent = now.saturating_duration_since(heard) >= SILENCE;
        let plausible = rule.is_signalled(from) || from.ip() == source.ip();
        silent && (rule.authenticated || plausible && !self.moved)
    }

    /// Whoever was first before the peer itself came loses against the address that the peer gave.
    fn gives_way(&self, from: SocketAddr, rule: Rule) -> bool {
        let is_elsewhere = |source| !rule.is_signalled(source);
        !rule.authenticated && rule.is_signalled(from) && self.source().is_some_and(is_elsewhere)
    }

    /// A packet from here was valid; whether the source has moved by that.
    pub(super) fn heard(&mut self, from: SocketAddr, rule: Rule, now: Instant) -> bool {
        let moves = self.source().is_some_and(|source| source != from);
        // The way back to where the peer says it is is always open.
        self.moved |= moves && from != rule.signalled && !self.gives_way(from, rule);
        self.source = Some((from, now));
        moves
    }

    /// The peer said again what was agreed: it may move once more.
    pub(super) fn renew(&mut self) {
        self.moved = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.1:4000";
    const NEVER: &[IpNet] = &[];

    fn rule(authenticated: bool, elsewhere: Option<&[IpNet]>) -> Rule<'_> {
        Rule {
            signalled: PEER.parse().unwrap(),
            authenticated,
            elsewhere,
        }
    }

    /// Where the peer's signalling comes from.
    fn nat() -> [IpNet; 1] {
        ["198.51.100.0/24".parse().unwrap()]
    }

    fn locked_to(source: &str, now: Instant) -> Lock {
        Lock {
            source: Some((source.parse().unwrap(), now)),
            moved: false,
        }
    }

    fn admits(lock: Lock, from: &str, rule: Rule, now: Instant) -> bool {
        lock.admits(from.parse().unwrap(), rule, now)
    }

    /// Plain RTP comes from the signalled IP address, from any port at first and then from that port.
    #[test]
    fn strict_keeps_to_the_signalled_address() {
        let (now, strict) = (Instant::now(), rule(false, None));
        assert!(admits(Lock::default(), PEER, strict, now));
        assert!(admits(Lock::default(), "192.0.2.1:4002", strict, now));
        assert!(!admits(Lock::default(), "192.0.2.2:4000", strict, now));
        let lock = locked_to("192.0.2.1:4002", now);
        assert!(admits(lock, "192.0.2.1:4002", strict, now) && admits(lock, PEER, strict, now));
        assert!(!admits(lock, "192.0.2.1:4004", strict, now));
        assert!(admits(lock, "192.0.2.1:4004", strict, now + SILENCE));
        assert!(!admits(lock, "192.0.2.2:4002", strict, now + SILENCE));
    }

    /// Behind NAT the first from the peer's own networks decides; only the signalled address takes over at once, and never
    /// a third one.
    #[test]
    fn latch_follows_the_first() {
        let (now, nat) = (Instant::now(), nat());
        let latch = rule(false, Some(&nat));
        assert!(admits(Lock::default(), "198.51.100.7:9000", latch, now));
        assert!(!admits(Lock::default(), "203.0.113.5:9000", latch, now));
        let unknown = rule(false, Some(NEVER));
        assert!(!admits(Lock::default(), "198.51.100.7:9000", unknown, now));
        let lock = locked_to("198.51.100.7:9000", now);
        assert!(admits(lock, "192.0.2.1:4002", latch, now));
        assert!(!admits(lock, "203.0.113.5:9000", latch, now));
        assert!(!admits(lock, "203.0.113.5:9000", latch, now + SILENCE));
        assert!(admits(lock, "198.51.100.7:9002", latch, now + SILENCE));
        assert!(!admits(
            locked_to(PEER, now),
            "198.51.100.7:9000",
            latch,
            now + SILENCE
        ));
    }

    /// An authenticated source stays until it falls silent; then another one that authenticates may take its place.
    #[test]
    fn authenticated_sources_may_move() {
        let (now, secure) = (Instant::now(), rule(true, None));
        assert!(admits(Lock::default(), "203.0.113.5:9000", secure, now));
        let lock = locked_to("203.0.113.5:9000", now);
        assert!(!admits(lock, "198.51.100.7:9000", secure, now));
        assert!(admits(lock, "198.51.100.7:9000", secure, now + SILENCE));
    }

    /// Without proof a source moves once, and back to where the peer says it is; a re-INVITE gives it another turn.
    #[test]
    fn a_plain_source_moves_once() {
        let (mut now, strict) = (Instant::now(), rule(false, None));
        let ports = ["192.0.2.1:4010", "192.0.2.1:4012", "192.0.2.1:4014"];
        let ports = ports.map(|text| text.parse::<SocketAddr>().unwrap());
        let mut lock = Lock::default();
        assert!(!lock.heard(ports[0], strict, now));
        now += SILENCE;
        assert!(lock.admits(ports[1], strict, now) && lock.heard(ports[1], strict, now));
        now += SILENCE;
        assert!(!lock.admits(ports[2], strict, now));
        assert!(lock.admits(strict.signalled, strict, now));
        lock.heard(strict.signalled, strict, now);
        assert!(!lock.admits(ports[2], strict, now + SILENCE));
        lock.renew();
        assert!(lock.admits(ports[2], strict, now + SILENCE));
    }
}
