use super::error::ApiError;
use crate::store::{Listed, Page};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::uri::InvalidUri;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

const DEFAULT: u32 = 50;
const MOST: u32 = 500;

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// At most so many items.
    #[param(default = 50, minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    pub cursor: Option<String>,
}

/// Which part of a list of what happened, newest first.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Frame {
    /// At most so many items.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
    /// Begun or done then or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub from: Option<OffsetDateTime>,
    /// Begun or done before.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
}

/// A query of a [`Paging`] and of a filter of the list's own.
#[derive(Debug)]
pub(super) struct Parted<F>(pub Paging, pub F);

/// A query of a [`Frame`] and of a filter of the list's own.
#[derive(Debug)]
pub(super) struct Framed<F>(pub Frame, pub F);

impl Frame {
    const NAMES: [&str; 4] = ["limit", "cursor", "from", "until"];

    pub(super) fn page(&self) -> Result<Page, ApiError> {
        let paging = Paging {
            limit: self.limit,
            cursor: self.cursor.clone(),
        };
        paging.page()
    }
}

impl<S: Send + Sync, F: DeserializeOwned> FromRequestParts<S> for Framed<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (frame, filter) = split(parts, &Frame::NAMES);
        Ok(Self(read(&frame)?, read(&filter)?))
    }
}

impl<S: Send + Sync, F: DeserializeOwned> FromRequestParts<S> for Parted<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (paging, filter) = split(parts, &["limit", "cursor"]);
        Ok(Self(read(&paging)?, read(&filter)?))
    }
}

/// The pairs of a query with one of these names, and the others.
fn split<'a>(parts: &'a Parts, names: &[&str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let pairs = parts.uri.query().unwrap_or_default().split('&');
    pairs.partition(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        names.contains(&name)
    })
}

fn read<T: DeserializeOwned>(pairs: &[&str]) -> Result<T, ApiError> {
    let wrong = |what: String| ApiError::bad_request("query", what);
    let uri = format!("/?{}", pairs.join("&")).parse();
    let uri = uri.map_err(|error: InvalidUri| wrong(error.to_string()))?;
    let query = Query::try_from_uri(&uri).map_err(|rejection| wrong(rejection.body_text()))?;
    Ok(query.0)
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    /// In the list's order.
    items: Vec<T>,
    /// For the next part; null after the last.
    next_cursor: Option<String>,
}

impl Paging {
    pub(super) fn limit(&self) -> Result<u32, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT);
        if (1..=MOST).contains(&limit) {
            Ok(limit)
        } else {
            Err(ApiError::bad_request("limit", "limit must be 1 to 500"))
        }
    }

    pub(super) fn page(&self) -> Result<Page, ApiError> {
        Ok(Page {
            after: self.cursor(i64::from_be_bytes)?,
            limit: self.limit()?,
        })
    }

    /// The cursor as what it was made from.
    pub(super) fn cursor<const N: usize, T>(
        &self,
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(|bytes| Some(read(bytes)))
            .ok_or_else(|| ApiError::bad_request("cursor", "cursor is none of ours"))
    }
}

impl<T> List<T> {
    pub(super) fn new(items: Vec<T>, next: Option<&[u8]>) -> Self {
        Self {
            items,
            next_cursor: next.map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        }
    }
}

impl<T> From<Listed<T>> for List<T> {
    fn from(listed: Listed<T>) -> Self {
        let next = listed.next.map(i64::to_be_bytes);
        Self::new(listed.items, next.as_ref().map(<[u8; 8]>::as_slice))
    }
}
