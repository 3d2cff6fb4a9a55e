use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a PBX of a type has until somebody says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PbxDefaults {
    /// How the PBX's address is found.
    pub dns_lookup: DnsLookup,
    /// What carries requests.
    pub transport: PbxTransport,
    /// 1 to 65535.
    pub port: u16,
    /// Seconds that a registration lasts, 60 to 86400.
    pub expires_s: u32,
    /// How the PBX is told to play its music.
    pub moh_method: HoldMethod,
    /// What reaches its voicemail, at most 16 digits, `*` and `#`.
    pub voicemail_code: Option<String>,
    /// Whether users may have extensions that are no numbers.
    pub extensions: bool,
    /// Whether numbers that the carrier does not own may be used.
    pub external_numbers: bool,
}

impl Default for PbxDefaults {
    fn default() -> Self {
        Self {
            dns_lookup: DnsLookup::Srv,
            transport: PbxTransport::Udp,
            port: 5060,
            expires_s: 3600,
            moh_method: HoldMethod::Reinvite,
            voicemail_code: None,
            extensions: false,
            external_numbers: true,
        }
    }
}

/// How a PBX's address is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsLookup {
    /// RFC 3263 from SRV on.
    Srv,
    /// Addresses of the name itself.
    A,
    /// RFC 3263 from NAPTR on.
    Naptr,
}

/// What carries requests to a PBX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PbxTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
}

/// How a PBX is told to play its music.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldMethod {
    /// A re-INVITE that holds.
    Reinvite,
    /// A REFER to its music.
    Refer,
}

impl DnsLookup {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Srv => "srv",
            Self::A => "a",
            Self::Naptr => "naptr",
        }
    }
}

impl PbxTransport {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

impl PbxDefaults {
    /// The first field that is out of range, and what would be in.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let is_code = |code: &String| {
            (1..=16).contains(&code.len())
                && code
                    .bytes()
                    .all(|c| c.is_ascii_digit() || matches!(c, b'*' | b'#'))
        };
        if self.port == 0 {
            return Some(("port", "must be 1 to 65535"));
        }
        if !(60..=86_400).contains(&self.expires_s) {
            return Some(("expires_s", "must be 60 to 86400"));
        }
        let bad_code = self.voicemail_code.as_ref().is_some_and(|c| !is_code(c));
        bad_code.then_some(("voicemail_code", "must be 1 to 16 digits, * or #"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_keep_their_ranges() {
        let with = |change: fn(&mut PbxDefaults)| {
            let mut defaults = PbxDefaults::default();
            change(&mut defaults);
            defaults.fault().map(|(field, _)| field)
        };
        assert_eq!(with(|_| {}), None);
        assert_eq!(with(|d| d.port = 0), Some("port"));
        assert_eq!(with(|d| d.expires_s = 59), Some("expires_s"));
        assert_eq!(
            with(|d| d.voicemail_code = Some("x".into())),
            Some("voicemail_code")
        );
        assert_eq!(with(|d| d.voicemail_code = Some("*97".into())), None);
    }
}
