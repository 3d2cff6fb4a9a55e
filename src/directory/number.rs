use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A telephone number in E.164 form: `+`, then 5 to 15 digits of which the first is not 0. Whoever holds one need not
/// check it again. Millions fit into memory: it is its text, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number([u8; LONGEST]);

/// `+` and 15 digits (E.164 §6.2).
const LONGEST: usize = 16;

/// Why a text is no [`Number`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// It does not begin with `+`.
    #[error("must begin with + and the country code")]
    NoCountryCode,
    /// It holds something else than digits after the `+`.
    #[error("must hold nothing but digits after the +")]
    NotADigit,
    /// No country code begins with 0.
    #[error("must not begin with +0")]
    LeadingZero,
    /// E.164 §6.2: at most 15 digits; fewer than 5 are a short code.
    #[error("must have 5 to 15 digits")]
    Length,
}

impl Number {
    /// With its `+`.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = &self.0[..end.unwrap_or(LONGEST)];
        std::str::from_utf8(text).expect("a plus and digits")
    }
}

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let digits = text.strip_prefix('+').ok_or(NumberError::NoCountryCode)?;
        if !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(NumberError::NotADigit);
        }
        if digits.starts_with('0') {
            return Err(NumberError::LeadingZero);
        }
        if !(5..=15).contains(&digits.len()) {
            return Err(NumberError::Length);
        }
        let mut filled = [0; LONGEST];
        filled[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(filled))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&crate::base::Redact(self), f)
    }
}

/// A number that belongs to a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneNumber {
    /// Unique over all customers.
    pub number: Number,
    /// Whose.
    pub customer: Uuid,
    /// Whether calls to it and from it pass.
    pub in_service: bool,
}

/// A further number of a user, which rings where the first one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    /// Whose both are.
    pub customer: Uuid,
    /// The further one.
    pub number: Number,
    /// The first one: the only one that Teams knows of the user.
    pub to: Number,
}

/// More digits are a number of some network.
const LONGEST_EXTENSION: usize = 6;

/// The user part of a URI, read as what somebody dialled or presented (TDR-302): `+14255550100`, the same with
/// `;ext=`, a national or short number, an emergency number, `*21#`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    base: String,
    extension: Option<String>,
}

impl Dialled {
    /// Reads a user part as it stands in the URI. An escaped `+`, `*` or `#` is understood, visual separators of
    /// telephone numbers (RFC 3966 §5.1.1) are dropped; of the parameters only `ext` counts. Nothing is refused.
    pub fn parse(user: &str) -> Self {
        let (base, parameters) = user.split_once(';').unwrap_or((user, ""));
        let extension = parameters
            .split(';')
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, digits)| name.eq_ignore_ascii_case("ext") && is_digits(digits))
            .map(|(_, digits)| digits.to_owned());
        Self {
            base: without_separators(unescaped(base)),
            extension,
        }
    }

    /// Without the extension.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The number, if it is a whole one.
    pub fn number(&self) -> Option<Number> {
        self.base.parse().ok()
    }

    /// Whether this is a number of an exchange's own, which nobody has outside.
    pub(super) fn is_extension(&self) -> bool {
        is_digits(&self.base) && self.base.len() <= LONGEST_EXTENSION
    }

    /// Whether this is one of these emergency numbers. Teams sends them without `+` (TDR-1001), some peers with one.
    pub(super) fn is_any_of(&self, emergency: &[String]) -> bool {
        let bare = self.base.strip_prefix('+').unwrap_or(&self.base);
        emergency.iter().any(|number| number == bare)
    }

    /// The same extension on another base.
    pub(super) fn with_base(&self, base: impl fmt::Display) -> String {
        match &self.extension {
            Some(extension) => format!("{base};ext={extension}"),
            None => base.to_string(),
        }
    }
}

impl fmt::Display for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_base(&self.base))
    }
}

/// How a trunk writes numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NumberFormat {
    /// `+14255550100`; when read, the `+` may be missing.
    #[default]
    E164,
    /// As dialled in one country.
    National {
        /// `44`.
        country_code: String,
        /// What goes before a national number: `0`, in North America `1`, in Italy nothing. When read it may be missing.
        trunk_prefix: String,
        /// What goes before a country code: `00`, in North America `011`. Empty: foreign numbers keep their `+`.
        international_prefix: String,
    },
}

impl NumberFormat {
    /// The number that a peer of this format means, if it is a whole one.
    pub fn read(&self, dialled: &Dialled) -> Option<Number> {
        let text = dialled.base();
        if text.starts_with('+') || !is_digits(text) {
            return text.parse().ok();
        }
        match self {
            Self::E164 => format!("+{text}").parse().ok(),
            Self::National {
                country_code,
                trunk_prefix,
                international_prefix,
            } => {
                let foreign = text
                    .strip_prefix(international_prefix.as_str())
                    .filter(|_| !international_prefix.is_empty());
                if let Some(foreign) = foreign {
                    return format!("+{foreign}").parse().ok();
                }
                let national = text.strip_prefix(trunk_prefix.as_str()).unwrap_or(text);
                format!("+{country_code}{national}").parse().ok()
            }
        }
    }

    /// What a peer of this format means: in E.164 form if it is a whole number, else as it is written.
    pub fn canonical(&self, dialled: &Dialled) -> String {
        match self.read(dialled) {
            Some(number) => dialled.with_base(number),
            None => dialled.to_string(),
        }
    }

