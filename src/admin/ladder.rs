#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::answer::wants_text;
use super::auth::Caller;
use super::body::Search;
use super::error::{ApiError, Problem};
use super::why::Why;
use crate::net::Addresses;
use crate::sip::Transport;
use crate::telemetry::ladder::Ladder;
use crate::telemetry::ladder::pcapng::pcapng;
use crate::telemetry::ladder::recorder::{Packet, Recorder};
use crate::telemetry::ladder::redact::{Sight, redacted};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// The messages of calls, and what is needed to draw them.
#[derive(Debug, Clone)]
pub struct Ladders {
    /// Where they are kept.
    pub recorder: Recorder,
    /// Our own addresses.
    pub listening: Addresses,
}

/// The SIP messages of a call, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallLadder {
    /// The call's.
    id: Uuid,
    /// Whether the call still goes on.
    live: bool,
    /// Earlier messages that had to go for want of room, or are more than one call may show.
    left_out: u64,
    messages: Vec<LadderMessage>,
}

/// A SIP message, decrypted, without keys and credentials.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LadderMessage {
    /// When it passed.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Whether we sent it.
    sent: bool,
    /// A trunk's name, or a gateway's FQDN.
    peer: String,
    /// `udp`, `tcp` or `tls`.
    transport: &'static str,
    /// Our address, if it is known.
    local: Option<String>,
    /// The peer's address.
    remote: String,
    /// Its first line.
    start_line: String,
    /// All of it.
    text: String,
}

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// `json`, `text` or `pcapng`; without it `Accept: text/plain` asks for text.
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LadderFormat)]
pub(super) enum Format {
    Json,
    Text,
    Pcapng,
}

/// The SIP messages of a call
///
/// Live, and for `ladder.keep_s` after the last message; as JSON, as a picture in text, or as a pcapng file that
/// Wireshark opens. `id` is the call's id or the Call-ID of one of its legs. Keys and credentials are left out for
/// everybody; numbers and names are shortened for the roles of `admin.redact_for`.
#[utoipa::path(
    get, path = "/api/v1/calls/{id}/ladder", tag = "calls", operation_id = "show_call_ladder",
    params(("id" = String, Path), Shape),
    responses((status = 200, description = "As JSON, as text, or as a pcapng file",
               content((CallLadder = "application/json"), (String = "text/plain"), (Vec<u8> = "application/x-pcapng"))),
              (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Search(shape): Search<Shape>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !admin.ladders.recorder.is_on() {
        return Err(ApiError::gone("ladder_off", "ladder.enabled is off"));
    }
    let why = caller.call(&admin, &id).await?;
    let legs = Legs::of(&admin.ladders.recorder, &why, caller.sight(&admin));
    if legs.packets.is_empty() {
        return Err(ApiError::gone(
            "ladder_gone",
            "no messages of the call are kept any more",
        ));
    }
    let format = shape.format.unwrap_or(match wants_text(&headers) {
        true => Format::Text,
        false => Format::Json,
    });
    Ok(match format {
        Format::Json => Json(legs.json(&why)).into_response(),
        Format::Text => legs.picture().to_string().into_response(),
        Format::Pcapng => {
            let packets: Vec<_> = legs.packets.into_iter().map(|(_, packet)| packet).collect();
            let listening = &admin.ladders.listening;
            let file = pcapng(&packets, |transport| listener(listening, transport));
            let kind = [(header::CONTENT_TYPE, "application/x-pcapng")];
            (kind, file).into_response()
        }
    })
}

fn listener(listening: &Addresses, transport: Transport) -> Option<SocketAddr> {
    let bound = match transport {
        Transport::Udp => &listening.udp,
        Transport::Tcp => &listening.tcp,
        Transport::Tls => &listening.tls,
    };
    bound.first().copied()
}

/// The packets of all legs in the order of time, each with the place of its leg.
struct Legs {
    names: Vec<String>,
    packets: Vec<(usize, Packet)>,
    left_out: u64,
}

impl Legs {
    fn of(recorder: &Recorder, why: &Why, sight: Sight) -> Self {
        let (call_ids, names): (Vec<_>, Vec<_>) = why.legs().into_iter().unzip();
        let call = recorder.call(call_ids.iter().map(String::as_str));
        let shown = call.packets.into_iter().map(|(leg, packet)| {
            let bytes = redacted(&packet.bytes, sight);
            (leg, Packet { bytes, ..packet })
        });
        Self {
            names,
            packets: shown.collect(),
            left_out: call.left_out,
        }
    }

    fn json(self, why: &Why) -> CallLadder {
        let message = |(leg, packet): (usize, Packet)| {
            let text = String::from_utf8_lossy(&packet.bytes).into_owned();
            LadderMessage {
                at: packet.at,
                sent: packet.sent,
                peer: self.names[leg].clone(),
                transport: packet.transport.parameter(),
                local: packet.local.map(|local| local.to_string()),
                remote: packet.remote.to_string(),
                start_line: text.lines().next().unwrap_or_default().to_owned(),
                text,
            }
        };
        CallLadder {
            id: why.id(),
            live: why.is_live(),
            left_out: self.left_out,
            messages: self.packets.into_iter().map(message).collect(),
        }
    }

    /// The caller on the left, then we, then whoever was called.
    fn picture(&self) -> Ladder {
        const OURS: usize = 1;
        let place = |leg: usize| if leg == 0 { 0 } else { leg + 1 };
        let mut parties: Vec<&str> = self.names.iter().map(String::as_str).collect();
        parties.insert(OURS.min(parties.len()), "Tollgate");
        let mut ladder = Ladder::new(&parties);
        let Some((_, first)) = self.packets.first() else {
            return ladder;
        };
        for (leg, packet) in &self.packets {
            let text = String::from_utf8_lossy(&packet.bytes);
            let line = text.lines().next().unwrap_or_default();
            let (from, to) = if packet.sent {
                (OURS, place(*leg))
            } else {
                (place(*leg), OURS)
            };
            let after = (packet.at - first.at).try_into().unwrap_or_default();
            ladder.record(after, from, to, line);
        }
        ladder.leave_out(usize::try_from(self.left_out).unwrap_or(usize::MAX));
        ladder
    }
}
