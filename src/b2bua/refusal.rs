//! Why a call is refused or ends unanswered, and the one place where that becomes a SIP status, a Reason, a CDR cause
//! and a metric label (provisioning rules: section 7; RFC 3398 §8.2.6 and RFC 6432 for Q.850 causes).

use crate::audio::Announcement;
use crate::directory::Denied;
use crate::media::MediaError;
use crate::sip::auth::AuthFailure;

/// Whom a refusal is told to: the same fact has another status for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// Microsoft's proxy. 408, 503 and 504 would make it try the next SBC (TDR-216).
    Teams,
    /// A carrier, which may stop using a trunk that answers 503.
    Carrier,
    /// A hosted PBX.
    Pbx,
}

/// A fact that ends a call before it was answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The directory said no.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// A trunk with digest did not prove that it is who it says.
    #[error("{0}")]
    Unproven(AuthFailure),
    /// The customer's `max_channels` are in use.
    #[error("all channels of the customer are busy")]
    ChannelsBusy,
    /// The trunk's `cac_max_sessions` are in use.
    #[error("all channels of the trunk are busy")]
    TrunkBusy,
    /// The caller is a user of an exchange where we are not registered in its name.
    #[error("the user is not registered at its exchange")]
    PbxUnregistered,
    /// The called telephone is not registered, not active, or does not answer.
    #[error("the telephone is not registered")]
    PhoneOffline,
    /// A telephone that nobody has activated called somebody.
    #[error("the telephone is not activated yet")]
    Bootstrap,
    /// No trunk or proxy that could take the call answered it.
    #[error("no trunk that could take the call is reachable: {0}")]
    Unreachable(String),
    /// The offer cannot be met.
    #[error("media: {0}")]
    Media(MediaError),
    /// A body that is no session description.
    #[error("content type {0} is not supported")]
    ContentType(String),
    /// `Require` names something that we do not do.
    #[error("extension {0} is not supported")]
    Extension(String),
    /// A PRACK with an offer (RFC 3262 §5).
    #[error("an offer in a PRACK is not taken")]
    OfferInPrack,
    /// A reliable provisional of ours stayed without PRACK (RFC 3262 §3).
    #[error("a reliable provisional response was not acknowledged")]
    NoPrack,
    /// A session interval below our minimum (RFC 4028 §5).
    #[error("the session interval is too small")]
    IntervalTooSmall,
    /// Replaces names no dialog that the peer may replace (RFC 3891 §3).
    #[error("there is no such dialog to replace")]
    NoDialog,
    /// Replaces names a dialog that is about to end.
    #[error("the dialog to replace is over")]
    DialogOver,
    /// Replaces wants an early dialog, and this one is answered.
    #[error("the dialog to replace is answered already")]
    DialogAnswered,
    /// A header or the body breaks its grammar.
    #[error("bad request: {0}")]
    Malformed(String),
    /// The call came back to where it came from.
    #[error("the call loops")]
    Loop,
    /// Max-Forwards is used up.
    #[error("too many hops")]
    TooManyHops,
    /// Nobody answered within the ring timeout.
    #[error("nobody answered")]
    NoAnswer,
    /// The caller hung up first.
    #[error("the caller cancelled")]
    Cancelled,
    /// An operator ended it.
    #[error("ended by an operator")]
    HungUp,
    /// The far end said no.
    #[error("the far end answered {status} {reason}")]
    FarEnd {
        /// Its final status.
        status: u16,
        /// Its reason phrase.
        reason: String,
        /// The Q.850 cause that came with it (RFC 6432), where the peer's own causes are to be believed.
        cause: Option<u8>,
    },
    /// The far end's answer could not be used.
    #[error("the far end's answer cannot be used: {0}")]
    BadAnswer(String),
    /// We are going down or being emptied.
    #[error("draining")]
    Draining,
    /// A limit of this process is reached.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
}

/// What a refusal is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The final status.
    pub status: u16,
    /// For a Reason header (RFC 3326), if there is one to tell.
    pub q850: Option<u8>,
}

