//! Calls.

mod cdr;

pub use cdr::{Cdr, Direction, EndedBy, MediaCounts, Music};
