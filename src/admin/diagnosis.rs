#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::error::{ApiError, Problem};
use crate::doctor::{Diagnosis, Wanted};
use axum::Json;
use axum::extract::{Path, State};
use uuid::Uuid;

/// What keeps the calls of a gateway away
///
/// Looks at certificates, names, TLS both ways, OPTIONS and the number plan, as `tollgate doctor teams` does; takes
/// some seconds where something does not answer.
#[utoipa::path(
    get, path = "/api/v1/gateways/{gateway}/diagnosis", tag = "gateways", operation_id = "diagnose_gateway",
    params(("gateway" = Uuid, Path)),
    responses((status = 200, body = Diagnosis), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(id): Path<Uuid>,
) -> Result<Json<Diagnosis>, ApiError> {
    let directory = admin.store.directory().load_full();
    let fqdn = directory
        .gateways()
        .find(|gateway| gateway.id == id)
        .map(|gateway| gateway.fqdn.clone())
        .ok_or_else(ApiError::not_found)?;
    let doctor = admin
        .doctor
        .as_ref()
        .ok_or_else(|| ApiError::unavailable("no_doctor", "there is no network to look at"))?;
    let diagnosis = doctor.teams(&directory, Wanted::Gateway(&fqdn)).await;
    Ok(Json(diagnosis.map_err(|_| ApiError::not_found())?))
}
