//! Customers' exchanges that have users of their own.

use super::error::{Faults, is_domain};
use super::rows::{id, int, json, micros, named, new_id, now, of, optional_int, time, to_json};
use super::trunks::{check_profile, networks};
use super::{Listed, Page, StoreError, pbx_types};
use crate::directory::{self, PbxKind, Profile};
use crate::provisioning::{DnsLookup, PbxDefaults, PbxTransport};
use crate::sip::{Hop, Realm, Transport};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// An exchange of a customer where users are registered. What is null is taken from its type when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PbxSettings {
    /// Code of one of the customer's PBX types.
    #[schema(example = "netsapiens")]
    pub pbx_type: String,
    /// For people; 1 to 64 characters, unique within the customer.
    #[schema(example = "Headquarters")]
    pub location: String,
    /// What stands behind the `@` of its users: a name, or an address without brackets.
    #[schema(example = "contoso.pbx.example")]
    pub sip_domain: String,
    /// Whom a REGISTER is addressed to; null: `sip_domain`.
    #[serde(default)]
    pub registrar: Option<String>,
    /// Where requests are sent; null: the registrar.
    #[serde(default)]
    pub proxy: Option<String>,
    /// How the address of that is found. `port` counts with `a`, or where it is an address.
    #[serde(default)]
    pub dns_lookup: Option<DnsLookup>,
    /// What carries requests.
    #[serde(default)]
    pub transport: Option<PbxTransport>,
    /// 1 to 65535.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub port: Option<u16>,
    /// Seconds that a registration is to last, 60 to 86400; a registrar may demand more or grant less.
    #[serde(default)]
    pub expires_s: Option<u32>,
    /// On UDP, seconds between empty datagrams that keep the way back open, 10 to 300; null: none are sent.
    #[serde(default)]
    pub keep_alive_s: Option<u32>,
    /// Addresses or networks that may bring calls besides the one where a registration stands, as the nodes of a cluster.
    #[serde(default)]
    #[schema(example = json!(["198.51.100.0/24"]))]
    pub acl: Vec<String>,
    /// How it differs from others.
    #[serde(default)]
    pub profile: Option<Profile>,
}

/// A stored exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Pbx)]
pub struct PbxRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: PbxSettings,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

/// Settings with nothing left out.
struct Whole<'a> {
    settings: &'a PbxSettings,
    dns_lookup: DnsLookup,
    transport: PbxTransport,
    port: u16,
    expires_s: u32,
    profile: Profile,
}

impl PbxSettings {
    fn whole(&self, defaults: &PbxDefaults) -> Result<Whole<'_>, StoreError> {
        let mut faults = Faults::default();
        faults.length("location", &self.location, 1, 64);
        let is_host = |text: &str| text.parse::<IpAddr>().is_ok() || is_domain(text);
        let hosts = [
            ("sip_domain", Some(&self.sip_domain)),
            ("registrar", self.registrar.as_ref()),
            ("proxy", self.proxy.as_ref()),
        ];
        for (field, host) in hosts {
            faults.demand(
                host.is_none_or(|host| is_host(host)),
                field,
                "host",
                "must be a domain name, or an address without brackets",
            );
        }
        faults.demand(self.port != Some(0), "port", "range", "must be 1 to 65535");
        faults.demand(
            self.expires_s.is_none_or(|s| (60..=86_400).contains(&s)),
            "expires_s",
            "range",
            "must be 60 to 86400",
        );
        faults.demand(
            self.keep_alive_s.is_none_or(|s| (10..=300).contains(&s)),
            "keep_alive_s",
            "range",
            "must be 10 to 300",
        );
        networks(&self.acl, &mut faults);
        let kind = PbxKind::of_type(&self.pbx_type);
        let profile = self.profile.clone().unwrap_or_else(|| kind.profile());
        check_profile(&profile, &mut faults);
        faults.or(Whole {
            settings: self,
            dns_lookup: self.dns_lookup.unwrap_or(defaults.dns_lookup),
            transport: self.transport.unwrap_or(defaults.transport),
            port: self.port.unwrap_or(defaults.port),
            expires_s: self.expires_s.unwrap_or(defaults.expires_s),
            profile,
        })
    }
}

