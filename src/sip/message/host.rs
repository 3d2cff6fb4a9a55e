use std::net::Ipv6Addr;

use super::line::{is_blank, trim_text};

/// `host[:port]` (RFC 3261 §25.1, `hostport`): the host without an IPv6 literal's brackets, and the port.
/// Blanks around the colon are the caller's to allow. The error is the end of a sentence.
pub(super) fn host_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or("has an open bracket")?;
            address
                .parse::<Ipv6Addr>()
                .map_err(|_| "has something else than an IPv6 address in brackets")?;
            (address, rest)
        }
        None => {
            let end = text
                .bytes()
                .position(|byte| !is_host(byte))
                .unwrap_or(text.len());
            let next = text.as_bytes().get(end).copied().unwrap_or(b':');
            if end == 0 || !(next == b':' || is_blank(next)) {
                return Err("has no proper host");
            }
            text.split_at(end)
        }
    };
    let rest = trim_text(rest);
    if rest.is_empty() {
        return Ok((host, None));
    }
    let digits = rest
        .strip_prefix(':')
        .map(trim_text)
        .ok_or("has something after the host")?;
    let number = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten();
    number
        .map(|port| (host, Some(port)))
        .ok_or("has a port that is not a number from 0 to 65535")
}

/// The underscore is in no host name's grammar and in many a network.
const fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        assert_eq!(
            host_port("sbc1.contoso.example:5061"),
            Ok(("sbc1.contoso.example", Some(5061)))
        );
        assert_eq!(host_port("192.0.2.1"), Ok(("192.0.2.1", None)));
        assert_eq!(
            host_port("[2001:db8::10]:5070"),
            Ok(("2001:db8::10", Some(5070)))
        );
        assert_eq!(
            host_port("[2001:db8::10:5070]"),
            Ok(("2001:db8::10:5070", None))
        );
        for bad in [
            "",
            ":5060",
            "2001:db8::10",
            "[2001:db8::10",
            "[example.com]",
            "a:",
            "a:65536",
            "a:+1",
            "a/b",
            "a b",
        ] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
    }
}
