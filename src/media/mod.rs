//! Media below the line: anchoring of session descriptions, and the relay's rules.
//!
//! The control plane speaks to the relay in [`Command`]s and hears [`Event`]s; both are plain values.

mod anchor;
mod passage;
mod plane;
pub mod ports;
pub mod relay;

pub use crate::sdp::{IceCredentials, MasterKey, Suite};
pub use anchor::{Anchor, MediaError, MediaPolicy, SrtpPolicy};
pub use passage::{Dtmf, Fate, KeySink, Passage, Passages, Voice, can_talk, share_voice};
pub use plane::{
    Command, Crypto, Event, IceConfig, LegConfig, LegId, LegReport, Play, Sound,
    Source as MediaSource,
};
pub use ports::{PortPair, Ports};
pub use relay::Relay;
