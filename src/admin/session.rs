//! Signing in with a name and a password, and out again; what a session is, however somebody signed in.

use super::Admin;
use super::auth::Caller;
use super::body::Body;
use super::error::{ApiError, Problem};
use super::request::RequestId;
use crate::directory::Secret;
use crate::store::accounts::LONGEST_PASSWORD;
use crate::store::{AccessRole, AuditEvent, NewToken, Token, devices};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

/// Passwords that are worked on at once: each takes memory and time, and whoever sends more waits.
const AT_ONCE: usize = 2;
/// Wrong passwords for one name before there is a pause.
const FREE_TRIES: u32 = 5;
/// The first pause; each wrong password after it doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// Names that are remembered at once; one more than that waits until others are forgotten.
const MOST_NAMES: usize = 10_000;

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// The account's.
    name: String,
    /// At most 256 bytes.
    #[schema(write_only)]
    password: String,
}

/// A sign-in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    /// What to send after `Authorization: Bearer`; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// For the audit.
    token_id: Uuid,
    /// Whose.
    name: String,
    /// What they may do.
    #[schema(value_type = String)]
    role: AccessRole,
    /// The partner, customer or user that they are confined to.
    scope: Option<Uuid>,
    /// When it ends by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    /// The telephone of a user who signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<Uuid>,
}

impl Session {
    /// As its page tells it.
    pub(super) fn told(&self) -> [(&'static str, String); 3] {
        [
            ("Name", self.name.clone()),
            ("Role", self.role.name().to_owned()),
            ("Token", self.token.clone().unwrap_or_default()),
        ]
    }
}

/// Wrong passwords of late, by name, whether there is such an account or not. Clones share what they know.
#[derive(Debug, Clone)]
pub struct SignIns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: Mutex<HashMap<[u8; 32], Tries>>,
    turns: Semaphore,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Instant,
}

impl Default for SignIns {
    fn default() -> Self {
        Self(Arc::new(Inner {
            names: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }))
    }
}

impl Tries {
    fn pause(self) -> Duration {
        match self.wrong.checked_sub(FREE_TRIES) {
            None => Duration::ZERO,
            Some(more) => FIRST_PAUSE
                .saturating_mul(1 << more.min(10))
                .min(LONGEST_PAUSE),
        }
    }
}

impl SignIns {
    /// Counts a try against a name before it is made, so that many at once are no way round; or tells how long to wait.
    fn begin(&self, name: [u8; 32], now: Instant) -> Result<(), Duration> {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST_NAMES {
            names.retain(|_, tries| now < tries.last + LONGEST_PAUSE);
        }
        if names.len() >= MOST_NAMES && !names.contains_key(&name) {
            return Err(FIRST_PAUSE);
        }
        let tries = names.entry(name).or_insert(Tries {
            wrong: 0,
            last: now,
        });
        if now >= tries.last + LONGEST_PAUSE {
            tries.wrong = 0;
        }
        let next = tries.last + tries.pause();
        if now < next {
            return Err(next - now);
        }
        *tries = Tries {
            wrong: tries.wrong + 1,
            last: now,
        };
        Ok(())
    }

    /// The try was a good one.
    fn forget(&self, name: [u8; 32]) {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&name);
    }
}

async fn shown(admin: &Admin, token: Token, text: Option<&Secret>) -> Result<Session, ApiError> {
    let device_id = match (token.role, token.scope) {
        (AccessRole::EndUser, Some(user)) => {
            devices::current_of(&mut *admin.store.read().await?, user).await?
        }
        _ => None,
    };
    Ok(Session {
        device_id,
        token: text.map(|text| text.expose().to_owned()),
        token_id: token.id,
        name: token.name,
        role: token.role,
        scope: token.scope,
        expires_at: token.expires_at,
    })
}

/// Notes that somebody has signed in: their session, with the token.
pub(super) async fn begun(
    admin: &Admin,
    request: &RequestId,
    new: NewToken,
) -> Result<Session, ApiError> {
    let event = AuditEvent {
        token_id: new.token.id,
        role: new.token.role.name(),
        action: "sign_in",
        object: "/api/v1/session",
        before: None,
        after: None,
        request_id: &request.0,
        on_behalf_of: None,
    };
    admin.store.audit(&event).await?;
    shown(admin, new.token, Some(&new.text)).await
}

