//! What is wrong now with what is stored, of all customers. Each list is cut, and tells how many it leaves out; what they
//! are looked up by has indexes of its own.

use super::StoreError;
use super::rows::{id, int, json, optional_id, optional_time, time};
use crate::provisioning::SyncState;
use crate::provisioning::activation::{Failure, State};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, SqliteConnection};
use time::OffsetDateTime;
use uuid::Uuid;

/// The first of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut<T> {
    /// Oldest first.
    pub items: Vec<T>,
    /// How many there are besides.
    pub left_out: u64,
}

/// A customer whose last Sync failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedSync {
    /// Whose.
    pub customer_id: Uuid,
    /// When it ended.
    pub since: Option<OffsetDateTime>,
    /// Why, for people.
    pub why: Option<String>,
}

/// In what way an activation does not go as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// A step cannot succeed.
    Failed,
    /// Calls pass, and something is wrong.
    Degraded,
}

/// An activation that does not go as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckActivation {
    /// Whose.
    pub customer_id: Uuid,
    /// Since when, as far as that is still known.
    pub since: Option<OffsetDateTime>,
    /// What is wrong.
    pub failure: Option<Failure>,
}

/// A customer whose sign-in at Microsoft no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostToken {
    /// Whose.
    pub customer_id: Uuid,
    /// When that was seen.
    pub since: OffsetDateTime,
}

/// A letter that waits because the mail server did not take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLetter {
    /// Whom it is about.
    pub customer_id: Option<Uuid>,
    /// What kind it is.
    pub kind: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What the server said.
    pub why: String,
    /// When it was wanted.
    pub since: OffsetDateTime,
}

/// The first `most` of what one statement selects, with how many another one counts.
async fn cut<T>(
    connection: &mut SqliteConnection,
    select: &'static str,
    count: &'static str,
    by: Option<&'static str>,
    most: u32,
    read: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
) -> Result<Cut<T>, StoreError> {
    let mut select = sqlx::query::<Sqlite>(select);
    let mut count = sqlx::query_scalar::<Sqlite, i64>(count);
    if let Some(by) = by {
        select = select.bind(by);
        count = count.bind(by);
    }
    let rows = select.bind(most).fetch_all(&mut *connection).await?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    drop(rows);
    // Mostly that is all of them.
    if items.len() < most as usize {
        return Ok(Cut { items, left_out: 0 });
    }
    let in_all = u64::try_from(count.fetch_one(connection).await?).unwrap_or_default();
    let left_out = in_all.saturating_sub(items.len() as u64);
    Ok(Cut { items, left_out })
}

/// Customers whose last Sync failed.
pub async fn failed_syncs(
    connection: &mut SqliteConnection,
    most: u32,
) -> Result<Cut<FailedSync>, StoreError> {
    const SELECT: &str = "SELECT id,
        (SELECT finished_at FROM tasks WHERE customer_id = customers.id AND kind = 'sync' ORDER BY seq DESC LIMIT 1) AS since,
        (SELECT coalesce(json_extract(result, '$.error.detail'), json_extract(result, '$.error.code')) FROM tasks
         WHERE customer_id = customers.id AND kind = 'sync' ORDER BY seq DESC LIMIT 1) AS why
        FROM customers WHERE sync_state = ? ORDER BY seq LIMIT ?";
    const COUNT: &str = "SELECT count(*) FROM customers WHERE sync_state = ?";
    let by = Some(SyncState::Failed.name());
    cut(connection, SELECT, COUNT, by, most, |row| {
        Ok(FailedSync {
            customer_id: id(row, "id")?,
            since: optional_time(row, "since")?,
            why: row.try_get("why")?,
        })
    })
    .await
}

/// Activations that failed or are degraded.
pub async fn stuck_activations(
    connection: &mut SqliteConnection,
    how: Stuck,
    most: u32,
) -> Result<Cut<StuckActivation>, StoreError> {
    const SELECT: &str = "SELECT customer_id, state,
        (SELECT at FROM events WHERE customer_id = activations.customer_id
         AND kind IN ('activation.failed', 'customer.activated', 'customer.degraded') ORDER BY seq DESC LIMIT 1) AS since
        FROM activations WHERE ended_at IS NULL AND substr(state, 1, 9) = ? ORDER BY seq LIMIT ?";
    const COUNT: &str =
        "SELECT count(*) FROM activations WHERE ended_at IS NULL AND substr(state, 1, 9) = ?";
    // How the JSON of such a state begins.
    let begins = match how {
        Stuck::Failed => "{\"failed\"",
        Stuck::Degraded => "{\"degrade",
    };
    cut(connection, SELECT, COUNT, Some(begins), most, |row| {
        let state: State = json(row, "state")?;
        Ok(StuckActivation {
            customer_id: id(row, "customer_id")?,
            since: optional_time(row, "since")?,
            failure: state.failure().cloned(),
        })
    })
    .await
}

