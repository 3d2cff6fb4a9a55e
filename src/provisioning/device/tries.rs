//! Wrong codes, and when somebody has typed too many.

use time::{Duration, OffsetDateTime};

/// Wrong codes from one telephone or address, counted from the first one on for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// When the first came.
    pub began: OffsetDateTime,
    /// How many there were.
    pub wrong: u32,
}

/// Wrong codes that one telephone may type in an hour.
pub const MOST_OF_MAC: u32 = 10;
/// Wrong codes that may come from one address in an hour.
pub const MOST_OF_SOURCE: u32 = 100;
/// After this, what was wrong is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::hours(1);

impl Tries {
    /// Whether no code is looked at any more, right or wrong.
    pub fn is_locked(tries: Option<Self>, most: u32, now: OffsetDateTime) -> bool {
        tries.is_some_and(|tries| !tries.is_old(now) && tries.wrong >= most)
    }

    /// After one more.
    pub fn one_more(tries: Option<Self>, now: OffsetDateTime) -> Self {
        match tries {
            Some(tries) if !tries.is_old(now) => Self {
                wrong: tries.wrong.saturating_add(1),
                ..tries
            },
            _ => Self {
                began: now,
                wrong: 1,
            },
        }
    }

    fn is_old(self, now: OffsetDateTime) -> bool {
        now - self.began >= FORGOTTEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The eleventh within an hour is not looked at; an hour after the first they count anew.
    #[test]
    fn ten_an_hour() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let mut tries = None;
        for minute in 0..10 {
            let now = start + Duration::minutes(minute);
            assert!(!Tries::is_locked(tries, MOST_OF_MAC, now));
            tries = Some(Tries::one_more(tries, now));
        }
        let late = start + Duration::minutes(59);
        assert!(Tries::is_locked(tries, MOST_OF_MAC, late));
        assert!(!Tries::is_locked(tries, MOST_OF_SOURCE, late));
        let later = start + Duration::minutes(60);
        assert!(!Tries::is_locked(tries, MOST_OF_MAC, later));
        assert_eq!(Tries::one_more(tries, later).wrong, 1);
    }
}
