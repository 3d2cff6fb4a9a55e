//! Desk telephones: whose they are, what they are shown as, and what calls make of them.

pub mod binding;
pub mod codes;
pub mod files;
pub mod models;

use super::error::Faults;
use super::rows::{id, micros, named, new_id, now, of, optional_id, optional_time, parsed, time};
use super::{Change, KeyError, Keys, Listed, Page, Sealed, StoreError, users};
use crate::base::Random;
use crate::directory::{Phone, Secret};
use crate::provisioning::UserState;
use crate::provisioning::device::{
    DeviceEvent, DeviceMethod, DeviceModel, DeviceState, Equipment, Mac, OPEN_FOR, Wish, check,
};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

/// A telephone that is to be a user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Whose it will be: somebody with a licence, a number and an extension.
    pub user_id: Uuid,
    /// Code of a model on the customer's list.
    #[schema(example = "yealink-t46u")]
    pub model: String,
    /// With `mac` it is active at once, with `code` when somebody has typed the code.
    pub method: DeviceMethod,
    /// 12 hexadecimal digits in any usual spelling; with the method `mac` only.
    #[serde(default)]
    #[schema(example = "00:15:65:AA:BB:CC")]
    pub mac: Option<String>,
    /// Where it stands; at most 64 characters.
    #[serde(default)]
    pub site: Option<String>,
}

/// What can be changed of a telephone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceSettings {
    /// Where it stands; at most 64 characters.
    #[serde(default)]
    pub site: Option<String>,
}

/// What became of the mail that tells a user of its telephone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Welcome {
    /// Nobody has asked for it.
    NotRequested,
    /// It is to be sent.
    Pending,
}

impl Welcome {
    fn name(self) -> &'static str {
        match self {
            Self::NotRequested => "not_requested",
            Self::Pending => "pending",
        }
    }
}

/// A stored telephone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose customer's.
    pub customer_id: Uuid,
    /// Who has it; null when it was taken away.
    pub user_id: Option<Uuid>,
    /// The user's name for people.
    pub user_name: Option<String>,
    /// By which the user is called within the customer.
    pub extension: Option<String>,
    /// Code of the model.
    pub model: String,
    /// How it was or will be activated.
    pub method: DeviceMethod,
    /// 12 hexadecimal digits in lower case; null until it is known.
    pub mac: Option<String>,
    /// How far it is.
    pub state: DeviceState,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub state_since: OffsetDateTime,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: DeviceSettings,
    /// As whom it registers.
    pub sip_username: String,
    /// When it became the user's.
    #[serde(with = "time::serde::rfc3339::option")]
    pub activated_at: Option<OffsetDateTime>,
    /// When it last fetched its file.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_config_fetch: Option<OffsetDateTime>,
    /// From which address.
    pub last_ip: Option<String>,
    /// As what it introduced itself.
    pub last_user_agent: Option<String>,
    /// What became of the mail that tells the user of it.
    pub email_sent: Welcome,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
    /// When it or its user was last changed.
    #[serde(skip)]
    pub changed_at: OffsetDateTime,
    /// Never part of a record that is answered or audited: see [`DeviceRecord::secrets`].
    #[serde(skip)]
    sealed: Sealed,
}

impl DeviceRecord {
    /// What only the telephone itself knows.
    ///
    /// # Errors
    /// It does not open with these keys.
    pub fn secrets(&self, keys: &Keys) -> Result<DeviceSecrets, StoreError> {
        DeviceSecrets::opened(keys, self.id, &self.sealed)
    }
}

/// The table in which telephones' secrets are sealed.
const SECRETS: &str = "devices";

/// What only the telephone itself knows, and who sets it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSecrets {
    /// Of the telephone's own menu.
    pub admin: Secret,
    /// By which it registers.
    pub sip: Secret,
    /// By which it fetches its file.
    pub file: Secret,
}

