use super::Store;
use crate::directory::Ledger;
use std::time::Duration;
use time::OffsetDateTime;

/// Once a minute, for ever: forgets old answers, and customers that are gone; at midnight UTC starts the day's peaks
/// anew.
pub async fn housekeeping(store: &Store, ledger: &Ledger) {
    let mut clock = tokio::time::interval(Duration::from_secs(60));
    let mut today = OffsetDateTime::now_utc().date();
    loop {
        clock.tick().await;
        if let Err(error) = store.forget_old_answers().await {
            tracing::warn!(%error, "old answers could not be forgotten");
        }
        ledger.forget_strangers(&store.directory.load());
        let date = OffsetDateTime::now_utc().date();
        if date != today {
            today = date;
            ledger.begin_day();
        }
    }
}
