//! What can be done to a telephone.

use super::super::Admin;
use super::super::answer::{changed, created};
use super::super::auth::Caller;
use super::super::body::Body;
use super::super::error::{ApiError, Problem};
use super::asks::Woken;
use super::{CodeView, DeviceView, add, begun, location, now};
use crate::provisioning::device::{DeviceMethod, DeviceState, SETTLING};
use crate::store::{Change, DeviceRecord, NewDevice, Welcome, devices, events};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use uuid::Uuid;

/// The telephone that comes in place of another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceSwap)]
pub(in crate::admin) struct Swap {
    /// Code of its model; the same as before if none is said.
    #[serde(default)]
    model: Option<String>,
    /// How it is activated.
    method: DeviceMethod,
    /// 12 hexadecimal digits in any usual spelling; with the method `mac` only.
    #[serde(default)]
    mac: Option<String>,
}

/// A mail that is to be sent.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct WelcomeView {
    /// `pending` until it is.
    email_sent: Welcome,
    /// Whether there is a code to tell.
    has_code: bool,
}

/// The code that is to be typed at a telephone
#[utoipa::path(
    get, path = "/api/v1/devices/{device}/activation-code", tag = "devices", operation_id = "show_activation_code",
    params(("device" = Uuid, Path)),
    responses((status = 200, body = CodeView), (status = 403, body = Problem), (status = 404, body = Problem))
)]
pub(in crate::admin) async fn show_code(
    State(admin): State<Admin>,
    caller: Caller,
    Path(device): Path<Uuid>,
) -> Result<Json<CodeView>, ApiError> {
    let mut connection = admin.store.read().await?;
    let record = seen(&mut connection, &caller, device).await?;
    let code =
        devices::codes::of_device(&mut connection, admin.store.keys(), record.id, now(&admin))
            .await?;
    let none = || ApiError::gone("no_code", "no code can be typed: regenerate it");
    Ok(Json(code.ok_or_else(none)?.into()))
}

/// Make a new code
///
/// The old one opens nothing any more.
#[utoipa::path(
    post, path = "/api/v1/devices/{device}/activation-code", tag = "devices", operation_id = "regenerate_activation_code",
    params(("device" = Uuid, Path)),
    responses((status = 200, body = CodeView), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(in crate::admin) async fn regenerate_code(
    State(admin): State<Admin>,
    caller: Caller,
    Path(device): Path<Uuid>,
) -> Result<Json<CodeView>, ApiError> {
    let mut change = admin.store.rows().await?;
    let record = seen(&mut change, &caller, device).await?;
    if record.state != DeviceState::AwaitingCode {
        let detail = "the telephone does not wait for a code";
        return Err(ApiError::conflict("not_awaiting_code", detail));
    }
    let at = now(&admin);
    let code = devices::codes::issue(&mut change, device, at).await?;
    let (customer, detail) = (record.customer_id, json!({ "device_id": device }));
    events::insert(&mut change, at, "device.code_issued", customer, &detail).await?;
    let none = None::<&()>;
    caller
        .audit(&mut change, "regenerate_code", None, none, none)
        .await?;
    change.keep().await?;
    Ok(Json(code.into()))
}

/// Have a telephone fetch its file again
///
/// It restarts if it has to; in a call, after the call.
#[utoipa::path(
    post, path = "/api/v1/devices/{device}/reboot", tag = "devices", operation_id = "reboot_device",
    params(("device" = Uuid, Path)),
    responses((status = 202, body = Woken), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(in crate::admin) async fn reboot(
    State(admin): State<Admin>,
    caller: Caller,
    Path(device): Path<Uuid>,
) -> Result<Response, ApiError> {
    let record = seen(&mut *admin.store.read().await?, &caller, device).await?;
    if !record.state.is_active() {
        return Err(not_active());
    }
    let is_settling =
        record.state == DeviceState::Provisioning && now(&admin) - record.state_since < SETTLING;
    let woken = match is_settling {
        true => Woken::settling(),
        false => admin.devices.wake(&record).await,
    };
    let place = location(&record);
    caller.note(&admin, "reboot", &place).await?;
    Ok((StatusCode::ACCEPTED, Json(woken)).into_response())
}

/// Take a telephone from its user
///
/// It cannot register from then on, and shows "Activate" when it has restarted. The user is free for another one.
#[utoipa::path(
    post, path = "/api/v1/devices/{device}/deactivate", tag = "devices", operation_id = "deactivate_device",
    params(("device" = Uuid, Path)),
    responses((status = 202, body = DeviceView), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(in crate::admin) async fn deactivate(
    State(admin): State<Admin>,
    caller: Caller,
    Path(device): Path<Uuid>,
) -> Result<Response, ApiError> {
    let woken = dismissed(&admin, &caller, device).await?;
    let mut change = admin.store.change().await?;
    let before = seen(&mut change, &caller, device).await?;
    let record = take_away(&admin, &caller, &mut change, &before).await?;
    let generation = change.publish_for(&[record.customer_id]).await?;
    admin.devices.redirect(&admin.store, &record, false);
    let mut view = DeviceView::new(&admin, &caller, record, None)?;
    view.wake = woken;
    let answer = changed(view.record.version, &view, generation);
    Ok((StatusCode::ACCEPTED, answer).into_response())
}

/// Give a user another telephone in place of one
///
/// The old one is deactivated in the same moment.
#[utoipa::path(
    post, path = "/api/v1/devices/{device}/swap", tag = "devices", operation_id = "swap_device",
    params(("device" = Uuid, Path)), request_body = Swap,
    responses((status = 201, body = DeviceView), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 422, body = Problem))
)]
pub(in crate::admin) async fn swap(
    State(admin): State<Admin>,
    caller: Caller,
    Path(device): Path<Uuid>,
    Body(swap): Body<Swap>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = seen(&mut change, &caller, device).await?;
    let Some(user_id) = before.user_id else {
        return Err(not_active());
    };
    let new = NewDevice {
        user_id,
        model: swap.model.unwrap_or_else(|| before.model.clone()),
        method: swap.method,
        mac: swap.mac,
        site: before.settings.site.clone(),
    };
    let customer = before.customer_id;
    let gone = take_away(&admin, &caller, &mut change, &before).await?;
    let record = add(&admin, &caller, &mut change, customer, &new).await?;
    let mut view = DeviceView::of(&mut change, &admin, &caller, record).await?;
    let generation = change.publish_for(&[customer]).await?;
    if before.mac != view.record.mac {
        admin.devices.wake(&before).await;
        admin.devices.redirect(&admin.store, &gone, false);
    }
    view.wake = begun(&admin, &view.record).await;
    let place = location(&view.record);
    Ok(created(&place, view.record.version, &view, generation))
}

