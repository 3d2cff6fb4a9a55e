//! What is seen of the program from outside: metrics, logs, ladders of SIP messages, readiness.

pub mod health;
pub mod ladder;
pub mod log;
pub mod metrics;
