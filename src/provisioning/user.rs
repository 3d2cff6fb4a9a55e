use super::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a user is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserOffering {
    /// Registered at the customer's PBX.
    Pbx,
    /// By number.
    #[default]
    Trunk,
    /// At a desk phone only.
    DeviceOnly,
}

named!(UserOffering { Pbx => "pbx", Trunk => "trunk", DeviceOnly => "device_only" });

/// Whose number a called party sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerIdPolicy {
    /// The user's own choice.
    Other,
    /// What the trunk says.
    #[default]
    Trunk,
    /// Whoever called first.
    Transparent,
}

named!(CallerIdPolicy { Other => "other", Trunk => "trunk", Transparent => "transparent" });

/// Whether a user is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// Yes.
    #[default]
    Enabled,
    /// No longer; what was set up stays.
    Disabled,
}

named!(UserState { Enabled => "enabled", Disabled => "disabled" });

/// Why an extension is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionFault {
    /// It is not 2 to 8 digits.
    #[error("must be 2 to 8 digits")]
    Digits,
    /// Who dials it, or dials it wrongly, calls for help.
    #[error("must not look like an emergency number")]
    Emergency,
}

/// Whether a text can be an extension where these emergency numbers are dialled. One that begins with such a number, or
/// is one behind the digit for an outside line, rings there by mistake.
pub fn check_extension(text: &str, emergency: &[String]) -> Result<(), ExtensionFault> {
    if !(2..=8).contains(&text.len()) || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(ExtensionFault::Digits);
    }
    let resembles = |number: &String| text.starts_with(number) || &text[1..] == number.as_str();
    match emergency.iter().any(resembles) {
        true => Err(ExtensionFault::Emergency),
        false => Ok(()),
    }
}

/// The first extension from 1001 on that nobody has; none when all of eight digits are taken.
pub fn suggested_extension(
    is_taken: impl Fn(&str) -> bool,
    emergency: &[String],
) -> Option<String> {
    (1001..=99_999_999_u32)
        .map(|n| n.to_string())
        .find(|text| check_extension(text, emergency).is_ok() && !is_taken(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emergency() -> Vec<String> {
        ["911", "999", "112"].map(str::to_owned).to_vec()
    }

    #[test]
    fn an_extension_does_not_call_for_help() {
        let check = |text: &str| check_extension(text, &emergency());
        for good in ["10", "1001", "12345678", "9191", "1120"] {
            let resembles = good.starts_with("112");
            assert_eq!(check(good).is_ok(), !resembles, "{good}");
        }
        for bad in ["1", "123456789", "10a1", "", "+101"] {
            assert_eq!(check(bad), Err(ExtensionFault::Digits), "{bad}");
        }
        for bad in ["911", "9110", "9911", "0112", "99999"] {
            assert_eq!(check(bad), Err(ExtensionFault::Emergency), "{bad}");
        }
    }

    /// D-03: the first is 1001, used ones are skipped, and so is what looks like a call for help.
    #[test]
    fn the_next_free_extension_is_suggested() {
        let suggest = |used: &[&str], least: u32| {
            let taken =
                |text: &str| used.contains(&text) || text.parse::<u32>().is_ok_and(|n| n < least);
            suggested_extension(taken, &emergency())
        };
        assert_eq!(suggest(&[], 0).as_deref(), Some("1001"));
        assert_eq!(suggest(&["1001", "1002"], 0).as_deref(), Some("1003"));
        assert_eq!(
            suggest(&[], 1112).as_deref(),
            Some("1113"),
            "1112 ends in 112"
        );
        assert_eq!(suggest(&[], 1120).as_deref(), Some("1130"));
    }
}
