use std::fmt;

use super::line::trim;

/// A header's value: its bytes without the blanks around it, folds kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    /// As it came.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text, where it is UTF-8.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// The number that the value is, if it is one of at most 32 bits and nothing else. Leading zeros are fine,
    /// signs are not.
    pub fn number(self) -> Option<u32> {
        if self.0.is_empty() {
            return None;
        }
        self.0.iter().try_fold(0u32, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })
    }

    /// Its comma-separated parts but the empty ones. Commas in quotes and in `<>` separate nothing.
    pub fn split(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = Some(self.0);
        let parts = std::iter::from_fn(move || {
            let bytes = rest?;
            let end = find_outside(bytes, b',').unwrap_or(bytes.len());
            rest = bytes.get(end + 1..);
            Some(Value(trim(&bytes[..end])))
        });
        parts.filter(|part| !part.0.is_empty())
    }
}

/// The first such byte that is in neither quotes nor `<>`.
fn find_outside(bytes: &[u8], wanted: u8) -> Option<usize> {
    // Most lists have one value and no comma at all.
    memchr::memchr(wanted, bytes)?;
    let (mut quoted, mut bracketed, mut at) = (false, false, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' if !bracketed => quoted = !quoted,
            b'\\' if quoted => at += 1,
            _ if quoted => {}
            b'<' => bracketed = true,
            b'>' => bracketed = false,
            _ if byte == wanted && !bracketed => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// For people: what is not UTF-8 is replaced.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}

/// Only its length: values hold numbers, names and secrets.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

impl AsRef<[u8]> for Value<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl PartialEq<str> for Value<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        Value(text.as_bytes())
            .split()
            .map(|part| part.to_string())
            .collect()
    }

    #[test]
    fn commas_in_quotes_and_brackets_separate_nothing() {
        let list = r#""Doe, \"J\", x" <sip:a,b@c>;p="1,2" , <sip:d@e>,, sip:f@g"#;
        assert_eq!(
            parts(list),
            [
                r#""Doe, \"J\", x" <sip:a,b@c>;p="1,2""#,
                "<sip:d@e>",
                "sip:f@g"
            ]
        );
        assert_eq!(parts(""), Vec::<String>::new());
        assert_eq!(parts("\"never closed, at all"), ["\"never closed, at all"]);
        assert_eq!(parts("ends in \"a\\"), ["ends in \"a\\"]);
    }

    #[test]
    fn a_number_is_digits_of_32_bits() {
        let number = |text: &str| Value(text.as_bytes()).number();
        assert_eq!(number("4294967295"), Some(u32::MAX));
        assert_eq!(number("0009"), Some(9));
        for other in [
            "",
            "4294967296",
            "+6",
            "-1",
            "1 2",
            "0x1",
            "99999999999999999999",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
