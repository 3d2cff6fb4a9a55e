//! Gateways.

use super::error::{Faults, is_label};
use super::rows::{id, int, micros, named, new_id, now, of, optional_time, time};
use super::{Listed, Page, RegionRecord, StoreError};
use crate::directory::{Gateway, GatewayState};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A customer's name at Teams, in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// Code of the region; never changed. One gateway for each customer and region.
    pub region: String,
    /// The first label of the name, under the region's base domain; never changed.
    #[schema(example = "contoso")]
    pub label: String,
    /// How far it has been set up at Microsoft.
    #[serde(default)]
    pub state: GatewayState,
    /// The text that Microsoft wants to find in DNS, given by the customer in manual activation.
    #[serde(default)]
    #[schema(example = "MS=ms12345678")]
    pub verification_code: Option<String>,
}

/// A stored gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Gateway)]
pub struct GatewayRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// The whole name, in lower case.
    pub fqdn: String,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: GatewaySettings,
    /// When its verification code was seen in DNS.
    #[serde(with = "time::serde::rfc3339::option")]
    pub dns_published_at: Option<OffsetDateTime>,
    /// When Microsoft was seen to know it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub verified_at: Option<OffsetDateTime>,
    /// What is wrong with it.
    pub error: Option<String>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

impl GatewaySettings {
    /// The whole name; a label that makes none is at fault.
    fn fqdn(&self, region: &RegionRecord) -> Result<String, StoreError> {
        let fqdn = format!("{}.{}", self.label, region.settings.base_fqdn).to_ascii_lowercase();
        let mut faults = Faults::default();
        faults.demand(
            is_label(&self.label),
            "label",
            "format",
            "must be letters, digits and inner hyphens",
        );
        let message = format!(
            "makes a name of {} characters, Microsoft allows 48 (TDR-111)",
            fqdn.len()
        );
        faults.demand(fqdn.len() <= 48, "label", "length", message);
        self.check_code(&mut faults);
        faults.or(fqdn)
    }

    /// Whether the code can be one.
    ///
    /// # Errors
    /// [`StoreError::Faults`] if not.
    pub fn check_code_alone(&self) -> Result<(), StoreError> {
        let mut faults = Faults::default();
        self.check_code(&mut faults);
        faults.or(())
    }

    /// `MS=ms` and digits, as Microsoft gives them out.
    fn check_code(&self, faults: &mut Faults) {
        let digits = self
            .verification_code
            .as_deref()
            .map(|code| code.strip_prefix("MS=ms").unwrap_or_default());
        let fits = digits.is_none_or(|digits| {
            (6..=16).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit())
        });
        faults.demand(
            fits,
            "verification_code",
            "bad_code",
            "must be MS=ms and digits",
        );
    }
}

