//! What Teams tells an SBC besides the call itself (TDR-311, TDR-901): read, logged and shown to operators, and forwarded to
//! nobody. Nothing is decided by it (TDR-907).

use serde::Serialize;
use utoipa::ToSchema;

use super::leg::Peer;
use crate::sip::{Message, Name};

/// Microsoft's own headers of an INVITE from Teams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Hints {
    /// `Ms-Conversation-ID`: under which Microsoft's own tools find the call.
    pub conversation_id: Option<String>,
    /// `X-MS-UserLocation`: `internal` or `external`.
    pub user_location: Option<String>,
    /// `X-MS-UserSite`: the tenant's name for where the user is.
    pub user_site: Option<String>,
    /// `X-MS-MediaPath`: the SBCs that media may pass, in order.
    pub media_path: Option<String>,
}

/// Characters of each that are kept.
const MAX_TEXT: usize = 128;

impl Hints {
    /// Those in an INVITE, if Teams sent it and any are there.
    pub(super) fn of(invite: &Message, peer: &Peer) -> Option<Self> {
        let read = |name| {
            let value = invite.header(Name::Extension(name))?.to_string();
            Some(value.chars().take(MAX_TEXT).collect())
        };
        let hints = Self {
            conversation_id: read("Ms-Conversation-ID"),
            user_location: read("X-MS-UserLocation"),
            user_site: read("X-MS-UserSite"),
            media_path: read("X-MS-MediaPath"),
        };
        (peer.is_teams() && hints != Self::default()).then_some(hints)
    }
}
