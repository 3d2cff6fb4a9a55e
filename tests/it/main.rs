//! Whole calls with simulated peers, replayed corpora, and the one style rule that a machine enforces.

mod api;
mod calls;
mod cli;
mod config;
mod conform;
mod corpora;
mod coverage;
mod demo;
mod descriptions;
mod directory;
mod doctor;
mod floors;
mod lists;
mod media_packets;
mod messages;
mod microsoft;
mod phone_files;
mod seeds;
mod sim;
mod simulated;
mod srtp;
mod stun;
mod tls;
mod torture;
mod upload;
