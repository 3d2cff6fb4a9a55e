//! Media below the line: anchoring of session descriptions, the relay's rules, music.
//!
//! The control plane speaks to the relay in [`Command`]s and hears [`Event`]s; both are plain values.

mod anchor;
pub mod music;
mod plane;
pub mod ports;
pub mod relay;

pub use crate::sdp::{IceCredentials, MasterKey, Suite};
pub use anchor::{Anchor, MediaError, MediaPolicy, SrtpPolicy};
pub use plane::{
    Command, Crypto, Event, IceConfig, LegConfig, LegId, LegReport, Play, Source as MediaSource,
};
pub use ports::{PortPair, Ports};
pub use relay::Relay;
