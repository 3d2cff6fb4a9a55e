#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::body::Search;
use super::error::ApiError;
use super::page::{List, Paging};
use crate::store::{AuditFilter, AuditRecord, audit};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;
use uuid::Uuid;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// At most so many items.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
    /// Done with this token.
    token_id: Option<Uuid>,
    /// Path of a resource: what was done to it and to those below it.
    object: Option<String>,
    /// Done then or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Done before.
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

/// Who changed what, newest first
///
/// Events are kept for `audit.retention_days`.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit", params(Filter),
    responses((status = 200, body = List<AuditRecord>))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Search(filter): Search<Filter>,
) -> Result<Json<List<AuditRecord>>, ApiError> {
    let Filter {
        limit,
        cursor,
        token_id,
        object,
        from,
        until,
    } = filter;
    let page = Paging { limit, cursor }.page()?;
    let filter = AuditFilter {
        token_id,
        object,
        from,
        until,
    };
    let listed = audit::list(&mut *admin.store.read().await?, &filter, page).await?;
    Ok(Json(listed.into()))
}