fn record(row: &SqliteRow) -> Result<PbxRecord, sqlx::Error> {
    Ok(PbxRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        settings: PbxSettings {
            pbx_type: row.try_get("pbx_type")?,
            location: row.try_get("location")?,
            sip_domain: row.try_get("sip_domain")?,
            registrar: row.try_get("registrar")?,
            proxy: row.try_get("proxy")?,
            dns_lookup: Some(named(row, "dns_lookup")?),
            transport: Some(named(row, "transport")?),
            port: Some(int(row, "port")?),
            expires_s: Some(int(row, "expires_s")?),
            keep_alive_s: optional_int(row, "keep_alive_s")?,
            acl: json(row, "acl")?,
            profile: Some(json(row, "profile")?),
        },
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one to a customer.
pub async fn insert(
    connection: &mut SqliteConnection,
    customer: Uuid,
    settings: &PbxSettings,
) -> Result<PbxRecord, StoreError> {
    let whole = settings.whole(&defaults(connection, settings).await?)?;
    let (id, at) = (new_id(), micros(now()));
    sqlx::query(
        "INSERT INTO pbxs (id, customer_id, pbx_type, location, sip_domain, dns_lookup, transport, port, expires_s, acl,
         profile, created_at, updated_at, version) VALUES (?, ?, ?, ?, '', '', '', 0, 0, '', '', ?, ?, 0)",
    )
    .bind(id.to_string())
    .bind(customer.to_string())
    .bind(&settings.pbx_type)
    .bind(&settings.location)
    .bind(at)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    write(connection, customer, id, &whole).await
}

/// Changes everything that the settings say.
pub async fn update(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
    settings: &PbxSettings,
) -> Result<PbxRecord, StoreError> {
    let whole = settings.whole(&defaults(connection, settings).await?)?;
    write(connection, customer, id, &whole).await
}

/// What its type says.
async fn defaults(
    connection: &mut SqliteConnection,
    settings: &PbxSettings,
) -> Result<PbxDefaults, StoreError> {
    let found = pbx_types::find(connection, &settings.pbx_type).await?;
    let mut faults = Faults::default();
    faults.demand(
        found.is_some(),
        "pbx_type",
        "unknown_pbx_type",
        "must be the code of a PBX type",
    );
    faults.or(found
        .map(|found| found.settings.defaults)
        .unwrap_or_default())
}

async fn write(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
    whole: &Whole<'_>,
) -> Result<PbxRecord, StoreError> {
    let settings = whole.settings;
    sqlx::query(
        "UPDATE pbxs SET pbx_type = ?, location = ?, sip_domain = ?, registrar = ?, proxy = ?, dns_lookup = ?, transport = ?,
         port = ?, expires_s = ?, keep_alive_s = ?, acl = ?, profile = ?, updated_at = ?, version = version + 1
         WHERE customer_id = ? AND id = ?",
    )
    .bind(&settings.pbx_type)
    .bind(&settings.location)
    .bind(&settings.sip_domain)
    .bind(&settings.registrar)
    .bind(&settings.proxy)
    .bind(whole.dns_lookup.name())
    .bind(whole.transport.name())
    .bind(whole.port)
    .bind(whole.expires_s)
    .bind(settings.keep_alive_s)
    .bind(to_json(&settings.acl))
    .bind(to_json(&whole.profile))
    .bind(micros(now()))
    .bind(customer.to_string())
    .bind(id.to_string())
    .execute(&mut *connection)
    .await?;
    Ok(find(connection, customer, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

/// Removes one; not while somebody is registered there.
pub async fn delete(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pbxs WHERE customer_id = ? AND id = ?")
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
) -> Result<Option<PbxRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM pbxs WHERE customer_id = ? AND id = ?");
    let row = query
        .bind(customer.to_string())
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// A customer's, in the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
    page: Page,
) -> Result<Listed<PbxRecord>, StoreError> {
    let query =
        sqlx::query("SELECT * FROM pbxs WHERE customer_id = ? AND seq > ? ORDER BY seq LIMIT ?")
            .bind(customer.to_string())
            .bind(page.after.unwrap_or(0))
            .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

/// All, or a customer's, by their ids.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
) -> Result<HashMap<Uuid, Arc<directory::Pbx>>, StoreError> {
    let rows = of("SELECT * FROM pbxs", " WHERE customer_id = ", customer)
        .build()
        .fetch_all(connection)
        .await?;
    let compiled = rows.iter().map(|row| {
        let record = record(row)?;
        Ok((record.id, Arc::new(compiled(record)?)))
    });
    compiled.collect()
}

/// An exchange as calls see it. What a row has passed its checks when it was written.
fn compiled(record: PbxRecord) -> Result<directory::Pbx, StoreError> {
    let mut faults = Faults::default();
    let settings = record.settings;
    let registrar = settings
        .registrar
        .unwrap_or_else(|| settings.sip_domain.clone());
    let host = settings.proxy.unwrap_or_else(|| registrar.clone());
    let transport = match settings.transport {
        Some(PbxTransport::Tcp) => Transport::Tcp,
        Some(PbxTransport::Tls) => Transport::Tls,
        Some(PbxTransport::Udp) | None => Transport::Udp,
    };
    let by_records = matches!(settings.dns_lookup, Some(DnsLookup::Srv | DnsLookup::Naptr))
        && host.parse::<IpAddr>().is_err();
    let hop = Hop {
        port: settings.port.filter(|_| !by_records),
        transport: Some(transport)
            .filter(|_| !by_records || settings.dns_lookup != Some(DnsLookup::Naptr)),
        host,
        realm: Realm::Trunk,
    };
    let kind = PbxKind::of_type(&settings.pbx_type);
    let acl = networks(&settings.acl, &mut faults);
    faults.or(directory::Pbx {
        id: record.id,
        name: settings.location,
        kind,
        domain: settings.sip_domain,
        registrar,
        hop,
        expires_s: settings.expires_s.unwrap_or(3600),
        keep_alive: settings
            .keep_alive_s
            .map(|seconds| Duration::from_secs(seconds.into())),
        acl,
        profile: settings.profile.unwrap_or_else(|| kind.profile()),
    })
}
