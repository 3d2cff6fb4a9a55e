//! The immutable snapshot that calls obey.
