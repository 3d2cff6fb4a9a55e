//! What was entered for the upgrade of a service, however far it came.

use super::invitations::Invitee;
use super::rows::{json, micros, now, optional_id, time, to_json};
use super::{Change, Keys, Password, StoreError, TrunkSettings};
use crate::directory::Secret;
use crate::provisioning::LicenseType;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where the passwords of connections wait.
const UPGRADES: &str = "upgrades";

/// What is entered for an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeDraft {
    /// The licence afterwards, more than the service has now.
    pub license_type: LicenseType,
    /// Users that are bought then; 500 of one customer at most.
    #[schema(minimum = 1, maximum = 500)]
    pub licensed_users: u32,
    /// Whether the link is sent to `email`.
    #[serde(default)]
    pub send_link: bool,
    /// Who signs in at Microsoft.
    #[serde(default)]
    pub invitee: Invitee,
    /// The SIP connection that the service gets.
    pub connection: TrunkSettings,
}

/// A stored draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeRecord {
    /// What was entered; the connection's password is not among it.
    pub draft: UpgradeDraft,
    /// Whether it has one.
    pub password_set: bool,
    /// The task that carries it out, or did.
    pub task_id: Option<Uuid>,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
    /// Grows with every change.
    pub version: i64,
}

/// Keeps a draft, in place of an older one.
pub async fn save(
    change: &mut Change,
    service: Uuid,
    draft: &UpgradeDraft,
) -> Result<UpgradeRecord, StoreError> {
    const SAVE: &str = "INSERT INTO upgrades (service_id, draft, updated_at, version) VALUES (?, ?, ?, 1)
        ON CONFLICT (service_id) DO UPDATE SET draft = excluded.draft, updated_at = excluded.updated_at, version = version + 1";
    const SEAL: &str = "UPDATE upgrades SET password = ?, key_id = ? WHERE service_id = ?";
    let id = service.to_string();
    sqlx::query(SAVE)
        .bind(&id)
        .bind(to_json(draft))
        .bind(micros(now()))
        .execute(&mut **change)
        .await?;
    let sealed = match &draft.connection.password {
        Password::Keep => None,
        Password::Remove => Some((None, None)),
        Password::Set(secret) => {
            let sealed = change.keys().seal(UPGRADES, &id, secret.expose())?;
            Some((Some(sealed.text), Some(sealed.key_id)))
        }
    };
    if let Some((text, key_id)) = sealed {
        let query = sqlx::query(SEAL).bind(text).bind(key_id).bind(&id);
        query.execute(&mut **change).await?;
    }
    let saved = find(change, service).await?;
    Ok(saved.ok_or(sqlx::Error::RowNotFound)?)
}

/// The draft of a service.
pub async fn find(
    connection: &mut SqliteConnection,
    service: Uuid,
) -> Result<Option<UpgradeRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM upgrades WHERE service_id = ?");
    let row = query
        .bind(service.to_string())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(UpgradeRecord {
        draft: json(&row, "draft")?,
        password_set: row.try_get::<Option<String>, _>("password")?.is_some(),
        task_id: optional_id(&row, "task_id")?,
        updated_at: time(&row, "updated_at")?,
        version: row.try_get("version")?,
    }))
}

/// The password of its connection.
pub async fn password(
    connection: &mut SqliteConnection,
    keys: &Keys,
    service: Uuid,
) -> Result<Option<Secret>, StoreError> {
    let id = service.to_string();
    let query = sqlx::query(
        "SELECT password, key_id FROM upgrades WHERE service_id = ? AND password IS NOT NULL",
    );
    let row = query.bind(&id).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(None) };
    let (text, key_id) = (row.try_get("password")?, row.try_get("key_id")?);
    Ok(Some(keys.opened(UPGRADES, &id, text, key_id)?))
}

/// Notes the task that carries it out.
pub async fn set_task(
    connection: &mut SqliteConnection,
    service: Uuid,
    task: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE upgrades SET task_id = ?, version = version + 1 WHERE service_id = ?")
        .bind(task.to_string())
        .bind(service.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The connection has the password now, and nobody else needs it.
pub async fn forget_password(
    connection: &mut SqliteConnection,
    service: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE upgrades SET password = NULL, key_id = NULL WHERE service_id = ?")
        .bind(service.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
