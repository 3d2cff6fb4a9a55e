//! Customers.

mod listing;
#[cfg(test)]
pub(super) mod tests;

pub use listing::{CustomerFilter, CustomerSort, CustomerStates, list};

use super::error::{Faults, billing_references, is_domain};
use super::music::Piece;
use super::rows::{
    id, int, json, micros, named, new_id, now, of, optional_id, optional_int, optional_named,
    optional_time, time, to_json,
};
use super::{StoreError, partners, pbx_types};
use crate::audio::Clip;
use crate::directory::{ActivationState, AdminState, Customer};
use crate::provisioning::{
    CoManagement, Consent, Offering, SeatType, SyncState, TeamsPush, is_email,
};
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
    /// The customer's name at Microsoft: `contoso.onmicrosoft.com` or a domain of its own; unique. Customers from before
    /// have none until it is said.
    #[serde(default)]
    #[schema(required = true, example = "contoso.onmicrosoft.com")]
    pub tenant_name: Option<String>,
    /// The customer's administrator at Microsoft; no other customer and no partner has it, in whatever case.
    #[serde(default)]
    pub admin_email: Option<String>,
    /// How its seats are sold; it only suggests `max_channels`.
    #[serde(default)]
    pub seat_type: Option<SeatType>,
    /// Users that it may have; none: as many as it likes.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub user_limit: Option<u32>,
    /// How its service reaches people; nothing that its partner does not sell.
    #[serde(default = "trunk_only")]
    #[schema(default = json!(["trunk"]))]
    pub offerings: Vec<Offering>,
    /// Codes of the PBX types that it may use; only with `pbx` in `offerings`.
    #[serde(default)]
    pub pbx_types: Vec<String>,
    /// Whether it may use numbers that the carrier does not own.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub allow_external_numbers: bool,
    /// Whether it may give users extensions that are no numbers.
    #[serde(default)]
    pub can_add_extensions: bool,
    /// Copied to billing; at most 16 of 1 to 128 characters.
    #[serde(default)]
    pub billing_references: Vec<String>,
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
    /// Microsoft's id of the tenant; none until it was looked up.
    pub tenant_id: Option<Uuid>,
    /// Whether carrier and partner may manage its users.
    pub co_management: CoManagementRecord,
    /// The same in one word.
    pub can_manage: bool,
    /// Whether calls obey what is stored.
    pub sync_state: SyncState,
    /// What became of its users' numbers at Microsoft at the last Sync; none before that.
    pub teams_push: Option<TeamsPush>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
    /// Grows with every change that a Sync has to carry out.
    #[serde(skip)]
    pub sync_version: i64,
    /// Whether its users were given their numbers at Microsoft before.
    #[serde(skip)]
    pub teams_pushed: bool,
}

/// Whether carrier and partner may manage a customer's users, and who said so last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CoManagement)]
pub struct CoManagementRecord {
    /// Whether carrier or partner asked for it.
    pub requested: bool,
    /// Where the customer's consent stands.
    pub state: Consent,
    /// The token by which it was last changed.
    pub changed_by: Option<Uuid>,
    /// When that was.
    #[serde(with = "time::serde::rfc3339::option")]
    pub changed_at: Option<OffsetDateTime>,
}

impl CoManagementRecord {
    /// Without who and when.
    pub fn value(&self) -> CoManagement {
        CoManagement {
            requested: self.requested,
            state: self.state,
        }
    }
}

fn yes() -> bool {
    true
}

fn trunk_only() -> Vec<Offering> {
    vec![Offering::Trunk]
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
        if let Some(tenant) = &self.tenant_name {
            faults.demand(
                is_domain(tenant) && tenant.contains('.'),
                "tenant_name",
                "format",
                "must be a domain name, such as contoso.onmicrosoft.com",
            );
        }
        if let Some(email) = &self.admin_email {
            faults.demand(
                is_email(email),
                "admin_email",
                "format",
                "must be an email address",
            );
        }
        faults.demand(
            self.user_limit != Some(0),
            "user_limit",
            "range",
            "must be at least 1, or null",
        );
        faults.offerings(&self.offerings);
        faults.demand(
            self.pbx_types.is_empty() || self.offerings.contains(&Offering::Pbx),
            "pbx_types",
            "needs_pbx",
            "needs pbx in offerings",
        );
        faults.demand(
            self.pbx_types.len() <= 32,
            "pbx_types",
            "too_many",
            "must be at most 32",
        );
        for (index, code) in self.pbx_types.iter().enumerate() {
            faults.demand(
                !self.pbx_types[..index].contains(code),
                format!("pbx_types[{index}]"),
                "twice",
                "is named twice",
            );
        }
        billing_references(&mut faults, &self.billing_references);
        faults.emergency_numbers(&self.emergency_numbers);
        if let Some(reason) = &self.activation_reason {
            faults.length("activation_reason", reason, 1, 256);
        }
        faults.or(())
    }
}

