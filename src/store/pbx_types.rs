//! The catalogue of PBX types.

use super::error::Faults;
use super::rows::{json, micros, now, time, to_json};
use super::{Listed, Page, StoreError};
use crate::provisioning::PbxDefaults;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A kind of PBX that customers can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PbxTypeSettings {
    /// 1 to 32 letters, digits, `-` and `_`, unique, never changed.
    #[schema(example = "netsapiens")]
    pub code: String,
    /// For people; 1 to 64 characters.
    pub label: String,
    /// What a PBX of the type has until somebody says otherwise.
    #[serde(default)]
    pub defaults: PbxDefaults,
}

/// A stored type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PbxType)]
pub struct PbxTypeRecord {
    /// What can be changed.
    #[serde(flatten)]
    pub settings: PbxTypeSettings,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

impl PbxTypeSettings {
    fn check(&self) -> Result<(), StoreError> {
        let mut faults = Faults::default();
        let is_code = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        faults.demand(
            (1..=32).contains(&self.code.len()) && self.code.bytes().all(is_code),
            "code",
            "format",
            "must be 1 to 32 letters, digits, - and _",
        );
        faults.length("label", &self.label, 1, 64);
        if let Some((field, message)) = self.defaults.fault() {
            faults.demand(false, format!("defaults.{field}"), "range", message);
        }
        faults.or(())
    }
}

fn record(row: &SqliteRow) -> Result<PbxTypeRecord, sqlx::Error> {
    Ok(PbxTypeRecord {
        settings: PbxTypeSettings {
            code: row.try_get("code")?,
            label: row.try_get("label")?,
            defaults: json(row, "defaults")?,
        },
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one.
pub async fn insert(
    connection: &mut SqliteConnection,
    settings: &PbxTypeSettings,
) -> Result<PbxTypeRecord, StoreError> {
    settings.check()?;
    let at = micros(now());
    sqlx::query(
        "INSERT INTO pbx_types (code, label, defaults, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, 1)",
    )
    .bind(&settings.code)
    .bind(&settings.label)
    .bind(to_json(&settings.defaults))
    .bind(at)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    written(connection, &settings.code).await
}

/// Changes all but the code.
pub async fn update(
    connection: &mut SqliteConnection,
    settings: &PbxTypeSettings,
) -> Result<PbxTypeRecord, StoreError> {
    settings.check()?;
    sqlx::query("UPDATE pbx_types SET label = ?, defaults = ?, updated_at = ?, version = version + 1 WHERE code = ?")
        .bind(&settings.label)
        .bind(to_json(&settings.defaults))
        .bind(micros(now()))
        .bind(&settings.code)
        .execute(&mut *connection)
        .await?;
    written(connection, &settings.code).await
}

/// The one of this code.
pub async fn find(
    connection: &mut SqliteConnection,
    code: &str,
) -> Result<Option<PbxTypeRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM pbx_types WHERE code = ?").bind(code);
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// In the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    page: Page,
) -> Result<Listed<PbxTypeRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM pbx_types WHERE seq > ? ORDER BY seq LIMIT ?")
        .bind(page.after.unwrap_or(0))
        .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

async fn written(
    connection: &mut SqliteConnection,
    code: &str,
) -> Result<PbxTypeRecord, StoreError> {
    Ok(find(connection, code)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::fresh;
    use super::*;

    #[tokio::test]
    async fn a_type_comes_back_as_it_went_in_and_its_code_is_taken_once() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let mut settings = PbxTypeSettings {
            code: "ringlogix".into(),
            label: "Ringlogix".into(),
            defaults: PbxDefaults {
                expires_s: 60,
                ..PbxDefaults::default()
            },
        };
        let first = insert(&mut change, &settings).await.unwrap();
        assert_eq!((&first.settings, first.version), (&settings, 1));
        settings.defaults.port = 5070;
        let second = update(&mut change, &settings).await.unwrap();
        assert_eq!((&second.settings, second.version), (&settings, 2));
        settings.code = "RINGLOGIX".into();
        let twice = insert(&mut change, &settings).await.unwrap_err();
        assert!(matches!(twice, StoreError::Taken(what) if what == "pbx_types.code"));
        settings.code = "a b".into();
        assert!(insert(&mut change, &settings).await.is_err());
    }
}
