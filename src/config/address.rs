use ipnet::IpNet;
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

/// Networks in CIDR form, such as `52.112.0.0/14`; an address alone is no network.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = |text: &String| {
        network(text).map_err(|why| de::Error::custom(format_args!("{text:?}: {why}")))
    };
    texts.iter().map(read).collect()
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let network: IpNet = text.parse().map_err(|_| "expected address/prefix")?;
    // Somebody who writes 52.113.0.0/14 has made a mistake, either in the address or in the prefix.
    if network == network.trunc() {
        Ok(network)
    } else {
        Err("address bits after the prefix must be zero")
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
            assert_eq!(network(good).unwrap().to_string(), good);
        }
        for bad in [
            "52.113.0.0/14",
            "10.0.0.0/33",
            "10.0.0/8",
            "::1/129",
            "10.0.0.1",
            "teams",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
