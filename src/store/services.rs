//! Services: what a customer has bought.

use super::error::Faults;
use super::rows::{id, int, micros, named, new_id, now, time};
use super::{Listed, Page, StoreError, users};
use crate::provisioning::{
    LicenseType, MOST_LICENSED_USERS, ServiceKind, ServiceState, check_short_name,
};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What a customer has bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSettings {
    /// For people; 1 to 128 characters.
    pub full_name: String,
    /// 3 to 15 characters, none of `\ / : * ? " < > |`, no dot and no blank, not the word audit; no other service has it, in
    /// whatever case.
    #[schema(example = "Contoso-1")]
    pub short_name: String,
    /// How it reaches Teams; never changed.
    #[serde(default)]
    pub kind: ServiceKind,
    /// What its operators may do here.
    #[serde(default)]
    pub license_type: LicenseType,
    /// Users that were bought; 500 of one customer at most.
    #[schema(minimum = 1, maximum = 500)]
    pub licensed_users: u32,
}

/// A stored service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Service)]
pub struct ServiceRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: ServiceSettings,
    /// Users of the customer that count against what was bought.
    pub licensed_users_used: u32,
    /// How far it is.
    pub state: ServiceState,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

impl ServiceSettings {
    fn check(&self, others: u32) -> Result<(), StoreError> {
        let mut faults = Faults::default();
        faults.length("full_name", &self.full_name, 1, 128);
        if let Err(fault) = check_short_name(&self.short_name) {
            faults.demand(false, "short_name", fault.code(), fault.to_string());
        }
        let together = self.licensed_users.saturating_add(others);
        faults.demand(
            self.licensed_users >= 1 && together <= MOST_LICENSED_USERS,
            "licensed_users",
            "licensed_users_range",
            format!("must be 1 to {MOST_LICENSED_USERS}, all services of the customer together"),
        );
        faults.or(())
    }
}

fn record(row: &SqliteRow, used: u32) -> Result<ServiceRecord, sqlx::Error> {
    Ok(ServiceRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        settings: ServiceSettings {
            full_name: row.try_get("full_name")?,
            short_name: row.try_get("short_name")?,
            kind: named(row, "kind")?,
            license_type: named(row, "license_type")?,
            licensed_users: int(row, "licensed_users")?,
        },
        licensed_users_used: used,
        state: named(row, "state")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one to a customer.
pub async fn insert(
    connection: &mut SqliteConnection,
    customer: Uuid,
    settings: &ServiceSettings,
) -> Result<ServiceRecord, StoreError> {
    let others = licensed_users(connection, customer).await?.unwrap_or(0);
    settings.check(others)?;
    let (id, at) = (new_id(), micros(now()));
    sqlx::query(
        "INSERT INTO services (id, customer_id, full_name, short_name, folded_name, kind, license_type, licensed_users, state,
         created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(id.to_string())
    .bind(customer.to_string())
    .bind(&settings.full_name)
    .bind(&settings.short_name)
    .bind(settings.short_name.to_lowercase())
    .bind(settings.kind.name())
    .bind(settings.license_type.name())
    .bind(settings.licensed_users)
    .bind(ServiceState::default().name())
    .bind(at)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    written(connection, customer, id).await
}

/// Changes all but the kind.
pub async fn update(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
    settings: &ServiceSettings,
) -> Result<ServiceRecord, StoreError> {
    let own = written(connection, customer, id)
        .await?
        .settings
        .licensed_users;
    let others = licensed_users(connection, customer).await?.unwrap_or(0);
    settings.check(others.saturating_sub(own))?;
    sqlx::query(
        "UPDATE services SET full_name = ?, short_name = ?, folded_name = ?, license_type = ?, licensed_users = ?,
         updated_at = ?, version = version + 1 WHERE customer_id = ? AND id = ?",
    )
    .bind(&settings.full_name)
    .bind(&settings.short_name)
    .bind(settings.short_name.to_lowercase())
    .bind(settings.license_type.name())
    .bind(settings.licensed_users)
    .bind(micros(now()))
    .bind(customer.to_string())
    .bind(id.to_string())
    .execute(&mut *connection)
    .await?;
    written(connection, customer, id).await
}

/// Notes how far one is.
pub async fn set_state(
    connection: &mut SqliteConnection,
    id: Uuid,
    state: ServiceState,
) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE services SET state = ?1, updated_at = ?2, version = version + 1
        WHERE id = ?3 AND state <> ?1";
    sqlx::query(UPDATE)
        .bind(state.name())
        .bind(micros(now()))
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes one; its trunks stay the customer's.
pub async fn delete(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM services WHERE customer_id = ? AND id = ?");
    query
        .bind(customer.to_string())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The customer's one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<Option<ServiceRecord>, StoreError> {
    let used = users::counted(connection, customer).await?;
    let query = sqlx::query("SELECT * FROM services WHERE customer_id = ? AND id = ?");
    let row = query
        .bind(customer.to_string())
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| record(&row, used)).transpose()?)
}

/// A customer's, in the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
    page: Page,
) -> Result<Listed<ServiceRecord>, StoreError> {
    let used = users::counted(connection, customer).await?;
    let query = sqlx::query(
        "SELECT * FROM services WHERE customer_id = ? AND seq > ? ORDER BY seq LIMIT ?",
    );
    let query = query
        .bind(customer.to_string())
        .bind(page.after.unwrap_or(0))
        .bind(page.fetch());
    let rows = query.fetch_all(connection).await?;
    Ok(page.cut(&rows, |row| record(row, used))?)
}

