//! Telephone numbers: customers' and those of nobody, which are the inventory.

pub mod teams;

use super::error::Faults;
use super::rows::{
    id, micros, named, now, of, optional_id, optional_named, optional_time, parsed, time,
};
use super::{Listed, Page, StoreError, customers};
use crate::directory::{Forwarded, Number, PhoneNumber};
use crate::provisioning::{
    Assignment, Desired, Disposition, Held, NumberKind, NumberSource, NumberStatus, Verdict,
};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What can be changed of a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberSettings {
    /// Who has it.
    #[serde(default)]
    pub user_id: Option<Uuid>,
    /// What it is used for; `user` if and only if `user_id` is somebody.
    #[serde(default)]
    pub assignment: Assignment,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Where emergency services should go; at most 128 characters.
    #[serde(default)]
    pub emergency_location: Option<String>,
}

/// What a number can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Calls.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub voice: bool,
    /// Short messages.
    #[serde(default)]
    pub sms: bool,
    /// Faxes.
    #[serde(default)]
    pub fax: bool,
}

fn yes() -> bool {
    true
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            voice: true,
            sms: false,
            fax: false,
        }
    }
}

/// A stored number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PhoneNumber)]
pub struct NumberRecord {
    /// In E.164 form, with `+`.
    #[schema(example = "+14255550100")]
    pub number: String,
    /// Whether nobody else has it, or it is an identifier of the customer's own.
    pub kind: NumberKind,
    /// What Teams writes after `;ext=`.
    pub extension: Option<String>,
    /// Whose; none: it is in the inventory.
    pub customer_id: Option<Uuid>,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: NumberSettings,
    /// Where it comes from.
    pub source: NumberSource,
    /// Whether it should be there after the next Sync.
    pub desired: Desired,
    /// What becomes of it when it goes.
    pub disposition: Option<Disposition>,
    /// What was made of it; null in the inventory, and for what is only listed from Microsoft.
    pub status: Option<NumberStatus>,
    /// The same for people.
    pub status_text: Option<&'static str>,
    /// More about it.
    pub status_detail: Option<String>,
    /// Whether calls to it and from it pass. A Sync puts it in service and takes it out.
    pub in_service: bool,
    /// When it was last put in service.
    #[serde(with = "time::serde::rfc3339::option")]
    pub in_service_since: Option<OffsetDateTime>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

/// A number to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNumber {
    /// In E.164 form.
    pub number: Number,
    /// What Teams writes after `;ext=`.
    pub extension: Option<String>,
    /// Whether nobody else may have it.
    pub kind: NumberKind,
    /// Where it comes from.
    pub source: NumberSource,
}

impl From<Number> for NewNumber {
    fn from(number: Number) -> Self {
        Self {
            number,
            extension: None,
            kind: NumberKind::default(),
            source: NumberSource::default(),
        }
    }
}

/// What became of a number that should be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is the customer's from now on, and waits for a Sync.
    New,
    /// Its removal was pending, and no longer is.
    Kept,
    /// The customer has it.
    Exists,
    /// Another customer has it.
    Foreign,
}

/// Which numbers to list; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberFilter {
    /// Whose; none of the inner option: nobody's.
    pub customer: Option<Option<Uuid>>,
    /// Somebody's.
    pub taken: bool,
    /// Of whom.
    pub user: Option<Uuid>,
    /// Stands so.
    pub status: Option<NumberStatus>,
    /// Begins so.
    pub prefix: Option<String>,
}

