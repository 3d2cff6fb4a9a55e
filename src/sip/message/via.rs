use super::host::host_port;
use super::line::{is_token, split_once, trim_text};
use super::{Malformed, Params};

/// One Via (RFC 3261 §20.42).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// As written: `UDP`, `TCP`, `TLS` or whatever a hop before us used.
    pub transport: &'a str,
    /// The sent-by host, without brackets.
    pub host: &'a str,
    /// The sent-by port.
    pub port: Option<u16>,
    /// The transaction's identifier; `None` too when it is empty.
    pub branch: Option<&'a str>,
    /// The address that a server saw (RFC 3261 §18.2.1).
    pub received: Option<&'a str>,
    /// `Some(None)` asks for the source port (RFC 3581), `Some(Some(_))` tells it.
    pub rport: Option<Option<u16>>,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one Via's value. Blanks may stand around the slashes and the colon (RFC 3261 §25.1).
    pub fn parse(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Result<Self, Malformed> {
        let bytes = text.as_ref();
        let end = memchr::memchr(b';', bytes).unwrap_or(bytes.len());
        let (mut branch, mut received, mut rport) = (None, None, None);
        let params = Params::of_header_with(&bytes[end..], |name, value| {
            if name.eq_ignore_ascii_case("branch") {
                branch = branch.or(value.filter(|branch| !branch.is_empty()));
            } else if name.eq_ignore_ascii_case("received") {
                received = received.or(value);
            } else if name.eq_ignore_ascii_case("rport") {
                rport = Some(source_port(value)?);
            }
            Ok(())
        })?;
        let sent = std::str::from_utf8(&bytes[..end]).map_err(|_| Malformed("is not text"))?;
        let (transport, sent_by) =
            sent_protocol(sent).ok_or(Malformed("does not start with SIP/2.0 and a transport"))?;
        let (host, port) = host_port(sent_by).map_err(Malformed)?;
        Ok(Self {
            transport,
            host,
            port,
            branch,
            received,
            rport,
            params,
        })
    }
}

/// `SIP / 2.0 / UDP host`: the transport, and what follows it.
fn sent_protocol(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = split_once(text, b'/')?;
    let (version, rest) = split_once(rest, b'/')?;
    if !trim_text(name).eq_ignore_ascii_case("SIP") || trim_text(version) != "2.0" {
        return None;
    }
    let (transport, sent_by) = trim_text(rest).split_once([' ', '\t', '\r'])?;
    (!transport.is_empty() && transport.bytes().all(is_token))
        .then(|| (transport, trim_text(sent_by)))
}

fn source_port(value: Option<&str>) -> Result<Option<u16>, Malformed> {
    match value {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| Malformed("has an rport that is not a number from 0 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part() {
        let via =
            Via::parse("SIP/2.0/TLS sbc.example:5061;branch=z9hG4bKa;rport;received=192.0.2.1;x")
                .unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            ("TLS", "sbc.example", Some(5061))
        );
        assert_eq!(
            (via.branch, via.received, via.rport),
            (Some("z9hG4bKa"), Some("192.0.2.1"), Some(None))
        );
        assert!(via.params.has("x"));
        assert_eq!(
            Via::parse("SIP/2.0/UDP a;rport=5070").unwrap().rport,
            Some(Some(5070))
        );
    }

    #[test]
    fn blanks_and_ipv6() {
        let via = Via::parse(
            "SIP  / 2.0\r\n /UDP\r\n    [2001:db8::9:1] : 5062 ;\r\n  branch  =   z9hG4bK9ikj8",
        )
        .unwrap();
        assert_eq!(
            (via.host, via.port, via.branch),
            ("2001:db8::9:1", Some(5062), Some("z9hG4bK9ikj8"))
        );
    }

    #[test]
    fn what_is_no_via() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP a",
            "HTTP/2.0/UDP a",
            "SIP/2.0/UDP a;;",
            "SIP/2.0/UDP a b",
            "SIP/2.0/ a",
            "SIP/2.0/UDP a:99999",
            "SIP/2.0/UDP a;rport=x",
        ] {
            assert!(Via::parse(text).is_err(), "{text}");
        }
    }
}
