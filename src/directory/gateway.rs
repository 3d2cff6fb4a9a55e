use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A customer's name at Teams, the derived trunk of TDR-1201: the host in Request-URIs from Teams, and in the Contact
/// of all that we send there for this customer (TDR-403).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer: Uuid,
    /// Code of its region.
    pub region: String,
    /// In lower case, unique.
    pub fqdn: String,
    /// The region's port, for Contacts.
    pub sip_port: u16,
    /// Whether the region's carrier trunk is set up for media bypass.
    pub media_bypass: bool,
    /// How far it has been set up.
    pub state: GatewayState,
}

/// How far a gateway has been set up at Microsoft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GatewayState {
    /// Not far enough for calls.
    #[default]
    Pending,
    /// The customer has not given its verification code yet.
    CodeMissing,
    /// Its verification code stands in DNS.
    DnsPublished,
    /// Microsoft knows the domain: calls from Teams pass, calls to Teams wait.
    Verified,
    /// Calls pass both ways.
    Active,
    /// Taken out by an operator.
    Disabled,
    /// Microsoft will not have it.
    Error,
}

impl GatewayState {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::CodeMissing => "code_missing",
            Self::DnsPublished => "dns_published",
            Self::Verified => "verified",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Error => "error",
        }
    }

    /// Whether an INVITE from Teams may name it.
    pub fn takes_calls(self) -> bool {
        matches!(self, Self::Verified | Self::Active)
    }
}
