//! Desk telephones of a customer's users.

#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

mod asks;

pub(super) mod actions;
pub(super) mod bulk;
pub(super) mod models;
pub(super) mod report;

pub use asks::{Devices, PhoneRequest, Phones};

use super::Admin;
use super::answer::{absent, changed_rows, created, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging, Parted};
use crate::provisioning::device::DeviceState;
use crate::store::{
    AccessRole, Change, DeviceFilter, DeviceRecord, DeviceSettings, Listed, LiveCode, NewDevice,
    StoreError, devices, events,
};
use asks::Woken;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A telephone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub(super) struct DeviceView {
    #[serde(flatten)]
    record: DeviceRecord,
    /// Of the telephone's own menu; null for who only watches.
    admin_password: Option<String>,
    /// What is to be typed at the telephone; null if nothing is, and for who only watches.
    activation_code: Option<CodeView>,
    /// Right after it was made: whether the telephone was told to fetch its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    wake: Option<Woken>,
}

/// What is to be typed at a telephone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActivationCode)]
pub(super) struct CodeView {
    /// 13 digits.
    #[schema(example = "7992739871300")]
    code: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    issued_at: OffsetDateTime,
    /// When it no longer counts.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl From<LiveCode> for CodeView {
    fn from(live: LiveCode) -> Self {
        Self {
            code: live.code.expose().to_owned(),
            issued_at: live.issued_at,
            expires_at: live.expires_at,
        }
    }
}

impl DeviceView {
    /// As this caller may see it.
    fn new(
        admin: &Admin,
        caller: &Caller,
        record: DeviceRecord,
        code: Option<LiveCode>,
    ) -> Result<Self, StoreError> {
        let knows = sees_secrets(caller);
        let secrets = knows.then(|| record.secrets(admin.store.keys()));
        let admin_password = secrets.transpose()?.map(|secrets| secrets.admin);
        Ok(Self {
            admin_password: admin_password.map(|password| password.expose().to_owned()),
            activation_code: code.filter(|_| knows).map(CodeView::from),
            record,
            wake: None,
        })
    }

    async fn of(
        connection: &mut SqliteConnection,
        admin: &Admin,
        caller: &Caller,
        record: DeviceRecord,
    ) -> Result<Self, ApiError> {
        let (keys, at) = (admin.store.keys(), now(admin));
        let code = match record.state {
            DeviceState::AwaitingCode => {
                devices::codes::of_device(connection, keys, record.id, at).await?
            }
            _ => None,
        };
        Ok(Self::new(admin, caller, record, code)?)
    }
}

/// Provisioning §8.2: the NOC sees neither secrets nor codes.
fn sees_secrets(caller: &Caller) -> bool {
    caller.role() != AccessRole::Noc
}

/// Which telephones.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// In this state.
    state: Option<DeviceState>,
    /// This user's.
    user_id: Option<Uuid>,
    /// Of this model.
    model: Option<String>,
    /// With this in its MAC address, its extension or its user's name.
    q: Option<String>,
}

/// Whether something is only tried.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Trying {
    /// Only tells what would become of it.
    #[serde(default)]
    dry_run: bool,
}

/// Telephones of a customer, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/devices", tag = "devices", operation_id = "list_devices",
    params(("id" = Uuid, Path), Paging, Filter),
    responses((status = 200, body = List<DeviceView>), (status = 400, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Parted(paging, filter): Parted<Filter>,
) -> Result<Json<List<DeviceView>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    let search = filter.q.filter(|text| !text.trim().is_empty());
    if search
        .as_ref()
        .is_some_and(|text| text.chars().count() > 64)
    {
        return Err(ApiError::bad_request(
            "q",
            "q must be at most 64 characters",
        ));
    }
    let filter = DeviceFilter {
        state: filter.state,
        user: filter.user_id,
        model: filter.model,
        search: search.map(|text| text.trim().to_owned()),
    };
    let listed = devices::list(&mut connection, id, &filter, page).await?;
    let mut codes =
        devices::codes::of_customer(&mut connection, admin.store.keys(), id, now(&admin)).await?;
    let view = |record: DeviceRecord| {
        let code = codes.remove(&record.id);
        DeviceView::new(&admin, &caller, record, code)
    };
    let items = listed.items.into_iter().map(view);
    let (items, next) = (items.collect::<Result<_, _>>()?, listed.next);
    Ok(Json(Listed { items, next }.into()))
}