fn record(row: &SqliteRow) -> Result<NumberRecord, sqlx::Error> {
    let status: Option<NumberStatus> = optional_named(row, "status")?;
    Ok(NumberRecord {
        number: row.try_get("number")?,
        kind: named(row, "kind")?,
        extension: row.try_get("extension")?,
        customer_id: optional_id(row, "customer_id")?,
        settings: NumberSettings {
            user_id: optional_id(row, "user_id")?,
            assignment: named(row, "assignment")?,
            capabilities: Capabilities {
                voice: row.try_get("voice")?,
                sms: row.try_get("sms")?,
                fax: row.try_get("fax")?,
            },
            emergency_location: row.try_get("emergency_location")?,
        },
        source: named(row, "source")?,
        desired: named(row, "desired")?,
        disposition: optional_named(row, "disposition")?,
        status,
        status_text: status.map(NumberStatus::text),
        status_detail: row.try_get("status_detail")?,
        in_service: row.try_get("in_service")?,
        in_service_since: optional_time(row, "in_service_since")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one to a customer, to serve after its next Sync; one of the inventory is taken from there.
pub async fn insert(
    connection: &mut SqliteConnection,
    customer: Uuid,
    new: &NewNumber,
) -> Result<Added, StoreError> {
    let known = match new.kind {
        NumberKind::Did => did(connection, &new.number).await?,
        NumberKind::Extension => find(connection, customer, &new.number).await?,
    };
    if new.kind == NumberKind::Did
        && known.is_none()
        && find(connection, customer, &new.number).await?.is_some()
    {
        return Ok(Added::Exists);
    }
    let at = micros(now());
    let Some(known) = known else {
        create(connection, Some(customer), new).await?;
        customers::touch(connection, customer).await?;
        return Ok(Added::New);
    };
    let status = match known.in_service {
        true => NumberStatus::InSync,
        false => NumberStatus::NeedsSync,
    };
    let added = match (known.customer_id, known.desired) {
        (Some(owner), _) if owner != customer => return Ok(Added::Foreign),
        (Some(_), Desired::Present) => return Ok(Added::Exists),
        (Some(_), Desired::Absent) => Added::Kept,
        (None, _) => Added::New,
    };
    sqlx::query(
        "UPDATE numbers SET customer_id = ?1, desired = 'present', disposition = NULL, status = ?2, status_detail = NULL,
         extension = ifnull(?3, extension), updated_at = ?4, version = version + 1
         WHERE number = ?5 AND kind = ?6 AND (customer_id = ?1 OR customer_id IS NULL)",
    )
    .bind(customer.to_string())
    .bind(status.name())
    .bind(&new.extension)
    .bind(at)
    .bind(new.number.as_str())
    .bind(new.kind.name())
    .execute(&mut *connection)
    .await?;
    customers::touch(connection, customer).await?;
    Ok(added)
}

/// Adds one to the inventory. [`StoreError::Taken`] if it is known.
pub async fn stock(connection: &mut SqliteConnection, new: &NewNumber) -> Result<(), StoreError> {
    create(connection, None, new).await
}

async fn create(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
    new: &NewNumber,
) -> Result<(), StoreError> {
    let at = micros(now());
    let is_listed = new.source == NumberSource::Microsoft;
    let status = customer.filter(|_| !is_listed);
    sqlx::query(
        "INSERT INTO numbers (number, kind, extension, customer_id, assignment, source, voice, sms, fax, desired, status,
         in_service, created_at, updated_at, version)
         VALUES (?, ?, ?, ?, 'unassigned', ?, TRUE, FALSE, FALSE, 'present', ?, FALSE, ?, ?, 1)",
    )
    .bind(new.number.as_str())
    .bind(new.kind.name())
    .bind(&new.extension)
    .bind(customer.map(|id| id.to_string()))
    .bind(new.source.name())
    .bind(status.map(|_| NumberStatus::NeedsSync.name()))
    .bind(at)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Changes what can be changed; the user must be the customer's.
pub async fn update(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
    settings: &NumberSettings,
) -> Result<NumberRecord, StoreError> {
    let mut faults = Faults::default();
    faults.demand(
        settings.user_id.is_some() == (settings.assignment == Assignment::User),
        "assignment",
        "user",
        "must be user if and only if there is a user_id",
    );
    if let Some(place) = &settings.emergency_location {
        faults.length("emergency_location", place, 1, 128);
    }
    if let Some(user) = settings.user_id {
        let user = super::users::find(connection, customer, user).await?;
        faults.demand(
            user.is_some(),
            "user_id",
            "unknown_user",
            "is no user of the customer",
        );
    }
    faults.or(())?;
    sqlx::query(
        "UPDATE numbers SET user_id = ?, assignment = ?, voice = ?, sms = ?, fax = ?, emergency_location = ?, updated_at = ?,
         version = version + 1 WHERE customer_id = ? AND number = ?",
    )
    .bind(settings.user_id.map(|id| id.to_string()))
    .bind(settings.assignment.name())
    .bind(settings.capabilities.voice)
    .bind(settings.capabilities.sms)
    .bind(settings.capabilities.fax)
    .bind(&settings.emergency_location)
    .bind(micros(now()))
    .bind(customer.to_string())
    .bind(number.as_str())
    .execute(&mut *connection)
    .await?;
    customers::touch(connection, customer).await?;
    written(connection, customer, number).await
}

/// Marks one for removal by the next Sync.
pub async fn release(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
    disposition: Disposition,
) -> Result<NumberRecord, StoreError> {
    sqlx::query(
        "UPDATE numbers SET desired = 'absent', disposition = ?, status = 'pending_remove', status_detail = NULL,
         updated_at = ?, version = version + 1 WHERE customer_id = ? AND number = ?",
    )
    .bind(disposition.name())
    .bind(micros(now()))
    .bind(customer.to_string())
    .bind(number.as_str())
    .execute(&mut *connection)
    .await?;
    customers::touch(connection, customer).await?;
    written(connection, customer, number).await
}

/// Writes what a Sync made of a number.
pub async fn settle(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
    verdict: Verdict,
    detail: Option<&str>,
) -> Result<(), StoreError> {
    const STAND: &str = "UPDATE numbers SET status = ?1, status_detail = ?2,
        in_service_since = CASE WHEN in_service = ?3 THEN in_service_since WHEN ?3 THEN ?4 END,
        in_service = ?3, updated_at = ?4, version = version + 1 WHERE customer_id = ?5 AND number = ?6";
    const DELETE: &str = "DELETE FROM numbers WHERE customer_id = ?1 AND number = ?2";
    const RETAIN: &str = "UPDATE numbers SET customer_id = NULL, user_id = NULL, assignment = 'unassigned',
        desired = 'present', disposition = NULL, status = NULL, status_detail = NULL, in_service = FALSE,
        in_service_since = NULL, updated_at = ?3, version = version + 1 WHERE customer_id = ?1 AND number = ?2";
    let (customer, number, at) = (customer.to_string(), number.as_str(), micros(now()));
    let query = match verdict {
        Verdict::Stand { status, in_service } => sqlx::query(STAND)
            .bind(status.map(NumberStatus::name))
            .bind(detail)
            .bind(in_service)
            .bind(at)
            .bind(customer)
            .bind(number),
        Verdict::Leave(Disposition::Delete) => sqlx::query(DELETE).bind(customer).bind(number),
        Verdict::Leave(Disposition::Retain) => {
            sqlx::query(RETAIN).bind(customer).bind(number).bind(at)
        }
    };
    query.execute(connection).await?;
    Ok(())
}

/// Puts one in service as a Sync without a backend does, for who provisions without the API.
pub async fn put_in_service(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
) -> Result<(), StoreError> {
    let verdict = Verdict::Stand {
        status: Some(NumberStatus::InSync),
        in_service: true,
    };
    settle(connection, customer, number, verdict, None).await
}

/// Gives a number to a user, as the carrier's system has it.
pub async fn give(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
    user: Uuid,
) -> Result<bool, StoreError> {
    const GIVE: &str = "UPDATE numbers SET user_id = ?1, assignment = 'user', updated_at = ?2, version = version + 1
        WHERE customer_id = ?3 AND number = ?4 AND user_id IS NOT ?1";
    let query = sqlx::query(GIVE)
        .bind(user.to_string())
        .bind(micros(now()))
        .bind(customer.to_string())
        .bind(number.as_str());
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Takes a user's numbers away from it; they stay the customer's.
pub async fn take_from(connection: &mut SqliteConnection, user: Uuid) -> Result<(), StoreError> {
    const TAKE: &str =
        "UPDATE numbers SET user_id = NULL, assignment = 'unassigned', updated_at = ?,
        version = version + 1 WHERE user_id = ?";
    let query = sqlx::query(TAKE).bind(micros(now())).bind(user.to_string());
    query.execute(connection).await?;
    Ok(())
}

/// Removes one of the inventory.
pub async fn discard(connection: &mut SqliteConnection, number: &Number) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM numbers WHERE customer_id IS NULL AND number = ?")
        .bind(number.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// The customer's.
pub async fn find(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
) -> Result<Option<NumberRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM numbers WHERE number = ? AND customer_id = ?");
    let row = query
        .bind(number.as_str())
        .bind(customer.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// The one that the world can call, whoever has it.
pub async fn did(
    connection: &mut SqliteConnection,
    number: &Number,
) -> Result<Option<NumberRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM numbers WHERE number = ? AND kind = 'did'");
    let row = query
        .bind(number.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// Those that the filter lets through: a customer's in the order of creation, everybody's in that of numbers.
pub async fn list(
    connection: &mut SqliteConnection,
    filter: &NumberFilter,
    page: Page,
) -> Result<Listed<NumberRecord>, StoreError> {
    let in_stock = filter.customer == Some(None);
    let mut query = sqlx::QueryBuilder::new(if in_stock {
        "SELECT * FROM numbers INDEXED BY numbers_in_stock WHERE customer_id IS NULL"
    } else {
        "SELECT * FROM numbers WHERE TRUE"
    });
    narrow(&mut query, filter);
    if filter.customer.flatten().is_some() {
        query.push(" AND seq > ").push_bind(page.after.unwrap_or(0));
        query.push(" ORDER BY seq LIMIT ");
    } else {
        let (number, seq) = beginning(connection, filter, page).await?;
        query.push(" AND (number, seq) > (").push_bind(number);
        query.push(", ").push_bind(seq).push(")");
        query.push(" ORDER BY number, seq LIMIT ");
    }
    query.push_bind(page.fetch());
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, record)?)
}

/// Behind what a part of everybody's numbers begins: the end of the part before, or what comes before all that are asked for.
/// One bound and not two, for the database looks up but one.
async fn beginning(
    connection: &mut SqliteConnection,
    filter: &NumberFilter,
    page: Page,
) -> Result<(String, i64), StoreError> {
    let first = (filter.prefix.clone().unwrap_or_default(), 0);
    let Some(after) = page.after else {
        return Ok(first);
    };
    let place = sqlx::query_scalar("SELECT number FROM numbers WHERE seq = ?").bind(after);
    let number: Option<String> = place.fetch_optional(connection).await?;
    let number = number.ok_or(StoreError::LostPlace)?;
    Ok(first.max((number, after)))
}

fn narrow(query: &mut sqlx::QueryBuilder<sqlx::Sqlite>, filter: &NumberFilter) {
    if let Some(customer) = filter.customer.flatten() {
        query
            .push(" AND customer_id = ")
            .push_bind(customer.to_string());
    }
    if filter.taken {
        query.push(" AND customer_id IS NOT NULL");
    }
    if let Some(user) = filter.user {
        query.push(" AND user_id = ").push_bind(user.to_string());
    }
    if let Some(status) = filter.status {
        // Its index is for those of everybody; a customer's are better found by the customer.
        query.push(match filter.customer {
            Some(_) => " AND +status = ",
            None => " AND status = ",
        });
        query.push_bind(status.name());
    }
    if let Some(prefix) = &filter.prefix {
        // Nothing that a number can hold sorts behind a colon.
        if filter.customer.flatten().is_some() {
            query.push(" AND number >= ").push_bind(prefix.clone());
        }
        query.push(" AND number < ").push_bind(format!("{prefix}:"));
    }
}

/// How many of a customer's numbers wait for a Sync, to serve or to go.
pub async fn waiting(connection: &mut SqliteConnection, customer: Uuid) -> Result<u32, StoreError> {
    // By the customer, who has few, and not by the status, which many have.
    const COUNT: &str = "SELECT count(*) FROM numbers WHERE customer_id = ? AND +status IN ('needs_sync', 'pending_remove')";
    let count: i64 = sqlx::query_scalar(COUNT)
        .bind(customer.to_string())
        .fetch_one(connection)
        .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What a Sync has to know of a customer's numbers.
pub async fn held(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Vec<Held>, StoreError> {
    const SELECT: &str = "SELECT number, desired, disposition, source, status, in_service,
        assignment NOT IN ('unassigned', 'user') OR EXISTS (
            SELECT 1 FROM users WHERE users.id = user_id AND users.state = 'enabled'
        ) AS is_assigned FROM numbers WHERE customer_id = ? ORDER BY seq";
    let held = |row: &SqliteRow| {
        Ok(Held {
            number: parsed("number", row.try_get::<String, _>("number")?.parse())?,
            desired: named(row, "desired")?,
            disposition: optional_named(row, "disposition")?,
            source: named(row, "source")?,
            is_assigned: row.try_get("is_assigned")?,
            status: optional_named(row, "status")?,
            in_service: row.try_get("in_service")?,
        })
    };
    let rows = sqlx::query(SELECT)
        .bind(customer.to_string())
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(held).collect::<Result<_, sqlx::Error>>()?)
}

/// Lets further numbers of users ring where the first one of the same user does. How many changed.
pub async fn follow_users(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<u64, StoreError> {
    const UPDATE: &str = "UPDATE numbers SET forwards_to = now.forwards_to
        FROM (SELECT n.seq, first.number AS forwards_to FROM numbers n
            LEFT JOIN users u ON u.id = n.user_id
            LEFT JOIN numbers first ON first.user_id = u.id AND first.number = u.default_did AND first.number <> n.number
            WHERE n.customer_id = ?) AS now
        WHERE numbers.seq = now.seq AND numbers.forwards_to IS NOT now.forwards_to";
    let changed = sqlx::query(UPDATE)
        .bind(customer.to_string())
        .execute(connection)
        .await?;
    Ok(changed.rows_affected())
}

/// What calls may go by.
#[derive(Debug)]
pub(super) struct Serving {
    /// Numbers of everybody's.
    pub dids: Vec<PhoneNumber>,
    /// Those that are customers' own.
    pub extensions: Vec<PhoneNumber>,
    /// Those of either kind that ring elsewhere.
    pub forwarded: Vec<Forwarded>,
}

/// What calls may go by, of all customers or of one. What no Sync has seen is left out, so that nothing but a Sync changes
/// what calls may go by.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
) -> Result<Serving, StoreError> {
    // A row for each customer: there may be millions of numbers, and to carry over a row costs more than a number.
    const SELECT: &str = "SELECT customer_id,
        group_concat(number) FILTER (WHERE kind = 'did' AND in_service) AS dids,
        group_concat(number) FILTER (WHERE kind = 'did' AND NOT in_service) AS idle_dids,
        group_concat(number) FILTER (WHERE kind <> 'did' AND in_service) AS extensions,
        group_concat(number) FILTER (WHERE kind <> 'did' AND NOT in_service) AS idle_extensions,
        group_concat(number || '>' || forwards_to) AS forwarded FROM numbers
        WHERE customer_id IS NOT NULL AND source <> 'microsoft' AND (in_service OR status IS NOT 'needs_sync')";
    let mut query = of(SELECT, " AND customer_id = ", customer);
    query.push(" GROUP BY customer_id");
    let rows = query.build().fetch_all(connection).await?;
    let (mut dids, mut extensions, mut forwarded) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let customer = id(row, "customer_id")?;
        let numbers = |column, in_service, into: &mut Vec<PhoneNumber>| {
            let joined: Option<&str> = row.try_get(column)?;
            for number in joined.iter().flat_map(|joined| joined.split(',')) {
                into.push(PhoneNumber {
                    number: parsed(column, number.parse())?,
                    customer,
                    in_service,
                });
            }
            Ok::<_, sqlx::Error>(())
        };
        numbers("dids", true, &mut dids)?;
        numbers("idle_dids", false, &mut dids)?;
        numbers("extensions", true, &mut extensions)?;
        numbers("idle_extensions", false, &mut extensions)?;
        let joined: Option<&str> = row.try_get("forwarded")?;
        let pairs = joined.iter().flat_map(|joined| joined.split(','));
        for (number, to) in pairs.filter_map(|pair| pair.split_once('>')) {
            forwarded.push(Forwarded {
                customer,
                number: parsed("number", number.parse())?,
                to: parsed("forwards_to", to.parse())?,
            });
        }
    }
    Ok(Serving {
        dids,
        extensions,
        forwarded,
    })
}

async fn written(
    connection: &mut SqliteConnection,
    customer: Uuid,
    number: &Number,
) -> Result<NumberRecord, StoreError> {
    Ok(find(connection, customer, number)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
mod tests;
