//! Customers.

use super::error::{Faults, billing_references, is_domain};
use super::music::Piece;
use super::rows::{
    id, int, json, micros, named, new_id, now, of, optional_id, optional_int, optional_named,
    optional_time, time, to_json,
};
use super::{Listed, Page, StoreError, partners, pbx_types};
use crate::audio::Clip;
use crate::directory::{ActivationState, AdminState, Customer};
use crate::provisioning::{CoManagement, Consent, Offering, SeatType, SyncState, is_email};
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

/// Which customers to list; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomerFilter {
    /// Of this partner or of one below it.
    pub within: Option<Uuid>,
    /// Of this very partner.
    pub partner: Option<Uuid>,
    /// This one.
    pub only: Option<Uuid>,
    /// Has this in its account id, name or tenant name.
    pub text: Option<String>,
    /// Stands there.
    pub state: Option<CustomerStates>,
    /// In this order.
    pub sort: CustomerSort,
}

/// One of the states that a customer has beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomerStates {
    /// What the operator wants.
    Admin(AdminState),
    /// How far Teams is.
    Activation(ActivationState),
    /// Whether calls obey what is stored.
    Sync(SyncState),
}

/// The order of a list of customers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CustomerSort {
    /// Oldest first.
    #[default]
    Oldest,
    /// Newest first.
    Newest,
    /// By name, case does not count.
    Name,
    /// The same backwards.
    NameDown,
    /// By account id.
    Account,
    /// The same backwards.
    AccountDown,
}

impl CustomerSort {
    /// What is compared, besides `seq`; none compares `seq` alone.
    fn column(self) -> Option<&'static str> {
        match self {
            Self::Oldest | Self::Newest => None,
            Self::Name | Self::NameDown => Some("name COLLATE NOCASE"),
            Self::Account | Self::AccountDown => Some("account_id"),
        }
    }

    fn is_down(self) -> bool {
        matches!(self, Self::Newest | Self::NameDown | Self::AccountDown)
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
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
        sync_version: row.try_get("sync_version")?,
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

/// Those that the filter lets through, in its order.
pub async fn list(
    connection: &mut SqliteConnection,
    filter: &CustomerFilter,
    page: Page,
) -> Result<Listed<CustomerRecord>, StoreError> {
    let mut query = sqlx::QueryBuilder::new("SELECT * FROM customers WHERE TRUE");
    if let Some(top) = filter.within {
        let top = top.to_string();
        query.push(" AND partner_id IN (SELECT id FROM partners WHERE id = ");
        query.push_bind(top.clone()).push(" OR parent_id = ");
        query.push_bind(top).push(")");
    }
    if let Some(partner) = filter.partner {
        query
            .push(" AND partner_id = ")
            .push_bind(partner.to_string());
    }
    if let Some(only) = filter.only {
        query.push(" AND id = ").push_bind(only.to_string());
    }
    if let Some(state) = filter.state {
        let (column, name) = match state {
            CustomerStates::Admin(state) => ("admin_state", state.name()),
            CustomerStates::Activation(state) => ("activation_state", state.name()),
            CustomerStates::Sync(state) => ("sync_state", state.name()),
        };
        query.push(format_args!(" AND {column} = ")).push_bind(name);
    }
    if let Some(text) = &filter.text {
        search(&mut query, text);
    }
    order(connection, &mut query, filter.sort, page).await?;
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, record)?)
}

type Query = sqlx::QueryBuilder<sqlx::Sqlite>;

/// Three characters or more are looked up; fewer have to be looked for.
fn search(query: &mut Query, text: &str) {
    if text.chars().count() >= 3 {
        let phrase = format!("\"{}\"", text.replace('"', "\"\""));
        query.push(" AND seq IN (SELECT rowid FROM customers_search WHERE customers_search MATCH ");
        query.push_bind(phrase).push(")");
        return;
    }
    for (index, column) in ["account_id", "name", "tenant_name"].iter().enumerate() {
        let joined = if index == 0 { " AND (" } else { " OR " };
        query.push(format_args!("{joined}instr(lower({column}), "));
        query.push_bind(text.to_lowercase()).push(") > 0");
    }
    query.push(")");
}

