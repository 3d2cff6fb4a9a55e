//! An independent little Teams, PBX, desk telephone and Microsoft 365.
//!
//! They are what the SBC is tried against, so they share nothing with it: SIP is read and printed by `rsip`, SRTP is
//! done by `webrtc-srtp`, TLS is verified by rustls' stock verifiers, and the little SDP, G.711 and digest that they
//! need are their own. [`Teams`] is as strict as Microsoft is known to be and notes every rule that the SBC breaks;
//! [`Pbx`] is an ordinary trunk with phones that answer, [`Phone`] one on a desk that sets itself up. Each call plays a
//! tone and recognises what it hears.
//!
//! [`conform`] plays named scenarios between the two and tells, item by item, what the SBC in their middle does wrong.
//!
//! Everything is bound to loopback unless told otherwise, every queue and table has a limit, and dropping an emulator
//! ends its sockets, tasks and calls.

mod agent;
mod call;
pub mod cli;
pub mod conform;
mod desk;
mod dialog;
mod digest;
mod framing;
mod g711;
mod ice;
mod media;
mod message;
pub mod microsoft;
mod negotiation;
mod party;
mod pbx;
mod phone;
mod sdp;
mod teams;
mod tls;
mod tone;
mod trace;
mod wire;

pub use agent::{Behaviour, Move, Note};
pub use call::{By, CallError, Counts, EmuCall, Ended, Hold, Phase, Quirks};
pub use desk::Desk;
pub use digest::Credentials;
pub use g711::Law;
pub use media::Report;
pub use negotiation::Shape;
pub use pbx::{Carrier, Pbx, PbxCall, PbxConfig};
pub use phone::{Phone, PhoneConfig, PhoneError, PhoneFile};
pub use sdp::Direction;
pub use teams::{Gateway, Health, MeetError, Met, Mood, Teams, TeamsCall, TeamsConfig};
pub use tls::{Authority, Identity, KeyKind, TlsError, Usage};
pub use tone::{Heard, Window};
pub use trace::{Trace, Traced, Way};
