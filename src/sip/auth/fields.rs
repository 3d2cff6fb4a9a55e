//! The syntax that challenges and credentials share: a scheme, then `name=value` pairs between commas.

use std::borrow::Cow;

/// One challenge or one set of credentials.
#[derive(Debug, PartialEq)]
pub(super) struct Fields<'a> {
    pub scheme: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    /// All that stand in one header line: several challenges may share a line, and only the blank after a scheme
    /// tells where the next one begins.
    pub fn all(line: &'a str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for part in outside_quotes(line, b',') {
            let (head, value) = part.split_once('=').unwrap_or((part, ""));
            let name = match head.trim().split_once(|c: char| c.is_ascii_whitespace()) {
                Some((scheme, name)) => {
                    all.push(Self {
                        scheme,
                        pairs: Vec::new(),
                    });
                    name.trim()
                }
                None => head.trim(),
            };
            match all.last_mut() {
                Some(fields) if !name.is_empty() => fields.pairs.push((name, value.trim())),
                _ => {}
            }
        }
        all
    }

    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }

    /// The value of the first pair of this name, without quotes: what RFC 7616 §1.2 calls `unq`, so escapes stay.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self
            .pairs
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(
            value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value),
        )
    }
}

/// Puts in what may not stand in a quoted string as it is; the inverse of [`unescaped`].
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['"', '\\']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\\', r"\\").replace('"', "\\\""))
}

/// What a quoted string says.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut escape = false;
    let kept = text.chars().filter(|c| {
        escape = *c == '\\' && !escape;
        !escape
    });
    Cow::Owned(kept.collect())
}

fn outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escape) = (false, false);
        let at = text.bytes().position(|byte| {
            match byte {
                _ if escape => escape = false,
                b'\\' => escape = quoted,
                b'"' => quoted = !quoted,
                _ => {}
            }
            byte == separator && !quoted
        });
        rest = at.map(|at| &text[at + 1..]);
        Some(&text[..at.unwrap_or(text.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commas and equals signs inside quotes belong to the value; names are compared without case.
    #[test]
    fn quoted_values_are_whole() {
        let all = Fields::all(
            r#"Digest Realm="a, b=\"c\"" , nonce=abc==,qop="auth,auth-int", stale = TRUE,"#,
        );
        assert_eq!(all.len(), 1);
        assert!(all[0].is_digest());
        let get = |name| all[0].get(name);
        assert_eq!(get("realm"), Some(r#"a, b=\"c\""#));
        assert_eq!(
            (get("nonce"), get("qop"), get("STALE")),
            (Some("abc=="), Some("auth,auth-int"), Some("TRUE"))
        );
        assert_eq!(get("opaque"), None);
    }

    /// Two challenges in one line are two.
    #[test]
    fn a_line_holds_several_challenges() {
        let all = Fields::all(
            r#"Digest realm="a", nonce="1", Basic realm="b", DIGEST realm="c",nonce="2""#,
        );
        let told: Vec<_> = all
            .iter()
            .map(|fields| (fields.scheme, fields.get("realm")))
            .collect();
        assert_eq!(
            told,
            [
                ("Digest", Some("a")),
                ("Basic", Some("b")),
                ("DIGEST", Some("c"))
            ]
        );
    }

    /// Nonsense yields nothing, and does not panic.
    #[test]
    fn nonsense_is_nothing() {
        for line in [
            "",
            ",,,",
            "\"",
            "=",
            "realm=x",
            "Digest",
            "Digest \"",
            "ä ö=ü",
        ] {
            assert!(
                Fields::all(line)
                    .iter()
                    .all(|fields| fields.get("realm").is_none()),
                "{line}"
            );
        }
    }

    /// Quotes and backslashes survive the way into a quoted string and back.
    #[test]
    fn escapes_round_trip() {
        for text in ["plain", r#"a"b"#, r"a\b", r#"\"\\"#] {
            assert_eq!(unescaped(&escaped(text)), text);
        }
    }
}