    /// `called` as a peer of this format wants it; what is no whole number stays as it is.
    pub fn write(&self, called: &str) -> String {
        let Self::National {
            country_code,
            trunk_prefix,
            international_prefix,
        } = self
        else {
            return called.to_owned();
        };
        let Some(digits) = called.strip_prefix('+') else {
            return called.to_owned();
        };
        match digits.strip_prefix(country_code.as_str()) {
            Some(national) => format!("{trunk_prefix}{national}"),
            None if international_prefix.is_empty() => called.to_owned(),
            None => format!("{international_prefix}{digits}"),
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// Only characters that a dialled string may hold are unescaped: an escaped `@` must not become one of our URI's.
fn unescaped(text: &str) -> String {
    const ESCAPES: [(&str, &str); 5] = [
        ("%2B", "+"),
        ("%2b", "+"),
        ("%23", "#"),
        ("%2A", "*"),
        ("%2a", "*"),
    ];
    if !text.contains('%') {
        return text.to_owned();
    }
    ESCAPES
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| {
            text.replace(escape, plain)
        })
}

fn without_separators(text: String) -> String {
    let is_separator = |c: char| matches!(c, '-' | '.' | '(' | ')');
    let digits = text.strip_prefix('+').unwrap_or(&text);
    let is_part = |c: char| c.is_ascii_digit() || is_separator(c);
    let telephone = digits.chars().all(is_part) && digits.contains(|c: char| c.is_ascii_digit());
    if telephone && digits.contains(is_separator) {
        text.replace(is_separator, "")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_plus_and_5_to_15_digits() {
        let error = |text: &str| text.parse::<Number>().unwrap_err();
        assert_eq!(
            "+14255550100".parse::<Number>().unwrap().as_str(),
            "+14255550100"
        );
        assert!("+123456789012345".parse::<Number>().is_ok());
        assert_eq!(error("14255550100"), NumberError::NoCountryCode);
        assert_eq!(error("+1425555O100"), NumberError::NotADigit);
        assert_eq!(error("+049301234"), NumberError::LeadingZero);
        assert_eq!(error("+1234567890123456"), NumberError::Length);
        assert_eq!(error("+911"), NumberError::Length);
        assert_eq!(error("+"), NumberError::Length);
        assert_eq!(error("+１４２５５５"), NumberError::NotADigit);
    }

    /// TDR-302: what Teams puts before the `@`.
    #[test]
    fn every_dialled_form_is_read() {
        for (user, shown, number) in [
            ("+14255550100", "+14255550100", Some("+14255550100")),
            (
                "+14255550100;ext=1001",
                "+14255550100;ext=1001",
                Some("+14255550100"),
            ),
            (
                "+14255550100;phone-context=x;EXT=7",
                "+14255550100;ext=7",
                Some("+14255550100"),
            ),
            ("+1(425)555-01.00", "+14255550100", Some("+14255550100")),
            ("%2B14255550100", "+14255550100", Some("+14255550100")),
            ("2075550100", "2075550100", None),
            ("911", "911", None),
            ("*21#", "*21#", None),
            ("*21%23", "*21#", None),
            ("anonymous", "anonymous", None),
            ("a.b-c", "a.b-c", None),
            ("-", "-", None),
            ("x%40evil", "x%40evil", None),
            ("", "", None),
            (";ext=a", "", None),
        ] {
            let dialled = Dialled::parse(user);
            assert_eq!(dialled.to_string(), shown, "{user}");
            assert_eq!(
                dialled.number().map(|n| n.to_string()).as_deref(),
                number,
                "{user}"
            );
        }
    }

    #[test]
    fn formats_read_what_their_peers_write() {
        let british = national("44", "0", "00");
        let american = national("1", "1", "011");
        let italian = national("39", "", "00");
        for (format, text, number) in [
            (&NumberFormat::E164, "+442079460000", Some("+442079460000")),
            (&NumberFormat::E164, "442079460000", Some("+442079460000")),
            (&british, "02079460000", Some("+442079460000")),
            (&british, "0014255550100", Some("+14255550100")),
            (&british, "+14255550100", Some("+14255550100")),
            (&american, "4255550100", Some("+14255550100")),
            (&american, "14255550100", Some("+14255550100")),
            (&american, "011442079460000", Some("+442079460000")),
            (&italian, "0669812345", Some("+390669812345")),
            (&british, "anonymous", None),
            (&british, "*21#", None),
            (&british, "", None),
        ] {
            let read = format.read(&Dialled::parse(text));
            assert_eq!(read.map(|n| n.to_string()).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn formats_write_what_their_peers_read() {
        let british = national("44", "0", "00");
        for (format, called, written) in [
            (&NumberFormat::E164, "+442079460000", "+442079460000"),
            (&british, "+442079460000", "02079460000"),
            (&british, "+14255550100;ext=3", "0014255550100;ext=3"),
            (&national("44", "0", ""), "+14255550100", "+14255550100"),
            (&british, "999", "999"),
            (&british, "*21#", "*21#"),
        ] {
            assert_eq!(format.write(called), written);
        }
    }

    fn national(
        country_code: &str,
        trunk_prefix: &str,
        international_prefix: &str,
    ) -> NumberFormat {
        NumberFormat::National {
            country_code: country_code.into(),
            trunk_prefix: trunk_prefix.into(),
            international_prefix: international_prefix.into(),
        }
    }
}
