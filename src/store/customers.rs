//! Customers.

use super::error::Faults;
use super::music::owner;
use super::rows::{id, int, json, micros, named, new_id, now, optional_id, time, to_json};
use super::{Listed, Page, StoreError};
use crate::audio::Clip;
use crate::directory::{ActivationState, AdminState, Customer};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::HashMap;
use std::sync::Arc;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Whom a partner sells to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerSettings {
    /// The partner that it belongs to; none is the carrier itself. Never changed.
    #[serde(default)]
    pub partner_id: Option<Uuid>,
    /// The carrier's name for the account, 1 to 64 characters; unique, never changed.
    pub account_id: String,
    /// For people; 1 to 128 characters.
    pub name: String,
    /// Calls allowed at once, both directions together, ringing ones too; 0 admits none but emergency calls.
    pub max_channels: u32,
    /// Codes of the regions whose gateways a call to Teams tries, in this order.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Whether the PBX plays music to a held party; otherwise the SBC does.
    #[serde(default)]
    pub pbx_moh: bool,
    /// Whether the customer's own administrator may read its call detail records.
    #[serde(default)]
    pub sip_data_access: bool,
    /// Whether a caller from Teams must present a number of this customer that is in service.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub caller_screening: bool,
    /// Emergency numbers of this customer besides those of its regions, as dialled, without `+`.
    #[serde(default)]
    pub emergency_numbers: Vec<String>,
    /// Whether new calls are let in at all.
    #[serde(default)]
    pub admin_state: AdminState,
    /// Whether the Teams side is set up; changed by the carrier only, and with a reason.
    #[serde(default)]
    pub activation_state: ActivationState,
    /// Why the activation state was set by hand.
    #[serde(default)]
    pub activation_reason: Option<String>,
}

/// A stored customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerRecord {
    /// Never used again.
    pub id: Uuid,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: CustomerSettings,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

fn yes() -> bool {
    true
}

impl CustomerSettings {
    fn check(&self) -> Result<(), StoreError> {
        let mut faults = Faults::default();
        faults.length("account_id", &self.account_id, 1, 64);
        faults.length("name", &self.name, 1, 128);
        faults.demand(
            self.max_channels <= 1_000_000,
            "max_channels",
            "range",
            "must be at most 1000000",
        );
        faults.demand(
            self.regions.len() <= 16,
            "regions",
            "too_many",
            "must be at most 16",
        );
        for (index, code) in self.regions.iter().enumerate() {
            let twice = self.regions[..index].contains(code);
            faults.demand(
                !twice,
                format!("regions[{index}]"),
                "twice",
                "is named twice",
            );
        }
        faults.emergency_numbers(&self.emergency_numbers);
        if let Some(reason) = &self.activation_reason {
            faults.length("activation_reason", reason, 1, 256);
        }
        faults.or(())
    }
}

