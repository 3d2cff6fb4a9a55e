//! Somebody at a telephone has typed a code.

use super::super::rows::{int, micros, time};
use super::super::{Change, Store, StoreError, events, users};
use super::{DeviceRecord, active_of, codes, equipment, happened, with_mac, written};
use crate::provisioning::device::tries::{FORGOTTEN_AFTER, MOST_OF_MAC, MOST_OF_SOURCE, Tries};
use crate::provisioning::device::{
    ActivationCode, DeviceEvent, DeviceModel, Mac, OPEN_FOR, may_bind,
};
use serde_json::json;
use sqlx::SqliteConnection;
use std::net::IpAddr;
use time::OffsetDateTime;

/// What somebody typed, and where.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// The telephone's address, as its throw-away identity says it.
    pub mac: Mac,
    /// What was typed.
    pub code: &'a str,
    /// Where the call came from.
    pub source: IpAddr,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The telephone is the user's now.
    Bound(Box<DeviceRecord>),
    /// The code opens nothing, or not this telephone.
    NotValid,
    /// There were too many wrong ones; this one was not looked at.
    Locked,
}

/// Telephones and addresses that are remembered for wrong codes; more are locked until an hour has passed.
const MOST_PLACES: i64 = 10_000;

impl Store {
    /// Makes a telephone the user's whose code was typed at it, all or nothing, and lets calls obey it. On an error
    /// nothing has changed, and the code can be typed again.
    pub async fn bind_device(
        &self,
        attempt: &Attempt<'_>,
        at: OffsetDateTime,
    ) -> Result<Binding, StoreError> {
        let mut change = self.change().await?;
        let binding = bind(&mut change, attempt, at).await?;
        match &binding {
            Binding::Bound(device) => {
                let detail = json!({ "device_id": device.id, "mac": device.mac, "method": "code" });
                let customer = device.customer_id;
                events::insert(&mut change, at, "device.activated", customer, &detail).await?;
                change.publish_for(&[customer]).await?;
            }
            Binding::NotValid | Binding::Locked => change.keep().await?,
        }
        Ok(binding)
    }
}

async fn bind(
    change: &mut Change,
    attempt: &Attempt<'_>,
    at: OffsetDateTime,
) -> Result<Binding, StoreError> {
    let places = [
        (format!("mac {}", attempt.mac), MOST_OF_MAC),
        (format!("ip {}", attempt.source), MOST_OF_SOURCE),
    ];
    for (place, most) in &places {
        if is_locked(change, place, *most, at).await? {
            return Ok(Binding::Locked);
        }
    }
    let device = match attempt.code.parse::<ActivationCode>() {
        Ok(code) => codes::device_of(change, &code, at).await?,
        Err(_) => None,
    };
    let Some(device) = device else {
        for (place, _) in &places {
            note_wrong(change, place, at).await?;
        }
        return Ok(Binding::NotValid);
    };
    let device = written(change, device).await?;
    match bound(change, &device, attempt.mac, at).await? {
        true => Ok(Binding::Bound(Box::new(written(change, device.id).await?))),
        false => Ok(Binding::NotValid),
    }
}

/// Whether the telephone is the user's now; the code was right.
async fn bound(
    change: &mut Change,
    device: &DeviceRecord,
    mac: Mac,
    at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let Some(user) = device.user_id else {
        return Ok(false);
    };
    if active_of(change, user).await?.is_some() {
        // The user got another telephone meanwhile, and has no use for this code.
        codes::void(change, device.id, at).await?;
        return Ok(false);
    }
    let user = users::find(change, device.customer_id, user).await?;
    let user = user
        .map(|user| equipment(&user.settings))
        .unwrap_or_default();
    let fits = DeviceModel::of(&device.model).is_some_and(|model| may_bind(model, mac, user));
    if !fits || with_mac(change, mac).await?.is_some() {
        return Ok(false);
    }
    if !happened(change, device, DeviceEvent::CodeTyped, at).await? {
        return Ok(false);
    }
    codes::used(change, device.id, at).await?;
    const UPDATE: &str = "UPDATE devices SET mac = ?, activated_at = ?, open_until = ?, opened_at = NULL WHERE id = ?";
    sqlx::query(UPDATE)
        .bind(mac.to_string())
        .bind(micros(at))
        .bind(micros(at + OPEN_FOR))
        .bind(device.id.to_string())
        .execute(&mut **change)
        .await?;
    Ok(true)
}

async fn tries(
    connection: &mut SqliteConnection,
    place: &str,
) -> Result<Option<Tries>, StoreError> {
    let query = sqlx::query("SELECT began_at, wrong FROM activation_tries WHERE place = ?");
    let Some(row) = query.bind(place).fetch_optional(connection).await? else {
        return Ok(None);
    };
    Ok(Some(Tries {
        began: time(&row, "began_at")?,
        wrong: int(&row, "wrong")?,
    }))
}

async fn is_locked(
    connection: &mut SqliteConnection,
    place: &str,
    most: u32,
    at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let known = tries(connection, place).await?;
    if known.is_some() {
        return Ok(Tries::is_locked(known, most, at));
    }
    sqlx::query("DELETE FROM activation_tries WHERE began_at <= ?")
        .bind(micros(at - FORGOTTEN_AFTER))
        .execute(&mut *connection)
        .await?;
    let places: i64 = sqlx::query_scalar("SELECT count(*) FROM activation_tries")
        .fetch_one(connection)
        .await?;
    Ok(places >= MOST_PLACES)
}

async fn note_wrong(
    connection: &mut SqliteConnection,
    place: &str,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let after = Tries::one_more(tries(connection, place).await?, at);
    const WRITE: &str = "INSERT INTO activation_tries (place, began_at, wrong) VALUES (?, ?, ?)
        ON CONFLICT (place) DO UPDATE SET began_at = excluded.began_at, wrong = excluded.wrong";
    sqlx::query(WRITE)
        .bind(place)
        .bind(micros(after.began))
        .bind(after.wrong)
        .execute(connection)
        .await?;
    Ok(())
}
