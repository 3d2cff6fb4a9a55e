use super::{Store, StoreError};
use crate::directory::Ledger;
use std::time::Duration;
use time::OffsetDateTime;

/// How long what happened is kept; none is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Call detail records, after the call began.
    pub cdrs: Option<Duration>,
    /// Traces of calls, after the call began.
    pub traces: Option<Duration>,
    /// Audit events, what happened to customers, and which letters were sent.
    pub audit: Option<Duration>,
}

/// Rows deleted in one transaction: writers wait no longer than that takes.
const STEP: i64 = 1000;
/// Transactions of one table in one round; what is left waits for the next.
const STEPS: usize = 20;

/// Once a minute, for ever: forgets old answers, old records, and customers that are gone; at midnight UTC starts the
/// day's peaks anew.
pub async fn housekeeping(store: &Store, ledger: &Ledger, retention: Retention) {
    let mut clock = tokio::time::interval(Duration::from_secs(60));
    let mut today = OffsetDateTime::now_utc().date();
    loop {
        clock.tick().await;
        if let Err(error) = store.forget_old_answers().await {
            tracing::warn!(%error, "old answers could not be forgotten");
        }
        if let Err(error) = store.forget_old(retention, OffsetDateTime::now_utc()).await {
            tracing::warn!(%error, "old records could not be deleted");
        }
        ledger.forget_strangers(&store.directory.load());
        let date = OffsetDateTime::now_utc().date();
        if date != today {
            today = date;
            ledger.begin_day();
        }
    }
}

impl Store {
    /// Deletes what is older than it should be, at most 20 times 1000 rows of each kind; how many rows went.
    pub async fn forget_old(
        &self,
        retention: Retention,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        const CDRS: &str =
            "DELETE FROM cdrs WHERE seq IN (SELECT seq FROM cdrs WHERE start < ? LIMIT ?)";
        const TRACES: &str =
            "DELETE FROM traces WHERE id IN (SELECT id FROM traces WHERE start < ? LIMIT ?)";
        const AUDIT: &str =
            "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ? LIMIT ?)";
        const EVENTS: &str =
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ? LIMIT ?)";
        const MAILS: &str =
            "DELETE FROM mails WHERE seq IN (SELECT seq FROM mails WHERE finished_at < ? LIMIT ?)";
        let mut gone = 0;
        for (statement, keep) in [
            (CDRS, retention.cdrs),
            (TRACES, retention.traces),
            (AUDIT, retention.audit),
            (EVENTS, retention.audit),
            (MAILS, retention.audit),
        ] {
            let Some(keep) = keep else { continue };
            gone += self.delete_before(statement, now - keep).await?;
        }
        Ok(gone)
    }

    async fn delete_before(
        &self,
        statement: &'static str,
        before: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let mut gone = 0;
        for _ in 0..STEPS {
            let step = sqlx::query(statement)
                .bind(super::rows::micros(before))
                .bind(STEP)
                .execute(&self.pool)
                .await?
                .rows_affected();
            gone += step;
            if step < STEP.unsigned_abs() {
                break;
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cdrs::tests::cdr;
    use super::super::open::tests::fresh;
    use super::*;
    use crate::b2bua::{Cdr, Fact, Step, Trace};
    use time::macros::datetime;

    async fn counts(store: &Store) -> [i64; 3] {
        let mut found = [0; 3];
        for (count, table) in found.iter_mut().zip(["cdrs", "traces", "audit"]) {
            let query = format!("SELECT count(*) FROM {table}");
            *count = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .fetch_one(&store.pool)
                .await
                .unwrap();
        }
        found
    }

    /// Each kind goes by its own age, and nothing goes where no age is set; one round is bounded however much there is.
    #[tokio::test]
    async fn what_is_old_goes_step_by_step() {
        let (_folder, store) = fresh().await;
        let steps = vec![Step {
            ms: 0,
            fact: Fact::Progress { status: 180 },
        }];
        let traced = |id: u128, second| Cdr {
            why: Trace {
                steps: steps.clone(),
                left_out: 0,
            },
            ..cdr(id, second)
        };
        let many = STEP * STEPS as i64 + 5;
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO cdrs (id, direction, caller, called, start, record) SELECT i, '', '', '', 0, '' FROM n";
        sqlx::query(fill)
            .bind(many)
            .execute(&store.pool)
            .await
            .unwrap();
        store
            .add_cdrs(&[traced(1, 10), traced(2, 50)])
            .await
            .unwrap();
        let insert = "INSERT INTO audit (at, token_id, role, action, object, request_id) VALUES (?, '', '', '', '', '')";
        for at in [
            datetime!(2026-01-02 03:04:00 UTC),
            datetime!(2026-01-02 03:05:00 UTC),
        ] {
            let at = super::super::rows::micros(at);
            sqlx::query(insert)
                .bind(at)
                .execute(&store.pool)
                .await
                .unwrap();
        }
        let now = datetime!(2026-01-02 03:05:00 UTC);
        assert_eq!(
            store.forget_old(Retention::default(), now).await.unwrap(),
            0
        );
        let half = Some(Duration::from_secs(30));
        let only_traces = Retention {
            traces: half,
            ..Retention::default()
        };
        assert_eq!(store.forget_old(only_traces, now).await.unwrap(), 1);
        let all = Retention {
            cdrs: half,
            traces: half,
            audit: half,
        };
        let bound = STEP as u64 * STEPS as u64;
        assert_eq!(store.forget_old(all, now).await.unwrap(), bound + 1);
        assert_eq!(store.forget_old(all, now).await.unwrap(), 6);
        assert_eq!(counts(&store).await, [1, 1, 1]);
    }
}
