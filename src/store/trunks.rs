//! Trunks.

use super::error::{Faults, is_domain};
use super::rows::{
    id, int, json, micros, named, new_id, now, of, optional_id, optional_int, parsed, time, to_json,
};
use super::{Change, Keys, Listed, Page, StoreError};
use crate::audio::tones;
use crate::directory::{Auth, MohMethod, NumberFormat, Profile, Role, Secret, Trunk, TrunkState};
use crate::sip::Transport;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::net::IpAddr;
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A SIP peering with a PBX or a carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrunkSettings {
    /// 1 to 64 characters, unique within the customer.
    pub name: String,
    /// What stands at the other end.
    pub role: Role,
    /// What carries requests, both ways.
    #[serde(with = "TransportName")]
    #[schema(value_type = TransportName)]
    pub transport: Transport,
    /// Where requests go: a name, or an address without brackets.
    pub host: String,
    /// None asks DNS, or takes the transport's default.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub port: Option<u16>,
    /// How the peer proves who it is.
    #[serde(default)]
    pub auth: Auth,
    /// For digest, in both directions; at most 60 characters.
    #[serde(default)]
    pub username: Option<String>,
    /// For digest, in both directions; at most 128 characters. Never shown; null removes it, absence keeps it.
    #[serde(default, skip_serializing_if = "Password::is_secret")]
    #[schema(value_type = Option<String>, write_only)]
    pub password: Password,
    /// Addresses or networks that the peer may send from; an empty list lets in nobody.
    #[serde(default)]
    #[schema(example = json!(["198.51.100.7", "2001:db8::/64"]))]
    pub acl: Vec<String>,
    /// Calls allowed at once, both directions together; none is no limit.
    #[serde(default)]
    pub cac_max_sessions: Option<u32>,
    /// How it writes numbers.
    #[serde(default)]
    pub number_format: NumberFormatName,
    /// With the national format: `44`.
    #[serde(default)]
    pub country_code: Option<String>,
    /// With the national format: what goes before a national number.
    #[serde(default)]
    pub trunk_prefix: Option<String>,
    /// With the national format: what goes before a country code.
    #[serde(default)]
    pub international_prefix: Option<String>,
    /// How often OPTIONS asks whether it lives, 10 to 3600 seconds; none never does.
    #[serde(default)]
    pub options_ping_s: Option<u32>,
    /// Lower is tried first.
    #[serde(default)]
    pub priority: u16,
    /// The service of the customer that it serves; only for trunks of a customer.
    #[serde(default)]
    pub service_id: Option<Uuid>,
    /// Share among equal priorities.
    #[serde(default = "default_weight")]
    #[schema(default = 1)]
    pub weight: u16,
    /// What the operator wants of it.
    #[serde(default)]
    pub state: TrunkState,
    /// How it differs from others.
    #[serde(default)]
    pub profile: Profile,
}

/// A stored trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Trunk)]
pub struct TrunkRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose; none is shared by all customers.
    pub customer_id: Option<Uuid>,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: TrunkSettings,
    /// Whether it has a password.
    pub password_set: bool,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

/// What becomes of a trunk's password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Password {
    /// It stays as it is.
    #[default]
    Keep,
    /// There is none any more.
    Remove,
    /// This from now on.
    Set(Secret),
}

/// As null: what it is, is told to nobody.
impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.map_or(Self::Remove, |text| Self::Set(Secret::new(text))))
    }
}

/// What carries SIP.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(remote = "Transport", rename_all = "snake_case")]
#[schema(as = Transport)]
pub enum TransportName {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NumberFormat)]
pub enum NumberFormatName {
    /// `+14255550100`; when read, the `+` may be missing.
    #[default]
    E164,
    /// As dialled in one country.
    National,
}

fn default_weight() -> u16 {
    1
}