/// From the row after the last page's on.
async fn order(
    connection: &mut SqliteConnection,
    query: &mut Query,
    sort: CustomerSort,
    page: Page,
) -> Result<(), StoreError> {
    let (beyond, direction) = if sort.is_down() {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    if let Some(after) = page.after {
        match sort.column() {
            None => query.push(format_args!(" AND seq {beyond} ")),
            Some(column) => {
                let place = sqlx::query("SELECT 1 FROM customers WHERE seq = ?").bind(after);
                if place.fetch_optional(connection).await?.is_none() {
                    return Err(StoreError::LostPlace);
                }
                query.push(format_args!(
                    " AND ({column}, seq) {beyond} (SELECT {column}, seq FROM customers WHERE seq = "
                ))
            }
        };
        query.push_bind(after);
        query.push(sort.column().map_or("", |_| ")"));
    }
    query.push(" ORDER BY ");
    if let Some(column) = sort.column() {
        query.push(format_args!("{column} {direction}, "));
    }
    query.push(format_args!("seq {direction} LIMIT "));
    query.push_bind(page.fetch());
    Ok(())
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::open::tests::fresh;
    use super::super::partners::tests::reseller;
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
        let mut sold = reseller("p@p.example", None);
        sold.offerings.push(Offering::Pbx);
        let partner = partners::insert(&mut connection, &sold).await.unwrap().id;
        let full = CustomerSettings {
            partner_id: Some(partner),
            account_id: "full".into(),
            name: "Ünïcode & Söhne".into(),
            tenant_name: Some("Full.onmicrosoft.com".into()),
            admin_email: Some("Admin@full.example".into()),
            seat_type: Some(SeatType::Bundled),
            user_limit: Some(3),
            offerings: vec![Offering::Trunk, Offering::Pbx],
            pbx_types: vec!["generic".into()],
            allow_external_numbers: false,
            can_add_extensions: true,
            billing_references: vec!["a".into(), "b".into()],
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
            let listed = list(&mut connection, &CustomerFilter::default(), page)
                .await
                .unwrap();
            seen.extend(listed.items.iter().map(|c| c.settings.account_id.clone()));
            let Some(next) = listed.next else { break };
            page.after = Some(next);
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    }

    /// In every order, cut in pages of two, none is missing and none comes twice; with a filter only those that fit.
    #[tokio::test]
    async fn lists_are_sorted_searched_and_cut() {
        let (_folder, store) = fresh().await;
        let mut connection = store.read().await.unwrap();
        for (account, name, state) in [
            ("3", "beta", AdminState::Enabled),
            ("1", "Alpha \"quoted\"", AdminState::Disabled),
            ("2", "beta", AdminState::Enabled),
            ("4", "Gamma", AdminState::Enabled),
            ("5", "Ältere", AdminState::Enabled),
        ] {
            let settings = CustomerSettings {
                account_id: account.into(),
                name: name.into(),
                tenant_name: Some(format!("t{account}.onmicrosoft.com")),
                admin_state: state,
                ..acme()
            };
            insert(&mut connection, &settings).await.unwrap();
        }
        let mut pages = async |filter: CustomerFilter| {
            let (mut seen, mut page) = (
                String::new(),
                Page {
                    after: None,
                    limit: 2,
                },
            );
            loop {
                let listed = list(&mut connection, &filter, page).await.unwrap();
                seen.extend(listed.items.iter().map(|c| c.settings.account_id.clone()));
                let Some(next) = listed.next else { return seen };
                page.after = Some(next);
            }
        };
        let sorted = |sort| CustomerFilter {
            sort,
            ..CustomerFilter::default()
        };
        assert_eq!(pages(sorted(CustomerSort::Oldest)).await, "31245");
        assert_eq!(pages(sorted(CustomerSort::Newest)).await, "54213");
        assert_eq!(pages(sorted(CustomerSort::Name)).await, "13245");
        assert_eq!(pages(sorted(CustomerSort::NameDown)).await, "54231");
        assert_eq!(pages(sorted(CustomerSort::Account)).await, "12345");
        assert_eq!(pages(sorted(CustomerSort::AccountDown)).await, "54321");
        let text = |text: &str| CustomerFilter {
            text: Some(text.into()),
            ..CustomerFilter::default()
        };
        assert_eq!(pages(text("BET")).await, "32");
        assert_eq!(pages(text("a \"quo")).await, "1");
        assert_eq!(pages(text("T4.onmicrosoft")).await, "4");
        assert_eq!(pages(text("b")).await, "32");
        assert_eq!(pages(text("nowhere")).await, "");
        assert_eq!(pages(text("OR NOT *")).await, "");
        let off = CustomerFilter {
            state: Some(CustomerStates::Admin(AdminState::Disabled)),
            ..CustomerFilter::default()
        };
        assert_eq!(pages(off).await, "1");
        let gone = Page {
            after: Some(99),
            limit: 2,
        };
        let lost = list(&mut connection, &sorted(CustomerSort::Name), gone).await;
        assert!(matches!(lost, Err(StoreError::LostPlace)));
    }

    /// A tenant has one customer, in whatever case its name is written.
    #[tokio::test]
    async fn a_tenant_is_taken_once() {
        let (_folder, store) = fresh().await;
        let mut connection = store.read().await.unwrap();
        let of = |account: &str, tenant: &str| CustomerSettings {
            account_id: account.into(),
            tenant_name: Some(tenant.into()),
            ..acme()
        };
        insert(&mut connection, &of("a", "Contoso.example"))
            .await
            .unwrap();
        let twice = insert(&mut connection, &of("b", "contoso.EXAMPLE"))
            .await
            .unwrap_err();
        assert!(matches!(twice, StoreError::Taken(what) if what == "customers.tenant_name"));
    }
}
