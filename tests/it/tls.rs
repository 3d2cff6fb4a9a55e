//! The network on loopback, against peers made of tokio and rustls: who is let in, which way messages go, what
//! happens when certificates change, connections end or somebody is too slow.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

#[macro_use]
mod lab;

mod connections;
mod datagrams;
mod streams;
mod trust;
