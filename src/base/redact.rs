use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

static REDACT: AtomicBool = AtomicBool::new(false);

/// Decides for the whole process whether [`Redact`] hides what it holds.
pub fn redact_logs(on: bool) {
    REDACT.store(on, Ordering::Relaxed);
}

/// A number, name or address of a person on its way to a log: shown whole, or only its last two characters,
/// as [`redact_logs`] says.
pub struct Redact<T>(pub T);

impl<T: fmt::Display> fmt::Display for Redact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !REDACT.load(Ordering::Relaxed) {
            return self.0.fmt(f);
        }
        f.write_str(&shortened(&self.0.to_string()))
    }
}

/// The last two characters; nothing of a text so short that they would tell it.
pub fn shortened(text: &str) -> String {
    let shown = text.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
    let tail = if text.chars().count() > 4 {
        &text[shown..]
    } else {
        ""
    };
    format!("…{tail}")
}

impl<T: fmt::Display> fmt::Debug for Redact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
