use super::body::bytes;
use super::error::ApiError;
use super::{Admin, BODY_LIMIT};
use crate::store::{Answer, Reservation, Token};
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The headers that are part of an answer; the others belong to one request.
const KEPT: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    header::ETAG,
    HeaderName::from_static("tollgate-generation"),
];
/// The largest answer that is kept; an answer to the largest list of numbers is smaller.
const ANSWER_LIMIT: usize = 8 * BODY_LIMIT;

/// Answers a POST that carries an `Idempotency-Key` once, and gives the same answer to whoever asks again.
pub(super) async fn replay(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let key = request
        .headers()
        .get("idempotency-key")
        .filter(|_| request.method() == Method::POST)
        .cloned();
    let token = request.extensions().get::<Token>().map(|token| token.id);
    match (key, token) {
        (Some(key), Some(token)) => once(admin, token, &key, request, next)
            .await
            .unwrap_or_else(IntoResponse::into_response),
        _ => next.run(request).await,
    }
}

async fn once(
    admin: Admin,
    token: Uuid,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let key = key
        .to_str()
        .ok()
        .filter(|key| (1..=255).contains(&key.len()))
        .map(str::to_owned);
    let key = key.ok_or_else(|| {
        ApiError::bad_request(
            "idempotency_key",
            "Idempotency-Key must be 1 to 255 ASCII characters",
        )
    })?;
    let (parts, body) = request.into_parts();
    let body = bytes(Request::new(body), &()).await?;
    let mut hash = Sha256::new();
    let uri = parts.uri.to_string();
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    for part in [uri.as_bytes(), kind, &body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    match admin
        .store
        .reserve_key(token, &key, &hash.finalize())
        .await?
    {
        Reservation::Answered(answer) => return Ok(again(answer)),
        Reservation::Busy => {
            return Err(ApiError::conflict(
                "in_progress",
                "the same request is being worked on",
            ));
        }
        Reservation::Reused => {
            let detail = "the Idempotency-Key was used with another request";
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                detail,
            ));
        }
        Reservation::TooMany => {
            let detail = "too many Idempotency-Keys within a day";
            return Err(
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_keys", detail)
                    .retry_after(3600),
            );
        }
        Reservation::New => {}
    }
    let request = Request::from_parts(parts, body.into());
    // In a task of its own, for a client that goes away must not leave the key taken without an answer.
    let work =
        tokio::spawn(async move { keep(&admin, token, &key, next.run(request).await).await });
    work.await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed",
        )
    })
}

async fn keep(admin: &Admin, token: Uuid, key: &str, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_LIMIT).await.unwrap_or_default();
    let header = |name: &HeaderName| {
        Some((
            name.to_string(),
            parts.headers.get(name)?.to_str().ok()?.to_owned(),
        ))
    };
    let headers = KEPT.iter().filter_map(header).collect();
    let answer = Answer {
        status: parts.status.as_u16(),
        headers,
        body: body.to_vec(),
    };
    let kept = if parts.status.is_server_error() {
        admin.store.release_key(token, key).await
    } else {
        admin.store.keep_answer(token, key, &answer).await
    };
    if let Err(error) = kept {
        tracing::error!(%error, "an answer could not be kept for its Idempotency-Key");
    }
    Response::from_parts(parts, body.into())
}

fn again(answer: Answer) -> Response {
    let mut response = Response::new(answer.body.into());
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
        .headers_mut()
        .insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
