//! All telephones of a customer in one table.

use super::super::Admin;
use super::super::auth::Caller;
use super::super::body::Search;
use super::super::error::{ApiError, Problem};
use super::{now, sees_secrets};
use crate::directory::Secret;
use crate::provisioning::csv;
use crate::provisioning::device::{DeviceModel, DeviceState};
use crate::store::{DeviceFilter, DeviceRecord, LiveCode, Page, devices};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Telephones in one report.
const MOST: usize = 10_000;

/// In what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum ReportForm {
    /// JSON.
    Json,
    /// CSV.
    Csv,
}

/// How the report is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Wanted {
    /// Without it, what `Accept` says; else JSON.
    format: Option<ReportForm>,
}

/// One telephone of a report.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct DeviceRow {
    /// Vendor and model.
    device: String,
    /// 12 hexadecimal digits in lower case.
    mac_address: Option<String>,
    /// Of its own menu; null for who only watches.
    device_admin_password: Option<String>,
    /// Its user's.
    extension_number: Option<String>,
    /// How far it is.
    status: DeviceState,
    /// What is to be typed; null for who only watches.
    activation_code: Option<String>,
    /// Where it stands.
    site: Option<String>,
    /// Its user's name.
    user: Option<String>,
}

/// All telephones of a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct DeviceReport {
    /// Oldest first.
    items: Vec<DeviceRow>,
}

const COLUMNS: [&str; 8] = [
    "Device",
    "MAC Address",
    "Device Admin Password",
    "Extension Number",
    "Status",
    "Activation Code",
    "Site",
    "User",
];

impl DeviceRow {
    fn new(record: DeviceRecord, code: Option<LiveCode>, admin_password: Option<Secret>) -> Self {
        let model = DeviceModel::of(&record.model);
        let known = |secret: &Secret| secret.expose().to_owned();
        Self {
            device: model.map_or(record.model, |m| format!("{} {}", m.vendor, m.name)),
            mac_address: record.mac,
            device_admin_password: admin_password.as_ref().map(known),
            extension_number: record.extension,
            status: record.state,
            activation_code: code.as_ref().map(|code| known(&code.code)),
            site: record.settings.site,
            user: record.user_name,
        }
    }

    fn fields(&self) -> [&str; 8] {
        fn text(field: &Option<String>) -> &str {
            field.as_deref().unwrap_or_default()
        }
        [
            &self.device,
            text(&self.mac_address),
            text(&self.device_admin_password),
            text(&self.extension_number),
            self.status.name(),
            text(&self.activation_code),
            text(&self.site),
            text(&self.user),
        ]
    }
}

/// All telephones of a customer
///
/// As JSON, or as CSV with the columns Device, MAC Address, Device Admin Password, Extension Number, Status, Activation
/// Code, Site and User.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/device-report", tag = "devices", operation_id = "device_report",
    params(("id" = Uuid, Path), Wanted),
    responses((status = 200, body = DeviceReport), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(in crate::admin) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(wanted): Search<Wanted>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let (keys, knows) = (admin.store.keys(), sees_secrets(&caller));
    let mut codes = devices::codes::of_customer(&mut connection, keys, id, now(&admin)).await?;
    let (mut items, mut page) = (Vec::new(), Page::default());
    loop {
        let listed = devices::list(&mut connection, id, &DeviceFilter::default(), page).await?;
        for record in listed.items {
            let code = codes.remove(&record.id).filter(|_| knows);
            let secrets = knows.then(|| record.secrets(keys)).transpose()?;
            let admin_password = secrets.map(|secrets| secrets.admin);
            items.push(DeviceRow::new(record, code, admin_password));
        }
        if items.len() > MOST {
            let detail = "the customer has more than 10000 telephones: list them";
            return Err(ApiError::conflict("too_many", detail));
        }
        match listed.next {
            None => break,
            after => page.after = after,
        }
    }
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let accepts_csv = accept.is_some_and(|accept| accept.trim_start().starts_with("text/csv"));
    match wanted.format {
        Some(ReportForm::Csv) => Ok(table(&items)),
        None if accepts_csv => Ok(table(&items)),
        Some(ReportForm::Json) | None => Ok(Json(DeviceReport { items }).into_response()),
    }
}

fn table(items: &[DeviceRow]) -> Response {
    let mut text = csv::line(&COLUMNS);
    for row in items {
        text += &csv::line(&row.fields());
    }
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response()
}
