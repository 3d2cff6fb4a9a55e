#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::auth::Caller;
use super::error::{ApiError, Problem};
use super::page::{Frame, Framed, List};
use super::sight;
use crate::b2bua::{Cdr, Direction};
use crate::store::{CdrFilter, Listed, cdrs};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
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
///
/// Numbers are shortened for the roles of `admin.redact_for`, who may all the same ask for one by `number`.
#[utoipa::path(
    get, path = "/api/v1/cdrs", tag = "calls", operation_id = "list_cdrs", params(Frame, Filter),
    responses((status = 200, body = List<Record>))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Framed(frame, filter): Framed<Filter>,
) -> Result<Json<List<Record>>, ApiError> {
    let filter = CdrFilter {
        partner: caller.partner(),
        ..filter.in_frame(&frame)
    };
    listed(&admin, &caller, &frame, &filter).await
}

/// Call detail records of a customer, newest first
///
/// The customer's own administrator sees them if `sip_data_access` is on. Numbers are shortened for the roles of
/// `admin.redact_for`.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/cdrs", tag = "calls", operation_id = "list_customer_cdrs",
    params(("id" = Uuid, Path), Frame, Filter),
    responses((status = 200, body = List<Record>), (status = 403, body = Problem), (status = 404, body = Problem))
)]
pub(super) async fn list_of_customer(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Framed(frame, filter): Framed<Filter>,
) -> Result<Json<List<Record>>, ApiError> {
    let customer = caller.customer_with_records(&admin, id).await?;
    let filter = CdrFilter {
        customer: Some(customer.id),
        ..filter.in_frame(&frame)
    };
    listed(&admin, &caller, &frame, &filter).await
}

async fn listed(
    admin: &Admin,
    caller: &Caller,
    frame: &Frame,
    filter: &CdrFilter,
) -> Result<Json<List<Record>>, ApiError> {
    let page = frame.page()?;
    let Listed { items, next } = cdrs::list(&mut *admin.store.read().await?, filter, page).await?;
    let sight = caller.sight(admin);
    let shown = items
        .into_iter()
        .map(|cdr| sight::record(sight, cdr).into());
    let items = shown.collect();
    Ok(Json(Listed { items, next }.into()))
}

impl Filter {
    fn in_frame(self, frame: &Frame) -> CdrFilter {
        CdrFilter {
            customer: None,
            partner: None,
            from: frame.from,
            until: frame.until,
            number: self.number,
            sip_code: self.sip_code,
            refused_by: self.refused_by,
            direction: self.direction,
        }
    }
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
