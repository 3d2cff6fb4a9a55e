//! Users' numbers at Microsoft: when a Sync gives them there.

use super::named;
use crate::directory::ActivationState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of users' numbers at Microsoft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeamsPush {
    /// No application is configured at Microsoft: an administrator gives users their numbers there.
    NotConfigured,
    /// The customer is not active at Teams.
    NotActive,
    /// No user has a number.
    Nothing,
    /// Only the customer's own administrator may do it: always for the first time, and later without co-management.
    NeedsCustomerAdmin,
    /// Nobody has signed in for the customer, or it no longer counts.
    SkippedNoToken,
    /// It was only tried: they would be compared, and given where they differ.
    Due,
    /// They are there as they are here.
    Done,
    /// Not all of them.
    Failed,
}

named!(TeamsPush {
    NotConfigured => "not_configured", NotActive => "not_active", Nothing => "nothing", NeedsCustomerAdmin => "needs_customer_admin",
    SkippedNoToken => "skipped_no_token", Due => "due", Done => "done", Failed => "failed",
});

/// What decides about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushSituation {
    /// Whether we have an application at Microsoft.
    pub configured: bool,
    /// How far Teams is.
    pub activation: ActivationState,
    /// Whether users have numbers, or had them.
    pub any: bool,
    /// Whether the customer's own administrator asks.
    pub by_customer: bool,
    /// Whether carrier and partner may manage the customer's users.
    pub co_managed: bool,
    /// Whether it was done before.
    pub done_before: bool,
}

impl TeamsPush {
    /// Whether it is due, or why not.
    pub fn of(now: PushSituation) -> Self {
        let may = now.by_customer || now.co_managed && now.done_before;
        match now {
            PushSituation {
                configured: false, ..
            } => Self::NotConfigured,
            PushSituation { activation, .. } if activation != ActivationState::Active => {
                Self::NotActive
            }
            PushSituation { any: false, .. } => Self::Nothing,
            _ if !may => Self::NeedsCustomerAdmin,
            _ => Self::Due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The customer's own administrator may always; carrier and partner with co-management, and not the first time.
    #[test]
    fn whose_business_it_is() {
        let may = |by_customer, co_managed, done_before| {
            let now = PushSituation {
                configured: true,
                activation: ActivationState::Active,
                any: true,
                by_customer,
                co_managed,
                done_before,
            };
            TeamsPush::of(now) == TeamsPush::Due
        };
        for (co_managed, done_before) in [(false, false), (true, false), (false, true)] {
            assert!(may(true, co_managed, done_before));
            assert!(!may(false, co_managed, done_before));
        }
        assert!(may(false, true, true));
    }

    /// Without an application, an active customer and a number nobody may.
    #[test]
    fn where_it_cannot_be_done() {
        let now = PushSituation {
            configured: true,
            activation: ActivationState::Active,
            any: true,
            by_customer: true,
            co_managed: true,
            done_before: true,
        };
        let nowhere = PushSituation {
            configured: false,
            ..now
        };
        assert_eq!(TeamsPush::of(nowhere), TeamsPush::NotConfigured);
        let early = PushSituation {
            activation: ActivationState::Activating,
            ..now
        };
        assert_eq!(TeamsPush::of(early), TeamsPush::NotActive);
        let empty = PushSituation { any: false, ..now };
        assert_eq!(TeamsPush::of(empty), TeamsPush::Nothing);
    }
}
