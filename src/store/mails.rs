//! Letters to people, from the moment that they are wanted until they have left.

use super::rows::{id, int, micros, named, new_id, now, optional_id, optional_time};
use super::{Change, Keys, StoreError};
use crate::directory::Secret;
use crate::provisioning::{LETTER_LASTS, Letter};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Letters that may wait at once.
pub const MOST_WAITING: i64 = 1000;
/// Where letters are.
const MAILS: &str = "mails";

/// What became of a letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmailSent {
    /// Nobody wanted one.
    #[default]
    NotRequested,
    /// It waits, perhaps for another try.
    Queued,
    /// The server has it.
    Sent,
    /// It was refused, or nobody waits for it any more.
    Failed,
}

/// A letter as far as it can be shown: what it says is nobody else's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRecord {
    /// Never used again.
    pub id: Uuid,
    /// What became of it.
    pub state: EmailSent,
    /// How often it was handed to the server.
    pub attempts: u32,
    /// Why it has not left.
    pub error: Option<String>,
}

/// A letter that is to leave now.
#[derive(Debug)]
pub struct DueMail {
    /// Never used again.
    pub id: Uuid,
    /// Whose it is about.
    pub customer_id: Option<Uuid>,
    /// What kind it is.
    pub kind: String,
    /// Its address.
    pub recipient: String,
    /// One line.
    pub subject: String,
    /// The rest.
    pub text: Secret,
    /// Tries before this one.
    pub attempts: u32,
    /// When nobody waits for it any more.
    pub expires_at: OffsetDateTime,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// The server has it.
    Sent,
    /// It never will.
    Failed(String),
    /// It is tried again then.
    Later(String, OffsetDateTime),
}

fn record(row: &SqliteRow) -> Result<MailRecord, sqlx::Error> {
    Ok(MailRecord {
        id: id(row, "id")?,
        state: named(row, "state")?,
        attempts: int(row, "attempts")?,
        error: row.try_get("error")?,
    })
}

/// Has a letter sent. [`StoreError::MailQueueFull`] if too many wait.
pub async fn queue(
    change: &mut Change,
    customer: Option<Uuid>,
    to: &str,
    letter: &Letter,
    at: OffsetDateTime,
) -> Result<Uuid, StoreError> {
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM mails WHERE due_at IS NOT NULL")
        .fetch_one(&mut **change)
        .await?;
    if waiting >= MOST_WAITING {
        return Err(StoreError::MailQueueFull);
    }
    let new = new_id();
    let sealed = change.keys().seal(MAILS, &new.to_string(), &letter.text)?;
    sqlx::query(
        "INSERT INTO mails (id, customer_id, kind, recipient, subject, body, key_id, state, attempts, created_at, expires_at,
         due_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', 0, ?, ?, ?)",
    )
    .bind(new.to_string())
    .bind(customer.map(|id| id.to_string()))
    .bind(letter.kind)
    .bind(to)
    .bind(&letter.subject)
    .bind(sealed.text)
    .bind(sealed.key_id)
    .bind(micros(at))
    .bind(micros(at + LETTER_LASTS))
    .bind(micros(at))
    .execute(&mut **change)
    .await?;
    Ok(new)
}

