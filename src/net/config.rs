use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where the network listens, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// UDP sockets. Requests leave from the first one of the target's family and reach.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners. Connections of ours leave from a listener's address, if that is a specific one.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners, likewise.
    pub tls: Vec<SocketAddr>,
    /// Arrivals waiting for the shard. When full, connections are not read and datagrams are dropped.
    pub queue: usize,
    /// TCP and TLS connections that peers may open; we may open as many ourselves.
    pub max_connections: usize,
    /// Connections that one address may have opened to us (TDR-142: not under about 100).
    pub max_connections_per_source: usize,
    /// TLS handshakes of peers at once, from the peer's first message on; more wait, within their own time limit.
    pub max_handshakes: usize,
    /// Messages waiting to be written to one connection.
    pub write_queue: usize,
    /// Bytes waiting to be written to one connection.
    pub write_queue_bytes: usize,
    /// How long a peer may leave our bytes unread before its connection is closed.
    pub write_timeout: Duration,
    /// From a peer's connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// To open a TCP connection, and again for the TLS handshake on it.
    pub connect_timeout: Duration,
    /// The pause after a first failure to reach a target; it doubles with each further one.
    pub back_off: Duration,
    /// The longest such pause.
    pub back_off_limit: Duration,
    /// A peer's connection without a complete message or keep-alive for so long is closed.
    pub idle_timeout: Duration,
    /// A connection of ours without a message for so long is closed; keep-alives do not count.
    pub own_idle_timeout: Duration,
    /// CRLF CRLF goes out on a connection of ours this long after the last byte (TDR-143).
    pub keep_alive: Duration,
    /// A connection of ours gets no new requests after this time, less up to a tenth by chance (TDR-145).
    pub renew_after: Duration,
    /// A renewed connection without a message for so long is closed: longer than an INVITE may ring.
    pub drain_idle: Duration,
    /// A renewed connection is closed after this time in any case.
    pub drain_limit: Duration,
    /// How often certificate, key and root files are looked at for changes.
    pub reload_poll: Duration,
    /// Differentiated services code point of all that is sent, 0 to 63.
    pub dscp: u8,
    /// How names are resolved.
    pub dns: DnsConfig,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            tls: Vec::new(),
            queue: 4096,
            max_connections: 4096,
            max_connections_per_source: 200,
            max_handshakes: 256,
            write_queue: 1024,
            write_queue_bytes: 1 << 20,
            write_timeout: seconds(10),
            handshake_timeout: seconds(10),
            connect_timeout: seconds(4),
            back_off: seconds(1),
            back_off_limit: seconds(30),
            idle_timeout: seconds(150),
            own_idle_timeout: seconds(600),
            keep_alive: seconds(55),
            renew_after: seconds(3600),
            drain_idle: seconds(190),
            drain_limit: seconds(900),
            reload_poll: seconds(5),
            dscp: 24,
            dns: DnsConfig::default(),
        }
    }
}

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// Servers to ask; none means those of the operating system.
    pub nameservers: Vec<SocketAddr>,
    /// Addresses of names that DNS is not asked for, for laboratories and tests.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    /// For all the queries that one hop needs.
    pub timeout: Duration,
    /// Hops being resolved at once.
    pub concurrent: usize,
    /// Hops waiting to be resolved; more are refused.
    pub waiting: usize,
    /// Responses kept until their time to live ends.
    pub cache: u64,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            hosts: HashMap::new(),
            timeout: Duration::from_secs(4),
            concurrent: 64,
            waiting: 4096,
            cache: 4096,
        }
    }
}
