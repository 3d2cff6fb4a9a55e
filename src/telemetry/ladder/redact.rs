//! What of a SIP message may be shown: keys and credentials to nobody, people's numbers and names to some.

use std::borrow::Cow;

use bytes::Bytes;

use crate::base::shortened;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Everything but secrets.
    People,
    /// Numbers and names of people are shortened, too, and bodies that may hold other things about them are left out.
    NoPeople,
}

impl Sight {
    /// A number or name of a person as it is shown.
    pub fn person(self, text: &str) -> String {
        match self {
            Self::People => text.to_owned(),
            Self::NoPeople => shortened(text),
        }
    }
}

/// In place of what is not shown.
const LEFT_OUT: &str = "left-out";
/// Headers whose value is a secret.
const CREDENTIALS: [&str; 2] = ["authorization", "proxy-authorization"];
/// Headers with a person's name before a URI, and their compact forms.
const NAMED: [&str; 15] = [
    "from",
    "f",
    "to",
    "t",
    "contact",
    "m",
    "p-asserted-identity",
    "p-preferred-identity",
    "remote-party-id",
    "referred-by",
    "b",
    "refer-to",
    "r",
    "diversion",
    "history-info",
];

/// The message without secrets, and in `sight` without people. Its Content-Length is set right.
pub fn redacted(message: &Bytes, sight: Sight) -> Bytes {
    let text = String::from_utf8_lossy(message);
    let (head, body) = match text.split_once("\r\n\r\n") {
        Some((head, body)) => (head, body),
        None => (text.as_ref(), ""),
    };
    let mut kind = "";
    let mut lines = Vec::new();
    for (at, line) in head.split("\r\n").enumerate() {
        if at == 0 {
            lines.push(people(line, sight).into_owned());
            continue;
        }
        if line.starts_with([' ', '\t']) {
            // A folded line belongs to the one before, whatever that became.
            let shown = match lines.last() {
                Some(before) if before.ends_with(LEFT_OUT) => String::new(),
                _ => people(line, sight).into_owned(),
            };
            lines.extend((!shown.is_empty()).then_some(shown));
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let short = name.trim().to_ascii_lowercase();
        match short.as_str() {
            "content-length" | "l" => continue,
            "content-type" | "c" => kind = value.trim(),
            _ => {}
        }
        lines.push(if CREDENTIALS.contains(&short.as_str()) {
            let scheme = value.split_whitespace().next().unwrap_or_default();
            format!("{name}: {scheme} {LEFT_OUT}")
        } else if sight == Sight::NoPeople && NAMED.contains(&short.as_str()) {
            format!("{name}:{}", people(&nameless(value), sight))
        } else if sight == Sight::NoPeople && matches!(short.as_str(), "subject" | "s") {
            format!("{name}: {LEFT_OUT}")
        } else {
            people(line, sight).into_owned()
        });
    }
    let body = shown_body(kind, body, sight);
    lines.push(format!("Content-Length: {}", body.len()));
    Bytes::from(format!("{}\r\n\r\n{body}", lines.join("\r\n")))
}

/// Descriptions and progress reports without what is secret; other bodies, such as a caller's place (RFC 4119), only
/// for those who may see people.
fn shown_body(kind: &str, body: &str, sight: Sight) -> String {
    let is = |name: &str| {
        let media = kind.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case(name)
    };
    if sight == Sight::NoPeople
        && !body.is_empty()
        && !is("application/sdp")
        && !is("message/sipfrag")
    {
        return LEFT_OUT.to_owned();
    }
    let lines = body.split_inclusive('\n').map(|line| {
        let (text, end) = line.split_at(line.trim_end_matches(['\r', '\n']).len());
        format!("{}{end}", people(&without_key(text), sight))
    });
    lines.collect()
}

/// A line of a session description without the key in it: SDES (RFC 4568), ICE (RFC 8839), `k=` (RFC 4566 §5.12).
fn without_key(line: &str) -> Cow<'_, str> {
    for prefix in ["a=ice-pwd:", "a=key-mgmt:", "k="] {
        if line.starts_with(prefix) {
            return format!("{prefix}{LEFT_OUT}").into();
        }
    }
    if !line.contains("inline:") {
        return line.into();
    }
    let mut shown = String::with_capacity(line.len());
    let mut parts = line.split("inline:");
    shown.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(['|', ';', ' ', '\t']).unwrap_or(part.len());
        shown.push_str("inline:");
        shown.extend(disguised(&part[..end]));
        shown.push_str(&part[end..]);
    }
    shown.into()
}

