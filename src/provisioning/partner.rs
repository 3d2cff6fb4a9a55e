use super::{Offering, named};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a partner may act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartnerState {
    /// It has not followed the link of its mail yet: it may look, and change nothing.
    #[default]
    Invited,
    /// It may.
    Active,
    /// No longer: it may look, and change nothing.
    Disabled,
}

named!(PartnerState { Invited => "invited", Active => "active", Disabled => "disabled" });

/// What of the tree above a partner decides whether it may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerTree {
    /// Whether the parent has a parent itself.
    pub parent_is_child: bool,
    /// What the parent sells.
    pub parent_offerings: Vec<Offering>,
}

/// Why a partner cannot stand where it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    /// Master reseller, reseller: there is no third step.
    #[error("must be a partner without a parent of its own")]
    TooDeep,
    /// Nobody passes on what it does not have.
    #[error("is not sold by the parent")]
    NotOffered(Offering),
}

impl PartnerTree {
    /// The first thing that keeps a partner with these offerings from standing below.
    pub fn check(&self, offerings: &[Offering]) -> Result<(), TreeFault> {
        if self.parent_is_child {
            return Err(TreeFault::TooDeep);
        }
        let foreign = offerings
            .iter()
            .find(|offering| !self.parent_offerings.contains(offering));
        foreign.map_or(Ok(()), |offering| Err(TreeFault::NotOffered(*offering)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reseller_sells_what_its_master_sells_and_has_no_resellers() {
        let master = PartnerTree {
            parent_is_child: false,
            parent_offerings: vec![Offering::Trunk],
        };
        assert_eq!(master.check(&[Offering::Trunk]), Ok(()));
        assert_eq!(master.check(&[]), Ok(()));
        assert_eq!(
            master.check(&[Offering::Trunk, Offering::Pbx]),
            Err(TreeFault::NotOffered(Offering::Pbx))
        );
        let reseller = PartnerTree {
            parent_is_child: true,
            ..master
        };
        assert_eq!(reseller.check(&[]), Err(TreeFault::TooDeep));
    }
}
