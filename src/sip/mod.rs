//! SIP without sockets: messages, transactions, dialogs, digest, target selection (RFC 3261, 3263, 3581, 6026, 7616).

pub mod locate;
mod sending;
mod transport;

pub use sending::{ResolveId, SendId, SendTo};
pub use transport::{Flow, Hop, NextHop, PeerCertificate, Realm, Source, Target, Transport};
