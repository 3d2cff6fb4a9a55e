//! Regions.

use super::error::{Faults, is_domain};
use super::rows::{int, json, micros, now, time, to_json};
use super::{Listed, Page, StoreError};
use crate::directory::Region;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A place where this SBC is paired with Teams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionSettings {
    /// 1 to 32 capital letters, digits and `_`; unique, never changed.
    #[schema(example = "EU_WEST_1")]
    pub code: String,
    /// For people; 1 to 128 characters.
    pub display_name: String,
    /// The carrier trunk's name at Teams; gateways are its direct children. Unique.
    #[schema(example = "sbc1.example.net")]
    pub base_fqdn: String,
    /// The port that Teams dials.
    #[serde(default = "default_sip_port")]
    #[schema(default = 5061, minimum = 1)]
    pub sip_port: u16,
    /// Whether the carrier trunk has media bypass at Microsoft. Regions with and without it need different ports.
    #[serde(default)]
    pub media_bypass: bool,
    /// Emergency numbers of the region, as dialled there, without `+`.
    #[serde(default)]
    pub emergency_numbers: Vec<String>,
    /// Whether its gateways are used.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
}

/// A stored region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Region)]
pub struct RegionRecord {
    /// What can be changed.
    #[serde(flatten)]
    pub settings: RegionSettings,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

fn default_sip_port() -> u16 {
    5061
}

fn yes() -> bool {
    true
}

impl RegionSettings {
    fn check(&self) -> Result<(), StoreError> {
        let mut faults = Faults::default();
        let code = self.code.as_bytes();
        let well_formed = code
            .iter()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == b'_');
        let fits = (1..=32).contains(&code.len()) && well_formed;
        faults.demand(
            fits,
            "code",
            "format",
            "must be 1 to 32 capital letters, digits and _",
        );
        faults.length("display_name", &self.display_name, 1, 128);
        let domain = is_domain(&self.base_fqdn) && self.base_fqdn.contains('.');
        faults.demand(domain, "base_fqdn", "domain_name", "must be a domain name");
        let own = !self
            .base_fqdn
            .to_ascii_lowercase()
            .ends_with(".onmicrosoft.com");
        faults.demand(
            own,
            "base_fqdn",
            "onmicrosoft",
            "must not be under onmicrosoft.com (TDR-111)",
        );
        faults.demand(
            self.base_fqdn.len() <= 46,
            "base_fqdn",
            "length",
            "must leave room for a label within 48 characters (TDR-111)",
        );
        faults.demand(self.sip_port > 0, "sip_port", "range", "must be 1 to 65535");
        faults.emergency_numbers(&self.emergency_numbers);
        faults.or(())
    }
}

