#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::error::ApiError;
use super::page::{Frame, Framed, List};
use crate::store::{AuditFilter, AuditRecord, audit};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Done with this token.
    token_id: Option<Uuid>,
    /// Path of a resource: what was done to it and to those below it.
    object: Option<String>,
}

/// Who changed what, newest first
///
/// Events are kept for `audit.retention_days`.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit", params(Frame, Filter),
    responses((status = 200, body = List<AuditRecord>))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Framed(frame, filter): Framed<Filter>,
) -> Result<Json<List<AuditRecord>>, ApiError> {
    let events = AuditFilter {
        token_id: filter.token_id,
        object: filter.object,
        from: frame.from,
        until: frame.until,
    };
    let listed = audit::list(&mut *admin.store.read().await?, &events, frame.page()?).await?;
    Ok(Json(listed.into()))
}
