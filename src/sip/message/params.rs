use std::fmt;

use super::Malformed;
use super::line::{closing_quote, is_token, split_once, trim, trim_text};

/// The parameters of a header's value or of a URI: `;name=value;name`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Parameters of a URI, which are taken as they are.
    pub(super) const fn of_uri(raw: &'a str) -> Self {
        Self(raw)
    }

    /// Parameters of a header's value: each has a token for a name, and quotes are closed (RFC 3261 §25.1,
    /// `generic-param`).
    pub(super) fn of_header(raw: &'a [u8]) -> Result<Self, Malformed> {
        Self::of_header_with(raw, |_, _| Ok(()))
    }

    /// The same, and shows every parameter on the way, as [`Params::iter`] does.
    pub(super) fn of_header_with(
        raw: &'a [u8],
        mut show: impl FnMut(&'a str, Option<&'a str>) -> Result<(), Malformed>,
    ) -> Result<Self, Malformed> {
        let raw = std::str::from_utf8(trim(raw));
        let params = Self(raw.map_err(|_| Malformed("has parameters that are not text"))?);
        if !params.0.is_empty() && !params.0.starts_with(';') {
            return Err(Malformed(
                "has something between the address and its parameters",
            ));
        }
        for part in params.parts() {
            let (name, value) = split(part);
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(Malformed("has a parameter without a proper name"));
            }
            if !value.is_none_or(is_value) {
                return Err(Malformed("has a parameter with an open quote"));
            }
            show(name, value.map(unquote))?;
        }
        Ok(params)
    }

    /// All of them as written, each with its semicolon; empty when there is none.
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// The first of this name, in whatever case: `None` when it is absent, `Some(None)` when it has no value. The
    /// quotes around a value are left away, escapes inside them kept.
    pub fn get(self, name: &str) -> Option<Option<&'a str>> {
        self.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Whether there is one of this name, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every parameter in order; names as written, values as [`Params::get`] gives them.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let pairs = self.parts().map(split).filter(|(name, _)| !name.is_empty());
        pairs.map(|(name, value)| (name, value.map(unquote)))
    }

    /// What stands between the semicolons.
    pub(super) fn parts(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.0.strip_prefix(';');
        std::iter::from_fn(move || {
            let text = rest?;
            let end = unquoted_semicolon(text).unwrap_or(text.len());
            rest = text.get(end + 1..);
            Some(trim_text(&text[..end]))
        })
    }
}

fn split(part: &str) -> (&str, Option<&str>) {
    match split_once(part, b'=') {
        Some((name, value)) => (trim_text(name), Some(trim_text(value))),
        None => (part, None),
    }
}

/// Whether the quotes in a value are those around all of it: whatever is written behind an open one would be in it.
fn is_value(value: &str) -> bool {
    match value.as_bytes() {
        quoted @ [b'"', ..] => closing_quote(quoted) == Some(quoted.len()),
        plain => memchr::memchr(b'"', plain).is_none(),
    }
}

fn unquote(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value)
}

fn unquoted_semicolon(text: &str) -> Option<usize> {
    let end = memchr::memchr2(b';', b'"', text.as_bytes())?;
    if text.as_bytes()[end] == b';' {
        return Some(end);
    }
    let mut escaped = false;
    let mut quoted = false;
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return byte == b';' && !quoted,
        }
        false
    })
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Params({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_quotes_flags_and_blanks() {
        let params = Params::of_header(b" ; Tag = 98 ;lr;text=\"a;\\\"b\" ;\r\n q\t= 0.3").unwrap();
        assert_eq!(params.get("tag"), Some(Some("98")));
        assert_eq!(params.get("LR"), Some(None));
        assert_eq!(params.get("text"), Some(Some("a;\\\"b")));
        assert_eq!(params.get("q"), Some(Some("0.3")));
        assert_eq!(params.get("none"), None);
        assert_eq!(params.iter().count(), 4);
    }

    #[test]
    fn broken_parameters_are_refused() {
        for text in [
            ";;a",
            ";",
            ";a;",
            "a=1",
            ";a=\"open",
            ";a=b\"c;d=e",
            ";a=\"b\"c",
            ";a=\"b\\\"",
            ";a=\"",
            ";a b=1",
            ";=1",
        ] {
            assert!(Params::of_header(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Params::of_header(b"").is_ok());
        assert!(Params::of_header(b";a=\xff").is_err());
    }
}
