//! The description of the API for whoever reads it with a browser: Swagger UI, which is part of the program and loads nothing
//! from elsewhere.

use super::error::{ApiError, Problem};
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use std::sync::{Arc, LazyLock};
use utoipa_swagger_ui::{Config, serve};

/// What its pages may do: run what this program serves, and ask this API.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Descriptions are checked by nobody else, and the token that somebody enters is forgotten with the page.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from("/api/v1/openapi.json").validator_url("none");
    Arc::new(config.persist_authorization(false))
});

/// The description of the API, for people
#[utoipa::path(
    get, path = "/api/docs", tag = "health", operation_id = "show_docs", security(()),
    responses((status = 307, description = "to its first page"))
)]
pub(super) async fn index() -> Redirect {
    Redirect::temporary("/api/docs/index.html")
}

/// What its pages are made of
#[utoipa::path(
    get, path = "/api/docs/{file}", tag = "health", operation_id = "show_docs_file", security(()),
    params(("file" = String, Path)),
    responses((status = 200, content((String = "text/html"), (String = "text/css"), (String = "text/javascript"),
                                     (Vec<u8> = "image/png"))),
              (status = 404, body = Problem))
)]
pub(super) async fn file(Path(file): Path<String>) -> Result<Response, ApiError> {
    let found = serve(&file, CONFIG.clone()).map_err(|error| {
        tracing::error!(%error, "the description for people cannot be shown");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed",
        )
    })?;
    let found = found.ok_or_else(ApiError::not_found)?;
    let headers = [
        (header::CONTENT_TYPE, found.content_type.as_str()),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, found.bytes.into_owned()).into_response())
}
