use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// After so long without a packet from where the peer was, it may go on from elsewhere.
const SILENCE: Duration = Duration::from_secs(2);

/// Who may send on a port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// What the peer's session description says.
    pub(super) signalled: SocketAddr,
    /// Packets prove by themselves that they are the peer's.
    pub(super) authenticated: bool,
    /// The peer may be somewhere else than it says.
    pub(super) latch: bool,
}

/// The source that a port listens to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lock(Option<(SocketAddr, Instant)>);

impl Lock {
    /// The source, once there is one.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        self.0.map(|(source, _)| source)
    }

    /// Whether a packet from here may be looked at.
    pub(super) fn admits(&self, from: SocketAddr, rule: Rule, now: Instant) -> bool {
        let as_signalled = from.ip() == rule.signalled.ip();
        let Some((source, heard)) = self.0 else {
            return rule.authenticated || rule.latch || as_signalled;
        };
        if from == source || from == rule.signalled {
            return true;
        }
        // Whoever was first before the peer itself came loses against the address that the peer gave.
        if !rule.authenticated && as_signalled && source.ip() != rule.signalled.ip() {
            return true;
        }
        let silent = now.saturating_duration_since(heard) >= SILENCE;
        silent && (rule.authenticated || as_signalled || from.ip() == source.ip())
    }

    /// A packet from here was valid.
    pub(super) fn heard(&mut self, from: SocketAddr, now: Instant) {
        self.0 = Some((from, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.1:4000";

    fn rule(authenticated: bool, latch: bool) -> Rule {
        Rule {
            signalled: PEER.parse().unwrap(),
            authenticated,
            latch,
        }
    }

    fn locked_to(source: &str, now: Instant) -> Lock {
        let mut lock = Lock::default();
        lock.heard(source.parse().unwrap(), now);
        lock
    }

    fn admits(lock: Lock, from: &str, rule: Rule, now: Instant) -> bool {
        lock.admits(from.parse().unwrap(), rule, now)
    }

    /// Plain RTP comes from the signalled IP address, from any port at first and then from that port.
    #[test]
    fn strict_keeps_to_the_signalled_address() {
        let (now, strict) = (Instant::now(), rule(false, false));
        assert!(admits(Lock::default(), PEER, strict, now));
        assert!(admits(Lock::default(), "192.0.2.1:4002", strict, now));
        assert!(!admits(Lock::default(), "192.0.2.2:4000", strict, now));
        let lock = locked_to("192.0.2.1:4002", now);
        assert!(admits(lock, "192.0.2.1:4002", strict, now) && admits(lock, PEER, strict, now));
        assert!(!admits(lock, "192.0.2.1:4004", strict, now));
        assert!(admits(lock, "192.0.2.1:4004", strict, now + SILENCE));
        assert!(!admits(lock, "192.0.2.2:4002", strict, now + SILENCE));
    }

    /// Behind NAT the first decides; only the signalled address takes over at once, and never a third one.
    #[test]
    fn latch_follows_the_first() {
        let (now, latch) = (Instant::now(), rule(false, true));
        assert!(admits(Lock::default(), "198.51.100.7:9000", latch, now));
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
        let (now, secure) = (Instant::now(), rule(true, false));
        assert!(admits(Lock::default(), "203.0.113.5:9000", secure, now));
        let lock = locked_to("203.0.113.5:9000", now);
        assert!(!admits(lock, "198.51.100.7:9000", secure, now));
        assert!(admits(lock, "198.51.100.7:9000", secure, now + SILENCE));
    }
}
