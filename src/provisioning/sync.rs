//! What a Sync makes of numbers and seats.

use super::{Desired, Disposition, NumberSource, NumberStatus, Seat, SeatKind, Seats};
use crate::directory::Number;
use std::collections::{HashMap, HashSet};

/// What a Sync has to know of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The number.
    pub number: Number,
    /// Whether it should be there.
    pub desired: Desired,
    /// What becomes of it when it goes.
    pub disposition: Option<Disposition>,
    /// Where it comes from.
    pub source: NumberSource,
    /// Whether somebody has it here.
    pub is_assigned: bool,
    /// What was made of it before.
    pub status: Option<NumberStatus>,
    /// Whether calls go by it now.
    pub in_service: bool,
}

/// What is known from the carrier's system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knowledge {
    /// There is no such system: what is stored here is all that there is.
    NoBackend,
    /// It did not answer.
    Silent,
    /// It was asked about some numbers, and told who has which.
    Told {
        /// What it was asked about.
        asked: HashSet<Number>,
        /// Those on a seat.
        holders: HashMap<Number, Holder>,
    },
}

/// Where a number sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// On a seat of Teams of this account.
    TeamsSeat,
    /// On another seat of this account.
    OtherSeat,
    /// On another account.
    OtherAccount,
}

impl Knowledge {
    /// From an answer. What is no number is nobody's.
    pub fn told(asked: HashSet<Number>, seats: &Seats) -> Self {
        let mut holders = HashMap::new();
        for number in seats.other_accounts.iter().flat_map(|n| n.parse()) {
            holders.insert(number, Holder::OtherAccount);
        }
        for Seat { kind, numbers, .. } in &seats.seats {
            let holder = match kind {
                SeatKind::Teams => Holder::TeamsSeat,
                SeatKind::Other => Holder::OtherSeat,
            };
            holders.extend(numbers.iter().flat_map(|n| n.parse()).map(|n| (n, holder)));
        }
        Self::Told { asked, holders }
    }
}

/// What a Sync makes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stands so from now on.
    Stand {
        /// Its status; none for what Microsoft has and we only list.
        status: Option<NumberStatus>,
        /// Whether calls go by it.
        in_service: bool,
    },
    /// It leaves the customer.
    Leave(Disposition),
}

/// What a Sync makes of a number.
pub fn judge(held: &Held, known: &Knowledge) -> Verdict {
    let stand = |status, in_service| Verdict::Stand {
        status: Some(status),
        in_service,
    };
    if held.desired == Desired::Absent {
        return Verdict::Leave(held.disposition.unwrap_or_default());
    }
    if held.source == NumberSource::Microsoft {
        return Verdict::Stand {
            status: None,
            in_service: false,
        };
    }
    match known {
        Knowledge::NoBackend => stand(NumberStatus::InSync, true),
        Knowledge::Silent => stand(NumberStatus::BackendUnreachable, held.in_service),
        // It came while the system was being asked.
        Knowledge::Told { asked, .. } if !asked.contains(&held.number) => Verdict::Stand {
            status: held.status,
            in_service: held.in_service,
        },
        Knowledge::Told { holders, .. } => match holders.get(&held.number) {
            Some(Holder::TeamsSeat) => stand(NumberStatus::InSync, true),
            Some(Holder::OtherSeat) => stand(NumberStatus::BlockedNonTeamsSeat, false),
            Some(Holder::OtherAccount) => stand(NumberStatus::BlockedOtherCustomer, false),
            None if held.is_assigned => stand(NumberStatus::InSync, true),
            None => stand(NumberStatus::Available, false),
        },
    }
}

/// The users that may have calls: the smaller of what the partner allows and what was bought.
pub fn user_cap(user_limit: Option<u32>, licensed_users: Option<u32>) -> Option<u32> {
    match (user_limit, licensed_users) {
        (Some(limit), Some(bought)) => Some(limit.min(bought)),
        (limit, bought) => limit.or(bought),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        Held {
            number: "+14255550100".parse().unwrap(),
            desired: Desired::Present,
            disposition: None,
            source: NumberSource::Api,
            is_assigned: false,
            status: Some(NumberStatus::NeedsSync),
            in_service: false,
        }
    }

    fn told(kind: SeatKind) -> Knowledge {
        let seat = Seat {
            id: "1".into(),
            kind,
            upn: None,
            display_name: None,
            extension: None,
            numbers: vec!["+14255550100".into(), "extension 7".into()],
            enabled: true,
        };
        let asked = [held().number].into();
        Knowledge::told(
            asked,
            &Seats {
                seats: vec![seat],
                other_accounts: Vec::new(),
            },
        )
    }

    /// Provisioning §9.1, row by row.
    #[test]
    fn each_number_gets_the_status_that_the_backend_gives_it() {
        use NumberStatus::*;
        let stand = |known: &Knowledge, held: Held| match judge(&held, known) {
            Verdict::Stand { status, in_service } => (status, in_service),
            Verdict::Leave(_) => panic!("it stays"),
        };
        let serving = || Held {
            in_service: true,
            ..held()
        };
        let empty = Knowledge::told([held().number].into(), &Seats::default());
        let elsewhere = Seats {
            other_accounts: vec!["+14255550100".into()],
            ..Seats::default()
        };
        let elsewhere = Knowledge::told([held().number].into(), &elsewhere);
        assert_eq!(stand(&Knowledge::NoBackend, held()), (Some(InSync), true));
        assert_eq!(stand(&told(SeatKind::Teams), held()), (Some(InSync), true));
        let other = told(SeatKind::Other);
        assert_eq!(stand(&other, held()), (Some(BlockedNonTeamsSeat), false));
        assert_eq!(stand(&other, serving()), (Some(BlockedNonTeamsSeat), false));
        assert_eq!(
            stand(&elsewhere, held()),
            (Some(BlockedOtherCustomer), false)
        );
        assert_eq!(stand(&empty, held()), (Some(Available), false));
        let assigned = Held {
            is_assigned: true,
            ..held()
        };
        assert_eq!(stand(&empty, assigned), (Some(InSync), true));
        let silent = Knowledge::Silent;
        assert_eq!(stand(&silent, held()), (Some(BackendUnreachable), false));
        assert_eq!(stand(&silent, serving()), (Some(BackendUnreachable), true));
        let unasked = Knowledge::told(HashSet::new(), &Seats::default());
        assert_eq!(stand(&unasked, held()), (Some(NeedsSync), false));
        let seen = Held {
            source: NumberSource::Microsoft,
            ..held()
        };
        assert_eq!(stand(&Knowledge::NoBackend, seen), (None, false));
    }

    /// A removal needs nobody's word.
    #[test]
    fn what_should_go_goes_whatever_the_backend_says() {
        for known in [
            Knowledge::NoBackend,
            Knowledge::Silent,
            told(SeatKind::Teams),
        ] {
            let going = |disposition| Held {
                desired: Desired::Absent,
                disposition,
                ..held()
            };
            let leaves = |disposition| judge(&going(disposition), &known);
            assert_eq!(leaves(None), Verdict::Leave(Disposition::Retain));
            let delete = Some(Disposition::Delete);
            assert_eq!(leaves(delete), Verdict::Leave(Disposition::Delete));
        }
    }

    #[test]
    fn the_smaller_limit_counts() {
        assert_eq!(user_cap(None, None), None);
        assert_eq!(user_cap(Some(3), None), Some(3));
        assert_eq!(user_cap(None, Some(2)), Some(2));
        assert_eq!(user_cap(Some(3), Some(2)), Some(2));
    }
}
