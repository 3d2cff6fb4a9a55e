use super::Admin;
use super::answer::{absent, changed, deleted, require_match, shown};
use super::auth::Caller;
use super::body::{Body, Search, bytes, media_type, parsed, patched, shaped};
use super::error::{ApiError, Problem};
use super::page::{List, Paging};
use crate::directory::{Number, NumberError};
use crate::store::{NumberRecord, NumberSettings, numbers};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use uuid::Uuid;

/// Numbers in one request.
const MOST: usize = 10_000;

/// Numbers to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNumbers {
    /// In E.164 form, with `+`; blanks and separators do not count. At most 10000.
    #[schema(example = json!(["+14255550100", "+1 (425) 555-0101"]))]
    numbers: Vec<String>,
}

/// What became of each number.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NumbersAdded {
    /// Numbers that were added; they are in service.
    created: usize,
    /// Numbers that were not.
    failed: usize,
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
    /// Why not: `number_exists` (this customer has it), `number_in_use` (somebody else does) or `format`.
    code: Option<&'static str>,
    /// The same for people.
    message: Option<String>,
}

/// Numbers of a customer, oldest first
#[utoipa::path(
    get, path = "/api/v1/customers/{id}/numbers", tag = "numbers", operation_id = "list_numbers",
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<NumberRecord>), (status = 404, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Search(paging): Search<Paging>,
) -> Result<Json<List<NumberRecord>>, ApiError> {
    let (page, mut connection) = (paging.page()?, admin.store.read().await?);
    caller.customer(&mut connection, id).await?;
    Ok(Json(numbers::list(&mut connection, id, page).await?.into()))
}

/// Add numbers to a customer
///
/// As JSON, or as plain text with one number a line. Each is added or not by itself: 201 if all were, 200 if some were,
/// 409 if none was because all belong to somebody, else 422.
#[utoipa::path(
    post, path = "/api/v1/customers/{id}/numbers", tag = "numbers", operation_id = "create_numbers",
    params(("id" = Uuid, Path)),
    request_body(content((NewNumbers = "application/json"), (String = "text/plain"))),
    responses((status = 201, body = NumbersAdded), (status = 200, body = NumbersAdded), (status = 404, body = Problem),
              (status = 409, body = NumbersAdded), (status = 415, body = Problem), (status = 422, body = NumbersAdded))
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<Uuid>,
    request: Request,
) -> Result<Response, ApiError> {
    let lines = lines(request).await?;
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let mut results = Vec::with_capacity(lines.len());
    for (line, text) in lines {
        results.push(add(&mut change, id, line, &text).await?);
    }
    let created = results.iter().filter(|result| result.created).count();
    let failed = results.len() - created;
    let all_taken = results
        .iter()
        .all(|result| matches!(result.code, Some("number_in_use" | "number_exists")));
    let answer = NumbersAdded {
        created,
        failed,
        results,
    };
    if created == 0 {
        let status = if all_taken {
            StatusCode::CONFLICT
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        return Ok((status, Json(answer)).into_response());
    }
    caller
        .audit(&mut change, "create", None, None::<&()>, Some(&answer))
        .await?;
    let generation = change.publish_for(&[id]).await?;
    let status = if failed == 0 {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let headers = [("tollgate-generation", generation.to_string())];
    Ok((status, headers, Json(answer)).into_response())
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

/// Put a number in service or take it out
#[utoipa::path(
    patch, path = "/api/v1/customers/{id}/numbers/{number}", tag = "numbers", operation_id = "change_number",
    params(("id" = Uuid, Path), ("number" = String, Path), ("If-Match" = String, Header)), request_body = NumberSettings,
    responses((status = 200, body = NumberRecord), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(Uuid, String)>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let number: Number = number.parse().map_err(|_| ApiError::not_found())?;
    let before = numbers::find(&mut change, id, &number)
        .await?
        .ok_or_else(ApiError::not_found)?;
    require_match(&headers, before.version)?;
    let settings = patched(&before.settings, patch)?;
    let record = numbers::update(&mut change, id, &number, &settings).await?;
    caller
        .audit(&mut change, "update", None, Some(&before), Some(&record))
        .await?;
    let generation = change.publish_for(&[id]).await?;
    Ok(changed(record.version, &record, generation))
}

/// Remove a number
#[utoipa::path(
    delete, path = "/api/v1/customers/{id}/numbers/{number}", tag = "numbers", operation_id = "delete_number",
    params(("id" = Uuid, Path), ("number" = String, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(Uuid, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    caller.customer(&mut change, id).await?;
    let Ok(number) = number.parse::<Number>() else {
        return Ok(absent());
    };
    let Some(before) = numbers::find(&mut change, id, &number).await? else {
        return Ok(absent());
    };
    require_match(&headers, before.version)?;
    numbers::delete(&mut change, id, &number).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    Ok(deleted(change.publish_for(&[id]).await?))
}

/// The numbers of a body, each with its line.
async fn lines(request: Request) -> Result<Vec<(usize, String)>, ApiError> {
    let kind = media_type(request.headers());
    let body = bytes(request, &()).await?;
    let texts: Vec<String> = match kind.as_str() {
        "application/json" => shaped::<NewNumbers>(parsed(&body)?)?.numbers,
        "text/plain" => {
            let text = str::from_utf8(&body)
                .map_err(|_| ApiError::bad_request("encoding", "the text is not UTF-8"))?;
            text.lines().map(str::to_owned).collect()
        }
        _ => {
            let detail = "the body must be application/json or text/plain";
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                detail,
            ));
        }
    };
    let is_text = kind == "text/plain";
    let numbered = texts
        .into_iter()
        .enumerate()
        .map(|(index, text)| (index + 1, text));
    let lines: Vec<_> = numbered
        .filter(|(_, text)| !is_text || !text.trim().is_empty())
        .collect();
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
    connection: &mut SqliteConnection,
    customer: Uuid,
    line: usize,
    text: &str,
) -> Result<LineResult, ApiError> {
    let is_separator = |c: char| c.is_whitespace() || matches!(c, '-' | '.' | '(' | ')');
    let plain: String = text.replace(is_separator, "").chars().take(64).collect();
    let refused = |code, message: String| LineResult {
        line,
        number: plain.clone(),
        created: false,
        code: Some(code),
        message: Some(message),
    };
    let number: Number = match plain.parse() {
        Ok(number) => number,
        Err(error) => return Ok(refused("format", NumberError::to_string(&error))),
    };
    Ok(match numbers::owner(connection, &number).await? {
        Some(owner) if owner == customer => {
            refused("number_exists", "the customer has this number".into())
        }
        Some(_) => refused(
            "number_in_use",
            "the number belongs to somebody else".into(),
        ),
        None => {
            numbers::insert(connection, customer, &number).await?;
            LineResult {
                line,
                number: plain,
                created: true,
                code: None,
                message: None,
            }
        }
    })
}