impl TrunkSettings {
    /// The trunk as calls see it; whatever breaks a rule is at fault.
    fn trunk(
        &self,
        id: Uuid,
        customer: Option<Uuid>,
        password: Option<Secret>,
    ) -> Result<Trunk, StoreError> {
        let mut faults = Faults::default();
        faults.length("name", &self.name, 1, 64);
        let host = self.host.parse::<IpAddr>().is_ok() || is_domain(&self.host);
        faults.demand(
            host,
            "host",
            "host",
            "must be a domain name, or an address without brackets",
        );
        faults.demand(self.port != Some(0), "port", "range", "must be 1 to 65535");
        if let Some(username) = &self.username {
            faults.length("username", username, 1, 60);
        }
        if let Some(password) = &password {
            faults.length("password", password.expose(), 1, 128);
        }
        if self.auth != Auth::IpAcl {
            let needed = format!("is needed where auth is {}", self.auth.name());
            let username = self.username.is_some();
            faults.demand(username, "username", "required", &*needed);
            faults.demand(password.is_some(), "password", "required", &*needed);
        }
        if let Some(seconds) = self.options_ping_s {
            faults.demand(
                (10..=3600).contains(&seconds),
                "options_ping_s",
                "range",
                "must be 10 to 3600",
            );
        }
        let acl = networks(&self.acl, &mut faults);
        let number_format = self.format(&mut faults);
        check_profile(&self.profile, &mut faults);
        faults.or(Trunk {
            id,
            customer,
            name: self.name.clone(),
            role: self.role,
            transport: self.transport,
            host: self.host.clone(),
            port: self.port,
            auth: self.auth,
            username: self.username.clone(),
            password,
            acl,
            cac_max_sessions: self.cac_max_sessions,
            number_format,
            options_ping: self
                .options_ping_s
                .map(|seconds| Duration::from_secs(seconds.into())),
            priority: self.priority,
            weight: self.weight,
            state: self.state,
            profile: self.profile.clone(),
            line: None,
        })
    }

    fn format(&self, faults: &mut Faults) -> NumberFormat {
        let parts = [
            ("country_code", &self.country_code, 3),
            ("trunk_prefix", &self.trunk_prefix, 4),
            ("international_prefix", &self.international_prefix, 5),
        ];
        for (field, value, most) in parts {
            let Some(digits) = value else { continue };
            let fits = digits.len() <= most && digits.bytes().all(|c| c.is_ascii_digit());
            faults.demand(
                fits,
                field,
                "digits",
                format!("must be at most {most} digits"),
            );
        }
        if self.number_format == NumberFormatName::E164 {
            return NumberFormat::E164;
        }
        let country_code = self.country_code.clone().unwrap_or_default();
        let given = !country_code.is_empty() && !country_code.starts_with('0');
        faults.demand(
            given,
            "country_code",
            "required",
            "is needed for the national format, and does not begin with 0",
        );
        NumberFormat::National {
            country_code,
            trunk_prefix: self.trunk_prefix.clone().unwrap_or_default(),
            international_prefix: self.international_prefix.clone().unwrap_or_default(),
        }
    }
}

/// An access list, as far as it is sound.
pub(super) fn networks(acl: &[String], faults: &mut Faults) -> Vec<IpNet> {
    faults.demand(acl.len() <= 64, "acl", "too_many", "must be at most 64");
    let mut networks = Vec::with_capacity(acl.len());
    for (index, text) in acl.iter().enumerate() {
        let network = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let field = || format!("acl[{index}]");
        faults.demand(
            network.is_ok(),
            field(),
            "network",
            "must be an address or a network such as 198.51.100.0/24",
        );
        if let Ok(network) = network {
            faults.demand(
                network.prefix_len() > 0,
                field(),
                "open",
                "must not hold every address",
            );
            networks.push(network);
        }
    }
    networks
}

