use serde::{Deserialize, Deserializer, de};
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;

/// A host name or address literal, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "expected name:port";
        let (host, port) = text.rsplit_once(':').ok_or(SHAPE)?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let is_address = host.parse::<IpAddr>().is_ok();
        if !is_address && !is_host_name(host) {
            return Err(SHAPE);
        }
        match port.parse() {
            Ok(0) | Err(_) => Err("expected a port from 1 to 65535 after the colon"),
            Ok(port) => Ok(Self {
                host: host.to_ascii_lowercase(),
                port,
            }),
        }
    }
}

impl Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

/// An IP network in CIDR form; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// Length of the prefix in bits, never more than the address has.
    pub prefix: u8,
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "expected address/prefix")?;
        let (bits, width) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let prefix = match prefix {
            None => width,
            Some(text) => text
                .parse()
                .ok()
                .filter(|prefix| *prefix <= width)
                .ok_or("the prefix is too long")?,
        };
        if prefix < width && bits & ((1 << (width - prefix)) - 1) != 0 {
            return Err("address bits after the prefix must be zero");
        }
        Ok(Self { address, prefix })
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

/// Letters, digits, hyphens, underscores and dots, in labels of 1 to 63 characters, 253 in all (RFC 1035 §2.3.4).
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| de::Error::custom(format_args!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, IPv4 and bracketed IPv6 with a port pass; a missing or zero port, a space or an empty label do not.
    #[test]
    fn a_host_and_port_is_checked_when_read() {
        for good in [
            "sip.pstnhub.microsoft.com:5061",
            "127.0.0.1:1",
            "[::1]:5061",
        ] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        for bad in [
            "sip.example",
            "sip.example:0",
            "sip.example:65536",
            "a b:1",
            "a..b:1",
            ":5061",
        ] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    /// 52.113.0.0/14 has a bit set after the prefix; /33 does not exist.
    #[test]
    fn a_network_is_checked_when_read() {
        for good in ["52.112.0.0/14", "0.0.0.0/0", "2001:db8::/32", "10.0.0.1/32"] {
            assert_eq!(good.parse::<Network>().unwrap().to_string(), good);
        }
        assert_eq!("10.0.0.1".parse::<Network>().unwrap().prefix, 32);
        for bad in [
            "52.113.0.0/14",
            "10.0.0.0/33",
            "10.0.0/8",
            "::1/129",
            "teams",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
