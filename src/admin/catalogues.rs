//! What there is to choose from: types of PBX, licences.

#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::{changed, created, require_match, shown};
use super::auth::Caller;
use super::body::{Body, patched};
use super::error::{ApiError, Problem};
use super::page::{List, Paging, Parted};
use crate::provisioning::{Feature, LicenseType};
use crate::store::{Listed, PbxTypeRecord, PbxTypeSettings, pbx_types};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Whose choice.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Chooser {
    /// Tells for each type whether this customer has it.
    customer_id: Option<Uuid>,
}

/// A type of PBX in the catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PbxTypeChoice {
    #[serde(flatten)]
    record: PbxTypeRecord,
    /// Whether the customer that was asked for has it; null if none was.
    assigned: Option<bool>,
}

/// Types of PBX, oldest first
#[utoipa::path(
    get, path = "/api/v1/pbx-types", tag = "catalogues", operation_id = "list_pbx_types", params(Paging, Chooser),
    responses((status = 200, body = List<PbxTypeChoice>), (status = 404, body = Problem))
)]
pub(super) async fn list_pbx_types(
    State(admin): State<Admin>,
    caller: Caller,
    Parted(paging, chooser): Parted<Chooser>,
) -> Result<Json<List<PbxTypeChoice>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    let had = match chooser.customer_id {
        None => None,
        Some(id) => Some(
            caller
                .customer(&mut connection, id)
                .await?
                .settings
                .pbx_types,
        ),
    };
    let Listed { items, next } = pbx_types::list(&mut connection, page).await?;
    let choice = |record: PbxTypeRecord| PbxTypeChoice {
        assigned: had.as_ref().map(|had| had.contains(&record.settings.code)),
        record,
    };
    let items = items.into_iter().map(choice).collect();
    Ok(Json(Listed { items, next }.into()))
}

/// Add a type of PBX
#[utoipa::path(
    post, path = "/api/v1/pbx-types", tag = "catalogues", operation_id = "create_pbx_type", request_body = PbxTypeSettings,
    responses((status = 201, body = PbxTypeRecord), (status = 409, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn create_pbx_type(
    State(admin): State<Admin>,
    caller: Caller,
    Body(settings): Body<PbxTypeSettings>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let record = pbx_types::insert(&mut change, &settings).await?;
    let location = format!("/api/v1/pbx-types/{}", settings.code);
    let audited = caller.audit(
        &mut change,
        "create",
        Some(&location),
        None::<&()>,
        Some(&record),
    );
    audited.await?;
    Ok(created(
        &location,
        record.version,
        &record,
        change.publish_for(&[]).await?,
    ))
}

/// A type of PBX
#[utoipa::path(
    get, path = "/api/v1/pbx-types/{code}", tag = "catalogues", operation_id = "show_pbx_type",
    params(("code" = String, Path)),
    responses((status = 200, body = PbxTypeRecord), (status = 404, body = Problem))
)]
pub(super) async fn show_pbx_type(
    State(admin): State<Admin>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let record = pbx_types::find(&mut *admin.store.read().await?, &code)
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(shown(&headers, record.version, &record))
}

/// Change a type of PBX
///
/// PBXes that there are keep what they have.
#[utoipa::path(
    patch, path = "/api/v1/pbx-types/{code}", tag = "catalogues", operation_id = "change_pbx_type",
    params(("code" = String, Path), ("If-Match" = String, Header)), request_body = PbxTypeSettings,
    responses((status = 200, body = PbxTypeRecord), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change_pbx_type(
    State(admin): State<Admin>,
    caller: Caller,
    Path(code): Path<String>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let before = pbx_types::find(&mut change, &code)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let settings: PbxTypeSettings = patched(&before.settings, patch)?;
    if settings.code != before.settings.code {
        return Err(ApiError::invalid_field(
            "code",
            "immutable",
            "never changes",
        ));
    }
    let record = pbx_types::update(&mut change, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    Ok(changed(
        record.version,
        &record,
        change.publish_for(&[]).await?,
    ))
}

/// What a licence is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct License {
    /// As services have it.
    code: LicenseType,
    /// For people.
    label: &'static str,
    /// What the customer's operators may do with it here.
    features: Vec<Feature>,
}

/// Licences, the least first
#[utoipa::path(
    get, path = "/api/v1/license-types", tag = "catalogues", operation_id = "list_license_types",
    responses((status = 200, body = List<License>))
)]
pub(super) async fn list_license_types() -> Json<List<License>> {
    let license = |license: &LicenseType| License {
        code: *license,
        label: license.label(),
        features: license.features().collect(),
    };
    let items = LicenseType::ALL.iter().map(license).collect();
    Json(List::new(items, None))
}
