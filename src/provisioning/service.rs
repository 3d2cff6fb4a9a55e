use super::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a service reaches Teams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// Direct Routing.
    #[default]
    DirectRouting,
    /// Operator Connect.
    OperatorConnect,
}

named!(ServiceKind { DirectRouting => "direct_routing", OperatorConnect => "operator_connect" });

/// How far a service is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Nothing is agreed yet.
    Lead,
    /// Its data are being collected.
    #[default]
    Onboarding,
    /// The customer has to prove itself at Microsoft.
    AwaitingAuthentication,
    /// It has.
    ReadyToUpgrade,
    /// The upgrade is under way.
    Upgrading,
    /// Done.
    Deployed,
    /// It went wrong.
    Error,
}

named!(ServiceState {
    Lead => "lead", Onboarding => "onboarding", AwaitingAuthentication => "awaiting_authentication",
    ReadyToUpgrade => "ready_to_upgrade", Upgrading => "upgrading", Deployed => "deployed", Error => "error",
});

/// What one customer's services may have licensed together.
pub const MOST_LICENSED_USERS: u32 = 500;

/// Why a text is no short name of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShortNameFault {
    /// Too short or too long.
    #[error("must have 3 to 15 characters")]
    Length,
    /// A character that may not be in it.
    #[error("must not have {0:?}")]
    Character(char),
    /// A word that is not to be had.
    #[error("must not be the word audit")]
    Reserved,
}

/// Characters that cannot be in a short name, and the code of each.
const FORBIDDEN: [(char, &str); 10] = [
    ('\\', "short_name_backslash"),
    ('/', "short_name_slash"),
    (':', "short_name_colon"),
    ('*', "short_name_asterisk"),
    ('?', "short_name_question_mark"),
    ('"', "short_name_quotation_mark"),
    ('<', "short_name_less_than"),
    ('>', "short_name_greater_than"),
    ('|', "short_name_vertical_bar"),
    ('.', "short_name_dot"),
];

impl ShortNameFault {
    /// For programs; stable.
    pub fn code(self) -> &'static str {
        match self {
            Self::Length => "short_name_length",
            Self::Reserved => "short_name_reserved",
            Self::Character(c) => FORBIDDEN
                .iter()
                .find(|(forbidden, _)| *forbidden == c)
                .map_or(
                    if c.is_whitespace() {
                        "short_name_blank"
                    } else {
                        "short_name_control"
                    },
                    |(_, code)| code,
                ),
        }
    }
}

/// Whether a text can be the short name of a service. The word `audit` is not to be had, in whatever case; inside another
/// name it may stand.
pub fn check_short_name(text: &str) -> Result<(), ShortNameFault> {
    let is_forbidden = |c: &char| {
        c.is_whitespace() || c.is_control() || FORBIDDEN.iter().any(|(forbidden, _)| forbidden == c)
    };
    if let Some(c) = text.chars().find(is_forbidden) {
        return Err(ShortNameFault::Character(c));
    }
    if !(3..=15).contains(&text.chars().count()) {
        return Err(ShortNameFault::Length);
    }
    match text.eq_ignore_ascii_case("audit") {
        true => Err(ShortNameFault::Reserved),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    ///
    #[test]
    fn short_names_follow_the_rules_of_the_wizard() {
        for good in [
            "abc",
            "Ab-1_x",
            "a#b&c!",
            "auditor",
            "fifteen-letters",
            "Grüße",
        ] {
            assert_eq!(check_short_name(good), Ok(()), "{good}");
        }
        let code = |text: &str| check_short_name(text).unwrap_err().code();
        assert_eq!(code("ab"), "short_name_length");
        assert_eq!(code("sixteen-letters!"), "short_name_length");
        assert_eq!(code("a b"), "short_name_blank");
        assert_eq!(code("a\u{7}b"), "short_name_control");
        for (c, expected) in FORBIDDEN {
            assert_eq!(code(&format!("ab{c}cd")), expected);
        }
        for word in ["audit", "Audit", "AUDIT"] {
            assert_eq!(code(word), "short_name_reserved");
        }
    }
}
