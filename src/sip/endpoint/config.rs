use std::fmt;
use std::time::Duration;

use super::super::transaction::Timers;
use crate::sip::Transport;

/// How patient the endpoint is, and how much it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// RFC 3261 §17.1.1.1: an estimate of the round trip.
    pub t1: Duration,
    /// The longest interval between copies.
    pub t2: Duration,
    /// How long a message may stay in the network.
    pub t4: Duration,
    /// How long one target may keep silent: an INVITE then fails over or fails (TDR-213), other requests fail over while
    /// targets are left and else have until timer F.
    pub trying_timeout: Duration,
    /// How long an INVITE of ours may stay unanswered after its last provisional: timer C (RFC 3261 §16.6).
    pub proceeding_timeout: Duration,
    /// How many transactions peers may keep open; their requests beyond it get a 503. Of our own there may be as many.
    pub max_transactions: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            trying_timeout: Duration::from_millis(4500),
            proceeding_timeout: Duration::from_secs(180),
            max_transactions: 50_000,
        }
    }
}

impl Config {
    pub(super) fn timers(&self, transport: Transport) -> Timers {
        let (t1, t2, t4, c) = (self.t1, self.t2, self.t4, self.proceeding_timeout);
        Timers {
            t1,
            t2,
            t4,
            c,
            reliable: transport.is_reliable(),
        }
    }
}

/// A host and port that responses can be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A name or an address literal, the latter without brackets. On TLS it should be a name in our certificate.
    pub host: String,
    /// Where we listen.
    pub port: u16,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What stands in the Vias of our requests (RFC 3261 §18.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBy {
    /// In those over UDP.
    pub udp: Identity,
    /// In those over TCP.
    pub tcp: Identity,
    /// In those over TLS.
    pub tls: Identity,
}

impl SentBy {
    /// What peers of this transport see.
    pub fn of(&self, transport: Transport) -> &Identity {
        match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
            Transport::Tls => &self.tls,
        }
    }

    /// The Via of a request, which on datagrams asks for the port that it came from (RFC 3581 §3).
    pub(super) fn via(&self, transport: Transport, branch: &str) -> String {
        let (identity, rport) = match transport {
            Transport::Udp => (&self.udp, ";rport"),
            Transport::Tcp => (&self.tcp, ""),
            Transport::Tls => (&self.tls, ""),
        };
        format!(
            "SIP/2.0/{} {identity};branch={branch}{rport}",
            transport.via()
        )
    }
}