fn record(row: &SqliteRow) -> Result<CustomerRecord, sqlx::Error> {
    let co_management = CoManagementRecord {
        requested: row.try_get("co_management_requested")?,
        state: named(row, "co_management")?,
        changed_by: optional_id(row, "co_management_by")?,
        changed_at: optional_time(row, "co_management_at")?,
    };
    Ok(CustomerRecord {
        id: id(row, "id")?,
        settings: CustomerSettings {
            partner_id: optional_id(row, "partner_id")?,
            account_id: row.try_get("account_id")?,
            name: row.try_get("name")?,
            tenant_name: row.try_get("tenant_name")?,
            admin_email: row.try_get("admin_email")?,
            seat_type: optional_named(row, "seat_type")?,
            user_limit: optional_int(row, "user_limit")?,
            offerings: json(row, "offerings")?,
            pbx_types: json(row, "pbx_types")?,
            allow_external_numbers: row.try_get("allow_external_numbers")?,
            can_add_extensions: row.try_get("can_add_extensions")?,
            billing_references: json(row, "billing_references")?,
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
        tenant_id: optional_id(row, "tenant_id")?,
        can_manage: co_management.value().can_manage(),
        co_management,
        sync_state: named(row, "sync_state")?,
        teams_push: optional_named(row, "teams_push")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
        sync_version: row.try_get("sync_version")?,
        teams_pushed: optional_time(row, "teams_pushed_at")?.is_some(),
    })
}

/// Adds one.
pub async fn insert(
    connection: &mut SqliteConnection,
    settings: &CustomerSettings,
) -> Result<CustomerRecord, StoreError> {
    settings.check()?;
    check_catalogues(connection, settings).await?;
    let (id, at) = (new_id(), micros(now()));
    sqlx::query(
        "INSERT INTO customers (id, partner_id, account_id, name, max_channels, regions, pbx_moh, sip_data_access,
         caller_screening, emergency_numbers, admin_state, activation_state, created_at, updated_at, version)
         VALUES (?, ?, ?, '', 0, '[]', 0, 0, 0, '[]', '', '', ?, ?, 0)",
    )
    .bind(id.to_string())
    .bind(settings.partner_id.map(|id| id.to_string()))
    .bind(&settings.account_id)
    .bind(at)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    write(connection, id, settings, at).await?;
    written(connection, id).await
}

/// Changes all but the partner and the account id, which stay.
pub async fn update(
    connection: &mut SqliteConnection,
    id: Uuid,
    settings: &CustomerSettings,
) -> Result<CustomerRecord, StoreError> {
    settings.check()?;
    check_catalogues(connection, settings).await?;
    write(connection, id, settings, micros(now())).await?;
    written(connection, id).await
}

/// All that can be changed, into a row that is there.
async fn write(
    connection: &mut SqliteConnection,
    id: Uuid,
    settings: &CustomerSettings,
    at: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE customers SET name = ?, tenant_name = ?, admin_email = ?, seat_type = ?, user_limit = ?, offerings = ?,
         pbx_types = ?, allow_external_numbers = ?, can_add_extensions = ?, billing_references = ?, max_channels = ?,
         regions = ?, pbx_moh = ?, sip_data_access = ?, caller_screening = ?, emergency_numbers = ?, admin_state = ?,
         activation_state = ?, activation_reason = ?,
         tenant_id = CASE WHEN lower(?) IS lower(tenant_name) THEN tenant_id END,
         updated_at = ?, version = version + 1 WHERE id = ?",
    )
    .bind(&settings.name)
    .bind(&settings.tenant_name)
    .bind(&settings.admin_email)
    .bind(settings.seat_type.map(SeatType::name))
    .bind(settings.user_limit)
    .bind(to_json(&settings.offerings))
    .bind(to_json(&settings.pbx_types))
    .bind(settings.allow_external_numbers)
    .bind(settings.can_add_extensions)
    .bind(to_json(&settings.billing_references))
    .bind(settings.max_channels)
    .bind(to_json(&settings.regions))
    .bind(settings.pbx_moh)
    .bind(settings.sip_data_access)
    .bind(settings.caller_screening)
    .bind(to_json(&settings.emergency_numbers))
    .bind(settings.admin_state.name())
    .bind(settings.activation_state.name())
    .bind(&settings.activation_reason)
    .bind(&settings.tenant_name)
    .bind(at)
    .bind(id.to_string())
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// What other tables must know: the partner, what it sells, and the types of PBX.
async fn check_catalogues(
    connection: &mut SqliteConnection,
    settings: &CustomerSettings,
) -> Result<(), StoreError> {
    let mut faults = Faults::default();
    if let Some(id) = settings.partner_id {
        let partner = partners::find(connection, id).await?;
        let sold = partner.map(|partner| partner.settings.offerings);
        faults.demand(
            sold.is_some(),
            "partner_id",
            "unknown_partner",
            "is no partner's id",
        );
        let is_sold = |offering| sold.as_ref().is_none_or(|sold| sold.contains(offering));
        faults.demand(
            settings.offerings.iter().all(is_sold),
            "offerings",
            "not_offered",
            "must be sold by the customer's partner",
        );
    }
    for (index, code) in settings.pbx_types.iter().enumerate() {
        faults.demand(
            pbx_types::find(connection, code).await?.is_some(),
            format!("pbx_types[{index}]"),
            "unknown_pbx_type",
            "is no PBX type's code",
        );
    }
    faults.or(())
}

