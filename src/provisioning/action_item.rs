use super::{Consent, SyncState, TeamsPush, named};
use crate::directory::ActivationState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that the customer's administrator can do; it is gone when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionItem {
    /// Carrier or partner ask for co-management.
    GrantConsent,
    /// The Teams side is not set up.
    Activate,
    /// What was changed waits for a Sync.
    Sync,
    /// The last Sync failed.
    RepeatSync,
    /// Users have numbers here that only the customer's own administrator can give them at Microsoft.
    AssignNumbers,
    /// Numbers wait for something to be done elsewhere.
    FreeNumbers,
    /// There are more users than may be.
    FreeLicenses,
}

named!(ActionItem {
    GrantConsent => "grant_consent", Activate => "activate", Sync => "sync", RepeatSync => "repeat_sync",
    AssignNumbers => "assign_numbers",
    FreeNumbers => "free_numbers", FreeLicenses => "free_licenses",
});

/// What decides about the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Where the consent stands.
    pub consent: Consent,
    /// How far Teams is.
    pub activation: ActivationState,
    /// Whether calls obey what is stored.
    pub sync: SyncState,
    /// What the last Sync made of users' numbers at Microsoft.
    pub teams_push: Option<TeamsPush>,
    /// Users that count.
    pub users: u32,
    /// How many may; none: as many as there are.
    pub cap: Option<u32>,
}

impl ActionItem {
    /// What there is to do.
    pub fn of(now: Situation) -> Vec<Self> {
        let items = [
            (now.consent == Consent::Pending, Self::GrantConsent),
            (now.activation == ActivationState::Inactive, Self::Activate),
            (now.sync == SyncState::Dirty, Self::Sync),
            (now.sync == SyncState::Failed, Self::RepeatSync),
            (
                now.teams_push == Some(TeamsPush::NeedsCustomerAdmin),
                Self::AssignNumbers,
            ),
            (now.sync == SyncState::Partial, Self::FreeNumbers),
            (
                now.cap.is_some_and(|cap| now.users > cap),
                Self::FreeLicenses,
            ),
        ];
        let open = items.into_iter().filter(|(is_open, _)| *is_open);
        open.map(|(_, item)| item).collect()
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::GrantConsent => "Grant or refuse co-management",
            Self::Activate => "Activate the account",
            Self::Sync => "Sync: changes wait",
            Self::RepeatSync => "Sync again: the last one failed",
            Self::AssignNumbers => "Sync: only you can give your users their numbers in Teams",
            Self::FreeNumbers => "Free numbers that are assigned elsewhere, then Sync",
            Self::FreeLicenses => "Remove users, or have more licences",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_no_longer_listed() {
        let done = Situation {
            consent: Consent::Granted,
            activation: ActivationState::Active,
            sync: SyncState::Clean,
            teams_push: Some(TeamsPush::Done),
            users: 3,
            cap: Some(3),
        };
        assert_eq!(ActionItem::of(done), []);
        let open = Situation {
            consent: Consent::Pending,
            activation: ActivationState::Inactive,
            sync: SyncState::Failed,
            users: 4,
            ..done
        };
        use ActionItem::*;
        assert_eq!(
            ActionItem::of(open),
            [GrantConsent, Activate, RepeatSync, FreeLicenses]
        );
        let theirs = Situation {
            teams_push: Some(TeamsPush::NeedsCustomerAdmin),
            ..done
        };
        assert_eq!(ActionItem::of(theirs), [AssignNumbers]);
        let none = Situation { cap: None, ..open };
        assert_eq!(ActionItem::of(none).len(), 3);
    }
}
