use crate::provisioning::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a telephone becomes somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceMethod {
    /// Its MAC address is known: at once.
    Mac,
    /// Somebody types a code at the telephone.
    Code,
}

named!(DeviceMethod { Mac => "mac", Code => "code" });

/// How far a telephone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Nobody has typed its code yet: which telephone it will be is not known.
    AwaitingCode,
    /// It is the user's; it has not fetched its file yet.
    Activated,
    /// It has, and may restart once more before it registers.
    Provisioning,
    /// It is registered.
    Online,
    /// It was.
    Offline,
    /// It is nobody's any more, for ever.
    Deactivated,
}

named!(DeviceState {
    AwaitingCode => "awaiting_code", Activated => "activated", Provisioning => "provisioning", Online => "online",
    Offline => "offline", Deactivated => "deactivated",
});

/// What happens to a telephone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceEvent {
    /// Somebody has typed its code.
    CodeTyped,
    /// It has fetched its file.
    Fetched,
    /// It has registered.
    Registered,
    /// Its registration has ended.
    Unregistered,
    /// It is taken from its user.
    Deactivated,
}

impl DeviceState {
    /// Where a telephone begins that is activated in this way.
    pub fn begin(method: DeviceMethod) -> Self {
        match method {
            DeviceMethod::Mac => Self::Activated,
            DeviceMethod::Code => Self::AwaitingCode,
        }
    }

    /// Whether it is its user's telephone: of those a user has one.
    pub fn is_active(self) -> bool {
        use DeviceState::{Activated, Offline, Online, Provisioning};
        matches!(self, Activated | Provisioning | Online | Offline)
    }

    /// Where an event leads; none if it means nothing here.
    pub fn on(self, event: DeviceEvent) -> Option<Self> {
        use DeviceEvent as E;
        use DeviceState as S;
        match (self, event) {
            (S::AwaitingCode, E::CodeTyped) => Some(S::Activated),
            // A telephone that is registered looks for another file from time to time, and stays what it is.
            (S::Activated | S::Offline, E::Fetched) => Some(S::Provisioning),
            (S::Activated | S::Provisioning | S::Offline, E::Registered) => Some(S::Online),
            (S::Online, E::Unregistered) => Some(S::Offline),
            (S::Deactivated, E::Deactivated) => None,
            (_, E::Deactivated) => Some(S::Deactivated),
            (_, E::CodeTyped | E::Fetched | E::Registered | E::Unregistered) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeviceEvent::{CodeTyped, Deactivated, Fetched, Registered, Unregistered};

    fn run(method: DeviceMethod, events: &[DeviceEvent]) -> Option<DeviceState> {
        let begin = DeviceState::begin(method);
        events
            .iter()
            .try_fold(begin, |state, event| state.on(*event))
    }

    /// D-07: with its address known, a telephone is active at once; with a code it is when the code was typed.
    #[test]
    fn a_telephone_comes_to_life() {
        assert!(run(DeviceMethod::Mac, &[]).unwrap().is_active());
        assert!(!run(DeviceMethod::Code, &[]).unwrap().is_active());
        let state = run(DeviceMethod::Code, &[CodeTyped, Fetched, Registered]);
        assert_eq!(state, Some(DeviceState::Online));
        let back = [Registered, Unregistered, Fetched, Registered];
        assert_eq!(run(DeviceMethod::Mac, &back), Some(DeviceState::Online));
        assert_eq!(run(DeviceMethod::Mac, &[Registered, Fetched]), None);
    }

    /// What was taken away never comes back, and a code is typed once.
    #[test]
    fn what_is_over_is_over() {
        for event in [CodeTyped, Fetched, Registered, Unregistered, Deactivated] {
            assert_eq!(DeviceState::Deactivated.on(event), None, "{event:?}");
        }
        assert_eq!(run(DeviceMethod::Code, &[CodeTyped, CodeTyped]), None);
        for event in [Fetched, Registered, Unregistered] {
            assert_eq!(DeviceState::AwaitingCode.on(event), None, "{event:?}");
        }
        for state in DeviceState::ALL.iter().filter(|state| state.is_active()) {
            assert_eq!(state.on(Deactivated), Some(DeviceState::Deactivated));
        }
    }
}
