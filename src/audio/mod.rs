//! Voice as samples of 16 bits, 8000 a second: G.711, G.722, keys, tones, the built-in music and announcements, what is
//! played to peers, and files that operators bring.

pub mod announcement;
pub mod clip;
pub mod dtmf;
pub mod g711;
pub mod g722;
pub mod goertzel;
pub mod music;
pub mod tones;
pub mod transcode;
pub mod upload;
mod wav;

pub use announcement::Announcement;
pub use clip::{Clip, Law};
pub use transcode::{Coding, Transcoder};
pub use wav::wav;