impl DeviceSecrets {
    fn random() -> Self {
        let mut random = Random::from_seed(rand::random());
        let mut secret = |length| Secret::new(random.token(length));
        Self {
            admin: secret(12),
            sip: secret(24),
            file: secret(24),
        }
    }

    /// As they are kept: the three in this order, each on a line, for none has one in it.
    fn sealed(&self, keys: &Keys, device: Uuid) -> Result<Sealed, StoreError> {
        let lines = [&self.admin, &self.sip, &self.file].map(Secret::expose);
        let text = Zeroizing::new(lines.join("\n"));
        Ok(keys.seal(SECRETS, &device.to_string(), &text)?)
    }

    fn opened(keys: &Keys, device: Uuid, sealed: &Sealed) -> Result<Self, StoreError> {
        let device = device.to_string();
        let text = keys.open(SECRETS, &device, sealed)?;
        let mut lines = text.expose().lines().map(Secret::new);
        let mut next = || {
            let broken = || KeyError::Broken(format!("{SECRETS} {device}"));
            lines.next().ok_or_else(broken)
        };
        Ok(Self {
            admin: next()?,
            sip: next()?,
            file: next()?,
        })
    }
}

/// Which telephones to list; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// In this state.
    pub state: Option<DeviceState>,
    /// This user's.
    pub user: Option<Uuid>,
    /// Of this model.
    pub model: Option<String>,
    /// With this in its MAC address, extension, or the user's name, in whatever case.
    pub search: Option<String>,
}

impl NewDevice {
    fn address(&self) -> Result<Option<Mac>, StoreError> {
        let read = self.mac.as_deref().map(str::parse::<Mac>).transpose();
        let mut faults = Faults::default();
        if let Err(error) = &read {
            faults.demand(false, "mac", "bad_mac", error.to_string());
        }
        settings_faults(&mut faults, self.site.as_deref());
        faults.or(read.unwrap_or_default())
    }
}

fn settings_faults(faults: &mut Faults, site: Option<&str>) {
    if let Some(site) = site {
        faults.length("site", site, 1, 64);
    }
}

const SELECT: &str = "SELECT devices.*, users.extension, users.display_name,
    max(devices.updated_at, coalesce(users.updated_at, 0)) AS changed_at FROM devices
    LEFT JOIN users ON users.id = devices.user_id";

fn sealed(row: &SqliteRow) -> Result<Sealed, sqlx::Error> {
    Ok(Sealed {
        key_id: row.try_get("key_id")?,
        text: row.try_get("secrets")?,
    })
}

fn record(row: &SqliteRow) -> Result<DeviceRecord, sqlx::Error> {
    Ok(DeviceRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        user_id: optional_id(row, "user_id")?,
        user_name: row.try_get("display_name")?,
        extension: row.try_get("extension")?,
        model: row.try_get("model")?,
        method: named(row, "method")?,
        mac: row.try_get("mac")?,
        state: named(row, "state")?,
        state_since: time(row, "state_since")?,
        settings: DeviceSettings {
            site: row.try_get("site")?,
        },
        sip_username: row.try_get("sip_username")?,
        activated_at: optional_time(row, "activated_at")?,
        last_config_fetch: optional_time(row, "last_config_fetch")?,
        last_ip: row.try_get("last_ip")?,
        last_user_agent: row.try_get("last_user_agent")?,
        email_sent: named(row, "welcome")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
        changed_at: time(row, "changed_at")?,
        sealed: sealed(row)?,
    })
}

