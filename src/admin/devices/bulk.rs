//! Many telephones at once.

use super::super::Admin;
use super::super::auth::Caller;
use super::super::body::{Search, bytes, media_type};
use super::super::error::{ApiError, Problem};
use super::{Trying, add, now};
use crate::provisioning::csv::{Row, Table};
use crate::provisioning::device::DeviceMethod;
use crate::store::{Change, DeviceRecord, NewDevice, devices, users};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Telephones of one table.
const MOST_ROWS: usize = 500;

/// What became of each telephone.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct DevicesAdded {
    /// Telephones that are users' now, or will be.
    created: usize,
    /// Telephones that are not.
    failed: usize,
    /// Whether nothing was really done.
    dry_run: bool,
    /// In the order of the table.
    results: Vec<DeviceResult>,
}

/// What became of one telephone.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct DeviceResult {
    /// The line that it stands on, counted from 1.
    line: usize,
    /// Whether it was added.
    created: bool,
    /// Its id.
    device_id: Option<Uuid>,
    /// Its address, if it is known.
    mac: Option<String>,
    /// What is to be typed at it.
    activation_code: Option<String>,
    /// Why it was not added, for programs.
    code: Option<String>,
    /// And for people.
    message: Option<String>,
}

/// Give users telephones from a table
///
/// At most 500 rows of CSV with the columns `user` (its upn or id), `model`, `mac` and `site`. A row with a MAC address
/// is active at once, one without waits for its code. Each row by itself. The same as `:bulk` after `devices`.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/devices/bulk", tag = "devices", operation_id = "create_devices",
    params(("id" = Uuid, Path), Trying), request_body(content = String, content_type = "text/csv"),
    responses((status = 201, body = DevicesAdded), (status = 200, body = DevicesAdded), (status = 404, body = Problem),
              (status = 415, body = Problem), (status = 422, body = DevicesAdded))
)]
pub(in crate::admin) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(trying): Search<Trying>,
    request: Request,
) -> Result<Response, ApiError> {
    let table = table(request).await?;
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let (mut results, mut begun) = (Vec::new(), Vec::new());
    for (line, row) in table.rows() {
        let added = row_added(&admin, &caller, &mut change, id, row).await;
        let code = match &added {
            Ok(device) => {
                let keys = admin.store.keys();
                devices::codes::of_device(&mut change, keys, device.id, now(&admin)).await?
            }
            Err(_) => None,
        };
        let code = code.map(|code| code.code.expose().to_owned());
        results.push(result(line, &added, code.filter(|_| !trying.dry_run)));
        begun.extend(added.ok());
    }
    let created = begun.len();
    let answer = DevicesAdded {
        created,
        failed: results.len() - created,
        dry_run: trying.dry_run,
        results,
    };
    if created > 0 && !trying.dry_run {
        change.publish_for(&[id]).await?;
        tokio::spawn(fetch(admin, begun));
    }
    let status = match (created, answer.failed) {
        (0, _) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, 0) if !trying.dry_run => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok((status, Json(answer)).into_response())
}

/// One after the other: many that restart at once would all ask for their files at once.
async fn fetch(admin: Admin, begun: Vec<DeviceRecord>) {
    for device in begun.iter().filter(|device| device.state.is_active()) {
        admin.devices.redirect(&admin.store, device, true);
        admin.devices.wake(device).await;
    }
}

async fn table(request: Request) -> Result<Table, ApiError> {
    if !matches!(
        media_type(request.headers()).as_str(),
        "text/csv" | "text/plain"
    ) {
        let detail = "the body must be text/csv";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(status, "media_type", detail));
    }
    let body = bytes(request, &()).await?;
    let text = str::from_utf8(&body)
        .map_err(|_| ApiError::bad_request("encoding", "the text is not UTF-8"))?;
    let table = Table::parse(text, MOST_ROWS)
        .map_err(|error| ApiError::invalid_field("", "csv", &error.to_string()))?;
    if table.rows().next().is_none() {
        let what = "must have at least one row";
        return Err(ApiError::invalid_field("", "required", what));
    }
    Ok(table)
}

async fn row_added(
    admin: &Admin,
    caller: &Caller,
    change: &mut Change,
    customer: Uuid,
    row: Row<'_>,
) -> Result<DeviceRecord, ApiError> {
    let named = row.get("user").unwrap_or_default();
    let user_id = match named.parse::<Uuid>() {
        Ok(id) => Some(id),
        Err(_) => users::id_of(change, customer, named).await?,
    };
    let unknown =
        || ApiError::invalid_field("user", "unknown_user", "must be a user of the customer");
    let mac = row.get("mac").map(str::to_owned);
    let new = NewDevice {
        user_id: user_id.ok_or_else(unknown)?,
        model: row.get("model").unwrap_or_default().to_owned(),
        method: match mac {
            Some(_) => DeviceMethod::Mac,
            None => DeviceMethod::Code,
        },
        mac,
        site: row.get("site").map(str::to_owned),
    };
    add(admin, caller, change, customer, &new).await
}

fn result(
    line: usize,
    added: &Result<DeviceRecord, ApiError>,
    activation_code: Option<String>,
) -> DeviceResult {
    let (device, error) = (added.as_ref().ok(), added.as_ref().err());
    DeviceResult {
        line,
        created: device.is_some(),
        device_id: device.map(|device| device.id),
        mac: device.and_then(|device| device.mac.clone()),
        activation_code,
        code: error.map(|error| error.first_code().to_owned()),
        message: error.map(|error| error.detail().to_owned()),
    }
}