fn record(row: &SqliteRow) -> Result<GatewayRecord, sqlx::Error> {
    Ok(GatewayRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        fqdn: row.try_get("fqdn")?,
        settings: GatewaySettings {
            region: row.try_get("region")?,
            label: row.try_get("label")?,
            state: named(row, "state")?,
            verification_code: row.try_get("verification_code")?,
        },
        dns_published_at: optional_time(row, "dns_published_at")?,
        verified_at: optional_time(row, "verified_at")?,
        error: row.try_get("error")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one to a customer.
pub async fn insert(
    connection: &mut SqliteConnection,
    customer: Uuid,
    settings: &GatewaySettings,
) -> Result<GatewayRecord, StoreError> {
    let region = super::regions::find(connection, &settings.region).await?;
    let mut faults = Faults::default();
    faults.demand(
        region.is_some(),
        "region",
        "unknown_region",
        "is no region's code",
    );
    let Some(region) = faults.or(region)? else {
        return Err(StoreError::Reference);
    };
    let fqdn = settings.fqdn(&region)?;
    let (id, at) = (new_id(), now());
    sqlx::query(
        "INSERT INTO gateways (id, customer_id, region, label, fqdn, state, verification_code, created_at, updated_at, version)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(id.to_string())
    .bind(customer.to_string())
    .bind(&settings.region)
    .bind(&settings.label)
    .bind(fqdn)
    .bind(settings.state.name())
    .bind(&settings.verification_code)
    .bind(micros(at))
    .bind(micros(at))
    .execute(&mut *connection)
    .await?;
    written(connection, customer, id).await
}

/// Changes its state and code.
pub async fn update(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
    settings: &GatewaySettings,
) -> Result<GatewayRecord, StoreError> {
    const UPDATE: &str = "UPDATE gateways SET state = ?, verification_code = ?, updated_at = ?, version = version + 1
        WHERE customer_id = ? AND id = ?";
    settings.check_code_alone()?;
    let query = sqlx::query(UPDATE)
        .bind(settings.state.name())
        .bind(&settings.verification_code)
        .bind(micros(now()));
    query
        .bind(customer.to_string())
        .bind(id.to_string())
        .execute(&mut *connection)
        .await?;
    written(connection, customer, id).await
}

/// What an activation finds out about a gateway, all of it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayProgress {
    /// Which.
    pub id: Uuid,
    /// How far it is.
    pub state: GatewayState,
    /// The text for DNS.
    pub verification_code: Option<String>,
    /// When the text was seen there.
    pub dns_published_at: Option<OffsetDateTime>,
    /// When Microsoft was seen to know it.
    pub verified_at: Option<OffsetDateTime>,
    /// What is wrong.
    pub error: Option<String>,
}

impl From<&GatewayRecord> for GatewayProgress {
    fn from(record: &GatewayRecord) -> Self {
        Self {
            id: record.id,
            state: record.settings.state,
            verification_code: record.settings.verification_code.clone(),
            dns_published_at: record.dns_published_at,
            verified_at: record.verified_at,
            error: record.error.clone(),
        }
    }
}

/// Notes how far a gateway is.
pub async fn progress(
    connection: &mut SqliteConnection,
    progress: &GatewayProgress,
) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE gateways SET state = ?, verification_code = ?, dns_published_at = ?, verified_at = ?,
        error = ?, updated_at = ?, version = version + 1 WHERE id = ?";
    sqlx::query(UPDATE)
        .bind(progress.state.name())
        .bind(&progress.verification_code)
        .bind(progress.dns_published_at.map(micros))
        .bind(progress.verified_at.map(micros))
        .bind(&progress.error)
        .bind(micros(now()))
        .bind(progress.id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The one of this id, whosever it is.
pub async fn find_any(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Option<GatewayRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM gateways WHERE id = ?").bind(id.to_string());
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// All that a customer has: one in each of its regions at most.
pub async fn of_customer(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<Vec<GatewayRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM gateways WHERE customer_id = ? ORDER BY seq");
    let rows = query
        .bind(customer.to_string())
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(record).collect::<Result<_, _>>()?)
}

/// Removes one.
pub async fn delete(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM gateways WHERE customer_id = ? AND id = ?");
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
) -> Result<Option<GatewayRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM gateways WHERE customer_id = ? AND id = ?");
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
) -> Result<Listed<GatewayRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT * FROM gateways WHERE customer_id = ? AND seq > ? ORDER BY seq LIMIT ?",
    );
    let query = query
        .bind(customer.to_string())
        .bind(page.after.unwrap_or(0))
        .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

/// All, or a customer's.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    customer: Option<Uuid>,
) -> Result<Vec<Gateway>, StoreError> {
    const SELECT: &str =
        "SELECT gateways.*, sip_port, media_bypass FROM gateways JOIN regions ON code = region";
    let gateway = |row| {
        let GatewayRecord {
            id,
            customer_id,
            fqdn,
            settings,
            ..
        } = record(row)?;
        let (sip_port, media_bypass) = (int(row, "sip_port")?, row.try_get("media_bypass")?);
        Ok(Gateway {
            id,
            customer: customer_id,
            region: settings.region,
            fqdn,
            sip_port,
            media_bypass,
            state: settings.state,
        })
    };
    of(SELECT, " WHERE customer_id = ", customer)
        .build()
        .fetch_all(connection)
        .await?
        .iter()
        .map(gateway)
        .collect()
}

async fn written(
    connection: &mut SqliteConnection,
    customer: Uuid,
    id: Uuid,
) -> Result<GatewayRecord, StoreError> {
    Ok(find(connection, customer, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::super::regions::{self, tests::europe};
    use super::super::{CustomerSettings, RegionSettings};
    use super::*;

    fn settings(region: &str, label: &str) -> GatewaySettings {
        GatewaySettings {
            region: region.into(),
            label: label.into(),
            state: GatewayState::Pending,
            verification_code: None,
        }
    }

    #[tokio::test]
    async fn a_name_is_made_of_label_and_region_and_stays() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        regions::insert(&mut change, &europe()).await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        let other = customers::insert(
            &mut change,
            &CustomerSettings {
                account_id: "b".into(),
                ..acme()
            },
        )
        .await
        .unwrap()
        .id;

        let gateway = insert(&mut change, customer, &settings("EU", "Acme-1"))
            .await
            .unwrap();
        assert_eq!(gateway.fqdn, "acme-1.eu.example.net");
        let error = insert(&mut change, customer, &settings("EU", "again"))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Taken(what) if what.contains("gateways.customer_id")));
        let error = insert(&mut change, other, &settings("EU", "ACME-1"))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Taken(what) if what == "gateways.fqdn"));
        for (region, label) in [
            ("MOON", "a"),
            ("EU", "a.b"),
            ("EU", "-a"),
            ("EU", ""),
            ("EU", &"a".repeat(34)),
        ] {
            let error = insert(&mut change, other, &settings(region, label))
                .await
                .unwrap_err();
            assert!(matches!(error, StoreError::Faults(_)), "{region} {label}");
        }
        assert!(
            insert(&mut change, other, &settings("EU", &"a".repeat(33)))
                .await
                .is_ok(),
            "48 in all"
        );

        let moved = RegionSettings {
            base_fqdn: "other.example.net".into(),
            ..europe()
        };
        assert!(matches!(
            regions::update(&mut change, &moved).await,
            Err(StoreError::Reference)
        ));
        assert!(matches!(
            regions::delete(&mut change, "EU").await,
            Err(StoreError::Reference)
        ));
    }
}