fn record(row: &SqliteRow) -> Result<RegionRecord, sqlx::Error> {
    Ok(RegionRecord {
        settings: RegionSettings {
            code: row.try_get("code")?,
            display_name: row.try_get("display_name")?,
            base_fqdn: row.try_get("base_fqdn")?,
            sip_port: int(row, "sip_port")?,
            media_bypass: row.try_get("media_bypass")?,
            emergency_numbers: json(row, "emergency_numbers")?,
            enabled: row.try_get("enabled")?,
        },
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one.
pub async fn insert(
    connection: &mut SqliteConnection,
    settings: &RegionSettings,
) -> Result<RegionRecord, StoreError> {
    settings.check()?;
    let at = now();
    sqlx::query(
        "INSERT INTO regions (code, display_name, base_fqdn, sip_port, media_bypass, emergency_numbers, enabled, created_at,
         updated_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(&settings.code)
    .bind(&settings.display_name)
    .bind(settings.base_fqdn.to_ascii_lowercase())
    .bind(settings.sip_port)
    .bind(settings.media_bypass)
    .bind(to_json(&settings.emergency_numbers))
    .bind(settings.enabled)
    .bind(micros(at))
    .bind(micros(at))
    .execute(&mut *connection)
    .await?;
    written(connection, &settings.code).await
}

/// Changes all but the code. A base domain that gateways are under cannot change: [`StoreError::Reference`].
pub async fn update(
    connection: &mut SqliteConnection,
    settings: &RegionSettings,
) -> Result<RegionRecord, StoreError> {
    settings.check()?;
    let moved = sqlx::query(
        "SELECT 1 FROM regions JOIN gateways ON region = code WHERE code = ? AND base_fqdn <> ? LIMIT 1",
    );
    let moved = moved
        .bind(&settings.code)
        .bind(&settings.base_fqdn)
        .fetch_optional(&mut *connection)
        .await?;
    if moved.is_some() {
        return Err(StoreError::Reference);
    }
    sqlx::query(
        "UPDATE regions SET display_name = ?, base_fqdn = ?, sip_port = ?, media_bypass = ?, emergency_numbers = ?, enabled = ?,
         updated_at = ?, version = version + 1 WHERE code = ?",
    )
    .bind(&settings.display_name)
    .bind(settings.base_fqdn.to_ascii_lowercase())
    .bind(settings.sip_port)
    .bind(settings.media_bypass)
    .bind(to_json(&settings.emergency_numbers))
    .bind(settings.enabled)
    .bind(micros(now()))
    .bind(&settings.code)
    .execute(&mut *connection)
    .await?;
    written(connection, &settings.code).await
}

/// Removes one; [`StoreError::Reference`] while a gateway is in it.
pub async fn delete(connection: &mut SqliteConnection, code: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM regions WHERE code = ?")
        .bind(code)
        .execute(connection)
        .await?;
    Ok(())
}

/// The one of this code.
pub async fn find(
    connection: &mut SqliteConnection,
    code: &str,
) -> Result<Option<RegionRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM regions WHERE code = ?")
        .bind(code)
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// In the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    page: Page,
) -> Result<Listed<RegionRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM regions WHERE seq > ? ORDER BY seq LIMIT ?");
    let rows = query
        .bind(page.after.unwrap_or(0))
        .bind(page.fetch())
        .fetch_all(connection)
        .await?;
    Ok(page.cut(&rows, record)?)
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Region>, StoreError> {
    let rows = sqlx::query("SELECT * FROM regions")
        .fetch_all(connection)
        .await?;
    let region = |row| {
        let RegionSettings {
            code,
            base_fqdn,
            sip_port,
            media_bypass,
            emergency_numbers,
            enabled,
            ..
        } = record(row)?.settings;
        Ok(Region {
            code,
            base_fqdn,
            sip_port,
            media_bypass,
            emergency_numbers,
            enabled,
        })
    };
    rows.iter().map(region).collect()
}

async fn written(
    connection: &mut SqliteConnection,
    code: &str,
) -> Result<RegionRecord, StoreError> {
    Ok(find(connection, code)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::open::tests::fresh;
    use super::*;

    pub(in super::super) fn europe() -> RegionSettings {
        RegionSettings {
            code: "EU".into(),
            display_name: "Europe".into(),
            base_fqdn: "eu.example.net".into(),
            sip_port: 5061,
            media_bypass: false,
            emergency_numbers: vec!["110".into()],
            enabled: true,
        }
    }

    #[tokio::test]
    async fn rules_name_every_field_that_breaks_one() {
        let (_folder, store) = fresh().await;
        let bad = RegionSettings {
            code: "eu".into(),
            display_name: String::new(),
            base_fqdn: "x.onmicrosoft.com".into(),
            sip_port: 0,
            media_bypass: false,
            emergency_numbers: vec!["110".into(), "+112".into()],
            enabled: true,
        };
        let Err(StoreError::Faults(faults)) = insert(&mut store.read().await.unwrap(), &bad).await
        else {
            panic!("accepted");
        };
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "code",
                "display_name",
                "base_fqdn",
                "sip_port",
                "emergency_numbers[1]"
            ]
        );
    }

    #[tokio::test]
    async fn codes_and_base_domains_are_unique() {
        let (_folder, store) = fresh().await;
        let mut connection = store.read().await.unwrap();
        insert(&mut connection, &europe()).await.unwrap();
        let taken = |error| matches!(error, StoreError::Taken(what) if what == "regions.base_fqdn");
        let twin = RegionSettings {
            code: "EU2".into(),
            base_fqdn: "EU.example.NET".into(),
            ..europe()
        };
        assert!(taken(insert(&mut connection, &twin).await.unwrap_err()));
    }
}