/// Have a user told of its telephone by mail again
#[utoipa::path(
    post, path = "/api/v1/devices/{device}/resend-welcome", tag = "devices", operation_id = "resend_welcome",
    params(("device" = Uuid, Path)),
    responses((status = 202, body = WelcomeView), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(in crate::admin) async fn resend_welcome(
    State(admin): State<Admin>,
    caller: Caller,
    Path(device): Path<Uuid>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    let record = seen(&mut change, &caller, device).await?;
    if record.user_id.is_none() {
        return Err(not_active());
    }
    let record = devices::request_welcome(&mut change, device).await?;
    let code =
        devices::codes::of_device(&mut change, admin.store.keys(), device, now(&admin)).await?;
    let none = None::<&()>;
    caller
        .audit(&mut change, "resend_welcome", None, none, none)
        .await?;
    change.keep().await?;
    let view = WelcomeView {
        email_sent: record.email_sent,
        has_code: code.is_some(),
    };
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Tells a telephone to restart while it can still be told; it finds that it is nobody's any more.
async fn dismissed(
    admin: &Admin,
    caller: &Caller,
    device: Uuid,
) -> Result<Option<Woken>, ApiError> {
    let record = seen(&mut *admin.store.read().await?, caller, device).await?;
    match record.state.is_active() {
        true => Ok(Some(admin.devices.wake(&record).await)),
        false => Ok(None),
    }
}

async fn take_away(
    admin: &Admin,
    caller: &Caller,
    change: &mut Change,
    before: &DeviceRecord,
) -> Result<DeviceRecord, ApiError> {
    if before.state == DeviceState::Deactivated {
        return Err(not_active());
    }
    let at = now(admin);
    let record = devices::deactivate(change, before, at).await?;
    let (customer, detail) = (
        before.customer_id,
        json!({ "device_id": before.id, "user_id": before.user_id }),
    );
    events::insert(change, at, "device.deactivated", customer, &detail).await?;
    caller
        .audit(change, "deactivate", None, Some(before), Some(&record))
        .await?;
    Ok(record)
}

/// The one of this id, if the caller sees its customer, and if it is the caller's own where they are one user.
async fn seen(
    connection: &mut SqliteConnection,
    caller: &Caller,
    device: Uuid,
) -> Result<DeviceRecord, ApiError> {
    let record = devices::find(connection, device).await?;
    let record = record.ok_or_else(ApiError::not_found)?;
    caller.customer(connection, record.customer_id).await?;
    let is_foreign = caller
        .own_user()
        .is_some_and(|user| record.user_id != Some(user));
    match is_foreign {
        true => Err(ApiError::not_found()),
        false => Ok(record),
    }
}

fn not_active() -> ApiError {
    ApiError::conflict("device_not_active", "the telephone is nobody's")
}