/// As long as the key, and base64 as well: Wireshark reads it, and calls anything else malformed.
fn disguised(key: &str) -> impl Iterator<Item = char> {
    let words = "LEFTOUT".chars().cycle();
    key.chars()
        .zip(words)
        .map(|(old, new)| if old == '=' { old } else { new })
}

/// Parameters by which Teams names people, tenants and their calls in a URI (TDR-704, TDR-705); `x-ti` is nobody's.
const NAMING: [&str; 3] = ["x-m", "x-t", "x-tt"];

/// The rest of a URI after its user, with the ids of people in its parameters shortened.
fn ids(text: &str) -> String {
    let shown = text.split(';').map(|part| match part.split_once('=') {
        Some((name, value)) if NAMING.iter().any(|n| name.trim().eq_ignore_ascii_case(n)) => {
            format!("{name}={}", shortened(value)).into()
        }
        _ => Cow::from(part),
    });
    shown.collect::<Vec<_>>().join(";")
}

/// Users of URIs, and ids that stand for them, shortened.
fn people(text: &str, sight: Sight) -> Cow<'_, str> {
    if sight == Sight::People {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, scheme)) = next_uri(rest) {
        let (before, uri) = rest.split_at(at + scheme.len());
        shown.push_str(before);
        let end = uri
            .find(['<', '>', '"', ',', '?', ' ', '\t'])
            .unwrap_or(uri.len());
        let user = if scheme == "tel:" {
            uri[..end].find(';').unwrap_or(end)
        } else {
            uri[..end].rfind('@').unwrap_or(0)
        };
        if user > 0 {
            shown.push_str(&shortened(&uri[..user]));
        }
        shown.push_str(&ids(&uri[user..end]));
        rest = &uri[end..];
    }
    shown.push_str(rest);
    shown.into()
}

/// Where a URI of a person begins, and its scheme.
fn next_uri(text: &str) -> Option<(usize, &'static str)> {
    let lower = text.to_ascii_lowercase();
    let found = ["sip:", "sips:", "tel:"].into_iter().filter_map(|scheme| {
        let begins = |at: &usize| {
            let before = at.checked_sub(1).map(|i| lower.as_bytes()[i]);
            before.is_none_or(|c| !c.is_ascii_alphanumeric())
        };
        let at = lower.match_indices(scheme).map(|(at, _)| at).find(begins)?;
        Some((at, scheme))
    });
    found.min()
}

