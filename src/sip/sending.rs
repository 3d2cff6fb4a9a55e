//! What the transaction layer says to the network and hears back from it: names for a message on its way out and
//! for a question to DNS, and where a message goes.

use std::net::SocketAddr;

use super::transport::{Flow, Target};

/// Names the transaction that a message handed to the network belongs to, so that its failure can be told. Copies of
/// the message carry the same; another transaction never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SendId(pub u64);

/// Names one question to DNS. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolveId(pub u64);

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SendTo {
    /// Back where its request came from (RFC 3261 §18.2.2, RFC 3581 §4, TDR-141). On a stream the flow alone decides;
    /// on UDP the address is where the datagram goes.
    Flow(Flow, SocketAddr),
    /// To a resolved target, on a connection that we opened or open for it (TDR-140).
    Target(Target),
}
