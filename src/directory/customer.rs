use crate::audio::Clip;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// Whom a partner sells to; the owner of gateways, numbers and trunks, and of a limit of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Never used again.
    pub id: Uuid,
    /// The carrier's name for the account, unique.
    pub account_id: String,
    /// For people.
    pub name: String,
    /// Calls allowed at once, both directions together, ringing ones too; 0 admits none but emergency calls.
    pub max_channels: u32,
    /// Codes of the regions whose gateways a call to Teams tries, in this order.
    pub regions: Vec<String>,
    /// Whether the PBX plays music to a held party; otherwise we do.
    pub pbx_moh: bool,
    /// What a held party hears from us, if its partner or the carrier has music of its own; otherwise the built-in piece.
    pub music: Option<Arc<Clip>>,
    /// Whether a caller from Teams must present a number of this customer that is in service (TDR-313).
    pub caller_screening: bool,
    /// Emergency numbers of this customer besides those of its regions and of the whole system (TDR-1001).
    pub emergency_numbers: Vec<String>,
    /// What the operator wants.
    pub admin_state: AdminState,
    /// How far Teams has been set up.
    pub activation_state: ActivationState,
}

/// Whether an operator lets a customer make calls at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// Yes.
    #[default]
    Enabled,
    /// No new calls, neither way; running ones go on.
    Disabled,
}

impl AdminState {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// Whether a customer's Teams side is set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActivationState {
    /// Not yet, or no longer: no calls.
    #[default]
    Inactive,
    /// Being set up: calls from Teams pass where a gateway is verified, which they prove by that; others wait.
    Activating,
    /// Calls may pass.
    Active,
    /// Calls may pass, but something is wrong at Microsoft.
    Degraded,
}

impl ActivationState {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Degraded => "degraded",
        }
    }

    /// Whether calls pass both ways.
    pub fn is_in_service(self) -> bool {
        matches!(self, Self::Active | Self::Degraded)
    }
}
