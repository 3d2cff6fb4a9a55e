//! Whole calls through `b2bua::Calls`, in the simulation. A file for each theme.

#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

mod announcements;
mod basic;
mod bypass;
mod callers;
mod cancel;
mod chaos;
mod digest;
mod early;
mod emergency;
mod failover;
mod hold;
mod hosting;
mod identity;
mod interwork;
mod keys;
mod large;
mod latch;
mod limits;
mod observed;
mod outward;
mod refusals;
mod registrations;
mod reliable;
mod replaces;
mod timers;
mod transfer;
mod trunk_registrations;
mod why;
