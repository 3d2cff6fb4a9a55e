#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::auth::Caller;
use super::body::Search;
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::b2bua::{Cdr, Direction};
use crate::store::{CdrFilter, Listed, cdrs};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A call detail record, with durations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallDetailRecord)]
pub(super) struct Record {
    #[serde(flatten)]
    cdr: Cdr,
    /// From the INVITE to the answer, in milliseconds.
    setup_ms: Option<i64>,
    /// From the answer to the end, in milliseconds.
    talk_ms: i64,
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// At most so many items.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
    /// Started then or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Started before.
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
    /// Called or calling, exactly.
    number: Option<String>,
    /// Final SIP status.
    sip_code: Option<u16>,
    /// The rule that refused the call.
    refused_by: Option<String>,
    /// Which way the call went.
    direction: Option<Direction>,
}

/// Call detail records, newest first
#[utoipa::path(
    get, path = "/api/v1/cdrs", tag = "calls", operation_id = "list_cdrs", params(Filter),
    responses((status = 200, body = List<Record>))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Search(filter): Search<Filter>,
) -> Result<Json<List<Record>>, ApiError> {
    listed(&admin, filter, None, caller.partner()).await
}

/// Call detail records of a customer, newest first
///
/// The customer's own administrator sees them if `sip_data_access` is on.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/cdrs", tag = "calls", operation_id = "list_customer_cdrs",
    params(("id" = Uuid, Path), Filter),
    responses((status = 200, body = List<Record>), (status = 403, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn list_of_customer(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(filter): Search<Filter>,
) -> Result<Json<List<Record>>, ApiError> {
    let customer = caller.customer(&mut *admin.store.read().await?, id).await?;
    if !customer.settings.sip_data_access && !caller.role().may_read_all_records() {
        return Err(ApiError::forbidden(
            "sip_data_access_off",
            "sip_data_access is off for this customer",
        ));
    }
    listed(&admin, filter, Some(id), None).await
}

async fn listed(
    admin: &Admin,
    filter: Filter,
    customer: Option<Uuid>,
    partner: Option<Uuid>,
) -> Result<Json<List<Record>>, ApiError> {
    let Filter {
        limit,
        cursor,
        from,
        until,
        number,
        sip_code,
        refused_by,
        direction,
    } = filter;
    let page = Paging { limit, cursor }.page()?;
    let filter = CdrFilter {
        customer,
        partner,
        from,
        until,
        number,
        sip_code,
        refused_by,
        direction,
    };
    let Listed { items, next } = cdrs::list(&mut *admin.store.read().await?, &filter, page).await?;
    Ok(Json(
        Listed {
            items: items.into_iter().map(Record::from).collect(),
            next,
        }
        .into(),
    ))
}

impl From<Cdr> for Record {
    fn from(cdr: Cdr) -> Self {
        let ms = |duration: time::Duration| {
            i64::try_from(duration.whole_milliseconds()).unwrap_or(i64::MAX)
        };
        Self {
            setup_ms: cdr.setup().map(ms),
            talk_ms: ms(cdr.talk()),
            cdr,
        }
    }
}