/// The rules of a profile.
pub(super) fn check_profile(profile: &Profile, faults: &mut Faults) {
    check_registration(profile, faults);
    faults.demand(
        profile.min_se_s >= 90,
        "profile.min_se_s",
        "range",
        "must be at least 90 (RFC 4028 §5)",
    );
    if let Some(seconds) = profile.session_expires_s {
        let fits = (profile.min_se_s..=86_400).contains(&seconds);
        faults.demand(
            fits,
            "profile.session_expires_s",
            "range",
            "must be min_se_s to 86400",
        );
    }
    let suites = &profile.srtp_suites;
    let twice = |(n, suite)| suites[..n].contains(suite);
    faults.demand(
        !suites.is_empty() && !suites.iter().enumerate().any(twice),
        "profile.srtp_suites",
        "list",
        "must be at least one, and none twice",
    );
    let ring = (5..=600).contains(&profile.ring_timeout_s);
    faults.demand(ring, "profile.ring_timeout_s", "range", "must be 5 to 600");
    let ringback = profile.transfer_ringback_s <= 60;
    faults.demand(
        ringback,
        "profile.transfer_ringback_s",
        "range",
        "must be 0 to 60",
    );
    let target = profile.moh_target.as_deref();
    faults.demand(
        target.is_none_or(is_user_part),
        "profile.moh_target",
        "format",
        "must be the user part of a SIP URI",
    );
    faults.demand(
        target.is_some() || profile.moh_method != MohMethod::Refer,
        "profile.moh_target",
        "required",
        "is needed where moh_method is refer",
    );
    let known = |country: &String| tones::ringback_of(country).is_some();
    faults.demand(
        profile.tone_country.as_ref().is_none_or(known),
        "profile.tone_country",
        "unknown",
        "must be the ISO 3166 code of a country whose tones are known",
    );
    faults.demand(
        profile.codecs.len() <= 16,
        "profile.codecs",
        "too_many",
        "must be at most 16",
    );
    for (index, codec) in profile.codecs.iter().enumerate() {
        let token = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let fits = (1..=32).contains(&codec.len()) && codec.bytes().all(token);
        faults.demand(
            fits,
            format!("profile.codecs[{index}]"),
            "format",
            "must be a codec's name",
        );
    }
}

fn check_registration(profile: &Profile, faults: &mut Faults) {
    let main_line = profile.main_line.as_deref();
    faults.demand(
        main_line.is_none_or(is_user_part),
        "profile.main_line",
        "format",
        "must be the user part of a SIP URI",
    );
    let domain = profile.sip_domain.as_deref();
    faults.demand(
        domain.is_none_or(|domain| domain.parse::<IpAddr>().is_ok() || is_domain(domain)),
        "profile.sip_domain",
        "host",
        "must be a domain name, or an address without brackets",
    );
    faults.demand(
        (60..=86_400).contains(&profile.register_expires_s),
        "profile.register_expires_s",
        "range",
        "must be 60 to 86400",
    );
}

/// What needs no escape there (RFC 3261 §25.1).
fn is_user_part(text: &str) -> bool {
    let unreserved = |c: u8| c.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&c);
    (1..=64).contains(&text.len()) && text.bytes().all(unreserved)
}

