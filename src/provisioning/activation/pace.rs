//! How long an activation waits, and for how long it is tried.

use super::Step;
use time::{Duration, OffsetDateTime};

/// From the consent page to the callback; Microsoft's own codes do not live longer.
pub const CONSENT_LASTS: Duration = Duration::minutes(15);
/// Propagation at Microsoft takes up to a day and a half, the licence's data up to two days.
const GIVE_UP: Duration = Duration::hours(48);
/// Nobody tells when an administrator will come to it.
const GIVE_UP_ON_PEOPLE: Duration = Duration::days(14);
/// Minutes before the next try.
const PAUSES: [i64; 7] = [1, 2, 5, 10, 15, 30, 60];
/// Minutes before the next look whether the administrator is done.
const POLLS: [i64; 8] = [5, 5, 5, 15, 15, 15, 15, 60];

/// Before the try after this many failed ones; impatience shortens nothing.
pub fn pause(failed: u32) -> Duration {
    minutes(&PAUSES, failed)
}

pub(super) fn poll_after(looks: u32, now: OffsetDateTime) -> OffsetDateTime {
    now + minutes(&POLLS, looks)
}

/// The next look at a customer with whom all is well.
pub(super) fn check_after(now: OffsetDateTime) -> OffsetDateTime {
    now + Duration::hours(24)
}

/// The next look at one with whom it is not.
pub(super) fn look_after(now: OffsetDateTime) -> OffsetDateTime {
    now + Duration::hours(1)
}

/// How long a step is tried.
pub(super) fn patience(step: Step) -> Duration {
    match step {
        Step::AwaitingAdminCenter => GIVE_UP_ON_PEOPLE,
        _ => GIVE_UP,
    }
}

fn minutes(table: &[i64], turn: u32) -> Duration {
    let last = table.len() - 1;
    let turn = usize::try_from(turn).map_or(last, |turn| turn.min(last));
    Duration::minutes(table[turn])
}
