//! Whole calls with simulated peers, replayed corpora, and the one style rule that a machine enforces.

mod config;
mod corpora;
mod floors;
