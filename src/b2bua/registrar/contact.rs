//! What the Contact headers of a REGISTER ask for (RFC 3261 §10.2, RFC 5626 §4.2).

use crate::sip::{Message, Name, NameAddr, Uri};

/// Contacts that one REGISTER may name.
const MOST: usize = 8;
/// Bytes of a URI, and of an instance.
const LONGEST: usize = 512;
/// What an Expires that cannot be read stands for (RFC 3261 §10.3 step 7, §20.19).
const USUAL_EXPIRES: u32 = 3600;

/// What a REGISTER asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// What is bound.
    Nothing,
    /// That nothing is.
    Removal,
    /// That these are, or are no longer.
    These(Vec<Contact>),
}

/// One contact of a REGISTER.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Contact {
    pub uri: Box<str>,
    /// Preference in thousandths.
    pub q: u16,
    /// Seconds that it asks for; none leaves that to us.
    pub expires: Option<u32>,
    /// RFC 5626: the device, and which of its flows.
    pub instance: Option<Instance>,
}

/// A device that says which it is, with the number of its flow (RFC 5626 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Instance {
    pub id: Box<str>,
    /// 0 if it has no flows that it numbers.
    pub reg_id: u32,
}

impl Asked {
    /// Reads it; what breaks a rule is to be refused with 400.
    pub fn of(register: &Message) -> Result<Self, &'static str> {
        let expires = register.header(Name::Expires);
        let expires = expires.map(|value| value.number().unwrap_or(USUAL_EXPIRES));
        let mut contacts = Vec::new();
        for value in register.values(Name::Contact) {
            let address = NameAddr::parse(value.bytes()).map_err(|_| "a Contact is malformed")?;
            if address.uri == "*" {
                let is_alone = register.values(Name::Contact).nth(1).is_none();
                return match (is_alone, expires) {
                    (true, Some(0)) => Ok(Self::Removal),
                    // RFC 3261 §10.2.2.
                    _ => Err("* stands alone and expires at once"),
                };
            }
            if contacts.len() == MOST {
                return Err("too many Contacts");
            }
            contacts.push(Contact::of(&address, expires)?);
        }
        match contacts.is_empty() {
            true => Ok(Self::Nothing),
            false => Ok(Self::These(contacts)),
        }
    }
}

impl Contact {
    fn of(address: &NameAddr, expires: Option<u32>) -> Result<Self, &'static str> {
        let uri = Uri::parse(address.uri).map_err(|_| "a Contact is malformed")?;
        if !uri.is_sip() || address.uri.len() > LONGEST {
            return Err("a Contact is no SIP URI that we keep");
        }
        let param = |name| address.params.get(name).flatten();
        let own = param("expires").map(|text| text.parse().unwrap_or(USUAL_EXPIRES));
        let id = param("+sip.instance").filter(|id| id.len() <= LONGEST);
        let reg_id = param("reg-id").and_then(|text| text.parse().ok());
        Ok(Self {
            uri: address.uri.into(),
            q: param("q").map_or(1000, thousandths),
            expires: own.or(expires),
            instance: id.map(|id| Instance {
                id: id.into(),
                reg_id: reg_id.unwrap_or(0),
            }),
        })
    }
}

/// `0.7` is 700 (RFC 3261 §20.10).
fn thousandths(q: &str) -> u16 {
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let fraction: u16 = digits.parse().unwrap_or(0);
    match whole {
        "0" | "" => fraction,
        _ => 1000,
    }
}

