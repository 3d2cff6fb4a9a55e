//! What successful answers have in common.

use super::error::ApiError;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Names the directory by which calls obey a change.
pub(super) const GENERATION: &str = "tollgate-generation";

/// A resource as it is; 304 if the caller has this version (`If-None-Match`).
pub(super) fn shown(headers: &HeaderMap, version: i64, record: &impl Serialize) -> Response {
    let tag = tag(version);
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| names(value, &tag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(record).into_response()
    };
    response.headers_mut().insert(header::ETAG, tag);
    response
}

/// A resource after a change.
pub(super) fn changed(version: i64, record: &impl Serialize, generation: u64) -> Response {
    let mut response = Json(record).into_response();
    response.headers_mut().insert(header::ETAG, tag(version));
    response.headers_mut().insert(GENERATION, generation.into());
    response
}

/// A resource after a change that calls do not obey, or not before a Sync.
pub(super) fn changed_rows(version: i64, record: &impl Serialize) -> Response {
    let mut response = Json(record).into_response();
    response.headers_mut().insert(header::ETAG, tag(version));
    response
}

/// A resource whose change waits for a Sync.
pub(super) fn pending(version: i64, record: &impl Serialize) -> Response {
    (StatusCode::ACCEPTED, changed_rows(version, record)).into_response()
}

/// A resource that was just made.
pub(super) fn created(
    location: &str,
    version: i64,
    record: &impl Serialize,
    generation: u64,
) -> Response {
    placed(location, changed(version, record, generation))
}

/// A resource that was just made, and that calls do not obey, or not before a Sync.
pub(super) fn created_rows(location: &str, version: i64, record: &impl Serialize) -> Response {
    placed(location, changed_rows(version, record))
}

fn placed(location: &str, answer: Response) -> Response {
    let mut response = (StatusCode::CREATED, answer).into_response();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A resource that is gone.
pub(super) fn deleted(generation: u64) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(GENERATION, generation.into());
    response
}

/// A resource that was not there to begin with: what was asked for holds.
pub(super) fn absent() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Whether a client would rather have text than JSON; without a word of it, JSON.
pub(super) fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain"))
}

/// RFC 9110 §13.1.1: a change must name the version that it was made from.
pub(super) fn require_match(headers: &HeaderMap, version: i64) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        let detail = "If-Match must carry the ETag of the version that is to change";
        return Err(ApiError::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            detail,
        ));
    };
    if names(value, &tag(version)) {
        return Ok(());
    }
    let detail = "the resource was changed by somebody else";
    Err(ApiError::new(
        StatusCode::PRECONDITION_FAILED,
        "version_mismatch",
        detail,
    ))
}

/// The same for what may be written without: a version that is named must be the current one.
pub(super) fn require_match_if_given(headers: &HeaderMap, version: i64) -> Result<(), ApiError> {
    match headers.contains_key(header::IF_MATCH) {
        true => require_match(headers, version),
        false => Ok(()),
    }
}

fn tag(version: i64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are visible ASCII")
}

/// Whether a list of entity tags holds this one; a weak one never does.
fn names(list: &HeaderValue, tag: &HeaderValue) -> bool {
    let list = list.to_str().unwrap_or_default();
    list.trim() == "*"
        || list
            .split(',')
            .any(|item| item.trim().as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_the_tag_of_the_current_version() {
        let status = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (header::IF_MATCH, HeaderValue::from_static(value))));
            require_match(&headers, 7).map_err(|error| error.into_response().status().as_u16())
        };
        assert_eq!(status(None), Err(428));
        for good in ["\"7\"", "*", "\"6\", \"7\""] {
            assert_eq!(status(Some(good)), Ok(()), "{good}");
        }
        for bad in ["\"6\"", "7", "W/\"7\"", "", "\"77\""] {
            assert_eq!(status(Some(bad)), Err(412), "{bad}");
        }
    }
}