/// Customers whose sign-in was seen not to count, and who have not signed in anew since.
pub async fn lost_tokens(
    connection: &mut SqliteConnection,
    most: u32,
) -> Result<Cut<LostToken>, StoreError> {
    const SELECT: &str = "SELECT lost.customer_id, lost.since FROM
        (SELECT customer_id, max(at) AS since FROM events WHERE kind = 'tenant.token_invalid' GROUP BY customer_id) AS lost
        JOIN tenant_tokens ON tenant_tokens.customer_id = lost.customer_id
        WHERE lost.since > tenant_tokens.validated_at ORDER BY lost.since LIMIT ?";
    const COUNT: &str = "SELECT count(*) FROM
        (SELECT customer_id, max(at) AS since FROM events WHERE kind = 'tenant.token_invalid' GROUP BY customer_id) AS lost
        JOIN tenant_tokens ON tenant_tokens.customer_id = lost.customer_id
        WHERE lost.since > tenant_tokens.validated_at";
    cut(connection, SELECT, COUNT, None, most, |row| {
        Ok(LostToken {
            customer_id: id(row, "customer_id")?,
            since: time(row, "since")?,
        })
    })
    .await
}

/// Letters that the mail server did not take, and that are tried again.
pub async fn refused_letters(
    connection: &mut SqliteConnection,
    most: u32,
) -> Result<Cut<RefusedLetter>, StoreError> {
    const SELECT: &str = "SELECT customer_id, kind, attempts, error, created_at FROM mails
        WHERE due_at IS NOT NULL AND error IS NOT NULL ORDER BY created_at, seq LIMIT ?";
    const COUNT: &str = "SELECT count(*) FROM mails WHERE due_at IS NOT NULL AND error IS NOT NULL";
    cut(connection, SELECT, COUNT, None, most, |row| {
        Ok(RefusedLetter {
            customer_id: optional_id(row, "customer_id")?,
            kind: row.try_get("kind")?,
            attempts: int(row, "attempts")?,
            why: row.try_get("error")?,
            since: time(row, "created_at")?,
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::super::{CustomerSettings, activations, events};
    use super::*;
    use crate::directory::Secret;
    use crate::provisioning::activation::{Method, Step};
    use ::time::Duration;

    /// A customer of this name.
    async fn customer(connection: &mut super::super::Change, name: &str) -> Uuid {
        let settings = CustomerSettings {
            account_id: name.to_owned(),
            ..acme()
        };
        customers::insert(connection, &settings).await.unwrap().id
    }

    /// Each failed Sync is told, up to as many as are wanted; the others are counted.
    #[tokio::test]
    async fn failed_syncs_are_cut_and_counted() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let mut all = Vec::new();
        for name in ["one", "two", "three"] {
            let id = customer(&mut change, name).await;
            customers::set_sync_state(&mut change, id, SyncState::Failed)
                .await
                .unwrap();
            all.push(id);
        }
        let found = failed_syncs(&mut change, 2).await.unwrap();
        let whose: Vec<_> = found.items.iter().map(|sync| sync.customer_id).collect();
        assert_eq!((&whose[..], found.left_out), (&all[..2], 1));
        let found = failed_syncs(&mut change, 3).await.unwrap();
        assert_eq!((found.items.len(), found.left_out), (3, 0));
        customers::set_sync_state(&mut change, all[0], SyncState::Clean)
            .await
            .unwrap();
        assert_eq!(failed_syncs(&mut change, 9).await.unwrap().items.len(), 2);
    }

    /// An activation is found by how its state is kept: this fails when that changes.
    #[tokio::test]
    async fn stuck_activations_are_found_by_their_state() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let at = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let why = Failure::new("no_license_available", "none is free");
        let failed = State::Failed(Step::LicenseAssigned, why.clone());
        let states = [
            ("one", failed),
            ("two", State::Degraded(at, why.clone())),
            ("three", State::Active(at)),
        ];
        let mut whose = Vec::new();
        for (name, state) in states {
            let id = customer(&mut change, name).await;
            activations::begin(&mut change, id, Method::Automatic, &state, id, at)
                .await
                .unwrap();
            whose.push(id);
        }
        for (how, id) in [(Stuck::Failed, whose[0]), (Stuck::Degraded, whose[1])] {
            let found = stuck_activations(&mut change, how, 9).await.unwrap();
            let stuck = StuckActivation {
                customer_id: id,
                since: None,
                failure: Some(why.clone()),
            };
            assert_eq!((found.items, found.left_out), (vec![stuck], 0));
        }
    }

    /// A sign-in that was seen not to count is lost until there is another, or it counts again.
    #[tokio::test]
    async fn a_lost_token_is_found_until_there_is_another() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let at = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let id = customer(&mut change, "one").await;
        let detail = serde_json::json!({});
        let lost = "tenant.token_invalid";
        events::insert(&mut change, at, lost, id, &detail)
            .await
            .unwrap();
        let found = lost_tokens(&mut change, 9).await.unwrap();
        assert!(found.items.is_empty(), "nobody has signed in");
        let token = Secret::new("a refresh token");
        for (validated, is_lost) in [(-1, true), (1, false)] {
            let validated = at + Duration::minutes(validated);
            activations::keep_token(&mut change, id, Some(&token), validated)
                .await
                .unwrap();
            let found = lost_tokens(&mut change, 9).await.unwrap();
            let whose: Vec<_> = found.items.iter().map(|lost| lost.customer_id).collect();
            assert_eq!(whose == [id], is_lost);
        }
    }
}