/// Makes a telephone a user's, or lets it wait for its code, which is issued then.
pub async fn insert(
    change: &mut Change,
    customer: Uuid,
    new: &NewDevice,
    at: OffsetDateTime,
) -> Result<DeviceRecord, StoreError> {
    let mac = new.address()?;
    let user = users::find(change, customer, new.user_id).await?;
    let mut faults = Faults::default();
    let whose = "must be a user of the customer";
    faults.demand(user.is_some(), "user_id", "unknown_user", whose);
    let user = faults.or(user)?;
    let (extension, equipment) = match &user {
        None => (String::new(), Equipment::default()),
        Some(user) => (
            user.settings.extension.clone().unwrap_or_default(),
            equipment(&user.settings),
        ),
    };
    let wish = Wish {
        model: DeviceModel::of(&new.model),
        is_listed: models::has(change, customer, &new.model).await?,
        method: new.method,
        mac,
        user: equipment,
    };
    let mut faults = Faults::default();
    for fault in check(&wish) {
        let (field, code) = fault.field_and_code();
        faults.demand(false, field, code, fault.to_string());
    }
    faults.or(())?;
    if active_of(change, new.user_id).await?.is_some() {
        return Err(StoreError::Taken("devices.user_id".to_owned()));
    }
    let device = add(change, customer, new, mac, &extension, at).await?;
    if new.method == DeviceMethod::Code {
        codes::issue(change, device, at).await?;
    }
    written(change, device).await
}

/// What a user has of what a telephone needs.
fn equipment(user: &users::UserSettings) -> Equipment {
    Equipment {
        enabled: user.state == UserState::Enabled,
        license: user.license_assigned,
        number: user.default_did.is_some(),
        extension: user.extension.is_some(),
    }
}

async fn add(
    change: &mut Change,
    customer: Uuid,
    new: &NewDevice,
    mac: Option<Mac>,
    extension: &str,
    at: OffsetDateTime,
) -> Result<Uuid, StoreError> {
    let mut random = Random::from_seed(rand::random());
    let state = DeviceState::begin(new.method);
    let activated = state.is_active().then_some(at);
    let device = new_id();
    let secrets = DeviceSecrets::random().sealed(&change.keys(), device)?;
    sqlx::query(
        "INSERT INTO devices (id, customer_id, user_id, model, method, mac, state, state_since, site, sip_username, secrets,
         key_id, open_until, activated_at, welcome, created_at, updated_at, version)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(device.to_string())
    .bind(customer.to_string())
    .bind(new.user_id.to_string())
    .bind(&new.model)
    .bind(new.method.name())
    .bind(mac.map(|mac| mac.to_string()))
    .bind(state.name())
    .bind(micros(at))
    .bind(&new.site)
    .bind(format!("{extension}-{}", random.token(8)))
    .bind(secrets.text)
    .bind(secrets.key_id)
    .bind(activated.map(|at| micros(at + OPEN_FOR)))
    .bind(activated.map(micros))
    .bind(Welcome::NotRequested.name())
    .bind(micros(at))
    .bind(micros(at))
    .execute(&mut **change)
    .await?;
    Ok(device)
}

/// Changes what can be changed.
pub async fn update(
    connection: &mut SqliteConnection,
    device: Uuid,
    settings: &DeviceSettings,
) -> Result<DeviceRecord, StoreError> {
    let mut faults = Faults::default();
    settings_faults(&mut faults, settings.site.as_deref());
    faults.or(())?;
    const UPDATE: &str =
        "UPDATE devices SET site = ?, updated_at = ?, version = version + 1 WHERE id = ?";
    sqlx::query(UPDATE)
        .bind(&settings.site)
        .bind(micros(now()))
        .bind(device.to_string())
        .execute(&mut *connection)
        .await?;
    written(connection, device).await
}

