//! Answers to POSTs that may be asked again (Idempotency-Key), kept for a day.

use super::rows::{int, json, micros, now, optional_int, to_json};
use super::{Store, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use time::Duration;
use uuid::Uuid;

const KEPT: Duration = Duration::DAY;
/// Keys of one token that are alive at once.
const MOST: i64 = 10_000;

/// The first answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The headers that belong to the answer, such as `location`.
    pub headers: Vec<(String, String)>,
    /// As sent.
    pub body: Vec<u8>,
}

/// What a key means for a request that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// It is the first: go ahead, then [`Store::keep_answer`] or [`Store::release_key`].
    New,
    /// The same request was answered before.
    Answered(Answer),
    /// The same request is being worked on.
    Busy,
    /// The key was used with another request.
    Reused,
    /// The token has too many keys alive.
    TooMany,
}

impl Store {
    /// Looks up a key, and takes it if it is free. `fingerprint` tells requests apart.
    pub async fn reserve_key(
        &self,
        token: Uuid,
        key: &str,
        fingerprint: &[u8],
    ) -> Result<Reservation, StoreError> {
        let oldest = micros(now() - KEPT);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM idempotency WHERE token_id = ? AND key = ? AND created_at < ?")
            .bind(token.to_string())
            .bind(key)
            .bind(oldest)
            .execute(&mut *transaction)
            .await?;
        let query = sqlx::query("SELECT * FROM idempotency WHERE token_id = ? AND key = ?");
        let found = query
            .bind(token.to_string())
            .bind(key)
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(row) = found {
            if row.try_get::<Vec<u8>, _>("fingerprint")? != fingerprint {
                return Ok(Reservation::Reused);
            }
            let Some(status) = optional_int(&row, "status")? else {
                return Ok(Reservation::Busy);
            };
            return Ok(Reservation::Answered(Answer {
                status,
                headers: json(&row, "headers")?,
                body: row.try_get("body")?,
            }));
        }
        let query = sqlx::query("SELECT count(*) AS alive FROM idempotency WHERE token_id = ?")
            .bind(token.to_string());
        if int::<i64>(&query.fetch_one(&mut *transaction).await?, "alive")? >= MOST {
            return Ok(Reservation::TooMany);
        }
        sqlx::query(
            "INSERT INTO idempotency (token_id, key, fingerprint, created_at) VALUES (?, ?, ?, ?)",
        )
        .bind(token.to_string())
        .bind(key)
        .bind(fingerprint)
        .bind(micros(now()))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Reservation::New)
    }

    /// Keeps the answer for whoever asks again.
    pub async fn keep_answer(
        &self,
        token: Uuid,
        key: &str,
        answer: &Answer,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE idempotency SET status = ?, headers = ?, body = ? WHERE token_id = ? AND key = ?")
            .bind(answer.status)
            .bind(to_json(&answer.headers))
            .bind(&answer.body)
            .bind(token.to_string())
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Gives a key back after our own failure, so that the request can be tried again.
    pub async fn release_key(&self, token: Uuid, key: &str) -> Result<(), StoreError> {
        let query = sqlx::query(
            "DELETE FROM idempotency WHERE token_id = ? AND key = ? AND status IS NULL",
        );
        query
            .bind(token.to_string())
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets answers older than a day, and requests that have been worked on for five minutes: whoever did is gone.
    pub(super) async fn forget_old_answers(&self) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM idempotency WHERE created_at < ? OR (status IS NULL AND created_at < ?)",
        )
        .bind(micros(now() - KEPT))
        .bind(micros(now() - Duration::minutes(5)))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::fresh;
    use super::*;

    const TOKEN: Uuid = Uuid::from_u128(1);

    async fn age(store: &Store, by: Duration) {
        let query = sqlx::query("UPDATE idempotency SET created_at = created_at - ?");
        query
            .bind(by.whole_microseconds() as i64)
            .execute(&store.pool)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_key_leads_to_the_first_answer_for_a_day() {
        let (_folder, store) = fresh().await;
        let reserve = async |token, fingerprint: &[u8]| {
            store.reserve_key(token, "k", fingerprint).await.unwrap()
        };
        assert_eq!(reserve(TOKEN, b"a").await, Reservation::New);
        assert_eq!(reserve(TOKEN, b"a").await, Reservation::Busy);
        assert_eq!(reserve(TOKEN, b"b").await, Reservation::Reused);
        assert_eq!(
            reserve(Uuid::from_u128(2), b"b").await,
            Reservation::New,
            "another token's keys are its own"
        );

        let answer = Answer {
            status: 201,
            headers: vec![("location".into(), "/x".into())],
            body: b"{}".to_vec(),
        };
        store.keep_answer(TOKEN, "k", &answer).await.unwrap();
        assert_eq!(reserve(TOKEN, b"a").await, Reservation::Answered(answer));
        age(&store, KEPT + Duration::SECOND).await;
        assert_eq!(reserve(TOKEN, b"b").await, Reservation::New);
    }

    #[tokio::test]
    async fn a_failure_frees_the_key_and_an_answer_does_not() {
        let (_folder, store) = fresh().await;
        store.reserve_key(TOKEN, "k", b"a").await.unwrap();
        store.release_key(TOKEN, "k").await.unwrap();
        assert_eq!(
            store.reserve_key(TOKEN, "k", b"a").await.unwrap(),
            Reservation::New
        );
        let answer = Answer {
            status: 422,
            headers: Vec::new(),
            body: Vec::new(),
        };
        store.keep_answer(TOKEN, "k", &answer).await.unwrap();
        store.release_key(TOKEN, "k").await.unwrap();
        assert_eq!(
            store.reserve_key(TOKEN, "k", b"a").await.unwrap(),
            Reservation::Answered(answer)
        );
    }

    #[tokio::test]
    async fn what_is_old_is_forgotten() {
        let (_folder, store) = fresh().await;
        let answer = Answer {
            status: 201,
            headers: Vec::new(),
            body: Vec::new(),
        };
        for key in ["answered", "stuck"] {
            store.reserve_key(TOKEN, key, b"a").await.unwrap();
        }
        store.keep_answer(TOKEN, "answered", &answer).await.unwrap();
        age(&store, Duration::hours(2)).await;
        store.forget_old_answers().await.unwrap();
        assert_eq!(
            store.reserve_key(TOKEN, "stuck", b"b").await.unwrap(),
            Reservation::New
        );
        assert_eq!(
            store.reserve_key(TOKEN, "answered", b"b").await.unwrap(),
            Reservation::Reused
        );
        age(&store, KEPT).await;
        store.forget_old_answers().await.unwrap();
        let left = sqlx::query("SELECT * FROM idempotency")
            .fetch_all(&store.pool)
            .await
            .unwrap();
        assert!(left.is_empty());
    }
}