/// Give a user a telephone
///
/// With the method `mac` it is active at once, and is told to fetch its file if it is registered in whatever way. With
/// the method `code` it waits until somebody at a telephone has typed the code.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/devices", tag = "devices", operation_id = "create_device",
    params(("id" = Uuid, Path), Trying), request_body = NewDevice,
    responses((status = 201, body = DeviceView), (status = 200, body = DeviceView), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(trying): Search<Trying>,
    Body(new): Body<NewDevice>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let record = add(&admin, &caller, &mut change, id, &new).await?;
    if trying.dry_run {
        return Ok(Json(DeviceView::new(&admin, &caller, record, None)?).into_response());
    }
    let mut view = DeviceView::of(&mut change, &admin, &caller, record).await?;
    let generation = change.publish_for(&[id]).await?;
    view.wake = begun(&admin, &view.record).await;
    let location = location(&view.record);
    Ok(created(&location, view.record.version, &view, generation))
}

/// Notes and audits a telephone that is a user's from now on, or will be.
async fn add(
    admin: &Admin,
    caller: &Caller,
    change: &mut Change,
    customer: Uuid,
    new: &NewDevice,
) -> Result<DeviceRecord, ApiError> {
    let at = now(admin);
    let record = devices::insert(change, customer, new, at).await?;
    let kind = match record.state.is_active() {
        true => "device.activated",
        false => "device.assigned",
    };
    let detail = json!({ "device_id": record.id, "mac": record.mac, "method": record.method });
    events::insert(change, at, kind, customer, &detail).await?;
    let (place, none) = (location(&record), None::<&()>);
    caller
        .audit(change, "create", Some(&place), none, Some(&record))
        .await?;
    Ok(record)
}

/// Fetches a telephone that is active now, if anybody knows where it is.
async fn begun(admin: &Admin, record: &DeviceRecord) -> Option<Woken> {
    if !record.state.is_active() {
        return None;
    }
    admin.devices.redirect(&admin.store, record, true);
    Some(admin.devices.wake(record).await)
}

/// A telephone
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/devices/{device}", tag = "devices", operation_id = "show_device",
    params(("id" = Uuid, Path), ("device" = Uuid, Path)),
    responses((status = 200, body = DeviceView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, device)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    let record = found(&mut connection, &caller, id, device).await?;
    let view = DeviceView::of(&mut connection, &admin, &caller, record).await?;
    Ok(shown(&headers, view.record.version, &view))
}

/// Change where a telephone stands
///
/// Another telephone for the same user is a `swap`.
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/devices/{device}", tag = "devices", operation_id = "change_device",
    params(("id" = Uuid, Path), ("device" = Uuid, Path), ("If-Match" = String, Header)), request_body = DeviceSettings,
    responses((status = 200, body = DeviceView), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, device)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    let before = found(&mut change, &caller, id, device).await?;
    require_match(&headers, before.version)?;
    let settings: DeviceSettings = patched(&before.settings, patch)?;
    let record = devices::update(&mut change, device, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    let view = DeviceView::of(&mut change, &admin, &caller, record).await?;
    change.keep().await?;
    Ok(changed_rows(view.record.version, &view))
}

/// Remove a telephone
///
/// One that is active must be deactivated first.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/devices/{device}", tag = "devices", operation_id = "delete_device",
    params(("id" = Uuid, Path), ("device" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, device)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let before = devices::find(&mut change, device).await?;
    let Some(before) = before.filter(|device| device.customer_id == id) else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    if before.state.is_active() {
        let detail = "the telephone is somebody's: deactivate it first";
        return Err(ApiError::conflict("device_active", detail));
    }
    devices::delete(&mut change, device).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    change.keep().await?;
    Ok(absent())
}

async fn found(
    connection: &mut SqliteConnection,
    caller: &Caller,
    customer: Uuid,
    device: Uuid,
) -> Result<DeviceRecord, ApiError> {
    caller.customer(connection, customer).await?;
    let found = devices::find(connection, device).await?;
    found
        .filter(|device| device.customer_id == customer)
        .ok_or_else(ApiError::not_found)
}

fn location(device: &DeviceRecord) -> String {
    format!(
        "/api/v1/customers/{}/devices/{}",
        device.customer_id, device.id
    )
}

/// The time by which codes grow old.
fn now(admin: &Admin) -> OffsetDateTime {
    admin.activations.clock.now()
}
