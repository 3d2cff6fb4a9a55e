//! What is provisioned, as one file: to keep, to compare, and to bring back.
//!
//! The file is TOML. Every thing stands under the name that people know it by, so that a file means the same in any
//! database: a customer under its account, its users under their names at Microsoft. It is described by the very settings
//! that the API takes, and they are checked by the same rules, in one transaction.
//!
//! What a file does not say is left alone. With `prune` it is taken back: fields to their defaults, things away. Secrets
//! and what only an activation finds out stay even then. A customer that an import makes comes whole, with its consent and
//! its users; of one that is there, what is its own business needs its consent, as everywhere.

#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

mod catalogues;
mod customer;
mod export;
mod file;
mod import;
mod people;
mod report;

pub use report::{Difference, FieldDifference, ImportAction, ImportRefused, ImportReport};

use self::import::Import;
use super::Admin;
use super::answer::GENERATION;
use super::auth::Caller;
use super::body::{Search, media_type};
use super::error::{ApiError, Problem};
use crate::store::{Store, StoreError};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

/// The largest file.
pub(super) const FILE_LIMIT: usize = 16 << 20;

const TOML: &str = "application/toml";

/// How a file is brought in.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Importing {
    /// Only tells what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Takes back what the file does not say.
    #[serde(default)]
    pub prune: bool,
}

/// Everything that is provisioned, as one file
///
/// TOML in a fixed order, for backups and for whoever keeps the configuration under version control. Secrets are left out,
/// and the file says which; so are telephones, music and announcements, and how far activations, upgrades and invitations
/// are.
#[utoipa::path(
    get, path = "/api/v1/export", tag = "configuration", operation_id = "export_configuration",
    responses((status = 200, content_type = "application/toml", body = String))
)]
pub(super) async fn export(State(admin): State<Admin>) -> Result<Response, ApiError> {
    let text = exported(&admin.store).await?;
    Ok(([(header::CONTENT_TYPE, TOML)], text).into_response())
}

/// Bring what is provisioned into the form of a file
///
/// A file as it is exported, or a part of one, of at most 16 MiB. All of it holds or nothing: errors name the places in the
/// file. What the file does not say is left alone, with `prune` it is taken back; a secret that it does not name stays as it
/// is. The same file again changes nothing. Numbers and users wait for their customers' next Sync.
#[utoipa::path(
    post, path = "/api/v1/import", tag = "configuration", operation_id = "import_configuration", params(Importing),
    request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = ImportReport), (status = 400, body = Problem), (status = 413, body = Problem),
              (status = 415, body = Problem), (status = 422, body = Problem))
)]
pub(super) async fn import(
    State(admin): State<Admin>,
    caller: Caller,
    Search(importing): Search<Importing>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    if media_type(&headers) != TOML {
        let detail = "the body must be application/toml";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(status, "media_type", detail));
    }
    let body = body.map_err(|_| {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        ApiError::new(status, "body_too_large", "the file has more than 16 MiB")
    })?;
    let text = str::from_utf8(&body)
        .map_err(|_| ApiError::bad_request("encoding", "the text is not UTF-8"))?;
    let report = Import::run(&admin.store, &caller, text, importing).await?;
    let generation = report.generation;
    let mut response = Json(report).into_response();
    if let Some(generation) = generation {
        response.headers_mut().insert(GENERATION, generation.into());
    }
    Ok(response)
}

/// Everything that is provisioned, as one file.
///
/// # Errors
/// The database fails.
pub async fn exported(store: &Store) -> Result<String, StoreError> {
    export::text(&mut *store.read().await?).await
}

/// Brings what is provisioned into the form of a file, in the name of whoever may open the database.
///
/// # Errors
/// The file breaks rules, or the database fails. Then nothing has changed.
pub async fn imported(
    store: &Store,
    text: &str,
    importing: Importing,
) -> Result<ImportReport, ImportRefused> {
    let caller = Caller::of_command_line("/api/v1/import");
    Ok(Import::run(store, &caller, text, importing).await?)
}
