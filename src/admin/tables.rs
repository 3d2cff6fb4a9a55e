//! A customer's numbers and users as tables of comma-separated values, which can be added elsewhere as they are.

use super::Admin;
use super::auth::Caller;
use super::error::{ApiError, Problem};
use super::users::require_feature;
use crate::provisioning::{Feature, csv};
use crate::store::{
    Listed, NumberFilter, NumberRecord, Page, StoreError, UserRecord, numbers, users,
};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

/// Rows of one table.
const MOST: usize = 10_000;

const NUMBERS: [&str; 9] = [
    "number",
    "extension",
    "kind",
    "source",
    "assignment",
    "user_id",
    "status",
    "in_service",
    "emergency_location",
];

const USERS: [&str; 9] = [
    "upn",
    "display_name",
    "extension",
    "sip_user",
    "default_did",
    "did_list",
    "offering",
    "user_tag",
    "state",
];

/// All numbers of a customer as a table
///
/// CSV with the columns `number`, `extension`, `kind`, `source`, `assignment`, `user_id`, `status`, `in_service` and
/// `emergency_location`. At most 10000.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/numbers.csv", tag = "numbers", operation_id = "numbers_table",
    params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "text/csv", body = String), (status = 404, body = Problem),
              (status = 409, body = Problem))
)]
pub(super) async fn of_numbers(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let filter = NumberFilter {
        customer: Some(Some(id)),
        ..NumberFilter::default()
    };
    let mut table = Table::new(&NUMBERS);
    while let Some(page) = table.wants {
        table.add(numbers::list(&mut connection, &filter, page).await, number)?;
    }
    Ok(table.into_response())
}

/// All users of a customer as a table
///
/// CSV with the columns `upn`, `display_name`, `extension`, `sip_user`, `default_did`, `did_list` (the others, separated by
/// `;`), `offering`, `user_tag` and `state`. At most 10000. Carrier and partner need the customer's co-management.
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/users.csv", tag = "users", operation_id = "users_table",
    params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "text/csv", body = String), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(super) async fn of_users(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.managed(&mut connection, id).await?;
    require_feature(&mut connection, id, Feature::Users).await?;
    let mut table = Table::new(&USERS);
    while let Some(page) = table.wants {
        table.add(users::list(&mut connection, id, page).await, user)?;
    }
    Ok(table.into_response())
}

/// A table on its way out.
struct Table {
    text: String,
    rows: usize,
    /// The part of the list that comes next.
    wants: Option<Page>,
}

impl Table {
    fn new(columns: &[&str]) -> Self {
        Self {
            text: csv::line(columns),
            rows: 0,
            wants: Some(Page::default()),
        }
    }

    fn add<T>(
        &mut self,
        listed: Result<Listed<T>, StoreError>,
        line: impl Fn(&T) -> String,
    ) -> Result<(), ApiError> {
        let Listed { items, next } = listed?;
        self.rows += items.len();
        if self.rows > MOST {
            let detail = "there are more than 10000: list them";
            return Err(ApiError::conflict("too_many", detail));
        }
        self.text.extend(items.iter().map(line));
        self.wants = next.map(|after| Page {
            after: Some(after),
            ..Page::default()
        });
        Ok(())
    }
}

impl IntoResponse for Table {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
        (kind, self.text).into_response()
    }
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

fn number(record: &NumberRecord) -> String {
    let settings = &record.settings;
    let user = settings.user_id.map(|id| id.to_string());
    csv::line(&[
        &record.number,
        text(&record.extension),
        record.kind.name(),
        record.source.name(),
        settings.assignment.name(),
        text(&user),
        record.status.map_or("", |status| status.name()),
        if record.in_service { "true" } else { "false" },
        text(&settings.emergency_location),
    ])
}

fn user(record: &UserRecord) -> String {
    let settings = &record.settings;
    csv::line(&[
        &settings.upn,
        &settings.display_name,
        text(&settings.extension),
        text(&settings.sip_user),
        text(&settings.default_did),
        &settings.forwarded_dids.join(";"),
        settings.offering.name(),
        text(&settings.user_tag),
        settings.state.name(),
    ])
}