fn record(row: &SqliteRow) -> Result<TrunkRecord, sqlx::Error> {
    let settings = TrunkSettings {
        name: row.try_get("name")?,
        role: named(row, "role")?,
        transport: parsed(
            "transport",
            TransportName::deserialize(serde_json::Value::String(row.try_get("transport")?)),
        )?,
        host: row.try_get("host")?,
        port: optional_int(row, "port")?,
        auth: named(row, "auth")?,
        username: row.try_get("username")?,
        password: Password::Keep,
        acl: json(row, "acl")?,
        cac_max_sessions: optional_int(row, "cac_max_sessions")?,
        number_format: named(row, "number_format")?,
        country_code: row.try_get("country_code")?,
        trunk_prefix: row.try_get("trunk_prefix")?,
        international_prefix: row.try_get("international_prefix")?,
        options_ping_s: optional_int(row, "options_ping_s")?,
        priority: int(row, "priority")?,
        service_id: optional_id(row, "service_id")?,
        weight: int(row, "weight")?,
        state: named(row, "state")?,
        profile: json(row, "profile")?,
    };
    Ok(TrunkRecord {
        id: id(row, "id")?,
        customer_id: optional_id(row, "customer_id")?,
        settings,
        password_set: row.try_get("password_set")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Where passwords are.
const PASSWORDS: &str = "trunk_passwords";

/// Adds one to a customer, or to all.
pub async fn insert(
    change: &mut Change,
    customer: Option<Uuid>,
    settings: &TrunkSettings,
) -> Result<TrunkRecord, StoreError> {
    let id = new_id();
    settings.trunk(id, customer, settings.password.applied_to(None))?;
    let at = now();
    sqlx::query(
        "INSERT INTO trunks (id, customer_id, name, role, transport, host, auth, acl, number_format, priority, weight, state,
         profile, created_at, updated_at, version) VALUES (?, ?, ?, '', '', '', '', '', '', 0, 0, '', '', ?, ?, 0)",
    )
    .bind(id.to_string())
    .bind(customer.map(|id| id.to_string()))
    .bind(&settings.name)
    .bind(micros(at))
    .bind(micros(at))
    .execute(&mut **change)
    .await?;
    write(change, customer, id, settings, at).await
}

/// Changes everything that the settings say.
pub async fn update(
    change: &mut Change,
    customer: Option<Uuid>,
    id: Uuid,
    settings: &TrunkSettings,
) -> Result<TrunkRecord, StoreError> {
    let current = password(change, id).await?;
    settings.trunk(id, customer, settings.password.applied_to(current))?;
    write(change, customer, id, settings, now()).await
}

async fn password(change: &mut Change, id: Uuid) -> Result<Option<Secret>, StoreError> {
    let keys = change.keys();
    let query = sqlx::query("SELECT password, key_id FROM trunk_passwords WHERE trunk_id = ?")
        .bind(id.to_string());
    let row = query.fetch_optional(&mut **change).await?;
    let current = row.map(|row| {
        let (password, key_id) = (row.try_get("password")?, row.try_get("key_id")?);
        keys.opened(PASSWORDS, &id.to_string(), password, key_id)
    });
    current.transpose()
}

/// Whether a trunk would have another password.
pub async fn changes_password(
    change: &mut Change,
    id: Uuid,
    new: &Password,
) -> Result<bool, StoreError> {
    let current = password(change, id).await?;
    Ok(new.applied_to(current.clone()) != current)
}

/// A trunk serves a service of its own customer, if any.
async fn check_service(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
    service: Option<Uuid>,
) -> Result<(), StoreError> {
    let Some(service) = service else {
        return Ok(());
    };
    let found = match customer {
        Some(customer) => super::services::find(connection, customer, service).await?,
        None => None,
    };
    let mut faults = Faults::default();
    faults.demand(
        found.is_some(),
        "service_id",
        "unknown_service",
        "is no service of the trunk's customer",
    );
    faults.or(())
}

async fn write(
    change: &mut Change,
    customer: Option<Uuid>,
    id: Uuid,
    settings: &TrunkSettings,
    at: OffsetDateTime,
) -> Result<TrunkRecord, StoreError> {
    let keys = change.keys();
    let connection: &mut SqliteConnection = change;
    check_service(connection, customer, settings.service_id).await?;
    let number_format = match settings.number_format {
        NumberFormatName::E164 => "e164",
        NumberFormatName::National => "national",
    };
    sqlx::query(
        "UPDATE trunks SET name = ?, role = ?, transport = ?, host = ?, port = ?, auth = ?, username = ?, acl = ?,
         cac_max_sessions = ?, number_format = ?, country_code = ?, trunk_prefix = ?, international_prefix = ?,
         options_ping_s = ?, priority = ?, service_id = ?, weight = ?, state = ?, profile = ?, updated_at = ?, version = version + 1
         WHERE id = ? AND customer_id IS ?",
    )
    .bind(&settings.name)
    .bind(settings.role.name())
    .bind(settings.transport.parameter())
    .bind(&settings.host)
    .bind(settings.port)
    .bind(settings.auth.name())
    .bind(&settings.username)
    .bind(to_json(&settings.acl))
    .bind(settings.cac_max_sessions)
    .bind(number_format)
    .bind(&settings.country_code)
    .bind(&settings.trunk_prefix)
    .bind(&settings.international_prefix)
    .bind(settings.options_ping_s)
    .bind(settings.priority)
    .bind(settings.service_id.map(|id| id.to_string()))
    .bind(settings.weight)
    .bind(settings.state.name())
    .bind(to_json(&settings.profile))
    .bind(micros(at))
    .bind(id.to_string())
    .bind(customer.map(|id| id.to_string()))
    .execute(&mut *connection)
    .await?;
    settings.password.write(connection, &keys, id).await?;
    Ok(find(connection, customer, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

impl Password {
    /// Always: it never leaves in any form.
    pub(super) fn is_secret(&self) -> bool {
        true
    }

    pub(super) fn applied_to(&self, current: Option<Secret>) -> Option<Secret> {
        match self {
            Self::Keep => current,
            Self::Remove => None,
            Self::Set(new) => Some(new.clone()),
        }
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        keys: &Keys,
        trunk: Uuid,
    ) -> Result<(), StoreError> {
        let trunk = trunk.to_string();
        let query = match self {
            Self::Keep => return Ok(()),
            Self::Remove => {
                sqlx::query("DELETE FROM trunk_passwords WHERE trunk_id = ?").bind(trunk)
            }
            Self::Set(new) => {
                let sealed = keys.seal(PASSWORDS, &trunk, new.expose())?;
                sqlx::query(
                    "INSERT OR REPLACE INTO trunk_passwords (trunk_id, password, key_id) VALUES (?, ?, ?)",
                )
                .bind(trunk)
                .bind(sealed.text)
                .bind(sealed.key_id)
            }
        };
        query.execute(connection).await?;
        Ok(())
    }
}

/// Removes one.
pub async fn delete(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
    id: Uuid,
) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM trunks WHERE id = ? AND customer_id IS ?");
    query
        .bind(id.to_string())
        .bind(customer.map(|id| id.to_string()))
        .execute(connection)
        .await?;
    Ok(())
}

/// The one of this id, if it is this customer's, or shared.
pub async fn find(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
    id: Uuid,
) -> Result<Option<TrunkRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT trunks.*, password IS NOT NULL AS password_set FROM trunks LEFT JOIN trunk_passwords ON trunk_id = id
         WHERE id = ? AND customer_id IS ?",
    );
    let query = query
        .bind(id.to_string())
        .bind(customer.map(|id| id.to_string()));
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// A customer's, or the shared ones, in the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
    page: Page,
) -> Result<Listed<TrunkRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT trunks.*, password IS NOT NULL AS password_set FROM trunks LEFT JOIN trunk_passwords ON trunk_id = id
         WHERE customer_id IS ? AND seq > ? ORDER BY seq LIMIT ?",
    );
    let query = query
        .bind(customer.map(|id| id.to_string()))
        .bind(page.after.unwrap_or(0))
        .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

/// All, or a customer's.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    keys: &Keys,
    customer: Option<Uuid>,
) -> Result<Vec<Trunk>, StoreError> {
    const SELECT: &str = "SELECT trunks.*, password, key_id, password IS NOT NULL AS password_set
         FROM trunks LEFT JOIN trunk_passwords ON trunk_id = id";
    let trunk = |row: &SqliteRow| {
        let TrunkRecord {
            id,
            customer_id,
            settings,
            ..
        } = record(row)?;
        let key_id: Option<String> = row.try_get("key_id")?;
        let password = row
            .try_get::<Option<String>, _>("password")?
            .map(|text| keys.opened(PASSWORDS, &id.to_string(), text, key_id));
        let password = password.transpose()?;
        settings.trunk(id, customer_id, password)
    };
    of(SELECT, " WHERE customer_id = ", customer)
        .build()
        .fetch_all(connection)
        .await?
        .iter()
        .map(trunk)
        .collect()
}

#[cfg(test)]
mod tests;
