//! What the body of an INVITE holds: a session description, and with emergency calls a location (TDR-1002, RFC 6442).
//!
//! The description is ours on every leg. A location crosses unread and unchanged, in the place where it stood, to a
//! trunk whose profile takes locations (TDR-1003); other parts stay behind, whatever their handling says (RFC 5621 §7.2
//! would have them refused, and with them an emergency call).

use bytes::Bytes;

use super::refusal::Refusal;
use crate::sip::multipart::{self, Part};
use crate::sip::{Builder, Message, Name};

const DESCRIPTION: &str = "application/sdp";
const CONTENT_ID: Name = Name::Extension("Content-ID");
/// A message of ours has to have room for it.
const MAX_LOCATION: usize = 48 * 1024;
const LOCATION: &str = "application/pidf+xml";
/// What we take, for Accept.
pub(super) const ACCEPTED: &str = "application/sdp, multipart/mixed, application/pidf+xml";

/// The description in a message, alone or as a part of its body. `None` also for a body that cannot be read.
pub(super) fn description(message: &Message) -> Option<Bytes> {
    is_of(message, DESCRIPTION)
        .then(|| message.body())
        .or_else(|| {
            let parts = multipart::parts(message)?.ok()?;
            Some(parts.iter().find(|part| part.is(DESCRIPTION))?.content())
        })
}

/// The offer of an INVITE; none where it leaves the offer to us. A body that is neither description, nor location, nor
/// both is refused.
pub(super) fn offer(invite: &Message) -> Result<Option<Bytes>, Refusal> {
    if invite.body().is_empty() {
        return Ok(None);
    }
    if let Some(parts) = multipart::parts(invite) {
        parts.map_err(|error| Refusal::Malformed(error.to_string()))?;
    } else if !is_of(invite, DESCRIPTION) && !is_of(invite, LOCATION) {
        let kind = invite.content_type().unwrap_or("none").to_owned();
        return Err(Refusal::ContentType(kind));
    }
    Ok(description(invite))
}

/// The parts of a body; a location alone is one.
fn parts(invite: &Message) -> Option<Vec<Part>> {
    if !is_of(invite, LOCATION) {
        return multipart::parts(invite)?.ok();
    }
    let id = invite.header(CONTENT_ID).map(|value| value.to_string());
    Some(vec![Part::new(LOCATION, id.as_deref(), &invite.body())])
}

fn is_of(message: &Message, content_type: &str) -> bool {
    message
        .content_type()
        .is_some_and(|found| found.eq_ignore_ascii_case(content_type))
}

/// Where the caller is, as it came, around the place of the description.
#[derive(Debug, Clone)]
pub(super) struct Location {
    before: Vec<Part>,
    after: Vec<Part>,
}

impl Location {
    /// What an INVITE says of the caller's place, if it does.
    pub fn of(invite: &Message) -> Option<Self> {
        let mut location = Self {
            before: Vec::new(),
            after: Vec::new(),
        };
        let mut described = false;
        for part in parts(invite)? {
            if part.is(DESCRIPTION) {
                described = true;
            } else if part.is(LOCATION) {
                let side = if described {
                    &mut location.after
                } else {
                    &mut location.before
                };
                side.push(part);
            }
        }
        let size: usize = location.parts().map(|part| part.raw().len()).sum();
        if size > MAX_LOCATION {
            tracing::warn!(size, "a location too large to go on");
            return None;
        }
        (size > 0).then_some(location)
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.before.iter().chain(&self.after)
    }

    /// Writes the body: our description where the caller's stood.
    pub fn write(&self, draft: &mut Builder, sdp: &[u8], boundary: &str) {
        let description = Part::new(DESCRIPTION, None, sdp);
        let parts = self.before.iter().chain([&description]).chain(&self.after);
        draft.header(Name::MimeVersion, "1.0").body(
            &format!("multipart/mixed;boundary={boundary}"),
            multipart::join(boundary, parts),
        );
    }
}
