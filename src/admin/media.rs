#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::engine::{CallRequest, Side};
use super::error::{ApiError, Problem};
use crate::b2bua::{Counting, LiveMedia, MediaCounts};
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use std::time::Duration;
use tokio::time::sleep;
use utoipa::ToSchema;
use uuid::Uuid;

/// How often, and how many times, it is asked whether the relay has counted.
const TRIES: (Duration, u32) = (Duration::from_millis(20), 50);

/// The media of a live call.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct CallMedia {
    /// Every leg that has any; after a transfer there may be several on one side.
    legs: Vec<LegMedia>,
}

/// The media of one leg.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct LegMedia {
    /// Whose side it is.
    side: Side,
    /// `teams`, or the trunk's name.
    peer: String,
    /// From its beginning until now.
    #[serde(flatten)]
    media: MediaCounts,
}

/// What goes through the media of a live call
///
/// Counted by the relay at this moment. What is over is in the call's record.
#[utoipa::path(
    get, path = "/api/v1/calls/{id}/media", tag = "calls", operation_id = "show_call_media", params(("id" = Uuid, Path)),
    responses((status = 200, body = CallMedia), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(id): Path<Uuid>,
) -> Result<Json<CallMedia>, ApiError> {
    let count = |answer| CallRequest::CountMedia { id, answer };
    if !admin.calls.ask(count).await? {
        return Err(ApiError::not_found());
    }
    let (pause, times) = TRIES;
    for _ in 0..times {
        let media = |answer| CallRequest::Media { id, answer };
        match admin.calls.ask(media).await? {
            None => return Err(ApiError::not_found()),
            Some(Counting::Done(legs)) => {
                let legs = legs.into_iter().map(LegMedia::from).collect();
                return Ok(Json(CallMedia { legs }));
            }
            Some(Counting::Pending) => sleep(pause).await,
        }
    }
    let detail = "the media relay does not answer";
    Err(ApiError::unavailable("media_busy", detail))
}

impl From<LiveMedia> for LegMedia {
    fn from(live: LiveMedia) -> Self {
        Self {
            side: if live.caller { Side::ALeg } else { Side::BLeg },
            peer: live.peer,
            media: live.media,
        }
    }
}