/// Sign in with the name and password of a local account
///
/// For the hour in which nothing else works. It counts for twelve hours, or until it is ended. After five wrong passwords for
/// one name there are pauses, which grow.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "session", operation_id = "sign_in", request_body = Credentials, security(()),
    responses((status = 201, body = Session), (status = 401, body = Problem), (status = 422, body = Problem),
              (status = 429, body = Problem))
)]
pub(super) async fn sign_in(
    State(admin): State<Admin>,
    Extension(request): Extension<RequestId>,
    Body(given): Body<Credentials>,
) -> Result<Response, ApiError> {
    let password = Secret::new(given.password);
    let name: [u8; 32] = Sha256::digest(given.name.to_lowercase()).into();
    if let Err(wait) = admin.sign_ins.begin(name, Instant::now()) {
        let detail = "too many wrong passwords for this name";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", detail);
        return Err(error.retry_after(u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)));
    }
    let wrong = || {
        let detail = "the name or the password is wrong";
        ApiError::new(StatusCode::UNAUTHORIZED, "wrong_credentials", detail)
    };
    if password.expose().len() > LONGEST_PASSWORD {
        return Err(wrong());
    }
    let turn = admin.sign_ins.0.turns.acquire().await;
    let new = admin.store.sign_in(&given.name, &password).await?;
    drop(turn);
    let new = new.ok_or_else(wrong)?;
    admin.sign_ins.forget(name);
    let session = begun(&admin, &request, new).await?;
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(session)).into_response())
}

/// Who one is here
#[utoipa::path(
    get, path = "/api/v1/session", tag = "session", operation_id = "show_session",
    responses((status = 200, body = Session))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
) -> Result<Json<Session>, ApiError> {
    Ok(Json(shown(&admin, caller.token, None).await?))
}

/// Sign out: the token that the request carries ends
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "session", operation_id = "sign_out", responses((status = 204))
)]
pub(super) async fn sign_out(
    State(admin): State<Admin>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    admin.store.tokens().revoke(caller.token.id).await?;
    caller.note(&admin, "sign_out", "/api/v1/session").await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five tries are free; then each wrong one doubles the pause, up to a quarter of an hour, after which all is forgotten.
    #[test]
    fn pauses_grow() {
        let sign_ins = SignIns::default();
        let mut now = Instant::now();
        for _ in 0..FREE_TRIES {
            assert_eq!(sign_ins.begin([1; 32], now), Ok(()));
        }
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let wait = sign_ins.begin([1; 32], now).unwrap_err();
            pauses.push(wait.as_secs());
            now += wait;
            if wait < LONGEST_PAUSE {
                assert_eq!(sign_ins.begin([1; 32], now), Ok(()));
            }
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900]);
        assert_eq!(
            sign_ins.begin([2; 32], now),
            Ok(()),
            "another name is another matter"
        );
        assert_eq!(sign_ins.begin([1; 32], now), Ok(()));
        sign_ins.forget([1; 32]);
        for _ in 0..FREE_TRIES {
            assert_eq!(sign_ins.begin([1; 32], now), Ok(()));
        }
        assert!(sign_ins.begin([1; 32], now).is_err());
    }

    /// Whoever tries ever new names fills no memory.
    #[test]
    fn names_are_bounded() {
        let sign_ins = SignIns::default();
        let now = Instant::now();
        let name = |n: usize| -> [u8; 32] { Sha256::digest(n.to_be_bytes()).into() };
        for n in 0..MOST_NAMES {
            assert_eq!(sign_ins.begin(name(n), now), Ok(()));
        }
        assert_eq!(sign_ins.begin(name(MOST_NAMES), now), Err(FIRST_PAUSE));
        assert_eq!(sign_ins.begin(name(1), now), Ok(()), "who is known goes on");
        assert_eq!(
            sign_ins.begin(name(MOST_NAMES), now + LONGEST_PAUSE),
            Ok(())
        );
    }
}
