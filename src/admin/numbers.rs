#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::{absent, changed_rows, pending, require_match, shown};
use super::auth::Caller;
use super::body::{Body, bytes, media_type, parsed, patched, shaped};
use super::error::{ApiError, Problem};
use super::page::{List, Paging, Parted};
use crate::directory::{Number, NumberError};
use crate::provisioning::csv::{Row, Table};
use crate::provisioning::{
    Assignment, Desired, Disposition, NumberKind, NumberSource, NumberStatus,
};
use crate::store::{
    AccessRole, Added, Change, CustomerRecord, NewNumber, NumberFilter, NumberRecord,
    NumberSettings, StoreError, numbers,
};
use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Numbers in one request.
const MOST: usize = 10_000;

/// Numbers to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNumbers {
    /// In E.164 form, with `+`, perhaps with `;ext=`; blanks and separators do not count. At most 10000.
    #[schema(example = json!(["+14255550100", "+1 (425) 555-0101"]))]
    numbers: Vec<String>,
    /// Whether nobody else may have them.
    #[serde(default)]
    kind: NumberKind,
    /// Where they come from.
    #[serde(default)]
    source: NumberSource,
}

/// How numbers are added.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Adding {
    /// Only tells what would become of each.
    #[serde(default)]
    dry_run: bool,
    /// With plain text, and with tables that do not say it: whether nobody else may have them.
    #[serde(default)]
    kind: NumberKind,
}

/// What became of each number.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NumbersAdded {
    /// Numbers that were added; they serve after the next Sync.
    created: usize,
    /// Numbers that were not.
    failed: usize,
    /// Whether nothing was really done.
    dry_run: bool,
    /// In the order of the request.
    results: Vec<LineResult>,
}

/// What became of one number.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LineResult {
    /// Counted from 1; empty lines of a text count too.
    line: usize,
    /// Without separators.
    number: String,
    /// Whether it was added.
    created: bool,
    /// Why not: `number_exists` (this customer has it, or it is in the inventory), `number_in_use` (somebody else does),
    /// `external_number` (the carrier does not own it, and the customer may use no others) or `format`.
    code: Option<&'static str>,
    /// The same for people.
    message: Option<String>,
}

/// Which numbers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// What they begin with.
    q: Option<String>,
    /// How they stand.
    status: Option<NumberStatus>,
    /// Of this user.
    user_id: Option<Uuid>,
}

impl Filter {
    fn of(self, customer: Option<Option<Uuid>>) -> Result<NumberFilter, ApiError> {
        let is_part = |c: char| c.is_ascii_digit() || c == '+';
        if self
            .q
            .as_ref()
            .is_some_and(|q| q.len() > 16 || !q.chars().all(is_part))
        {
            return Err(ApiError::bad_request(
                "q",
                "q must be + and digits, not encoded: %2B and digits",
            ));
        }
        Ok(NumberFilter {
            customer,
            user: self.user_id,
            taken: false,
            status: self.status,
            prefix: self.q.filter(|q| !q.is_empty()),
        })
    }
}

/// Which numbers of all.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Inventory {
    /// What they begin with.
    q: Option<String>,
    /// How they stand.
    status: Option<NumberStatus>,
    /// Whether somebody has them; if absent it does not matter.
    assigned: Option<bool>,
}

/// What becomes of a number that is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Removal {
    /// `retain`: it stays in the inventory. `delete`: it does not.
    #[serde(default)]
    disposition: Disposition,
    /// Must be true.
    #[serde(default)]
    confirm: bool,
}

/// Numbers of a customer, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/numbers", tag = "numbers", operation_id = "list_numbers",
    params(("id" = Uuid, Path), Paging, Filter),
    responses((status = 200, body = List<NumberRecord>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Parted(paging, filter): Parted<Filter>,
) -> Result<Json<List<NumberRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    let filter = filter.of(Some(Some(id)))?;
    Ok(Json(
        numbers::list(&mut connection, &filter, page).await?.into(),
    ))
}

/// All numbers, the inventory's and customers', in their order
#[utoipa::path(
    get, path = "/api/v1/numbers", tag = "numbers", operation_id = "list_inventory", params(Paging, Inventory),
    responses((status = 200, body = List<NumberRecord>))
)]
pub(super) async fn list_inventory(
    State(admin): State<Admin>,
    Parted(paging, inventory): Parted<Inventory>,
) -> Result<Json<List<NumberRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    let filter = Filter {
        q: inventory.q,
        status: inventory.status,
        user_id: None,
    };
    let mut filter = filter.of(None)?;
    if inventory.assigned == Some(false) {
        filter.customer = Some(None);
    }
    filter.taken = inventory.assigned == Some(true);
    Ok(Json(
        numbers::list(&mut connection, &filter, page).await?.into(),
    ))
}

