//! What a telephone fetches.

use super::super::rows::{micros, optional_time};
use super::super::{Store, StoreError};
use super::{DeviceRecord, find, happened, with_mac};
use crate::provisioning::device::{DeviceEvent, Mac};
use sqlx::SqliteConnection;
use std::net::IpAddr;
use time::OffsetDateTime;
use uuid::Uuid;

/// How a telephone's file can be had without a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Until then.
    pub until: Option<OffsetDateTime>,
    /// When somebody had it.
    pub opened_at: Option<OffsetDateTime>,
}

/// Who fetched a file.
#[derive(Debug, Clone)]
pub struct Fetch<'a> {
    /// From where.
    pub ip: IpAddr,
    /// As what it introduced itself.
    pub user_agent: Option<&'a str>,
    /// Without a proof, for this one time.
    pub once: bool,
}

/// Characters of a User-Agent that are kept.
const LONGEST: usize = 128;

/// The active telephone with this address, and how its file can be had.
pub async fn locked(
    connection: &mut SqliteConnection,
    mac: Mac,
) -> Result<Option<(DeviceRecord, Opening)>, StoreError> {
    let Some(device) = with_mac(connection, mac).await? else {
        return Ok(None);
    };
    let query = sqlx::query("SELECT open_until, opened_at FROM devices WHERE id = ?");
    let row = query
        .bind(device.id.to_string())
        .fetch_one(connection)
        .await?;
    let opening = Opening {
        until: optional_time(&row, "open_until")?,
        opened_at: optional_time(&row, "opened_at")?,
    };
    Ok(Some((device, opening)))
}

impl Store {
    /// Notes that a telephone has its file; false if it was to have it once and another was faster, or it is no longer
    /// active.
    pub async fn device_fetched(
        &self,
        device: Uuid,
        fetch: &Fetch<'_>,
        at: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let mut change = self.rows().await?;
        let Some(record) = find(&mut change, device).await? else {
            return Ok(false);
        };
        if !record.state.is_active() || fetch.once && !open(&mut change, device, at).await? {
            return Ok(false);
        }
        happened(&mut change, &record, DeviceEvent::Fetched, at).await?;
        let agent = fetch.user_agent.map(|agent| {
            let plain = agent.chars().filter(|c| !c.is_control());
            plain.take(LONGEST).collect::<String>()
        });
        const NOTE: &str = "UPDATE devices SET last_config_fetch = ?, last_ip = ?, last_user_agent = ? WHERE id = ?";
        sqlx::query(NOTE)
            .bind(micros(at))
            .bind(fetch.ip.to_string())
            .bind(agent)
            .bind(device.to_string())
            .execute(&mut *change)
            .await?;
        change.keep().await?;
        Ok(true)
    }

    /// Notes that a telephone has registered, or that its registration has ended; whether that was news.
    pub async fn device_registered(
        &self,
        device: Uuid,
        is_registered: bool,
        at: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let event = match is_registered {
            true => DeviceEvent::Registered,
            false => DeviceEvent::Unregistered,
        };
        // Most telephones register again and again: that nothing changes is found out without holding up others.
        let found = find(&mut *self.read().await?, device).await?;
        if found.is_none_or(|device| device.state.on(event).is_none()) {
            return Ok(false);
        }
        let mut change = self.rows().await?;
        let Some(device) = find(&mut change, device).await? else {
            return Ok(false);
        };
        let news = happened(&mut change, &device, event, at).await?;
        if news {
            let kind = match is_registered {
                true => "device.online",
                false => "device.offline",
            };
            let detail = serde_json::json!({ "device_id": device.id });
            super::super::events::insert(&mut change, at, kind, device.customer_id, &detail)
                .await?;
        }
        change.keep().await?;
        Ok(news)
    }
}

async fn open(
    connection: &mut SqliteConnection,
    device: Uuid,
    at: OffsetDateTime,
) -> Result<bool, StoreError> {
    const OPEN: &str =
        "UPDATE devices SET opened_at = ?1 WHERE id = ?2 AND opened_at IS NULL AND open_until > ?1";
    let opened = sqlx::query(OPEN)
        .bind(micros(at))
        .bind(device.to_string())
        .execute(connection)
        .await?;
    Ok(opened.rows_affected() == 1)
}
