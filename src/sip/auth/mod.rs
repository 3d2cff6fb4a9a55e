//! Digest authentication (RFC 7616 as RFC 3261 §22 and RFC 8760 use it): MD5, SHA-256 and SHA-512-256.
//!
//! A [`Challenge`] is what a peer demanded of us, and answers it; a [`Prover`] decides which to answer. A [`Challenger`]
//! demands it of a peer, and checks the answer.

mod challenge;
mod challenger;
mod digest;
mod fields;
mod prover;

pub use challenge::{Challenge, Credentials, MAX_REALMS};
pub use challenger::{AuthFailure, Challenger};
pub use digest::Algorithm;
pub use prover::{Prover, Unanswerable};