impl Refusal {
    /// The only place that chooses a status code for a refused call.
    pub fn answer(&self, towards: Towards) -> Answer {
        let carrier = towards == Towards::Carrier;
        let (status, q850) = match self {
            Self::Denied(denied) => match denied {
                Denied::UnknownPeer | Denied::UnknownGateway | Denied::ForeignTrunk => {
                    (403, Some(21))
                }
                Denied::CallerNotAllowed => (403, Some(21)),
                Denied::CustomerInactive | Denied::CustomerDisabled => {
                    if carrier {
                        (480, Some(20))
                    } else {
                        (403, Some(21))
                    }
                }
                Denied::NumberNotInService => (404, Some(1)),
                Denied::NoRoute => (503, Some(38)),
                // The number exists; its Teams side is not ready.
                Denied::GatewayNotActive => {
                    if carrier {
                        (480, Some(20))
                    } else {
                        (403, Some(21))
                    }
                }
            },
            Self::Unproven(AuthFailure::Missing | AuthFailure::Stale) => (401, Some(21)),
            Self::Unproven(AuthFailure::Malformed | AuthFailure::Wrong) => (403, Some(21)),
            // Not 503: the call would slip in at the next SBC, and a carrier would stop using the trunk.
            Self::ChannelsBusy | Self::TrunkBusy => (486, Some(34)),
            Self::PbxUnregistered => (480, Some(20)),
            Self::PhoneOffline => (480, Some(20)),
            Self::Bootstrap => (403, Some(21)),
            Self::Unreachable(_) => (503, Some(38)),
            Self::Media(_) | Self::OfferInPrack => (488, Some(88)),
            Self::NoPrack => (504, Some(102)),
            Self::ContentType(_) => (415, Some(127)),
            Self::Extension(_) => (420, Some(127)),
            Self::IntervalTooSmall => (422, None),
            Self::Malformed(_) => (400, Some(127)),
            Self::NoDialog => (481, None),
            Self::DialogOver => (603, None),
            Self::DialogAnswered => (486, None),
            Self::Loop => (482, Some(25)),
            Self::TooManyHops => (483, Some(25)),
            Self::NoAnswer => (480, Some(19)),
            Self::Cancelled => (487, None),
            Self::HungUp => (480, Some(31)),
            Self::FarEnd { status, cause, .. } => relayed(*status, *cause),
            Self::BadAnswer(_) => (502, Some(41)),
            Self::Draining | Self::Overloaded(_) => (503, Some(42)),
        };
        Answer { status, q850 }
    }

    /// What the caller may hear of it before it hears the status: only what is about the call that it wants, and nothing
    /// that would tell a stranger more than the status does.
    pub fn announcement(&self) -> Option<Announcement> {
        match self {
            Self::Denied(
                Denied::CustomerInactive | Denied::CustomerDisabled | Denied::GatewayNotActive,
            ) => Some(Announcement::NotActive),
            Self::Denied(Denied::NumberNotInService) => Some(Announcement::NotInService),
            Self::ChannelsBusy => Some(Announcement::LimitReached),
            _ => None,
        }
    }

    /// The CDR's `refused_by`: which rule, in one word. `None` where nobody refused: cancelled, unanswered.
    pub fn refused_by(&self) -> Option<&'static str> {
        match self {
            Self::Cancelled | Self::NoAnswer => None,
            _ => Some(self.label()),
        }
    }

    /// The metric label `reason`: a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Denied(denied) => match denied {
                Denied::UnknownPeer | Denied::UnknownGateway | Denied::ForeignTrunk => "acl",
                Denied::CallerNotAllowed => "caller",
                Denied::CustomerInactive | Denied::GatewayNotActive => "inactive",
                Denied::CustomerDisabled => "disabled",
                Denied::NumberNotInService => "number",
                Denied::NoRoute => "route",
            },
            Self::Unproven(_) => "credentials",
            Self::ChannelsBusy | Self::TrunkBusy => "limit",
            Self::PbxUnregistered => "pbx_unregistered",
            Self::PhoneOffline => "device_offline",
            Self::Bootstrap => "bootstrap",
            Self::Unreachable(_) => "route",
            Self::Media(_) | Self::OfferInPrack => "media",
            Self::NoPrack => "no_prack",
            Self::ContentType(_)
            | Self::Extension(_)
            | Self::IntervalTooSmall
            | Self::Malformed(_) => "malformed",
            Self::NoDialog | Self::DialogOver | Self::DialogAnswered => "dialog",
            Self::Loop | Self::TooManyHops => "loop",
            Self::NoAnswer => "no_answer",
            Self::Cancelled => "cancelled",
            Self::HungUp => "operator",
            Self::FarEnd { .. } | Self::BadAnswer(_) => "far_end",
            Self::Draining => "draining",
            Self::Overloaded(_) => "overload",
        }
    }
}

