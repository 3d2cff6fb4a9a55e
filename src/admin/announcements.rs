//! What refused callers hear in place of the built-in tones, where a trunk's profile wants announcements.

#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::auth::Caller;
use super::error::{ApiError, Problem};
use super::music::{bring, found, heard, take_away};
use crate::audio::Announcement;
use crate::store::MusicRecord;
use crate::store::music::Piece;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

/// Which announcement the path names, if it names one.
type Named = Result<Path<Announcement>, PathRejection>;

fn piece(named: Named) -> Result<Piece, ApiError> {
    let Path(which) = named.map_err(|_| ApiError::not_found())?;
    Ok(Piece::Announcement(which))
}

/// An announcement of the operator's own
#[utoipa::path(
    get, path = "/api/v1/announcements/{announcement}", tag = "music", operation_id = "show_announcement",
    params(("announcement" = Announcement, Path)),
    responses((status = 200, body = MusicRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    named: Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    found(&admin, piece(named)?, &headers).await
}

/// Bring an announcement in place of the built-in tones
///
/// A file as for `PUT /api/v1/music`. Of a long one only the first `calls.announcement_max_s` seconds are heard, and who
/// hears it is told by the trunks' profiles.
#[utoipa::path(
    put, path = "/api/v1/announcements/{announcement}", tag = "music", operation_id = "put_announcement",
    params(("announcement" = Announcement, Path),
           ("If-Match" = Option<String>, Header, description = "needed where there is one already")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = MusicRecord), (status = 201, body = MusicRecord), (status = 404, body = Problem),
              (status = 412, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn put(
    State(admin): State<Admin>,
    caller: Caller,
    named: Named,
    headers: HeaderMap,
    file: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    bring(&admin, &caller, piece(named)?, &headers, file).await
}

/// Take an announcement away: the built-in tones are heard again
#[utoipa::path(
    delete, path = "/api/v1/announcements/{announcement}", tag = "music", operation_id = "delete_announcement",
    params(("announcement" = Announcement, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    named: Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    take_away(&admin, &caller, piece(named)?, &headers).await
}

/// An announcement of the operator's own as callers hear it
#[utoipa::path(
    get, path = "/api/v1/announcements/{announcement}/audio", tag = "music", operation_id = "hear_announcement",
    params(("announcement" = Announcement, Path)),
    responses((status = 200, content_type = "audio/wav", body = Vec<u8>), (status = 404, body = Problem))
)]
pub(super) async fn hear(State(admin): State<Admin>, named: Named) -> Result<Response, ApiError> {
    heard(&admin, piece(named)?).await
}
