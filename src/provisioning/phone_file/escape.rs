//! What people may be called, in places where it must not be taken for anything else.

/// One line: no character that any telephone could take for the end of it, and none that is not to be seen.
pub(super) fn line(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let plain: String = text
        .chars()
        .map(|c| if is_break(c) { ' ' } else { c })
        .filter(|c| !is_hidden(*c))
        .collect();
    plain.trim().to_owned()
}

/// One line as the text of an XML element or between the quotation marks of an attribute (XML 1.0 §2.4).
pub(super) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// One line without what ends a quoted string or a URI of SIP.
pub(super) fn quoted(text: &str) -> String {
    line(text).replace(['"', '\\', '<', '>', ';'], "")
}

/// A text within a URL: letters, digits and marks that mean nothing as they are, all else escaped (RFC 3986 §2.1).
pub(super) fn url(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// What turns the direction of writing around (so that a name shows another), and what no XML may hold (XML 1.0 §2.2).
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of any script stay what they are; breaks of lines in whatever coding, controls and tricks do not.
    #[test]
    fn a_name_stays_on_its_line() {
        for name in ["Zoë Ångström", "李小龙", "שלום", "🦊 & Söhne", "a=b # c"] {
            assert_eq!(line(name), name);
        }
        for (name, expected) in [
            ("a\r\naccount.2.enable = 1", "a  account.2.enable = 1"),
            ("a\u{85}b\u{2028}c\u{2029}d\u{b}e\u{c}f\0g", "a b c d e f g"),
            ("\u{202e}evil\u{202c}", "evil"),
            ("\u{fffe}\u{ffff}\u{1ffff}x", "x"),
            ("  x\t", "x"),
        ] {
            assert_eq!(line(name), expected);
        }
    }

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(
            xml("<a b='c'>\"&\u{1}\n</a>"),
            "&lt;a b=&apos;c&apos;&gt;&quot;&amp;  &lt;/a&gt;"
        );
        assert_eq!(
            quoted("x\" <sip:evil@evil>;auth_user=y"),
            "x sip:evil@evilauth_user=y"
        );
        assert_eq!(url("a:b@c/ü"), "a%3Ab%40c%2F%C3%BC");
    }
}
