use std::fmt;
use std::str::FromStr;

/// The address of one telephone: six bytes that are neither a group's nor nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

/// Why a text is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// It has more or fewer digits.
    #[error("must have 12 hexadecimal digits")]
    Length,
    /// A character that is neither a digit nor a separator.
    #[error("must not have {0:?}")]
    NotHex(char),
    /// The bit of groups is set (IEEE 802).
    #[error("must be the address of one device, not of a group")]
    Group,
    /// All zeros.
    #[error("must not be all zeros")]
    Nobody,
}

/// What labels and people put between the digits.
const SEPARATORS: [char; 4] = [':', '-', '.', ' '];
/// Longer texts are not read.
const LONGEST: usize = 64;

impl Mac {
    /// The six bytes.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Whose: the three bytes that makers are given.
    pub fn maker(self) -> [u8; 3] {
        let [a, b, c, ..] = self.0;
        [a, b, c]
    }

    /// The address in a text that says more, such as the subject of a telephone's certificate.
    pub fn find(text: &str) -> Option<Self> {
        let is_part = |c: char| c.is_ascii_hexdigit() || SEPARATORS.contains(&c);
        text.split(|c: char| !is_part(c)).find_map(|run| {
            let pieces = run.split([' ', '-']);
            run.parse()
                .ok()
                .or_else(|| pieces.clone().find_map(|piece| piece.parse().ok()))
        })
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        if text.len() > LONGEST {
            return Err(MacError::Length);
        }
        let mut digits = Vec::with_capacity(12);
        for c in text.trim().chars().filter(|c| !SEPARATORS.contains(c)) {
            let digit = c.to_digit(16).ok_or(MacError::NotHex(c))?;
            digits.push(u8::try_from(digit).map_err(|_| MacError::NotHex(c))?);
        }
        let digits: [u8; 12] = digits.try_into().map_err(|_| MacError::Length)?;
        let bytes: [u8; 6] = std::array::from_fn(|n| digits[2 * n] << 4 | digits[2 * n + 1]);
        bytes.try_into()
    }
}

impl TryFrom<[u8; 6]> for Mac {
    type Error = MacError;

    fn try_from(bytes: [u8; 6]) -> Result<Self, MacError> {
        match bytes {
            [0, 0, 0, 0, 0, 0] => Err(MacError::Nobody),
            [first, ..] if first & 1 == 1 => Err(MacError::Group),
            bytes => Ok(Self(bytes)),
        }
    }
}

/// Twelve digits in lower case.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D-05: every usual spelling is one address; what is none is told why.
    #[test]
    fn an_address_is_read_as_it_is_spelt() {
        for text in [
            "001565aabbcc",
            "00:15:65:AA:BB:CC",
            "00-15-65-aa-bb-cc",
            "0015.65aa.bbcc",
            "001565-AABBCC",
            " 00 15 65 AA BB CC ",
        ] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!(mac.to_string(), "001565aabbcc", "{text}");
        }
        for (text, why) in [
            ("001565aabbc", MacError::Length),
            ("001565aabbccd", MacError::Length),
            ("", MacError::Length),
            ("zz1565aabbcc", MacError::NotHex('z')),
            ("００1565aabbcc", MacError::NotHex('０')),
            ("011565aabbcc", MacError::Group),
            ("ff:ff:ff:ff:ff:ff", MacError::Group),
            ("000000000000", MacError::Nobody),
        ] {
            assert_eq!(text.parse::<Mac>(), Err(why), "{text}");
        }
        assert_eq!("0".repeat(1000).parse::<Mac>(), Err(MacError::Length));
    }

    #[test]
    fn an_address_is_found_in_a_subject() {
        for text in [
            "CN=001565aabbcc",
            "CN=SIP-T46S-001565AABBCC, O=Yealink",
            "MAC: 00:15:65:aa:bb:cc, serial 17",
            "CN=SEP001565aabbcc",
        ] {
            let found = Mac::find(text).map(|mac| mac.to_string());
            assert_eq!(found.as_deref(), Some("001565aabbcc"), "{text}");
        }
        for text in ["", "CN=phone.example", "CN=001565aabbcc00", "O=Acme, C=DE"] {
            assert_eq!(Mac::find(text), None, "{text}");
        }
    }
}