/// Those that are to leave by now, the longest overdue first.
pub async fn due(
    connection: &mut SqliteConnection,
    keys: &Keys,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<DueMail>, StoreError> {
    let query = sqlx::query("SELECT * FROM mails WHERE due_at <= ? ORDER BY due_at, seq LIMIT ?");
    let rows = query
        .bind(micros(now))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    let read = |row: &SqliteRow| {
        let id = id(row, "id")?;
        let (body, key_id) = (row.try_get("body")?, row.try_get("key_id")?);
        Ok(DueMail {
            id,
            customer_id: optional_id(row, "customer_id")?,
            kind: row.try_get("kind")?,
            recipient: row.try_get("recipient")?,
            subject: row.try_get("subject")?,
            text: keys.opened(MAILS, &id.to_string(), body, key_id)?,
            attempts: int(row, "attempts")?,
            expires_at: super::rows::time(row, "expires_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// When the next one is to leave.
pub async fn next_due(
    connection: &mut SqliteConnection,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let row = sqlx::query("SELECT min(due_at) AS due_at FROM mails WHERE due_at IS NOT NULL");
    Ok(optional_time(&row.fetch_one(connection).await?, "due_at")?)
}

/// How many wait.
pub async fn waiting(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar("SELECT count(*) FROM mails WHERE due_at IS NOT NULL");
    Ok(query.fetch_one(connection).await?)
}

/// Notes what came of a try. What it said is forgotten when it is over.
pub async fn tried(
    connection: &mut SqliteConnection,
    id: Uuid,
    came: &Tried,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    const OVER: &str = "UPDATE mails SET state = ?, error = ?, attempts = attempts + 1, body = NULL, key_id = NULL,
        due_at = NULL, finished_at = ? WHERE id = ? AND due_at IS NOT NULL";
    const LATER: &str = "UPDATE mails SET error = ?, attempts = attempts + 1, due_at = ? WHERE id = ? AND due_at IS NOT NULL";
    let query = match came {
        Tried::Sent => sqlx::query(OVER)
            .bind("sent")
            .bind(None::<String>)
            .bind(micros(at)),
        Tried::Failed(why) => sqlx::query(OVER)
            .bind("failed")
            .bind(Some(why.clone()))
            .bind(micros(at)),
        Tried::Later(why, due) => sqlx::query(LATER).bind(why.clone()).bind(micros(*due)),
    };
    query.bind(id.to_string()).execute(connection).await?;
    Ok(())
}

/// Takes back one that has not left.
pub async fn withdraw(
    connection: &mut SqliteConnection,
    id: Uuid,
    why: &str,
) -> Result<(), StoreError> {
    const WITHDRAW: &str =
        "UPDATE mails SET state = 'failed', error = ?, body = NULL, key_id = NULL, due_at = NULL,
        finished_at = ? WHERE id = ? AND due_at IS NOT NULL";
    sqlx::query(WITHDRAW)
        .bind(why)
        .bind(micros(now()))
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Option<MailRecord>, StoreError> {
    let query = sqlx::query("SELECT id, state, attempts, error FROM mails WHERE id = ?");
    let row = query
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::fresh;
    use super::*;
    use time::Duration;

    fn letter() -> Letter {
        let text = "open https://sbc.example/invite/a-secret-link".to_owned();
        Letter {
            kind: "token_invitation",
            subject: "Hello".into(),
            text,
        }
    }

    /// A letter waits for its time, is tried again, and when it is over nobody can read it any more.
    #[tokio::test]
    async fn a_letter_waits_until_it_has_left() {
        let (_folder, store) = fresh().await;
        let mut change = store.rows().await.unwrap();
        let (keys, at) = (change.keys(), now());
        let id = queue(&mut change, None, "a@b.example", &letter(), at)
            .await
            .unwrap();
        let found = due(&mut change, &keys, at, 9).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text.expose(), letter().text);
        let again = at + Duration::MINUTE;
        let later = Tried::Later("451".into(), again);
        tried(&mut change, id, &later, at).await.unwrap();
        assert!(due(&mut change, &keys, at, 9).await.unwrap().is_empty());
        assert_eq!(next_due(&mut change).await.unwrap(), Some(again));
        let found = find(&mut change, id).await.unwrap().unwrap();
        assert_eq!((found.state, found.attempts), (EmailSent::Queued, 1));
        assert_eq!(due(&mut change, &keys, again, 9).await.unwrap().len(), 1);
        tried(&mut change, id, &Tried::Sent, again).await.unwrap();
        tried(&mut change, id, &later, again).await.unwrap();
        let found = find(&mut change, id).await.unwrap().unwrap();
        assert_eq!((found.state, found.attempts), (EmailSent::Sent, 2));
        let body: Option<String> = sqlx::query_scalar("SELECT body FROM mails")
            .fetch_one(&mut *change)
            .await
            .unwrap();
        assert_eq!((body, waiting(&mut change).await.unwrap()), (None, 0));
    }

    /// The queue has an end, and room again when something has left.
    #[tokio::test]
    async fn the_queue_is_bounded() {
        let (_folder, store) = fresh().await;
        let mut change = store.rows().await.unwrap();
        let at = now();
        let mut last = None;
        for _ in 0..MOST_WAITING {
            let queued = queue(&mut change, None, "a@b.example", &letter(), at).await;
            last = Some(queued.unwrap());
        }
        let more = queue(&mut change, None, "a@b.example", &letter(), at).await;
        assert!(matches!(more, Err(StoreError::MailQueueFull)));
        withdraw(&mut change, last.unwrap(), "revoked")
            .await
            .unwrap();
        queue(&mut change, None, "a@b.example", &letter(), at)
            .await
            .expect("there is room again");
    }
}