/// Whether two URIs mean the same contact (RFC 3261 §19.1.4).
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (Uri::parse(one), Uri::parse(other)) else {
        return one == other;
    };
    let equal = |one: Option<&str>, other: Option<&str>| match (one, other) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    let param = |name: &str| {
        let (one, other) = (one.params.get(name), other.params.get(name));
        one.is_some() == other.is_some() && equal(one.flatten(), other.flatten())
    };
    let in_both = |name: &str| !one.params.has(name) || !other.params.has(name) || param(name);
    one.scheme.eq_ignore_ascii_case(other.scheme)
        && (one.user, one.password, one.port) == (other.user, other.password, other.port)
        && one.host.eq_ignore_ascii_case(other.host)
        && one.headers == other.headers
        && ["user", "ttl", "method", "maddr", "transport"]
            .into_iter()
            .all(param)
        && one.params.iter().all(|(name, _)| in_both(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn asked(headers: &str) -> Result<Asked, &'static str> {
        let text = format!(
            "REGISTER sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:b@a>;tag=1\r\nTo: <sip:b@a>\r\n\
             Call-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Asked::of(&Message::parse(Bytes::from(text)).unwrap())
    }

    fn contacts(headers: &str) -> Vec<Contact> {
        match asked(headers) {
            Ok(Asked::These(contacts)) => contacts,
            other => panic!("{other:?}"),
        }
    }

    /// RFC 3261 §10.2.1.1: the parameter before the header; what cannot be read is an hour; q in thousandths.
    #[test]
    fn expires_and_q() {
        let all = contacts(
            "Expires: 60\r\nContact: <sip:b@1.2.3.4>;q=0.25;expires=90, <sip:b@1.2.3.5>\r\nm: <sip:b@h>;expires=soon;q=1.0\r\n",
        );
        let read: Vec<_> = all.iter().map(|c| (c.expires, c.q)).collect();
        assert_eq!(
            read,
            [(Some(90), 250), (Some(60), 1000), (Some(3600), 1000)]
        );
        assert_eq!(contacts("Contact: sip:b@h\r\n")[0].expires, None);
        assert_eq!(
            contacts("Expires: x\r\nContact: sip:b@h\r\n")[0].expires,
            Some(3600)
        );
    }

    /// RFC 3261 §10.2.2: `*` only alone and with Expires: 0; without Contacts a REGISTER asks.
    #[test]
    fn a_star_removes_all() {
        assert_eq!(asked("Contact: *\r\nExpires: 0\r\n"), Ok(Asked::Removal));
        assert_eq!(asked(""), Ok(Asked::Nothing));
        for bad in [
            "Contact: *\r\n",
            "Contact: *\r\nExpires: 60\r\n",
            "Contact: *, <sip:b@h>\r\nExpires: 0\r\n",
            "Contact: <sip:b@h>, *\r\nExpires: 0\r\n",
            "Contact: <tel:+1234567>\r\n",
            "Contact: <sip:b@h\r\n",
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
        let many = "Contact: <sip:b@h>\r\n".repeat(9);
        assert!(asked(&many).is_err());
    }

    #[test]
    fn a_device_that_says_which_it_is() {
        let of = |text: &str| contacts(text).remove(0).instance;
        let id = "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";
        let outbound = of(&format!(
            "Contact: <sip:b@h>;reg-id=2;+sip.instance=\"{id}\"\r\n"
        ));
        let expected = Instance {
            id: id.into(),
            reg_id: 2,
        };
        assert_eq!(outbound, Some(expected));
        let plain = of(&format!("Contact: <sip:b@h>;+sip.instance=\"{id}\"\r\n"));
        assert_eq!(plain.map(|i| i.reg_id), Some(0));
        assert_eq!(of("Contact: <sip:b@h>;reg-id=2\r\n"), None);
    }

    /// RFC 3261 §19.1.4.
    #[test]
    fn uris_that_mean_the_same() {
        for (one, other, same) in [
            ("sip:b@A.example", "SIP:b@a.EXAMPLE", true),
            ("sip:b@a", "sip:B@a", false),
            ("sip:b@a", "sip:b@a:5060", false),
            ("sip:b@a", "sip:b@a;transport=udp", false),
            (
                "sip:b@a;transport=TCP;x=1",
                "sip:b@a;y=2;Transport=tcp",
                true,
            ),
            ("sip:b@a;x=1", "sip:b@a;x=2", false),
            ("sip:b@a?h=1", "sip:b@a", false),
        ] {
            assert_eq!(is_same(one, other), same, "{one} {other}");
            assert_eq!(is_same(other, one), same, "{other} {one}");
        }
    }
}