/// Add numbers to a customer
///
/// As JSON, as plain text with one number a line, or as CSV with the columns `number`, and perhaps `kind` and `extension`.
/// Each is added or not by itself: 201 if all were, 200 if some were,
/// 409 if none was because all belong to somebody, else 422. They serve after the customer's next Sync.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/numbers", tag = "numbers", operation_id = "create_numbers",
    params(("id" = Uuid, Path), Adding),
    request_body(content((NewNumbers = "application/json"), (String = "text/plain"), (String = "text/csv"))),
    responses((status = 201, body = NumbersAdded), (status = 200, body = NumbersAdded), (status = 404, body = Problem),
              (status = 409, body = NumbersAdded), (status = 415, body = Problem), (status = 422, body = NumbersAdded))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(adding): Query<Adding>,
    request: Request,
) -> Result<Response, ApiError> {
    let lines = lines(request, adding.kind).await?;
    let mut change = admin.store.rows().await?;
    let customer = caller.customer(&mut change, id).await?;
    let may_bring =
        customer.settings.allow_external_numbers || caller.role() == AccessRole::CarrierAdmin;
    let mut results = Vec::with_capacity(lines.len());
    for line in lines {
        results.push(add(&mut change, Some(&customer), may_bring, line).await?);
    }
    answered(change, &caller, results, adding.dry_run).await
}

/// Add numbers to the inventory
///
/// As JSON, as plain text with one number a line, or as CSV; each by itself, as for a customer.
#[utoipa::path(
    post, path = "/api/v1/numbers", tag = "numbers", operation_id = "stock_numbers", params(Adding),
    request_body(content((NewNumbers = "application/json"), (String = "text/plain"), (String = "text/csv"))),
    responses((status = 201, body = NumbersAdded), (status = 200, body = NumbersAdded), (status = 409, body = NumbersAdded),
              (status = 415, body = Problem), (status = 422, body = NumbersAdded))
)]
pub(super) async fn stock(
    State(admin): State<Admin>,
    caller: Caller,
    Query(adding): Query<Adding>,
    request: Request,
) -> Result<Response, ApiError> {
    let lines = lines(request, adding.kind).await?;
    let mut change = admin.store.rows().await?;
    let mut results = Vec::with_capacity(lines.len());
    for line in lines {
        results.push(add(&mut change, None, true, line).await?);
    }
    answered(change, &caller, results, adding.dry_run).await
}

