//! Activations: one row for each time that a customer's was begun, of which at most one is open.

use super::rows::{id, json, micros, named, new_id, now, optional_time, time, to_json};
use super::{Change, Keys, Store, StoreError};
use crate::directory::{ActivationState, Secret};
use crate::provisioning::activation::{Method, State};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use tokio::sync::MutexGuard;
use uuid::Uuid;

/// A stored activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivationRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// Who does the work.
    pub method: Method,
    /// Where it stands.
    pub state: State,
    /// By which token it was begun.
    pub started_by: Uuid,
    /// When.
    pub started_at: OffsetDateTime,
    /// When calls passed for the first time.
    pub finished_at: Option<OffsetDateTime>,
    /// When the customer was inactive again.
    pub ended_at: Option<OffsetDateTime>,
    /// Grows with every change.
    pub version: i64,
}

/// What an administrator takes to Microsoft and brings back.
#[derive(Debug, Clone)]
pub struct ConsentQuestion {
    /// SHA-256 of what they bring back.
    pub state_hash: [u8; 32],
    /// Shown when the code is redeemed (RFC 7636).
    pub verifier: Secret,
    /// When it no longer counts.
    pub expires_at: OffsetDateTime,
}

/// What a customer is called at Microsoft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantOf {
    /// As the customer told it.
    pub name: Option<String>,
    /// As Microsoft has it.
    pub id: Option<Uuid>,
}

impl ActivationRecord {
    /// Whether it goes on, or is in service.
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }
}

fn record(row: &SqliteRow) -> Result<ActivationRecord, sqlx::Error> {
    Ok(ActivationRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        method: named(row, "method")?,
        state: json(row, "state")?,
        started_by: id(row, "started_by")?,
        started_at: time(row, "started_at")?,
        finished_at: optional_time(row, "finished_at")?,
        ended_at: optional_time(row, "ended_at")?,
        version: row.try_get("version")?,
    })
}

/// What a customer chose.
pub async fn method(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Method, StoreError> {
    let query = sqlx::query("SELECT method FROM activation_methods WHERE customer_id = ?");
    let row = query
        .bind(customer.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row
        .as_ref()
        .map(|row| named(row, "method"))
        .transpose()?
        .unwrap_or_default())
}

/// Notes what a customer chose.
pub async fn choose(
    connection: &mut SqliteConnection,
    customer: Uuid,
    method: Method,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO activation_methods (customer_id, method) VALUES (?, ?)
         ON CONFLICT (customer_id) DO UPDATE SET method = excluded.method",
    )
    .bind(customer.to_string())
    .bind(method.name())
    .execute(connection)
    .await?;
    Ok(())
}

