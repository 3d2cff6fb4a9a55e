//! Whole calls with simulated peers, replayed corpora, and the one style rule that a machine enforces.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may fail it; clippy spares only the test functions themselves"
)]

mod api;
mod calls;
mod cli;
mod config;
mod corpora;
mod demo;
mod descriptions;
mod directory;
mod floors;
mod messages;
mod srtp;
mod tls;
mod torture;
