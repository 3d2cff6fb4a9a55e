//! Whole calls with simulated peers, replayed corpora, and the one style rule that a machine enforces.

mod cli;
mod config;
mod corpora;
mod demo;
mod descriptions;
mod floors;
mod messages;
mod srtp;
mod tls;
mod torture;