/// A customer's newest, open or not.
pub async fn latest(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Option<ActivationRecord>, StoreError> {
    let query =
        sqlx::query("SELECT * FROM activations WHERE customer_id = ? ORDER BY seq DESC LIMIT 1");
    let row = query
        .bind(customer.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// The one that a customer has begun and not ended.
pub async fn open(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Option<ActivationRecord>, StoreError> {
    let latest = latest(connection, customer).await?;
    Ok(latest.filter(ActivationRecord::is_open))
}

/// The one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Option<ActivationRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM activations WHERE id = ?").bind(id.to_string());
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// Begins one; [`StoreError::Taken`] if another is open.
pub async fn begin(
    connection: &mut SqliteConnection,
    customer: Uuid,
    method: Method,
    state: &State,
    by: Uuid,
    at: OffsetDateTime,
) -> Result<ActivationRecord, StoreError> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO activations (id, customer_id, method, state, due_at, started_by, started_at, version)
         VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(id.to_string())
    .bind(customer.to_string())
    .bind(method.name())
    .bind(to_json(state))
    .bind(state.due().map(micros))
    .bind(by.to_string())
    .bind(micros(at))
    .execute(&mut *connection)
    .await?;
    Ok(find(connection, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

/// Puts one into another state, unless somebody did so since it was read.
pub async fn save(
    connection: &mut SqliteConnection,
    read: &ActivationRecord,
    state: &State,
    at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let finished = read
        .finished_at
        .or_else(|| state.is_in_service().then_some(at));
    let ended = state.is_inactive().then_some(at);
    let saved = sqlx::query(
        "UPDATE activations SET state = ?, due_at = ?, finished_at = ?, ended_at = ?, version = version + 1
         WHERE id = ? AND version = ?",
    )
    .bind(to_json(state))
    .bind(state.due().map(micros))
    .bind(finished.map(micros))
    .bind(ended.map(micros))
    .bind(read.id.to_string())
    .bind(read.version)
    .execute(connection)
    .await?;
    Ok(saved.rows_affected() == 1)
}

/// Those for which something is to be done by now, the longest overdue first.
pub async fn due(
    connection: &mut SqliteConnection,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<ActivationRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM activations WHERE due_at <= ? ORDER BY due_at LIMIT ?");
    let rows = query
        .bind(micros(now))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(record).collect::<Result<_, _>>()?)
}

/// When the next thing is to be done.
pub async fn next_due(
    connection: &mut SqliteConnection,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let row = sqlx::query("SELECT min(due_at) AS due_at FROM activations WHERE due_at IS NOT NULL");
    Ok(optional_time(&row.fetch_one(connection).await?, "due_at")?)
}

/// Lets calls obey how far the customer is.
pub async fn set_state(
    connection: &mut SqliteConnection,
    customer: Uuid,
    state: ActivationState,
) -> Result<(), StoreError> {
    const UPDATE: &str =
        "UPDATE customers SET activation_state = ?1, updated_at = ?2, version = version + 1
        WHERE id = ?3 AND activation_state <> ?1";
    sqlx::query(UPDATE)
        .bind(state.name())
        .bind(micros(now()))
        .bind(customer.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// What a customer is called at Microsoft.
pub async fn tenant(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<TenantOf, StoreError> {
    let query = sqlx::query("SELECT tenant_name, tenant_id FROM customers WHERE id = ?");
    let row = query
        .bind(customer.to_string())
        .fetch_one(connection)
        .await?;
    Ok(TenantOf {
        name: row.try_get("tenant_name")?,
        id: super::rows::optional_id(&row, "tenant_id")?,
    })
}

/// Notes which tenant a customer's name is; [`StoreError::Taken`] if it is another customer's.
pub async fn set_tenant(
    connection: &mut SqliteConnection,
    customer: Uuid,
    tenant: Uuid,
) -> Result<(), StoreError> {
    const UPDATE: &str =
        "UPDATE customers SET tenant_id = ?1, updated_at = ?2, version = version + 1
        WHERE id = ?3 AND tenant_id IS NOT ?1";
    sqlx::query(UPDATE)
        .bind(tenant.to_string())
        .bind(micros(now()))
        .bind(customer.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Where the texts of open questions are.
const QUESTIONS: &str = "consent_questions";
/// Where what renews our access is.
const TOKENS: &str = "tenant_tokens";

/// Notes the question that an administrator takes along, in place of an older one.
pub async fn ask(
    change: &mut Change,
    activation: Uuid,
    question: &ConsentQuestion,
) -> Result<(), StoreError> {
    let activation = activation.to_string();
    let verifier = change
        .keys()
        .seal(QUESTIONS, &activation, question.verifier.expose())?;
    sqlx::query("DELETE FROM consent_questions WHERE activation_id = ?")
        .bind(&activation)
        .execute(&mut **change)
        .await?;
    sqlx::query(
        "INSERT INTO consent_questions (state_hash, activation_id, verifier, key_id, expires_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&question.state_hash[..])
    .bind(&activation)
    .bind(verifier.text)
    .bind(verifier.key_id)
    .bind(micros(question.expires_at))
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Whether such a question is open: who guesses must not make others wait.
pub async fn is_asked(
    connection: &mut SqliteConnection,
    state_hash: &[u8; 32],
) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM consent_questions WHERE state_hash = ?");
    let row = query
        .bind(&state_hash[..])
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Takes the question that somebody brought back: there is none the second time, nor when its time is over.
pub async fn answer(
    change: &mut Change,
    state_hash: &[u8; 32],
    at: OffsetDateTime,
) -> Result<Option<(ActivationRecord, Secret)>, StoreError> {
    const TAKE: &str = "DELETE FROM consent_questions WHERE state_hash = ?
        RETURNING activation_id, verifier, key_id, expires_at";
    let row = sqlx::query(TAKE)
        .bind(&state_hash[..])
        .fetch_optional(&mut **change)
        .await?;
    let Some(row) = row else { return Ok(None) };
    if time(&row, "expires_at")? <= at {
        return Ok(None);
    }
    let activation = id(&row, "activation_id")?;
    let (verifier, key_id) = (row.try_get("verifier")?, row.try_get("key_id")?);
    let verifier = change
        .keys()
        .opened(QUESTIONS, &activation.to_string(), verifier, key_id)?;
    let activation = find(change, activation).await?;
    Ok(activation.map(|activation| (activation, verifier)))
}

/// Keeps what renews our access to a customer's tenant, or forgets it.
pub async fn keep_token(
    change: &mut Change,
    customer: Uuid,
    refresh: Option<&Secret>,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let customer = customer.to_string();
    let Some(refresh) = refresh else {
        sqlx::query("DELETE FROM tenant_tokens WHERE customer_id = ?")
            .bind(customer)
            .execute(&mut **change)
            .await?;
        return Ok(());
    };
    let sealed = change.keys().seal(TOKENS, &customer, refresh.expose())?;
    sqlx::query(
        "INSERT OR REPLACE INTO tenant_tokens (customer_id, refresh_token, key_id, validated_at) VALUES (?, ?, ?, ?)",
    )
    .bind(customer)
    .bind(sealed.text)
    .bind(sealed.key_id)
    .bind(micros(at))
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// What renews our access to a customer's tenant.
pub async fn token(
    connection: &mut SqliteConnection,
    keys: &Keys,
    customer: Uuid,
) -> Result<Option<Secret>, StoreError> {
    let customer = customer.to_string();
    let row = sqlx::query("SELECT refresh_token, key_id FROM tenant_tokens WHERE customer_id = ?")
        .bind(&customer)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (text, key_id) = (row.try_get("refresh_token")?, row.try_get("key_id")?);
    Ok(Some(keys.opened(TOKENS, &customer, text, key_id)?))
}

/// Keeps what renews our access from now on, unless that was forgotten meanwhile.
pub async fn renew_token(
    store: &Store,
    customer: Uuid,
    old: &Secret,
    new: &Secret,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut change = store.rows().await?;
    let kept = token(&mut change, &store.keys, customer).await?;
    if kept.is_some_and(|kept| kept.expose() == old.expose()) {
        keep_token(&mut change, customer, Some(new), at).await?;
    }
    change.keep().await
}

/// Notes that what renews our access was tried, and counts.
pub async fn token_counts(
    store: &Store,
    customer: Uuid,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut change = store.rows().await?;
    sqlx::query("UPDATE tenant_tokens SET validated_at = ? WHERE customer_id = ?")
        .bind(micros(at))
        .bind(customer.to_string())
        .execute(&mut *change)
        .await?;
    change.keep().await
}

impl Store {
    /// Waits for the turn to renew our access to a customer's tenant, which lasts until the guard is dropped: what renews it
    /// may be good once only, so it is read, used and replaced by one at a time.
    pub async fn renewal(&self, customer: Uuid) -> MutexGuard<'_, ()> {
        let turn = usize::from(customer.as_bytes()[15]) % self.renewals.len();
        self.renewals[turn].lock().await
    }

    /// What renews our access to a customer's tenant.
    pub async fn tenant_token(&self, customer: Uuid) -> Result<Option<Secret>, StoreError> {
        token(&mut *self.read().await?, &self.keys, customer).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::*;
    use crate::provisioning::activation::Event;

    /// Two at once cannot be begun, and what was read before another's change changes nothing.
    #[tokio::test]
    async fn one_is_open_at_most() {
        let (_folder, store) = fresh().await;
        let mut connection = store.read().await.unwrap();
        let customer = customers::insert(&mut connection, &acme())
            .await
            .unwrap()
            .id;
        let at = now();
        let state = State::Inactive(None)
            .on(Method::Manual, Event::Start, at)
            .unwrap();
        let another = async |connection: &mut SqliteConnection| {
            begin(
                connection,
                customer,
                Method::Manual,
                &state,
                Uuid::nil(),
                at,
            )
            .await
        };
        let first = another(&mut connection).await.unwrap();
        assert_eq!((&first.state, first.version), (&state, 1));
        assert!(matches!(
            another(&mut connection).await,
            Err(StoreError::Taken(_))
        ));
        let found = due(&mut connection, at, 9).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&first));
        assert!(
            save(&mut connection, &first, &State::Inactive(None), at)
                .await
                .unwrap()
        );
        assert!(
            !save(&mut connection, &first, &state, at).await.unwrap(),
            "it was changed since"
        );
        assert_eq!(next_due(&mut connection).await.unwrap(), None);
        another(&mut connection).await.expect("the first has ended");
    }

    /// A question is answered once, and not when its time is over.
    #[tokio::test]
    async fn a_question_is_answered_once() {
        let (_folder, store) = fresh().await;
        let mut change = store.rows().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        let at = now();
        let state = State::Inactive(None)
            .on(Method::Automatic, Event::Start, at)
            .unwrap();
        let activation = begin(
            &mut change,
            customer,
            Method::Automatic,
            &state,
            Uuid::nil(),
            at,
        )
        .await
        .unwrap();
        let question = ConsentQuestion {
            state_hash: [7; 32],
            verifier: Secret::new("v"),
            expires_at: at + time::Duration::MINUTE,
        };
        ask(&mut change, activation.id, &question).await.unwrap();
        assert!(answer(&mut change, &[8; 32], at).await.unwrap().is_none());
        let (found, verifier) = answer(&mut change, &[7; 32], at).await.unwrap().unwrap();
        assert_eq!((found, verifier.expose()), (activation.clone(), "v"));
        assert!(answer(&mut change, &[7; 32], at).await.unwrap().is_none());
        ask(&mut change, activation.id, &question).await.unwrap();
        let late = at + time::Duration::MINUTE;
        assert!(answer(&mut change, &[7; 32], late).await.unwrap().is_none());
    }
}
