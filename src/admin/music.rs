//! Music on hold that the carrier or a partner brings. The built-in piece itself cannot be replaced: it is what is heard
//! where nobody brought anything.

#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::{absent, changed, created, deleted, require_match, shown};
use super::auth::Caller;
use super::error::{ApiError, Problem};
use crate::audio::{self, upload};
use crate::store::music::Piece;
use crate::store::{MusicRecord, music};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// One file is read at a time: it takes a processor for seconds.
static UPLOADS: Semaphore = Semaphore::const_new(1);

/// The largest file.
pub(super) const FILE_LIMIT: usize = 32 << 20;

/// Music for all customers whose partner has none
#[utoipa::path(
    get, path = "/api/v1/music", tag = "music", operation_id = "show_music",
    responses((status = 200, body = MusicRecord), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    found(&admin, Piece::Carrier, &headers).await
}

/// Bring music for all customers whose partner has none
///
/// A WAV, AIFF, MP3 or FLAC file of a second to ten minutes. It is made mono, resampled for telephones, and softened to the
/// loudness of speech. Held parties hear it from the next hold on.
#[utoipa::path(
    put, path = "/api/v1/music", tag = "music", operation_id = "put_music",
    params(("If-Match" = Option<String>, Header, description = "needed where there is a piece already")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = MusicRecord), (status = 201, body = MusicRecord), (status = 412, body = Problem),
              (status = 413, body = Problem), (status = 422, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn put(
    State(admin): State<Admin>,
    caller: Caller,
    headers: HeaderMap,
    file: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    bring(&admin, &caller, Piece::Carrier, &headers, file).await
}

/// Take the music for all customers away
#[utoipa::path(
    delete, path = "/api/v1/music", tag = "music", operation_id = "delete_music", params(("If-Match" = String, Header)),
    responses((status = 204), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    take_away(&admin, &caller, Piece::Carrier, &headers).await
}

/// The music for all customers as they hear it
#[utoipa::path(
    get, path = "/api/v1/music/audio", tag = "music", operation_id = "hear_music",
    responses((status = 200, content_type = "audio/wav", body = Vec<u8>), (status = 404, body = Problem))
)]
pub(super) async fn hear(State(admin): State<Admin>) -> Result<Response, ApiError> {
    heard(&admin, Piece::Carrier).await
}

/// Music for a partner's customers
#[utoipa::path(
    get, path = "/api/v1/partners/{partner}/music", tag = "music", operation_id = "show_partner_music",
    params(("partner" = Uuid, Path)), responses((status = 200, body = MusicRecord), (status = 404, body = Problem))
)]
pub(super) async fn show_partner(
    State(admin): State<Admin>,
    caller: Caller,
    Path(partner): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require_partner(partner)?;
    found(&admin, Piece::Partner(partner), &headers).await
}

/// Bring music for a partner's customers
///
/// See `PUT /api/v1/music`.
#[utoipa::path(
    put, path = "/api/v1/partners/{partner}/music", tag = "music", operation_id = "put_partner_music",
    params(("partner" = Uuid, Path),
           ("If-Match" = Option<String>, Header, description = "needed where there is a piece already")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = MusicRecord), (status = 201, body = MusicRecord), (status = 404, body = Problem),
              (status = 412, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
              (status = 428, body = Problem))
)]
pub(super) async fn put_partner(
    State(admin): State<Admin>,
    caller: Caller,
    Path(partner): Path<Uuid>,
    headers: HeaderMap,
    file: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    caller.require_partner(partner)?;
    bring(&admin, &caller, Piece::Partner(partner), &headers, file).await
}

/// Take a partner's music away
#[utoipa::path(
    delete, path = "/api/v1/partners/{partner}/music", tag = "music", operation_id = "delete_partner_music",
    params(("partner" = Uuid, Path), ("If-Match" = String, Header)),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem))
)]
pub(super) async fn delete_partner(
    State(admin): State<Admin>,
    caller: Caller,
    Path(partner): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require_partner(partner)?;
    take_away(&admin, &caller, Piece::Partner(partner), &headers).await
}

/// A partner's music as its customers hear it
#[utoipa::path(
    get, path = "/api/v1/partners/{partner}/music/audio", tag = "music", operation_id = "hear_partner_music",
    params(("partner" = Uuid, Path)),
    responses((status = 200, content_type = "audio/wav", body = Vec<u8>), (status = 404, body = Problem))
)]
pub(super) async fn hear_partner(
    State(admin): State<Admin>,
    caller: Caller,
    Path(partner): Path<Uuid>,
) -> Result<Response, ApiError> {
    caller.require_partner(partner)?;
    heard(&admin, Piece::Partner(partner)).await
}

pub(super) async fn found(
    admin: &Admin,
    piece: Piece,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let found = music::find(&mut *admin.store.read().await?, piece).await?;
    let record = found.ok_or_else(ApiError::not_found)?;
    Ok(shown(headers, record.version, &record))
}

pub(super) async fn bring(
    admin: &Admin,
    caller: &Caller,
    piece: Piece,
    headers: &HeaderMap,
    file: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let too_large = |_| {
        let detail = "the file has more than 32 MiB";
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let file = file.map_err(too_large)?.to_vec();
    let turn = UPLOADS.acquire().await;
    let read = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        upload::read(file)
    });
    let unreadable = |code, why: &str| ApiError::invalid_field("body", code, why);
    let samples = read
        .await
        .map_err(|_| unreadable("damaged", "the file cannot be read"))?
        .map_err(|error| unreadable(error.code(), &error.to_string()))?;

    let mut change = admin.store.change().await?;
    let before = music::find(&mut change, piece).await?;
    if let Some(before) = &before {
        require_match(headers, before.version)?;
    }
    let record = music::put(&mut change, piece, &samples).await?;
    let verb = if before.is_some() { "update" } else { "create" };
    caller
        .audit(&mut change, verb, None, before.as_ref(), Some(&record))
        .await?;
    let generation = change.publish().await?;
    Ok(match before {
        Some(_) => changed(record.version, &record, generation),
        None => created(&place(piece), record.version, &record, generation),
    })
}

pub(super) async fn take_away(
    admin: &Admin,
    caller: &Caller,
    piece: Piece,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let mut change = admin.store.change().await?;
    let Some(before) = music::find(&mut change, piece).await? else {
        return Ok(absent());
    };
    require_match(headers, before.version)?;
    music::delete(&mut change, piece).await?;
    caller
        .audit(&mut change, "delete", None, Some(&before), None::<&()>)
        .await?;
    Ok(deleted(change.publish().await?))
}

pub(super) async fn heard(admin: &Admin, piece: Piece) -> Result<Response, ApiError> {
    let samples = admin.store.music_samples(piece).await?;
    if samples.is_empty() {
        return Err(ApiError::not_found());
    }
    let kind = [(header::CONTENT_TYPE, "audio/wav")];
    Ok((kind, audio::wav(&samples)).into_response())
}

fn place(piece: Piece) -> String {
    match piece {
        Piece::Partner(id) => format!("/api/v1/partners/{id}/music"),
        Piece::Carrier => "/api/v1/music".to_owned(),
        Piece::Announcement(which) => format!("/api/v1/announcements/{}", which.name()),
    }
}