/// Who may manage its users from now on, by whose word.
pub async fn set_co_management(
    connection: &mut SqliteConnection,
    id: Uuid,
    value: CoManagement,
    by: Uuid,
) -> Result<CustomerRecord, StoreError> {
    let at = micros(now());
    sqlx::query(
        "UPDATE customers SET co_management_requested = ?, co_management = ?, co_management_by = ?, co_management_at = ?,
         updated_at = ?, version = version + 1 WHERE id = ?",
    )
    .bind(value.requested)
    .bind(value.state.name())
    .bind(by.to_string())
    .bind(at)
    .bind(at)
    .bind(id.to_string())
    .execute(&mut *connection)
    .await?;
    written(connection, id).await
}

/// Notes that a customer has something that a Sync has to carry out.
pub async fn touch(connection: &mut SqliteConnection, id: Uuid) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE customers SET sync_version = sync_version + 1, version = version + (sync_state NOT IN ('dirty', 'running')),
         sync_state = iif(sync_state = 'running', 'running', 'dirty') WHERE id = ?",
    )
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Says how far its Sync is.
pub async fn set_sync_state(
    connection: &mut SqliteConnection,
    id: Uuid,
    state: SyncState,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE customers SET sync_state = ?, version = version + 1 WHERE id = ?")
        .bind(state.name())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Says how its Sync ended, which began when it had this `sync_version`; what came since waits for the next.
pub async fn end_sync(
    connection: &mut SqliteConnection,
    id: Uuid,
    state: SyncState,
    seen: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE customers SET sync_state = iif(sync_version = ?, ?, 'dirty'), version = version + 1 WHERE id = ?";
    sqlx::query(sql)
        .bind(seen)
        .bind(state.name())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Says what became of its users' numbers at Microsoft.
pub async fn set_teams_push(
    connection: &mut SqliteConnection,
    id: Uuid,
    push: TeamsPush,
) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE customers SET teams_push = ?1,
        teams_pushed_at = iif(?1 = 'done', ifnull(teams_pushed_at, ?2), teams_pushed_at) WHERE id = ?3";
    sqlx::query(UPDATE)
        .bind(push.name())
        .bind(micros(now()))
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
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

/// All, or only one. `music` by its owner.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    only: Option<Uuid>,
    music: &HashMap<String, Arc<Clip>>,
) -> Result<Vec<Customer>, StoreError> {
    const SELECT: &str =
        "SELECT id, partner_id, account_id, name, max_channels, regions, pbx_moh, caller_screening,
        emergency_numbers, admin_state, activation_state FROM customers";
    let rows = of(SELECT, " WHERE id = ", only)
        .build()
        .fetch_all(connection)
        .await?;
    let customer = |row| {
        let of_partner =
            optional_id(row, "partner_id")?.and_then(|id| music.get(&Piece::of(Some(id)).key()));
        Ok(Customer {
            id: id(row, "id")?,
            account_id: row.try_get("account_id")?,
            name: row.try_get("name")?,
            max_channels: int(row, "max_channels")?,
            regions: json(row, "regions")?,
            pbx_moh: row.try_get("pbx_moh")?,
            music: of_partner
                .or_else(|| music.get(&Piece::Carrier.key()))
                .cloned(),
            caller_screening: row.try_get("caller_screening")?,
            emergency_numbers: json(row, "emergency_numbers")?,
            admin_state: named(row, "admin_state")?,
            activation_state: named(row, "activation_state")?,
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
