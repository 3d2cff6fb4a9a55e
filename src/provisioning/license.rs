use super::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a service's licence is, from less to more.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LicenseType {
    /// Users are managed at Microsoft only.
    #[default]
    Essentials,
    /// Users and their numbers can be managed here.
    EssentialsPlus,
    /// Their policies, too.
    Pro,
}

named!(LicenseType {
    Essentials => "essentials", EssentialsPlus => "essentials_plus", Pro => "pro",
});

/// What a licence may allow a customer's operators to do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// See the service, its SIP connections and its licence.
    View,
    /// Change the service.
    EditService,
    /// List users and add them.
    Users,
    /// Give numbers to users.
    AssignNumbers,
    /// See what waits for a Sync.
    QueuedChanges,
    /// Change users' policies.
    EditPolicies,
    /// Reserve numbers and ranges of them.
    NumberRanges,
    /// Read who changed what.
    Audit,
}

named!(Feature {
    View => "view", EditService => "edit_service", Users => "users", AssignNumbers => "assign_numbers",
    QueuedChanges => "queued_changes", EditPolicies => "edit_policies", NumberRanges => "number_ranges", Audit => "audit",
});

impl Feature {
    /// The least licence that has it.
    pub fn needs(self) -> LicenseType {
        match self {
            Self::View => LicenseType::Essentials,
            Self::EditService | Self::Users | Self::AssignNumbers | Self::QueuedChanges => {
                LicenseType::EssentialsPlus
            }
            Self::EditPolicies | Self::NumberRanges | Self::Audit => LicenseType::Pro,
        }
    }
}

impl LicenseType {
    /// Whether it has a feature.
    pub fn allows(self, feature: Feature) -> bool {
        self >= feature.needs()
    }

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Essentials => "Essentials",
            Self::EssentialsPlus => "Essentials Plus",
            Self::Pro => "Pro",
        }
    }

    /// All that it has.
    pub fn features(self) -> impl Iterator<Item = Feature> {
        Feature::ALL
            .iter()
            .copied()
            .filter(move |feature| self.allows(*feature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// the three steps of S3.
    #[test]
    fn each_licence_has_what_the_one_below_has_and_more() {
        let count = |license: LicenseType| license.features().count();
        assert_eq!(
            LicenseType::ALL
                .iter()
                .map(|l| count(*l))
                .collect::<Vec<_>>(),
            [1, 5, 8]
        );
        assert!(!LicenseType::Essentials.allows(Feature::Users));
        assert!(LicenseType::EssentialsPlus.allows(Feature::Users));
        assert!(!LicenseType::EssentialsPlus.allows(Feature::EditPolicies));
        assert!(LicenseType::Pro.allows(Feature::EditPolicies));
    }
}