/// A final status of the far end as the caller hears it, and its Q.850 cause. A failure of one carrier's equipment is
/// 503, so that Teams tries another SBC; what a user decided stays as it is and is never a 5xx (TDR-518).
///
/// 486 is cause 17: Teams' own 34 (TDR-516) would make carriers retry a busy user as congestion. Otherwise a cause of
/// the far end says more than its status does.
fn relayed(status: u16, cause: Option<u8>) -> (u16, Option<u8>) {
    let (told, usual) = translated(status);
    let is_busy = matches!(status, 486 | 600);
    (told, cause.filter(|_| !is_busy).or(usual))
}

fn translated(status: u16) -> (u16, Option<u8>) {
    match status {
        // Redirections are not followed: the called number decides the route, not the far end.
        300..=399 => (480, Some(31)),
        // Our credentials are wrong: nothing that the caller could mend.
        401 | 407 => (503, Some(38)),
        403 => (403, Some(21)),
        404 => (404, Some(1)),
        408 => (480, Some(18)),
        410 => (410, Some(22)),
        480 => (480, Some(18)),
        // The far end gave up by itself; the caller did not.
        487 => (480, Some(31)),
        484 => (484, Some(28)),
        486 | 600 => (486, Some(17)),
        488 | 606 => (488, Some(88)),
        603 => (603, Some(21)),
        604 => (404, Some(1)),
        405 | 414..=421 | 423..=425 | 440 | 481..=483 | 491 | 493 => (480, Some(31)),
        400..=499 => (status, Some(31)),
        600..=699 => (603, Some(21)),
        _ => (503, Some(38)),
    }
}

/// The text of a Reason header for a cause (RFC 3326, ITU-T Q.850 table 1).
pub fn q850_text(cause: u8) -> &'static str {
    match cause {
        1 => "Unallocated number",
        16 => "Normal call clearing",
        17 => "User busy",
        18 => "No user responding",
        19 => "No answer from user",
        20 => "Subscriber absent",
        21 => "Call rejected",
        22 => "Number changed",
        25 => "Exchange routing error",
        28 => "Invalid number format",
        31 => "Normal, unspecified",
        34 => "No circuit/channel available",
        38 => "Network out of order",
        41 => "Temporary failure",
        42 => "Switching equipment congestion",
        88 => "Incompatible destination",
        102 => "Recovery on timer expiry",
        127 => "Interworking, unspecified",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of refusals, row by row: status towards Teams, a carrier and a PBX, and the CDR's word.
    #[test]
    fn every_row_of_the_table() {
        let rows: &[(Refusal, [u16; 3], &str)] = &[
            (Denied::UnknownPeer.into(), [403, 403, 403], "acl"),
            (Denied::UnknownGateway.into(), [403, 403, 403], "acl"),
            (Denied::CustomerInactive.into(), [403, 480, 403], "inactive"),
            (Denied::CustomerDisabled.into(), [403, 480, 403], "disabled"),
            (Denied::NumberNotInService.into(), [404, 404, 404], "number"),
            (Refusal::ChannelsBusy, [486, 486, 486], "limit"),
            (Refusal::TrunkBusy, [486, 486, 486], "limit"),
            (Refusal::PhoneOffline, [480, 480, 480], "device_offline"),
            (Refusal::Bootstrap, [403, 403, 403], "bootstrap"),
            (
                Refusal::PbxUnregistered,
                [480, 480, 480],
                "pbx_unregistered",
            ),
            (
                Refusal::Unreachable("down".into()),
                [503, 503, 503],
                "route",
            ),
        ];
        for (refusal, statuses, word) in rows {
            let told =
                [Towards::Teams, Towards::Carrier, Towards::Pbx].map(|t| refusal.answer(t).status);
            assert_eq!((told, refusal.label()), (*statuses, *word), "{refusal}");
        }
        assert_eq!(Refusal::ChannelsBusy.answer(Towards::Teams).q850, Some(34));
    }

    /// Nothing that a user decided reaches Teams as one of the codes on which it tries the next SBC.
    #[test]
    fn users_decisions_never_cause_failover() {
        for status in [404, 408, 480, 484, 486, 487, 600, 603] {
            assert!(
                ![408, 500, 503, 504].contains(&relayed(status, None).0),
                "{status}"
            );
        }
    }

    /// TDR-516: busy is 17 whatever the far end says; what else it says is kept.
    #[test]
    fn a_cause_of_the_far_end_is_kept_but_for_busy() {
        for (status, cause, told) in [
            (486, None, (486, Some(17))),
            (486, Some(34), (486, Some(17))),
            (600, Some(34), (486, Some(17))),
            (480, None, (480, Some(18))),
            (480, Some(20), (480, Some(20))),
            (404, Some(3), (404, Some(3))),
            (302, None, (480, Some(31))),
        ] {
            assert_eq!(relayed(status, cause), told, "{status}");
        }
    }
}
