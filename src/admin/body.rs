use super::error::ApiError;
use crate::store::Fault;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::uri::InvalidUri;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A JSON body of this shape. Malformed JSON is a 400, a wrong shape a 422 that names the field.
#[derive(Debug)]
pub(super) struct Body<T>(pub T);

/// The query, of this shape.
#[derive(Debug)]
pub(super) struct Search<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = media_type(request.headers());
        if !matches!(
            kind.as_str(),
            "application/json" | "application/merge-patch+json"
        ) {
            let detail = "the body must be application/json";
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                detail,
            ));
        }
        shaped(parsed(&bytes(request, state).await?)?).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Search<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|query| Self(query.0))
            .map_err(|rejection| ApiError::bad_request("query", rejection.body_text()))
    }
}

/// The body as JSON, or as the form of one of our pages.
pub(super) async fn filled_in<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    if media_type(request.headers()) != "application/x-www-form-urlencoded" {
        return Body::from_request(request, &()).await.map(|body| body.0);
    }
    let wrong = |what: String| ApiError::bad_request("form", what);
    let body = bytes(request, &()).await?;
    let text = std::str::from_utf8(&body).map_err(|error| wrong(error.to_string()))?;
    // A form is what a query is, in the body.
    let uri = format!("/?{text}").parse();
    let uri = uri.map_err(|error: InvalidUri| wrong(error.to_string()))?;
    let form = Query::try_from_uri(&uri).map_err(|rejection| wrong(rejection.body_text()))?;
    Ok(form.0)
}

/// The body, if it is not too large.
pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let too_large = |_| {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body has more than 1 MiB",
        )
    };
    Bytes::from_request(request, state).await.map_err(too_large)
}

/// What the Content-Type says, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

pub(super) fn parsed(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request("malformed_json", error.to_string()))
}

/// A value as this type, or what is wrong with its shape.
pub(super) fn shaped<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        ApiError::invalid(vec![shape_fault(
            if path == "." { "" } else { &path },
            message,
        )])
    })
}

/// The record's settings with a merge patch (RFC 7396) laid over.
pub(super) fn patched<T: Serialize + DeserializeOwned>(
    current: &T,
    patch: Value,
) -> Result<T, ApiError> {
    if !patch.is_object() {
        return Err(ApiError::bad_request(
            "malformed_json",
            "the body must be an object",
        ));
    }
    let mut value = serde_json::to_value(current).expect("settings have a JSON form");
    merge(&mut value, patch);
    shaped(value)
}

/// RFC 7396 §2, but that a null stays null: settings know what the absence of a value means, and a required one that
/// is set to null is told as such.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        merge(target.entry(name).or_insert(Value::Null), value);
    }
}

/// Serde names a missing or unknown field in its message only, between backticks.
fn shape_fault(path: &str, message: String) -> Fault {
    let named = |prefix: &str| {
        message
            .strip_prefix(prefix)
            .and_then(|rest| rest.split('`').next())
    };
    let (code, name) = match (named("missing field `"), named("unknown field `")) {
        (Some(name), _) => ("required", Some(name)),
        (_, Some(name)) => ("unknown_field", Some(name)),
        _ => ("type", None),
    };
    let field = match name {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) if path != name && !path.ends_with(&format!(".{name}")) => {
            format!("{path}.{name}")
        }
        _ => path.to_owned(),
    };
    Fault {
        field,
        code: code.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default)]
        limit: Option<u32>,
        inner: Inner,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        list: Vec<u8>,
    }

    #[test]
    fn a_wrong_shape_is_told_by_its_field() {
        for (value, field, code) in [
            (json!({ "inner": { "list": [] } }), "name", "required"),
            (
                json!({ "name": "x", "inner": { "list": [] }, "more": 1 }),
                "more",
                "unknown_field",
            ),
            (
                json!({ "name": "x", "inner": {} }),
                "inner.list",
                "required",
            ),
            (
                json!({ "name": "x", "inner": { "list": [], "more": 1 } }),
                "inner.more",
                "unknown_field",
            ),
            (
                json!({ "name": "x", "inner": { "list": [1, "2"] } }),
                "inner.list[1]",
                "type",
            ),
            (
                json!({ "name": "x", "inner": { "list": [1, 256] } }),
                "inner.list[1]",
                "type",
            ),
            (json!([]), "", "type"),
        ] {
            let error = serde_path_to_error::deserialize::<_, Outer>(value.clone()).unwrap_err();
            let path = error.path().to_string();
            let fault = shape_fault(
                if path == "." { "" } else { &path },
                error.inner().to_string(),
            );
            assert_eq!(
                (fault.field.as_str(), fault.code.as_str()),
                (field, code),
                "{value}"
            );
        }
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let before = || Outer {
            name: "x".into(),
            limit: Some(1),
            inner: Inner { list: vec![1, 2] },
        };
        let after = |patch| patched(&before(), patch);
        assert_eq!(after(json!({})).unwrap(), before());
        assert_eq!(
            after(json!({ "limit": null })).unwrap(),
            Outer {
                limit: None,
                ..before()
            }
        );
        assert_eq!(
            after(json!({ "inner": { "list": [3] } })).unwrap(),
            Outer {
                inner: Inner { list: vec![3] },
                ..before()
            }
        );
        assert!(after(json!({ "name": null })).is_err());
        assert!(after(json!({ "nmae": "y" })).is_err());
        assert!(after(json!("x")).is_err());
    }
}
