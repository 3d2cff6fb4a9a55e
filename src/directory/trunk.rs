use super::{NumberFormat, Profile, Registrant, Registration};
use crate::sip::{Hop, Realm, Transport};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroize;

/// A configured SIP peering with a PBX or a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Never used again.
    pub id: Uuid,
    /// Whose; none is shared by all customers.
    pub customer: Option<Uuid>,
    /// For people and metrics.
    pub name: String,
    /// What stands at the other end.
    pub role: Role,
    /// What carries requests, both ways.
    pub transport: Transport,
    /// Where requests go: a name or an address literal, without brackets.
    pub host: String,
    /// None asks DNS, or takes the transport's default.
    pub port: Option<u16>,
    /// How the peer proves who it is, and whether we do.
    pub auth: Auth,
    /// For digest, in both directions.
    pub username: Option<String>,
    /// For digest, in both directions.
    pub password: Option<Secret>,
    /// Addresses that the peer may send from; an empty list lets in nobody.
    pub acl: Vec<IpNet>,
    /// Calls allowed at once, both directions together; none is no limit.
    pub cac_max_sessions: Option<u32>,
    /// How it writes numbers.
    pub number_format: NumberFormat,
    /// How often OPTIONS asks whether it lives; none never does.
    pub options_ping: Option<Duration>,
    /// Lower is tried first (RFC 2782).
    pub priority: u16,
    /// Share among equal priorities (RFC 2782).
    pub weight: u16,
    /// What the operator wants.
    pub state: TrunkState,
    /// How it differs from others.
    pub profile: Profile,
    /// The registration by which the peer knows us: that of one user of an exchange, or of the whole trunk where `auth` is
    /// [`Auth::Register`]; none where it knows us by our address.
    pub line: Option<Arc<Registration>>,
}

impl Trunk {
    /// Where requests to it go, before DNS.
    pub fn hop(&self) -> Hop {
        Hop {
            host: self.host.clone(),
            port: self.port,
            transport: Some(self.transport),
            realm: Realm::Trunk,
        }
    }

    /// The user of an exchange as whom we speak to it; none where we are ourselves.
    pub fn user(&self) -> Option<&Arc<Registration>> {
        let line = self.line.as_ref()?;
        (line.registrant == Registrant::User).then_some(line)
    }

    /// The same where requests may also come from where its registration stands.
    pub fn standing_at(&self, place: Option<IpAddr>) -> Self {
        let place = place.map(|ip| IpNet::from(ip.to_canonical()));
        let mut trunk = self.clone();
        trunk.acl.extend(place);
        trunk
    }
}

/// What stands at the far end of a trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The public network.
    Carrier,
    /// A customer's exchange.
    Pbx,
}

impl Role {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Carrier => "carrier",
            Self::Pbx => "pbx",
        }
    }
}

/// How the peer of a trunk proves who it is. The list of addresses counts in either case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// By its address alone.
    #[default]
    IpAcl,
    /// By its address, and each INVITE by digest (RFC 7616) with the trunk's user name and password.
    Digest,
    /// By its address, or by that of the registrar where we are registered with the trunk's user name and password: calls
    /// come to the Contact of that registration, and go out while it stands.
    Register,
}

impl Auth {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::IpAcl => "ip_acl",
            Self::Digest => "digest",
            Self::Register => "register",
        }
    }
}

/// What the operator wants of a trunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrunkState {
    /// Calls both ways.
    #[default]
    InService,
    /// No calls to it; what it sends is still taken.
    OutOfService,
    /// As if it were not there.
    Disabled,
}

impl TrunkState {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::InService => "in_service",
            Self::OutOfService => "out_of_service",
            Self::Disabled => "disabled",
        }
    }
}

/// A password. It shows nowhere, and is overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes it in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The only way out; for a digest, never for a log or an answer.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_printed_for_debugging_keeps_its_password() {
        let trunk = Trunk {
            password: Some(Secret::new("s3same")),
            ..super::super::examples::trunk("pbx", None)
        };
        assert!(!format!("{trunk:?}").contains("s3same"));
        assert_eq!(trunk.password.unwrap().expose(), "s3same");
    }
}
