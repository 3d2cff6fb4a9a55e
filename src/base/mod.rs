//! Small things that every floor may use: randomness handed in from above, redaction of personal data.

mod random;
mod redact;

pub use random::Random;
pub use redact::{Redact, redact_logs, shortened};
