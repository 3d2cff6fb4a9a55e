use super::host::host_port;
use super::line::{is_no_uri, split_before, split_once};
use super::{Params, UriError};

/// A URI in its parts, each as written. Nothing prints one: where a URI goes on, its raw text does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// As written; compare with [`Uri::is_sip`], [`Uri::is_tel`] or without regard to case.
    pub scheme: &'a str,
    /// What stands before the `@`, raw, without the password; in a `tel` URI the number.
    pub user: Option<&'a str>,
    /// What stands between the first colon of the user part and the `@`.
    pub password: Option<&'a str>,
    /// Without brackets; empty in a URI that is neither `sip` nor `sips`.
    pub host: &'a str,
    /// As written.
    pub port: Option<u16>,
    /// The URI's own parameters.
    pub params: Params<'a>,
    /// What stands behind the `?`, raw.
    pub headers: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads a URI (RFC 3261 §19.1.1, RFC 3966). Of schemes other than `sip`, `sips` and `tel` only the scheme is
    /// told. Characters that ought to be escaped in a user part, such as Teams' `#` (TDR-302), are taken as they are;
    /// blanks, quotes and angle brackets are not.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let end = text
            .bytes()
            .position(|byte| !is_scheme(byte))
            .unwrap_or(text.len());
        let (scheme, rest) = text.split_at(end);
        let rest = rest
            .strip_prefix(':')
            .ok_or(UriError("has no proper scheme"))?;
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(UriError("has no proper scheme"));
        }
        if rest.is_empty() || is_no_uri(rest.as_bytes()) {
            return Err(UriError(
                "is empty or has a blank, a quote or an angle bracket in it",
            ));
        }
        let bare = Self {
            scheme,
            user: None,
            password: None,
            host: "",
            port: None,
            params: Params::of_uri(""),
            headers: None,
        };
        if bare.is_sip() {
            bare.sip(rest)
        } else if bare.is_tel() {
            let (number, params) = split_before(rest, b';');
            Ok(Self {
                user: Some(number),
                params: Params::of_uri(params),
                ..bare
            })
        } else {
            Ok(bare)
        }
    }

    /// Whether the scheme is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sip") || self.is_sips()
    }

    /// Whether the scheme is `sips`.
    pub fn is_sips(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sips")
    }

    /// Whether the scheme is `tel`.
    pub fn is_tel(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("tel")
    }

    /// The `@` comes first, for a user part may hold `;`, `?` and `:` (RFC 4475 §3.1.1.2, §3.1.1.13).
    fn sip(self, rest: &'a str) -> Result<Self, UriError> {
        let (userinfo, rest) =
            split_once(rest, b'@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (user, password) = match userinfo.map(|text| split_before(text, b':')) {
            Some(("", _)) => return Err(UriError("has an empty user part")),
            Some((user, password)) => (Some(user), password.strip_prefix(':')),
            None => (None, None),
        };
        let (rest, headers) = split_before(rest, b'?');
        let headers = headers.strip_prefix('?');
        let (address, params) = split_before(rest, b';');
        let (host, port) = host_port(address).map_err(UriError)?;
        Ok(Self {
            user,
            password,
            host,
            port,
            params: Params::of_uri(params),
            headers,
            ..self
        })
    }
}

const fn is_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_sip_uri() {
        let uri = Uri::parse("SIP:+14255550100;ext=7:pw@contoso.sbc.example:5061;user=phone;Transport=TLS?Subject=a&b=c").unwrap();
        assert_eq!(
            (uri.user, uri.password),
            (Some("+14255550100;ext=7"), Some("pw"))
        );
        assert_eq!((uri.host, uri.port), ("contoso.sbc.example", Some(5061)));
        assert_eq!(uri.params.get("transport"), Some(Some("TLS")));
        assert_eq!(uri.params.raw(), ";user=phone;Transport=TLS");
        assert_eq!(uri.headers, Some("Subject=a&b=c"));
        assert!(uri.is_sip() && !uri.is_sips());
    }

    /// TDR-302, TDR-309.
    #[test]
    fn what_teams_sends_is_read() {
        assert_eq!(Uri::parse("sip:*21#@a.example").unwrap().user, Some("*21#"));
        let contact = Uri::parse("sip:api-du-a-euno.example:443;x-i=a58;x-c=a3d/d/8/8a8").unwrap();
        assert_eq!((contact.user, contact.port), (None, Some(443)));
        assert_eq!(contact.params.get("x-c"), Some(Some("a3d/d/8/8a8")));
    }

    #[test]
    fn other_schemes() {
        let tel = Uri::parse("tel:+1-425-555;phone-context=x").unwrap();
        assert_eq!((tel.user, tel.host), (Some("+1-425-555"), ""));
        assert_eq!(tel.params.get("phone-context"), Some(Some("x")));
        assert_eq!(Uri::parse("urn:service:sos").unwrap().scheme, "urn");
        assert_eq!(
            Uri::parse("soap.beep://192.0.2.103:3002").unwrap().scheme,
            "soap.beep"
        );
    }

    #[test]
    fn what_is_no_uri() {
        for text in [
            "",
            "sip",
            "sip:",
            ":a@b",
            "<sip:a@b>",
            "sip:a b@c",
            "sip:@host",
            "sip:a@",
            "sip:a@b@c",
            "sip:a@b:x",
            "1a:b",
        ] {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
    }
}
