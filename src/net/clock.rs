//! The wall clock, which can be put forward: what takes hours and days is tried in moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

/// What time it is. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_s: Arc<AtomicI64>,
    moved: Arc<Notify>,
}

impl Clock {
    /// Now, to the microsecond, as the database keeps it.
    pub fn now(&self) -> OffsetDateTime {
        let now =
            OffsetDateTime::now_utc() + Duration::seconds(self.ahead_s.load(Ordering::Relaxed));
        now.replace_nanosecond(now.microsecond() * 1000)
            .unwrap_or(now)
    }

    /// Puts it forward.
    pub fn advance(&self, by: Duration) {
        self.ahead_s
            .fetch_add(by.whole_seconds().max(0), Ordering::Relaxed);
        self.moved.notify_waiters();
        self.moved.notify_one();
    }

    /// Waits until it shows this time, or was put forward.
    pub async fn until(&self, at: OffsetDateTime) {
        let left = (at - self.now()).try_into().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = self.moved.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day passes at once, for all who look at the same clock.
    #[tokio::test]
    async fn it_is_put_forward() {
        let clock = Clock::default();
        let (other, before) = (clock.clone(), clock.now());
        let waiting = tokio::spawn(async move { other.until(before + Duration::DAY).await });
        tokio::task::yield_now().await;
        clock.advance(Duration::DAY);
        waiting.await.unwrap();
        assert!(clock.now() >= before + Duration::DAY);
    }
}
