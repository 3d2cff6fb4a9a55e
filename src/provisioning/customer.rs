use super::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a service reaches people: through their PBX, or by numbers of a trunk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Offering {
    /// Each user is registered at the customer's PBX.
    Pbx,
    /// Calls by number, without a registration.
    Trunk,
}

named!(Offering { Pbx => "pbx", Trunk => "trunk" });

/// How seats are sold; it only suggests how many channels there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeatType {
    /// Channels are bought apart from seats.
    Unbundled,
    /// Each seat comes with a channel.
    Bundled,
}

named!(SeatType { Unbundled => "unbundled", Bundled => "bundled" });

/// Whether what is stored of a customer is what calls obey.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// It is.
    Clean,
    /// Something waits for a Sync.
    #[default]
    Dirty,
    /// A Sync is on its way.
    Running,
    /// The last Sync could not do its work.
    Failed,
    /// The last Sync is done, and some of it is blocked.
    Partial,
}

named!(SyncState {
    Clean => "clean", Dirty => "dirty", Running => "running", Failed => "failed", Partial => "partial",
});

/// The channels that a contract of so many seats typically has: a tenth of unbundled ones, all bundled ones; at least one.
pub fn suggested_channels(seat_type: SeatType, seats: u32) -> u32 {
    let channels = match seat_type {
        SeatType::Unbundled => seats.div_ceil(10),
        SeatType::Bundled => seats,
    };
    channels.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-06.
    #[test]
    fn channels_are_suggested_by_seats() {
        for (seat_type, seats, channels) in [
            (SeatType::Unbundled, 100, 10),
            (SeatType::Unbundled, 25, 3),
            (SeatType::Unbundled, 1, 1),
            (SeatType::Unbundled, 0, 1),
            (SeatType::Unbundled, u32::MAX, 429_496_730),
            (SeatType::Bundled, 25, 25),
        ] {
            assert_eq!(
                suggested_channels(seat_type, seats),
                channels,
                "{seat_type:?} {seats}"
            );
        }
    }

    /// What serde writes and what the database holds are one word.
    #[test]
    fn names_are_those_of_the_api() {
        for state in SyncState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for offering in Offering::ALL {
            assert_eq!(serde_json::to_value(offering).unwrap(), offering.name());
        }
    }
}
