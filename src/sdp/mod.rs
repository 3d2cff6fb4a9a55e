//! Session descriptions (RFC 8866): what peers write, read in place; what we write.
//!
//! [`SessionDescription`] is a table of lines over the bytes as they came, so nothing a peer wrote is lost or changed.
//! [`Audio`] is what one of its audio streams says, checked. [`Outline`] writes a description of ours. Who offers what
//! to whom is decided above, in `media`.

mod audio;
mod codec;
mod crypto;
mod description;
mod direction;
mod ice;
mod outline;

pub use audio::{Audio, AudioError, Profile};
pub use codec::{Codec, intersect};
pub use crypto::{CryptoError, CryptoLine, MasterKey, Mki, Suite};
pub use description::{Line, MediaLine, SdpError, Section, SessionDescription};
pub use direction::Direction;
pub use ice::{Ice, IceCredentials};
pub use outline::{AudioOutline, MediaOutline, Outline};
