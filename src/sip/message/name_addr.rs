use std::borrow::Cow;

use memchr::memchr;

use super::line::{closing_quote, is_no_uri, trim};
use super::{Malformed, Params};

/// An address as From, To, Contact, Route and their like hold it: `"Display" <uri>;params`, or a bare `uri;params`
/// (RFC 3261 §20.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, with its quotes and escapes; it need not be UTF-8.
    pub display: Option<&'a [u8]>,
    /// As written. `Uri::parse` has not seen it; blanks and quotes are not in it.
    pub uri: &'a str,
    /// The header's parameters. A bare address has none of its own: all belong to the header.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one address. `*`, as REGISTER's Contact may be, is the URI `*`.
    pub fn parse(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Result<Self, Malformed> {
        Self::parse_bytes(text.as_ref())
    }

    /// The tag, if it is not empty.
    pub fn tag(&self) -> Option<&'a str> {
        self.params
            .get("tag")
            .flatten()
            .filter(|tag| !tag.is_empty())
    }

    /// The display name for reading: without quotes and escapes, and what is not UTF-8 replaced.
    pub fn display_text(&self) -> Option<Cow<'a, str>> {
        let display = self.display?;
        let Some(quoted) = display
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""))
        else {
            return Some(String::from_utf8_lossy(display));
        };
        if memchr(b'\\', quoted).is_none() {
            return Some(String::from_utf8_lossy(quoted));
        }
        let mut escaped = false;
        let plain = quoted.iter().copied().filter(|&byte| {
            escaped = byte == b'\\' && !escaped;
            !escaped
        });
        Some(
            String::from_utf8_lossy(&plain.collect::<Vec<_>>())
                .into_owned()
                .into(),
        )
    }

    pub(super) fn parse_bytes(text: &'a [u8]) -> Result<Self, Malformed> {
        let text = trim(text);
        let Some((display, rest)) = split_display(text)? else {
            return Self::bare(text);
        };
        let end = memchr(b'>', rest).ok_or(Malformed("has an open angle bracket"))?;
        let display = (!display.is_empty()).then_some(display);
        Ok(Self {
            display,
            uri: uri(&rest[..end])?,
            params: Params::of_header(&rest[end + 1..])?,
        })
    }

    /// Without brackets no URI may hold `,`, `;` or `?`, so what follows a semicolon is the header's (RFC 3261 §20).
    fn bare(text: &'a [u8]) -> Result<Self, Malformed> {
        let (address, params) = text.split_at(memchr(b';', text).unwrap_or(text.len()));
        let uri = uri(trim(address))?;
        if uri.contains(['?', ',']) {
            return Err(Malformed("has an address that needs angle brackets"));
        }
        Ok(Self {
            display: None,
            uri,
            params: Params::of_header(params)?,
        })
    }
}

/// A display name, which may be empty, and what follows the `<`.
type Split<'a> = (&'a [u8], &'a [u8]);

/// `None` where there is no `<`.
fn split_display(text: &[u8]) -> Result<Option<Split<'_>>, Malformed> {
    if text.first() == Some(&b'"') {
        let end = closing_quote(text).ok_or(Malformed("has an open quote"))?;
        let [b'<', rest @ ..] = trim(&text[end..]) else {
            return Err(Malformed(
                "has a display name without an address in angle brackets",
            ));
        };
        return Ok(Some((&text[..end], rest)));
    }
    let Some(open) = memchr(b'<', text) else {
        return Ok(None);
    };
    let display = trim(&text[..open]);
    // Many a phone sends `Zoë (Office) <…>` unquoted; only what could be read in two ways is refused.
    if display
        .iter()
        .any(|byte| matches!(byte, b'"' | b',' | b';' | b'>'))
    {
        return Err(Malformed("has a display name that needs quotes"));
    }
    Ok(Some((display, &text[open + 1..])))
}

fn uri(bytes: &[u8]) -> Result<&str, Malformed> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| Malformed("has an address that is not text"))?;
    if text.is_empty() || is_no_uri(bytes) {
        return Err(Malformed(
            "has an address that is empty or has a blank, a quote or a bracket in it",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text).unwrap()
    }

    #[test]
    fn quoted_bare_and_bracketed() {
        let quoted = parse(r#""Doe, \"J\"" <sip:j@a.example;user=phone>;tag=1"#);
        assert_eq!(quoted.display, Some(br#""Doe, \"J\"""#.as_slice()));
        assert_eq!(quoted.display_text().as_deref(), Some(r#"Doe, "J""#));
        assert_eq!(
            (quoted.uri, quoted.tag()),
            ("sip:j@a.example;user=phone", Some("1"))
        );

        let bare = parse("sip:j@a.example;tag=2");
        assert_eq!(
            (bare.display, bare.uri, bare.tag()),
            (None, "sip:j@a.example", Some("2"))
        );
        assert_eq!(
            parse("caller<sip:a@b>").display_text().as_deref(),
            Some("caller")
        );
        assert_eq!(parse("*").uri, "*");
        assert_eq!(parse("<sip:a@b>;tag=").tag(), None);
    }

    /// Latin-1 is no UTF-8, and survives.
    #[test]
    fn a_latin_1_display_name_keeps_its_bytes() {
        let address = NameAddr::parse(b"\"J\xfcrgen\" <sip:j@a.example>").unwrap();
        assert_eq!(address.display, Some(b"\"J\xfcrgen\"".as_slice()));
        assert_eq!(address.display_text().as_deref(), Some("J\u{fffd}rgen"));
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "<>",
            "<sip:a@b",
            "\"open <sip:a@b>",
            "\"a\" sip:a@b",
            "< sip:a@b >",
            "Bell, Alexander <sip:a@b>",
            "sip:a@b?Route=x",
            "sip:a@b, sip:c@d",
            "<sip:a@b>tag=1",
            "<sip:a@b>;;;",
            "a\"b\" <sip:a@b>",
            "\"a\\",
        ] {
            assert!(NameAddr::parse(text).is_err(), "{text}");
        }
    }
}
