use super::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a number is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberKind {
    /// One that the world can call: nobody else has it.
    #[default]
    Did,
    /// Written like one, but of the customer's own: another customer may have the same.
    Extension,
}

named!(NumberKind { Did => "did", Extension => "extension" });

/// What it is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// Nothing yet.
    #[default]
    Unassigned,
    /// A user.
    User,
    /// A conference bridge.
    Conference,
    /// An application, such as an auto attendant.
    VoiceApp,
}

named!(Assignment {
    Unassigned => "unassigned", User => "user", Conference => "conference", VoiceApp => "voice_app",
});

/// Where it comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberSource {
    /// Typed in by a person.
    Portal,
    /// Brought by a program.
    #[default]
    Api,
    /// Seen at Microsoft: it is listed, and no call ever goes by it.
    Microsoft,
}

named!(NumberSource { Portal => "portal", Api => "api", Microsoft => "microsoft" });

/// Whether it should be there after the next Sync.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// Yes.
    #[default]
    Present,
    /// No.
    Absent,
}

named!(Desired { Present => "present", Absent => "absent" });

/// What becomes of it when it is removed from a customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It stays in the inventory, for reuse.
    #[default]
    Retain,
    /// It leaves the inventory.
    Delete,
}

named!(Disposition { Retain => "retain", Delete => "delete" });

/// What the last Sync, or what was done since, made of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberStatus {
    /// Waits for a Sync.
    NeedsSync,
    /// The carrier's system knows no seat that has it: free for assignment.
    Available,
    /// Calls go by it.
    InSync,
    /// It sits on a seat that is none of Teams.
    BlockedNonTeamsSeat,
    /// It sits on another account.
    BlockedOtherCustomer,
    /// Serves until the next Sync.
    PendingRemove,
    /// Teams has it for somebody else.
    TeamsMismatch,
    /// The carrier's system did not answer: it goes on as before.
    BackendUnreachable,
}

named!(NumberStatus {
    NeedsSync => "needs_sync", Available => "available", InSync => "in_sync",
    BlockedNonTeamsSeat => "blocked_non_teams_seat", BlockedOtherCustomer => "blocked_other_customer",
    PendingRemove => "pending_remove", TeamsMismatch => "teams_mismatch", BackendUnreachable => "backend_unreachable",
});

impl NumberStatus {
    /// For people. Two of them are the partner portal's own words; programs go by the code.
    pub fn text(self) -> &'static str {
        match self {
            Self::NeedsSync => "Needs sync",
            Self::Available => "Needs to be added to portal (not in backend)",
            Self::InSync => "In sync",
            Self::BlockedNonTeamsSeat => {
                "This number cannot be sync\u{2019}ed automatically (backend reports fatal)"
            }
            Self::BlockedOtherCustomer => "Assigned to another account",
            Self::PendingRemove => "Removal pending",
            Self::TeamsMismatch => "Assignment differs in Teams",
            Self::BackendUnreachable => "Backend did not answer",
        }
    }

    /// Whether something has to be done elsewhere before it can serve.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::BlockedNonTeamsSeat | Self::BlockedOtherCustomer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_api() {
        for status in NumberStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