/// Carries out what happened to a telephone, if it means anything there; whether it did.
pub async fn happened(
    connection: &mut SqliteConnection,
    device: &DeviceRecord,
    event: DeviceEvent,
    at: OffsetDateTime,
) -> Result<bool, StoreError> {
    const UPDATE: &str =
        "UPDATE devices SET state = ?, state_since = ?, updated_at = ?, version = version + 1
        WHERE id = ? AND state = ?";
    let Some(state) = device.state.on(event) else {
        return Ok(false);
    };
    let changed = sqlx::query(UPDATE)
        .bind(state.name())
        .bind(micros(at))
        .bind(micros(at))
        .bind(device.id.to_string())
        .bind(device.state.name())
        .execute(connection)
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// Takes a telephone from its user: its code is void, its credentials are nobody's.
pub async fn deactivate(
    connection: &mut SqliteConnection,
    device: &DeviceRecord,
    at: OffsetDateTime,
) -> Result<DeviceRecord, StoreError> {
    let device = written(connection, device.id).await?;
    happened(connection, &device, DeviceEvent::Deactivated, at).await?;
    codes::void(connection, device.id, at).await?;
    sqlx::query("UPDATE devices SET user_id = NULL, open_until = NULL WHERE id = ?")
        .bind(device.id.to_string())
        .execute(&mut *connection)
        .await?;
    written(connection, device.id).await
}

/// Removes one that is not active.
pub async fn delete(connection: &mut SqliteConnection, device: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM devices WHERE id = ?")
        .bind(device.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes that the user is to be told of its telephone.
pub async fn request_welcome(
    connection: &mut SqliteConnection,
    device: Uuid,
) -> Result<DeviceRecord, StoreError> {
    const UPDATE: &str =
        "UPDATE devices SET welcome = ?, updated_at = ?, version = version + 1 WHERE id = ?";
    sqlx::query(UPDATE)
        .bind(Welcome::Pending.name())
        .bind(micros(now()))
        .bind(device.to_string())
        .execute(&mut *connection)
        .await?;
    written(connection, device).await
}

fn select(rest: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{SELECT} {rest}"))
}

/// The one of this id, whosever.
pub async fn find(
    connection: &mut SqliteConnection,
    device: Uuid,
) -> Result<Option<DeviceRecord>, StoreError> {
    let query = sqlx::query(select("WHERE devices.id = ?")).bind(device.to_string());
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// The active one with this address.
pub async fn with_mac(
    connection: &mut SqliteConnection,
    mac: Mac,
) -> Result<Option<DeviceRecord>, StoreError> {
    let query = sqlx::query(select(
        "WHERE devices.mac = ? AND devices.state IN ('activated', 'provisioning', 'online', 'offline')",
    ));
    let row = query
        .bind(mac.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// Those that are registered, as far as is noted.
pub async fn online(connection: &mut SqliteConnection) -> Result<Vec<Uuid>, StoreError> {
    let query = sqlx::query("SELECT id FROM devices WHERE state = 'online'");
    let rows = query.fetch_all(connection).await?;
    let ids = rows.iter().map(|row| id(row, "id"));
    Ok(ids.collect::<Result<_, sqlx::Error>>()?)
}

/// The one that a user has, or that waits to be activated for them.
pub async fn current_of(
    connection: &mut SqliteConnection,
    user: Uuid,
) -> Result<Option<Uuid>, StoreError> {
    const CURRENT: &str = "SELECT id FROM devices WHERE user_id = ? AND state <> 'deactivated'
        ORDER BY state = 'awaiting_code', seq DESC LIMIT 1";
    let query = sqlx::query(CURRENT).bind(user.to_string());
    let row = query.fetch_optional(connection).await?;
    Ok(row.map(|row| id(&row, "id")).transpose()?)
}

/// The active one of a user.
pub async fn active_of(
    connection: &mut SqliteConnection,
    user: Uuid,
) -> Result<Option<DeviceRecord>, StoreError> {
    let query = sqlx::query(select(
        "WHERE devices.user_id = ? AND devices.state IN ('activated', 'provisioning', 'online', 'offline')",
    ));
    let row = query
        .bind(user.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// Whether a customer has telephones that calls know, so that calls know its users.
pub async fn any_active(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<bool, StoreError> {
    const ANY: &str = "SELECT 1 FROM devices WHERE customer_id = ?
        AND state IN ('activated', 'provisioning', 'online', 'offline') LIMIT 1";
    let query = sqlx::query(ANY).bind(customer.to_string());
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// A customer's, in the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
    filter: &DeviceFilter,
    page: Page,
) -> Result<Listed<DeviceRecord>, StoreError> {
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(SELECT);
    query
        .push(" WHERE devices.customer_id = ")
        .push_bind(customer.to_string())
        .push(" AND devices.seq > ")
        .push_bind(page.after.unwrap_or(0));
    if let Some(state) = filter.state {
        query.push(" AND devices.state = ").push_bind(state.name());
    }
    if let Some(user) = filter.user {
        query
            .push(" AND devices.user_id = ")
            .push_bind(user.to_string());
    }
    if let Some(model) = &filter.model {
        query.push(" AND devices.model = ").push_bind(model.clone());
    }
    if let Some(text) = &filter.search {
        search(&mut query, text);
    }
    query
        .push(" ORDER BY devices.seq LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, record)?)
}

fn search(query: &mut QueryBuilder<Sqlite>, text: &str) {
    let pattern = |text: &str| {
        let literal = text.replace('\\', r"\\");
        format!("%{}%", literal.replace('%', r"\%").replace('_', r"\_"))
    };
    // An address may be written as on its label.
    let digits = text.to_ascii_lowercase().replace([':', '-', '.'], "");
    let columns = [
        ("devices.mac", digits.as_str()),
        ("users.extension", text),
        ("users.display_name", text),
        ("users.upn", text),
    ];
    for (n, (column, text)) in columns.into_iter().enumerate() {
        query.push(if n == 0 { " AND (" } else { " OR " });
        query.push(column);
        query.push(" LIKE ").push_bind(pattern(text));
        query.push(r" ESCAPE '\'");
    }
    query.push(")");
}

/// What calls know of telephones, of all customers or of one. Those that wait for a code or were taken away have no
/// credentials that anybody could have.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    keys: &Keys,
    customer: Option<Uuid>,
) -> Result<Vec<Phone>, StoreError> {
    const ALL: &str = "SELECT devices.id, devices.customer_id, devices.user_id, devices.mac, devices.sip_username,
        devices.secrets, devices.key_id, users.extension, users.display_name, users.state = 'enabled' AS is_enabled,
        (SELECT number FROM numbers WHERE numbers.user_id = users.id AND numbers.number = users.default_did
            AND numbers.in_service AND numbers.source <> 'microsoft' AND numbers.kind = 'did') AS number
        FROM devices JOIN users ON users.id = devices.user_id
        WHERE devices.state IN ('activated', 'provisioning', 'online', 'offline') AND users.extension IS NOT NULL";
    let rows = of(ALL, " AND devices.customer_id = ", customer)
        .build()
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| phone(row, keys)).collect()
}

fn phone(row: &SqliteRow, keys: &Keys) -> Result<Phone, StoreError> {
    let text = |column| row.try_get::<String, _>(column);
    let number: Option<String> = row.try_get("number")?;
    let mac: Option<String> = row.try_get("mac")?;
    let mac = mac
        .map(|mac| parsed("mac", mac.parse::<Mac>()))
        .transpose()?;
    let device = id(row, "id")?;
    Ok(Phone {
        device,
        customer: id(row, "customer_id")?,
        user: optional_id(row, "user_id")?,
        extension: text("extension")?.into(),
        auth_user: text("sip_username")?.into(),
        password: DeviceSecrets::opened(keys, device, &sealed(row)?)?.sip,
        display_name: text("display_name")?.into(),
        number: number
            .map(|number| parsed("number", number.parse()))
            .transpose()?,
        active: row.try_get("is_enabled")?,
        bootstrap: mac.map(Mac::bytes),
    })
}

async fn written(
    connection: &mut SqliteConnection,
    device: Uuid,
) -> Result<DeviceRecord, StoreError> {
    Ok(find(connection, device)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
pub(super) mod tests;
