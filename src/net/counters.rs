use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{CertificateError, Error};

/// A number that only grows; anyone may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// What was counted since the start.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the network has done and refused since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams handed on.
    pub datagrams_received: Counter,
    /// Datagrams thrown away because the queue of arrivals was full.
    pub datagrams_dropped: Counter,
    /// Datagrams written.
    pub datagrams_sent: Counter,
    /// Datagrams that the system refused to send.
    pub datagrams_unsent: Counter,
    /// Messages read from connections.
    pub messages_received: Counter,
    /// Messages written to connections.
    pub messages_sent: Counter,
    /// Connections that peers opened and that came as far as carrying messages.
    pub accepted: Counter,
    /// Connections refused or not opened because as many as allowed were open.
    pub refused_total: Counter,
    /// Connections refused because their source had as many as one may have.
    pub refused_source: Counter,
    /// Connections that we opened.
    pub opened: Counter,
    /// Connections that we could not open.
    pub open_failures: Counter,
    /// Messages refused at once because the last attempts to reach their target failed a moment ago.
    pub resting: Counter,
    /// Connections of ours given up for new ones: age, certificate, configuration.
    pub renewed: Counter,
    /// Connections closed because what they carried cannot be SIP.
    pub framing_errors: Counter,
    /// Messages not sent because their connection's queue was full.
    pub queue_full: Counter,
    /// Connections closed because the peer had stopped reading.
    pub stalled: Counter,
    /// Connections closed because they were silent for too long.
    pub idle: Counter,
    /// Reports of failures that nobody could be told because the queue of arrivals stayed full.
    pub reports_lost: Counter,
    /// Questions to DNS answered.
    pub resolved: Counter,
    /// Questions to DNS without a usable answer.
    pub unresolved: Counter,
    /// New certificates, keys or roots taken into use.
    pub reloads: Counter,
    /// New certificates, keys or roots refused, the old ones kept.
    pub reloads_refused: Counter,
    accepting: [Counter; HandshakeFailure::ALL.len()],
    opening: [Counter; HandshakeFailure::ALL.len()],
}

impl Counters {
    /// Failed TLS handshakes of peers who came to us.
    pub fn accepting(&self, why: HandshakeFailure) -> &Counter {
        &self.accepting[why as usize]
    }

    /// Failed TLS handshakes on connections that we opened.
    pub fn opening(&self, why: HandshakeFailure) -> &Counter {
        &self.opening[why as usize]
    }
}

/// Why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The peer showed no certificate though one is required.
    NoCertificate,
    /// Its chain leads to no root that we trust.
    UnknownCa,
    /// A certificate of its chain is past its end or before its beginning.
    Expired,
    /// Its certificate does not carry the name that it must.
    BadName,
    /// Its certificate is for something else than TLS.
    BadUsage,
    /// What it said is not TLS as we speak it, or it refused us by an alert.
    Protocol,
    /// It took too long.
    Timeout,
    /// The connection broke.
    Io,
}

impl HandshakeFailure {
    /// All of them, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::NoCertificate,
        Self::UnknownCa,
        Self::Expired,
        Self::BadName,
        Self::BadUsage,
        Self::Protocol,
        Self::Timeout,
        Self::Io,
    ];

    /// As a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownCa => "unknown_ca",
            Self::Expired => "expired",
            Self::BadName => "bad_name",
            Self::BadUsage => "bad_usage",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Io => "io",
        }
    }

    /// The reason inside an error of a TLS stream.
    pub(super) fn of(error: &io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match tls {
            Some(error) => Self::of_tls(error),
            None if error.kind() == io::ErrorKind::TimedOut => Self::Timeout,
            None => Self::Io,
        }
    }

    fn of_tls(error: &Error) -> Self {
        use CertificateError as C;
        let Error::InvalidCertificate(why) = error else {
            return match error {
                Error::NoCertificatesPresented => Self::NoCertificate,
                _ => Self::Protocol,
            };
        };
        match why {
            C::UnknownIssuer | C::BadSignature => Self::UnknownCa,
            C::Expired
            | C::ExpiredContext { .. }
            | C::NotValidYet
            | C::NotValidYetContext { .. } => Self::Expired,
            C::NotValidForName | C::NotValidForNameContext { .. } => Self::BadName,
            C::InvalidPurpose | C::InvalidPurposeContext { .. } => Self::BadUsage,
            _ => Self::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason has its own counter and its own label, on either side.
    #[test]
    fn reasons_are_counted_apart() {
        let counters = Counters::default();
        for (n, why) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, n);
            counters.accepting(why).add();
        }
        counters.opening(HandshakeFailure::Expired).add();
        assert!(
            HandshakeFailure::ALL
                .iter()
                .all(|why| counters.accepting(*why).get() == 1)
        );
        assert_eq!(
            HandshakeFailure::ALL
                .iter()
                .map(|why| counters.opening(*why).get())
                .sum::<u64>(),
            1
        );
    }

    /// The error of a stream is told apart from the error of TLS that it may carry.
    #[test]
    fn reasons_are_found_inside_errors() {
        let tls = |e| HandshakeFailure::of(&io::Error::new(io::ErrorKind::InvalidData, e));
        assert_eq!(
            tls(Error::NoCertificatesPresented),
            HandshakeFailure::NoCertificate
        );
        assert_eq!(
            tls(CertificateError::UnknownIssuer.into()),
            HandshakeFailure::UnknownCa
        );
        assert_eq!(
            tls(CertificateError::Expired.into()),
            HandshakeFailure::Expired
        );
        assert_eq!(
            tls(CertificateError::NotValidForName.into()),
            HandshakeFailure::BadName
        );
        assert_eq!(
            tls(CertificateError::InvalidPurpose.into()),
            HandshakeFailure::BadUsage
        );
        assert_eq!(tls(Error::DecryptError), HandshakeFailure::Protocol);
        assert_eq!(
            HandshakeFailure::of(&io::ErrorKind::TimedOut.into()),
            HandshakeFailure::Timeout
        );
        assert_eq!(
            HandshakeFailure::of(&io::ErrorKind::UnexpectedEof.into()),
            HandshakeFailure::Io
        );
    }
}
