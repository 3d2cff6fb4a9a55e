//! What is sold to whom, and by which rules: partners, customers, the say that both have, what licences allow.
//!
//! Pure rules. The rows they speak of are the store's, the requests that change them come through the API, and what
//! calls obey is compiled into the [`directory`](crate::directory).

pub mod activation;

mod action_item;
mod co_management;
pub mod csv;
mod customer;
pub mod device;
mod email;
mod invitation;
mod letter;
mod license;
mod number;
mod partner;
mod pbx_type;
pub mod phone_file;
mod seat;
mod service;
mod sync;
mod teams_push;
mod user;

pub use action_item::{ActionItem, Situation};
pub use co_management::{CoManagement, Consent, NotYours, Party, Wish};
pub use customer::{Offering, SeatType, SyncState, suggested_channels};
pub use email::is_email;
pub use invitation::{
    INVITATION_LASTS, InvitationCode, InvitationEvent, InvitationState, MOST_WRONG_CODES,
    QUESTION_LASTS, RESEND_PAUSE, invitation_code, typed_code,
};
pub use letter::{LETTER_LASTS, LONGEST_LETTER, Letter, letter_pause};
pub use license::{Feature, LicenseType};
pub use number::{Assignment, Desired, Disposition, NumberKind, NumberSource, NumberStatus};
pub use partner::{PartnerState, PartnerTree, TreeFault};
pub use pbx_type::{DnsLookup, HoldMethod, PbxDefaults, PbxTransport};
pub use seat::{MOST_SEATS, Seat, SeatKind, Seats, SeatsError};
pub use service::{
    MOST_LICENSED_USERS, ServiceKind, ServiceState, ShortNameFault, check_short_name,
};
pub use sync::{Held, Holder, Knowledge, Verdict, judge, user_cap};
pub use teams_push::{PushSituation, TeamsPush};
pub use user::{
    CallerIdPolicy, ExtensionFault, UserOffering, UserState, check_extension, suggested_extension,
};

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
