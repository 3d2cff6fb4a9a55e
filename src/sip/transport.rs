use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// RFC 3261 §18: what carries a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams: requests and responses are repeated by us.
    Udp,
    /// A stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

impl Transport {
    /// Whether the transport repeats lost bytes by itself, so that a transaction need not.
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// As in a `transport=` parameter.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// As in a Via's sent-protocol.
    pub fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// RFC 3261 §19.1.2.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Tls => 5061,
            Self::Udp | Self::Tcp => 5060,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.parameter())
    }
}

/// One path that bytes take: a UDP socket of ours, or one TCP or TLS connection. The number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow(pub u64);

/// Whose certificates a TLS connection is judged by, and which of ours it shows.
///
/// Connections of two realms are never shared, even to the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Realm {
    /// Microsoft's SIP proxies: their roots, their names; requests go out only on connections that we opened (TDR-140).
    Teams,
    /// PBXes and carriers.
    Trunk,
}

/// What a verified certificate of a TLS peer says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The trust that the chain led to.
    pub realm: Realm,
    /// Its DNS names, in lower case.
    pub names: Vec<String>,
}

/// Where a message came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What carried it.
    pub transport: Transport,
    /// The socket or connection, on which a response goes back.
    pub flow: Flow,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Our address that it reached.
    pub local: SocketAddr,
    /// On TLS, who the peer proved to be, if it showed a certificate. An unverifiable certificate ends the handshake.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// Bytes of a request that a datagram carries unharmed where the path's limit is not known (RFC 3261 §18.1.1); longer ones
/// may be cut to pieces, of which firewalls drop all but the first.
pub const LARGEST_DATAGRAM: usize = 1300;

/// Where a request should go, before DNS (RFC 3263 §4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hop {
    /// A name or an address literal, the latter without brackets.
    pub host: String,
    /// As the URI says.
    pub port: Option<u16>,
    /// As the URI says, or as a trunk is configured.
    pub transport: Option<Transport>,
    /// Decides about certificates on TLS.
    pub realm: Realm,
}

/// Where a request goes, after DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// What carries it.
    pub transport: Transport,
    /// The peer's address.
    pub address: SocketAddr,
    /// The name, or the address literal, that the peer's certificate must carry; it is also the SNI.
    pub name: String,
    /// Decides about certificates on TLS.
    pub realm: Realm,
}

/// Where the transaction layer sends a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// Found by RFC 3263.
    Hop(Hop),
    /// The same, but what a datagram should not carry goes by TCP to where UDP leads, and by UDP only if TCP is refused
    /// there (RFC 3261 §18.1.1).
    BySize(Hop),
    /// A flow that the peer opened, as registered phones need (RFC 5626); on UDP the address is used too.
    Flow(Flow, Target),
}