/// A list of name-addrs without display names.
fn nameless(value: &str) -> String {
    let (mut shown, mut name) = (String::with_capacity(value.len()), String::new());
    let (mut quoted, mut escaped, mut in_uri) = (false, false, false);
    for c in value.chars() {
        if in_uri {
            shown.push(c);
            in_uri = c != '>';
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => {
                // What stood before the URI is the name.
                let kept = name.rfind(',').filter(|_| !name.contains('"'));
                shown.push_str(kept.map_or("", |at| &name[..=at]));
                shown.push_str(" <");
                name.clear();
                in_uri = true;
                continue;
            }
            // The parameters after a URI are over; the next element begins.
            ',' if !quoted => {
                shown.push_str(&name);
                shown.push(',');
                name.clear();
                continue;
            }
            _ => {}
        }
        name.push(c);
    }
    shown + &name
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:+14255550100@acme.example;user=phone SIP/2.0\r\n\
        From: \"Jane, Doe <x>\" <sip:+442075550123@sbc.example>;tag=1\r\n\
        To: Bob <sip:+14255550100@acme.example>\r\n\
        P-Asserted-Identity: \"Jane\" <sip:+442075550123@x>, <tel:+442075550124;ext=5>\r\n\
        Proxy-Authorization: Digest username=\"u\", response=\"0123456789abcdef\"\r\n \x20nonce=\"folded\"\r\n\
        Call-ID: keep@me\r\n\
        Content-Type: application/sdp\r\n\
        Content-Length: 9999\r\n\r\n\
        v=0\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0a2V5|2^31;inline:b3RoZXI=\r\n\
        a=ice-pwd:verysecret\r\n\
        m=audio 30000 RTP/SAVP 8\r\n";

    fn shown(text: &str, sight: Sight) -> String {
        let bytes = redacted(&Bytes::from(text.to_owned()), sight);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Nobody sees keys or credentials; the rest stays, and the length fits the body.
    #[test]
    fn secrets_are_shown_to_nobody() {
        for sight in [Sight::People, Sight::NoPeople] {
            let text = shown(INVITE, sight);
            for secret in [
                "c2VjcmV0",
                "b3RoZXI",
                "verysecret",
                "0123456789abcdef",
                "folded",
            ] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
            assert!(
                text.contains("inline:LEFTOUTLEFTO|2^31;inline:LEFTOUT=")
                    && text.contains("m=audio 30000 RTP/SAVP 8")
            );
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("Content-Length: {}", body.len())),
                "{head}"
            );
            assert_eq!(head.matches("Content-Length").count(), 1);
        }
    }

    /// Numbers and names go where they must; what tells messages apart stays.
    #[test]
    fn people_are_shown_to_some() {
        let whole = shown(INVITE, Sight::People);
        assert!(whole.contains("\"Jane, Doe <x>\" <sip:+442075550123@sbc.example>"));
        let text = shown(INVITE, Sight::NoPeople);
        for secret in ["Jane", "Doe", "Bob", "44207555", "1425555"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in [
            "INVITE sip:…00@acme.example",
            "<sip:…23@sbc.example>;tag=1",
            "<tel:…24;ext=5>",
            "Call-ID: keep@me",
        ] {
            assert!(text.contains(kept), "{kept} not in {text}");
        }
    }

    /// TDR-704, TDR-705: whom Microsoft's own URIs name by ids goes as numbers go, in the Request-URI as in Refer-To and
    /// Referred-By; what tells calls apart stays.
    #[test]
    fn ids_of_people_are_shown_to_some() {
        let text = "INVITE sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:fce2158f-0e99;X-T=72f988bf SIP/2.0\r\n\
            Refer-To: <sip:sip.pstnhub.microsoft.com;x-m=8:sip:jane@contoso.com;x-t=72f988bf;x-ti=call-1>\r\n\
            Referred-By: <sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:5515ff55;x-tt=c2lwOmphbmU=;x-ti=call-2>;x=y\r\n\r\n";
        let whole = shown(text, Sight::People);
        let hidden = shown(text, Sight::NoPeople);
        for secret in ["fce2158f", "72f988bf", "jane", "5515ff55", "c2lwOmphbm"] {
            assert!(
                whole.contains(secret) && !hidden.contains(secret),
                "{hidden}"
            );
        }
        for kept in [
            "INVITE sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=…99;X-T=…bf SIP/2.0",
            "x-m=…55;x-tt=…U=;x-ti=call-2>;x=y",
            "call-1",
        ] {
            assert!(hidden.contains(kept), "{kept} not in {hidden}");
        }
    }

    /// A caller's place in a body of another kind is nobody's business who may not see people.
    #[test]
    fn other_bodies_are_left_out() {
        let text =
            "INVITE sip:a SIP/2.0\r\nc: multipart/mixed;boundary=x\r\n\r\n<street>Main</street>";
        assert!(shown(text, Sight::People).contains("Main"));
        assert!(!shown(text, Sight::NoPeople).contains("Main"));
    }

    /// Whatever bytes a peer sends, showing them does not fail.
    #[test]
    fn any_bytes_can_be_shown() {
        for text in [
            "",
            "\r\n\r\n",
            "x",
            "From: <sip:",
            "tel:",
            "a\r\nFrom: \"\\",
            "SIP:a@\r\nTo: <<<>>>,,\"",
            "é sip:é@é",
        ] {
            shown(text, Sight::NoPeople);
        }
        redacted(
            &Bytes::from_static(b"\xff\xfe sip:\xff@\r\n\r\n\xff"),
            Sight::NoPeople,
        );
    }
}