/// Remove a number from the inventory
///
/// One that a customer has goes through the customer's.
#[utoipa::path(
    delete, path = "/api/v1/numbers/{number}", tag = "numbers", operation_id = "discard_number",
    params(("number" = String, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 409, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn discard(
    State(admin): State<Admin>,
    caller: Caller,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    let Ok(number) = number.parse::<Number>() else {
        return Ok(absent());
    };
    let Some(before) = numbers::did(&mut change, &number).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    if before.customer_id.is_some() {
        return Err(ApiError::conflict(
            "number_in_use",
            "a customer has the number",
        ));
    }
    numbers::discard(&mut change, &number).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    change.keep().await?;
    Ok(absent())
}

/// A number of a customer
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/numbers/{number}", tag = "numbers", operation_id = "show_number",
    params(("id" = Uuid, Path), ("number" = String, Path)),
    responses((status = 200, body = NumberRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(Uuid, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut connection = admin.store.read().await?;
    caller.customer(&mut connection, id).await?;
    let number = number.parse().map_err(|_| ApiError::not_found())?;
    let record = numbers::find(&mut connection, id, &number)
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(shown(&headers, record.version, &record))
}

/// Give a number to a user, or say what it can do
///
/// Which number is whose is the customer's business: carrier and partner need its co-management. Whether it serves is
/// what a Sync decides.
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/numbers/{number}", tag = "numbers", operation_id = "change_number",
    params(("id" = Uuid, Path), ("number" = String, Path), ("If-Match" = String, Header)), request_body = NumberSettings,
    responses((status = 200, body = NumberRecord), (status = 403, body = Problem), (status = 404, body = Problem),
              (status = 412, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(Uuid, String)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    let customer = caller.customer(&mut change, id).await?;
    let number: Number = number.parse().map_err(|_| ApiError::not_found())?;
    let before = numbers::find(&mut change, id, &number)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let says_assignment = patch.get("assignment").is_some();
    let mut settings: NumberSettings = patched(&before.settings, patch)?;
    if settings.user_id != before.settings.user_id && !says_assignment {
        settings.assignment = match settings.user_id {
            Some(_) => Assignment::User,
            None => Assignment::Unassigned,
        };
    }
    check_assignment(&caller, &mut change, &customer, &before.settings, &settings).await?;
    if settings.user_id.is_some() && before.desired == Desired::Absent {
        return Err(ApiError::conflict(
            "pending_remove",
            "the number is about to be removed",
        ));
    }
    let record = numbers::update(&mut change, id, &number, &settings).await?;
    let (from, to) = (Some(&before), Some(&record));
    caller
        .audit_for(&customer, &mut change, "update", None, from, to)
        .await?;
    change.keep_for(id).await?;
    Ok(changed_rows(record.version, &record))
}

/// Remove a number from a customer
///
/// It serves until the customer's next Sync.
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/numbers/{number}", tag = "numbers", operation_id = "delete_number",
    params(("id" = Uuid, Path), ("number" = String, Path), Removal, ("If-Match" = String, Header)),
    responses((status = 202, body = NumberRecord), (status = 204), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(Uuid, String)>,
    Query(removal): Query<Removal>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.rows().await?;
    caller.customer(&mut change, id).await?;
    let Ok(number) = number.parse::<Number>() else {
        return Ok(absent());
    };
    let Some(before) = numbers::find(&mut change, id, &number).await? else {
        return Ok(absent());
    };
    if !removal.confirm {
        let detail = "confirm=true must say that the number is really to go";
        let status = StatusCode::PRECONDITION_REQUIRED;
        return Err(ApiError::new(status, "confirmation_required", detail));
    }
    require_match(&headers, before.version)?;
    if before.settings.assignment != Assignment::Unassigned {
        return Err(ApiError::conflict("assigned", "somebody has the number"));
    }
    let record = numbers::release(&mut change, id, &number, removal.disposition).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    change.keep().await?;
    Ok(pending(record.version, &record))
}

/// Who may say which number is whose.
pub(super) async fn check_assignment(
    caller: &Caller,
    change: &mut Change,
    customer: &CustomerRecord,
    before: &NumberSettings,
    after: &NumberSettings,
) -> Result<(), ApiError> {
    let whose = |settings: &NumberSettings| (settings.user_id, settings.assignment);
    if whose(before) != whose(after) {
        caller.require_co_management(customer)?;
        super::users::require_feature(
            change,
            customer.id,
            crate::provisioning::Feature::AssignNumbers,
        )
        .await?;
    }
    let else_changed = before.capabilities != after.capabilities
        || before.emergency_location != after.emergency_location;
    if else_changed && caller.role().is_of_customer() {
        let detail = "what a number can do is not the customer's to say";
        return Err(ApiError::forbidden("role", detail));
    }
    Ok(())
}

/// A number of a body.
#[derive(Debug)]
struct Line {
    /// Counted from 1.
    line: usize,
    text: String,
    /// None: it is said, but there is no such kind.
    kind: Option<NumberKind>,
    source: NumberSource,
}

/// The rows of a table.
fn rows(text: &str, kind: NumberKind) -> Result<Vec<Line>, ApiError> {
    let wrong = |message: &str| ApiError::invalid_field("", "csv", message);
    let table = Table::parse(text, MOST).map_err(|error| wrong(&error.to_string()))?;
    if !table.columns().iter().any(|column| column == "number") {
        return Err(wrong("there is no column number"));
    }
    let line = |(line, row): (usize, Row<'_>)| Line {
        line,
        text: match (row.get("number").unwrap_or_default(), row.get("extension")) {
            (number, Some(extension)) => format!("{number};ext={extension}"),
            (number, None) => number.to_owned(),
        },
        kind: row.get("kind").map_or(Some(kind), |name| {
            serde_json::from_value(name.to_ascii_lowercase().into()).ok()
        }),
        source: NumberSource::Portal,
    };
    Ok(table.rows().map(line).collect())
}

async fn lines(request: Request, kind: NumberKind) -> Result<Vec<Line>, ApiError> {
    let media = media_type(request.headers());
    let body = bytes(request, &()).await?;
    let text = || {
        str::from_utf8(&body)
            .map_err(|_| ApiError::bad_request("encoding", "the text is not UTF-8"))
    };
    let numbered = |numbers: Vec<String>, kind, source| {
        let numbered = numbers.into_iter().enumerate();
        numbered.map(move |(index, text)| Line {
            line: index + 1,
            text,
            kind: Some(kind),
            source,
        })
    };
    let lines: Vec<_> = match media.as_str() {
        "application/json" => {
            let new = shaped::<NewNumbers>(parsed(&body)?)?;
            numbered(new.numbers, new.kind, new.source).collect()
        }
        "text/plain" => {
            let numbers = text()?.lines().map(str::to_owned).collect();
            numbered(numbers, kind, NumberSource::Portal)
                .filter(|line| !line.text.trim().is_empty())
                .collect()
        }
        "text/csv" => rows(text()?, kind)?,
        _ => {
            let detail = "the body must be application/json, text/plain or text/csv";
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                detail,
            ));
        }
    };
    match lines.len() {
        0 => Err(ApiError::invalid_field(
            "numbers",
            "required",
            "must name at least one number",
        )),
        1..=MOST => Ok(lines),
        _ => Err(ApiError::invalid_field(
            "numbers",
            "too_many",
            "must be at most 10000",
        )),
    }
}

async fn add(
    change: &mut Change,
    customer: Option<&CustomerRecord>,
    may_bring: bool,
    line: Line,
) -> Result<LineResult, ApiError> {
    let is_separator = |c: char| c.is_whitespace() || matches!(c, '-' | '.' | '(' | ')');
    let plain: String = line
        .text
        .replace(is_separator, "")
        .chars()
        .take(64)
        .collect();
    let result = |code: Option<&'static str>, message: Option<String>| LineResult {
        line: line.line,
        number: plain.clone(),
        created: code.is_none(),
        code,
        message,
    };
    let refused = |code, message: &str| result(Some(code), Some(message.to_owned()));
    let (text, extension) = match plain.split_once(";ext=") {
        Some((number, extension)) => (number, Some(extension)),
        None => (plain.as_str(), None),
    };
    let Some(kind) = line.kind else {
        return Ok(refused("format", "the kind must be did or extension"));
    };
    let new = match new_number(text, extension, kind, line.source) {
        Ok(new) => new,
        Err(message) => return Ok(refused("format", &message)),
    };
    let Some(customer) = customer else {
        return Ok(match numbers::stock(change, &new).await {
            Ok(()) => result(None, None),
            Err(StoreError::Taken(_)) => refused("number_exists", "the number is known"),
            Err(error) => return Err(error.into()),
        });
    };
    let is_external = new.kind == NumberKind::Did && !may_bring;
    if is_external && numbers::did(change, &new.number).await?.is_none() {
        let message = "the customer may only use numbers of the inventory";
        return Ok(refused("external_number", message));
    }
    Ok(match numbers::insert(change, customer.id, &new).await? {
        Added::New | Added::Kept => result(None, None),
        Added::Exists => refused("number_exists", "the customer has this number"),
        Added::Foreign => refused("number_in_use", "the number belongs to somebody else"),
    })
}

/// `+14255550100`, perhaps with what stands after `;ext=`.
pub(super) fn new_number(
    number: &str,
    extension: Option<&str>,
    kind: NumberKind,
    source: NumberSource,
) -> Result<NewNumber, String> {
    let is_digits =
        |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    if !extension.is_none_or(is_digits) {
        return Err("the extension must be 1 to 8 digits".into());
    }
    Ok(NewNumber {
        number: number
            .parse()
            .map_err(|error: NumberError| error.to_string())?,
        extension: extension.map(str::to_owned),
        kind,
        source,
    })
}

async fn answered(
    mut change: Change,
    caller: &Caller,
    results: Vec<LineResult>,
    dry_run: bool,
) -> Result<Response, ApiError> {
    let created = results.iter().filter(|result| result.created).count();
    let failed = results.len() - created;
    let is_taken =
        |result: &LineResult| matches!(result.code, Some("number_in_use" | "number_exists"));
    let all_taken = results.iter().all(is_taken);
    let answer = NumbersAdded {
        created,
        failed,
        dry_run,
        results,
    };
    let status = match (created, failed) {
        (0, _) if all_taken => StatusCode::CONFLICT,
        (0, _) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, 0) if !dry_run => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    if created > 0 && !dry_run {
        caller
            .audit(&mut change, "create", None, None::<&()>, Some(&answer))
            .await?;
        change.keep().await?;
    }
    Ok((status, Json(answer)).into_response())
}