fn record(row: &SqliteRow) -> Result<CustomerRecord, sqlx::Error> {
    Ok(CustomerRecord {
        id: id(row, "id")?,
        settings: CustomerSettings {
            partner_id: optional_id(row, "partner_id")?,
            account_id: row.try_get("account_id")?,
            name: row.try_get("name")?,
            max_channels: int(row, "max_channels")?,
            regions: json(row, "regions")?,
            pbx_moh: row.try_get("pbx_moh")?,
            sip_data_access: row.try_get("sip_data_access")?,
            caller_screening: row.try_get("caller_screening")?,
            emergency_numbers: json(row, "emergency_numbers")?,
            admin_state: named(row, "admin_state")?,
            activation_state: named(row, "activation_state")?,
            activation_reason: row.try_get("activation_reason")?,
        },
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one.
pub async fn insert(
    connection: &mut SqliteConnection,
    settings: &CustomerSettings,
) -> Result<CustomerRecord, StoreError> {
    settings.check()?;
    let (id, at) = (new_id(), now());
    sqlx::query(
        "INSERT INTO customers (id, partner_id, account_id, name, max_channels, regions, pbx_moh, sip_data_access,
         caller_screening, emergency_numbers, admin_state, activation_state, activation_reason, created_at, updated_at, version)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(id.to_string())
    .bind(settings.partner_id.map(|id| id.to_string()))
    .bind(&settings.account_id)
    .bind(&settings.name)
    .bind(settings.max_channels)
    .bind(to_json(&settings.regions))
    .bind(settings.pbx_moh)
    .bind(settings.sip_data_access)
    .bind(settings.caller_screening)
    .bind(to_json(&settings.emergency_numbers))
    .bind(settings.admin_state.name())
    .bind(settings.activation_state.name())
    .bind(&settings.activation_reason)
    .bind(micros(at))
    .bind(micros(at))
    .execute(&mut *connection)
    .await?;
    written(connection, id).await
}

/// Changes all but the partner and the account id, which stay.
pub async fn update(
    connection: &mut SqliteConnection,
    id: Uuid,
    settings: &CustomerSettings,
) -> Result<CustomerRecord, StoreError> {
    settings.check()?;
    sqlx::query(
        "UPDATE customers SET name = ?, max_channels = ?, regions = ?, pbx_moh = ?, sip_data_access = ?, caller_screening = ?,
         emergency_numbers = ?, admin_state = ?, activation_state = ?, activation_reason = ?, updated_at = ?,
         version = version + 1 WHERE id = ?",
    )
    .bind(&settings.name)
    .bind(settings.max_channels)
    .bind(to_json(&settings.regions))
    .bind(settings.pbx_moh)
    .bind(settings.sip_data_access)
    .bind(settings.caller_screening)
    .bind(to_json(&settings.emergency_numbers))
    .bind(settings.admin_state.name())
    .bind(settings.activation_state.name())
    .bind(&settings.activation_reason)
    .bind(micros(now()))
    .bind(id.to_string())
    .execute(&mut *connection)
    .await?;
    written(connection, id).await
}

/// Removes one with its gateways, numbers and trunks.
pub async fn delete(connection: &mut SqliteConnection, id: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM customers WHERE id = ?")
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Option<CustomerRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM customers WHERE id = ?").bind(id.to_string());
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// In the order of creation; those of one partner, or that one customer, if asked for.
pub async fn list(
    connection: &mut SqliteConnection,
    partner: Option<Uuid>,
    only: Option<Uuid>,
    page: Page,
) -> Result<Listed<CustomerRecord>, StoreError> {
    let mut query = sqlx::QueryBuilder::new("SELECT * FROM customers WHERE seq > ");
    query.push_bind(page.after.unwrap_or(0));
    if let Some(partner) = partner {
        query
            .push(" AND partner_id = ")
            .push_bind(partner.to_string());
    }
    if let Some(only) = only {
        query.push(" AND id = ").push_bind(only.to_string());
    }
    query.push(" ORDER BY seq LIMIT ").push_bind(page.fetch());
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, record)?)
}

/// Whether a gateway or number of the customer still carries calls, so that it cannot go.
pub async fn is_in_use(connection: &mut SqliteConnection, id: Uuid) -> Result<bool, StoreError> {
    const USED: &str = "SELECT 1 FROM gateways WHERE customer_id = ?1 AND state = 'active'
        UNION SELECT 1 FROM numbers WHERE customer_id = ?1 AND in_service LIMIT 1";
    Ok(sqlx::query(USED)
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?
        .is_some())
}

/// `music` by its owner.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    music: &HashMap<String, Arc<Clip>>,
) -> Result<Vec<Customer>, StoreError> {
    let rows = sqlx::query("SELECT * FROM customers")
        .fetch_all(connection)
        .await?;
    let customer = |row| {
        let CustomerRecord { id, settings, .. } = record(row)?;
        let of_partner = settings
            .partner_id
            .and_then(|id| music.get(&owner(Some(id))));
        Ok(Customer {
            id,
            account_id: settings.account_id,
            name: settings.name,
            max_channels: settings.max_channels,
            regions: settings.regions,
            pbx_moh: settings.pbx_moh,
            music: of_partner.or_else(|| music.get(&owner(None))).cloned(),
            caller_screening: settings.caller_screening,
            emergency_numbers: settings.emergency_numbers,
            admin_state: settings.admin_state,
            activation_state: settings.activation_state,
        })
    };
    rows.iter().map(customer).collect()
}

async fn written(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<CustomerRecord, StoreError> {
    Ok(find(connection, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::open::tests::fresh;
    use super::*;

    pub(in super::super) fn acme() -> CustomerSettings {
        let settings =
            serde_json::json!({ "account_id": "acme", "name": "Acme", "max_channels": 2 });
        serde_json::from_value(settings).unwrap()
    }

    /// Four are the least that a customer needs to say; the rest has defaults.
    #[tokio::test]
    async fn a_customer_comes_back_as_it_went_in() {
        let (_folder, store) = fresh().await;
        let mut connection = store.read().await.unwrap();
        let full = CustomerSettings {
            partner_id: Some(Uuid::from_u128(5)),
            account_id: "full".into(),
            name: "Ünïcode & Söhne".into(),
            max_channels: 7,
            regions: vec!["US".into(), "EU".into()],
            pbx_moh: true,
            sip_data_access: true,
            caller_screening: false,
            emergency_numbers: vec!["110".into()],
            admin_state: AdminState::Disabled,
            activation_state: ActivationState::Active,
            activation_reason: Some("migrated".into()),
        };
        for settings in [acme(), full] {
            let inserted = insert(&mut connection, &settings).await.unwrap();
            assert_eq!((&inserted.settings, inserted.version), (&settings, 1));
            assert_eq!(
                find(&mut connection, inserted.id).await.unwrap().unwrap(),
                inserted
            );
            let changed = CustomerSettings {
                max_channels: 99,
                ..settings.clone()
            };
            let updated = update(&mut connection, inserted.id, &changed)
                .await
                .unwrap();
            assert_eq!((updated.settings, updated.version), (changed, 2));
        }
    }

    #[tokio::test]
    async fn an_account_id_is_taken_once() {
        let (_folder, store) = fresh().await;
        let mut connection = store.read().await.unwrap();
        insert(&mut connection, &acme()).await.unwrap();
        let error = insert(&mut connection, &acme()).await.unwrap_err();
        assert!(matches!(error, StoreError::Taken(what) if what == "customers.account_id"));
    }

    /// Five in pages of two: none missing, none twice.
    #[tokio::test]
    async fn pages_make_up_the_whole_list() {
        let (_folder, store) = fresh().await;
        let mut connection = store.read().await.unwrap();
        for n in 0..5 {
            insert(
                &mut connection,
                &CustomerSettings {
                    account_id: n.to_string(),
                    ..acme()
                },
            )
            .await
            .unwrap();
        }
        let (mut seen, mut page) = (
            Vec::new(),
            Page {
                after: None,
                limit: 2,
            },
        );
        loop {
            let listed = list(&mut connection, None, None, page).await.unwrap();
            seen.extend(listed.items.iter().map(|c| c.settings.account_id.clone()));
            let Some(next) = listed.next else { break };
            page.after = Some(next);
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    }
}