/// Users that a customer has bought, of all its services together; none if it has no services.
pub async fn licensed_users(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Option<u32>, StoreError> {
    let sum: Option<i64> =
        sqlx::query_scalar("SELECT sum(licensed_users) FROM services WHERE customer_id = ?")
            .bind(customer.to_string())
            .fetch_one(connection)
            .await?;
    Ok(sum.map(|sum| u32::try_from(sum).unwrap_or(u32::MAX)))
}

/// The best licence of a customer's services; none if it has no services.
pub async fn license(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Option<LicenseType>, StoreError> {
    let rows = sqlx::query("SELECT DISTINCT license_type FROM services WHERE customer_id = ?")
        .bind(customer.to_string())
        .fetch_all(connection)
        .await?;
    let types = rows.iter().map(|row| named(row, "license_type"));
    let types = types.collect::<Result<Vec<LicenseType>, sqlx::Error>>()?;
    Ok(types.into_iter().max())
}

async fn written(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<ServiceRecord, StoreError> {
    Ok(find(connection, customer, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
mod tests {
    use super::super::CustomerSettings;
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::*;

    fn service(
        short_name: &str,
        licensed_users: u32,
        license_type: LicenseType,
    ) -> ServiceSettings {
        ServiceSettings {
            full_name: "Full Name".into(),
            short_name: short_name.into(),
            kind: ServiceKind::OperatorConnect,
            license_type,
            licensed_users,
        }
    }

    /// a short name has one service, of all customers; what is bought of one customer is bounded.
    #[tokio::test]
    async fn names_are_taken_once_and_users_are_bounded() {
        use LicenseType::{Essentials, Pro};
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let ours = customers::insert(&mut change, &acme()).await.unwrap().id;
        let other = CustomerSettings {
            account_id: "b".into(),
            ..acme()
        };
        let theirs = customers::insert(&mut change, &other).await.unwrap().id;
        assert_eq!(licensed_users(&mut change, ours).await.unwrap(), None);
        assert_eq!(license(&mut change, ours).await.unwrap(), None);
        let first = insert(&mut change, ours, &service("Größe", 300, Essentials))
            .await
            .unwrap();
        let twice = insert(&mut change, theirs, &service("GRÖSSE", 1, Pro)).await;
        assert!(twice.is_ok(), "ß is no ss");
        let twice = insert(&mut change, theirs, &service("GRÖßE", 1, Pro))
            .await
            .unwrap_err();
        assert!(matches!(twice, StoreError::Taken(what) if what == "services.folded_name"));
        for (users, fits) in [(201, false), (0, false), (200, true)] {
            let added = insert(&mut change, ours, &service("second", users, Pro)).await;
            assert_eq!(added.is_ok(), fits, "{users}");
        }
        let grown = update(
            &mut change,
            ours,
            first.id,
            &service("Größe", 301, Essentials),
        )
        .await;
        assert!(grown.is_err());
        let same = update(
            &mut change,
            ours,
            first.id,
            &service("grösse", 300, Essentials),
        )
        .await;
        assert!(matches!(same, Err(StoreError::Taken(_))));
        assert_eq!(licensed_users(&mut change, ours).await.unwrap(), Some(500));
        assert_eq!(license(&mut change, ours).await.unwrap(), Some(Pro));
    }
}
