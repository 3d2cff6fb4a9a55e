//! Media below the line: anchoring of session descriptions, the relay's rules, music.
//!
//! The control plane speaks to the relay in [`Command`]s and hears [`Event`]s; both are plain values.

mod plane;

pub use plane::{
    Command, Crypto, Event, LegConfig, LegId, LegReport, MasterKey, Play, Source as MediaSource,
    Suite,
};
