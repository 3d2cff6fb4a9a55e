//! What is sold to whom, and by which rules: partners, customers, the say that both have, what licences allow.
//!
//! Pure rules. The rows they speak of are the store's, the requests that change them come through the API, and what
//! calls obey is compiled into the [`directory`](crate::directory).

mod co_management;
mod customer;
mod email;
mod license;
mod partner;
mod pbx_type;

pub use co_management::{CoManagement, Consent, NotYours, Party, Wish};
pub use customer::{Offering, SeatType, SyncState, suggested_channels};
pub use email::is_email;
pub use license::{Feature, LicenseType};
pub use partner::{PartnerState, PartnerTree, TreeFault};
pub use pbx_type::{DnsLookup, HoldMethod, PbxDefaults, PbxTransport};

/// A unit variant's name as in the API and the database, for enums that are spelt in snake case.
macro_rules! named {
    ($kind:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $kind {
            /// All.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As in the API and the database.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }
    };
}
use named;
