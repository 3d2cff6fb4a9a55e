//! What crosses from one leg to the other: one table. A header that it does not name stays behind.

use bytes::Bytes;

use super::leg::Peer;
use crate::sip::{Builder, Message, Name};

/// What a header of one leg's INVITE needs to cross to the other leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crosses {
    /// To any peer.
    Always,
    /// To peers whose profile trusts us with identities (RFC 3325 §7).
    IfIdentityPasses,
    /// To peers whose profile wants call history.
    IfHistoryPasses,
}

/// The table. From, To, Call-ID, CSeq, Via, Contact, Max-Forwards, Allow, Supported, Session-Expires, User-Agent and the
/// body are our own on every leg and never cross. Nothing that starts with `X-MS-` or `Ms-` does (TDR-311).
const INVITE: &[(Name, Crosses)] = &[
    (Name::PAssertedIdentity, Crosses::IfIdentityPasses),
    (Name::Privacy, Crosses::Always),
    (Name::HistoryInfo, Crosses::IfHistoryPasses),
    (Name::Diversion, Crosses::IfHistoryPasses),
    (Name::Extension("Subject"), Crosses::Always),
    (Name::Extension("Priority"), Crosses::Always),
];

/// Headers that cross, as they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Crossing(Vec<(Name, Bytes)>);

/// More lines of one INVITE than anyone needs do not cross.
const MAX_LINES: usize = 32;

impl Crossing {
    /// What of this INVITE crosses to `peer`.
    pub fn of(invite: &Message, peer: &Peer) -> Self {
        let profile = peer.profile();
        let passes = |crosses| match crosses {
            Crosses::Always => true,
            Crosses::IfIdentityPasses => profile.pass_asserted_identity,
            Crosses::IfHistoryPasses => profile.pass_diversion,
        };
        let lines = INVITE
            .iter()
            .filter(|(_, crosses)| passes(*crosses))
            .flat_map(|(name, _)| {
                invite
                    .headers(*name)
                    .map(|value| (*name, Bytes::copy_from_slice(value.bytes())))
            });
        Self(lines.take(MAX_LINES).collect())
    }

    /// Writes them.
    pub fn write(&self, draft: &mut Builder) {
        for (name, value) in &self.0 {
            draft.header(*name, value);
        }
    }
}

/// The Reason of a BYE or CANCEL, for the other leg's BYE or CANCEL (RFC 3326): Q.850 and SIP reasons cross.
pub(super) fn reason(message: &Message) -> Option<Bytes> {
    message
        .header(Name::Reason)
        .map(|value| Bytes::copy_from_slice(value.bytes()))
}
