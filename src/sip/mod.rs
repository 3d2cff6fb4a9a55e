//! SIP without sockets: messages, transactions, dialogs, digest, target selection (RFC 3261, 3263, 3581, 6026, 7616).

pub mod auth;
mod dialog;
mod endpoint;
pub mod framing;
pub mod locate;
pub mod message;
pub mod multipart;
mod sending;
mod transaction;
mod transport;

pub use dialog::{Dialog, DialogError, DialogId};
pub use endpoint::{
    ByClass, ByMethod, ClientKey, Config, Counters, Endpoint, Event, Failure, Identity, Output,
    SentBy, ServerKey,
};
pub use message::{
    Builder, CSeq, HeaderError, Malformed, Message, Method, Name, NameAddr, Params, ParseError,
    Uri, UriError, Value, Via,
};
pub use sending::{ResolveId, SendId, SendTo};
pub use transport::{Flow, Hop, NextHop, PeerCertificate, Realm, Source, Target, Transport};
