//! Desk telephones: which there are, how one becomes a user's, and how it proves that it is the one.
//!
//! A telephone whose MAC address is known is active when it is saved. One that is not waits for somebody who lifts its
//! handset and types the code. A user has one active telephone.

mod access;
mod code;
mod life;
mod mac;
mod model;
pub mod tries;

pub use access::{Access, Lock, Shown};
pub use code::{ActivationCode, NoCode};
pub use life::{DeviceEvent, DeviceMethod, DeviceState};
pub use mac::{Mac, MacError};
pub use model::{DeviceModel, Family, MODELS, PhoneTransport, Wake};

use time::Duration;

/// How long a code can be typed.
pub const CODE_LIFETIME: Duration = Duration::days(30);
/// After its activation a telephone may fetch its file once without a proof.
pub const OPEN_FOR: Duration = Duration::minutes(30);
/// Telephones restart more than once while they are set up: so long nobody tells them to.
pub const SETTLING: Duration = Duration::minutes(5);

/// What is known when a telephone is to be a user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Its model, if the catalogue has it.
    pub model: Option<&'static DeviceModel>,
    /// Whether the customer has the model.
    pub is_listed: bool,
    /// How it is to be activated.
    pub method: DeviceMethod,
    /// Which one it is.
    pub mac: Option<Mac>,
    /// What the user has.
    pub user: Equipment,
}

/// What a user must have before it has a telephone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Equipment {
    /// Whether it is served.
    pub enabled: bool,
    /// Whether it has a licence.
    pub license: bool,
    /// Whether it has a number.
    pub number: bool,
    /// Whether it has an extension.
    pub extension: bool,
}

impl Equipment {
    /// Whether nothing is missing.
    pub fn is_complete(self) -> bool {
        self.enabled && self.license && self.number && self.extension
    }
}

/// Why a telephone cannot be a user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WishFault {
    /// The catalogue does not have the model.
    #[error("must be a model of the catalogue")]
    UnknownModel,
    /// The customer does not have the model.
    #[error("must be on the customer's list of models")]
    ModelNotInList,
    /// The model cannot be activated by code.
    #[error("the model can be activated by its MAC address only")]
    ModelRequiresMac,
    /// The address is not said.
    #[error("must be said with this method")]
    MacMissing,
    /// The address is said that nobody can know.
    #[error("is not known with this method")]
    MacUnwanted,
    /// Another maker has this address.
    #[error("is not the address of such a model")]
    MacOfOtherMaker,
    /// The user is disabled.
    #[error("the user is disabled")]
    UserDisabled,
    /// The user has no licence.
    #[error("the user has no licence")]
    UserHasNoLicense,
    /// The user has no number.
    #[error("the user has no phone number")]
    UserHasNoNumber,
    /// The user has no extension.
    #[error("the user has no extension")]
    UserHasNoExtension,
}

impl WishFault {
    /// Where in a request, and for programs; both stable.
    pub fn field_and_code(self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownModel => ("model", "unknown_model"),
            Self::ModelNotInList => ("model", "model_not_in_list"),
            Self::ModelRequiresMac => ("method", "model_requires_mac"),
            Self::MacMissing => ("mac", "required"),
            Self::MacUnwanted => ("mac", "mac_not_wanted"),
            Self::MacOfOtherMaker => ("mac", "mac_of_other_maker"),
            Self::UserDisabled => ("user_id", "user_disabled"),
            Self::UserHasNoLicense => ("user_id", "user_has_no_license"),
            Self::UserHasNoNumber => ("user_id", "user_has_no_number"),
            Self::UserHasNoExtension => ("user_id", "user_has_no_extension"),
        }
    }
}

/// All that stands in the way, the model first.
pub fn check(wish: &Wish) -> Vec<WishFault> {
    use WishFault as F;
    let mut faults = Vec::new();
    let mut demand = |holds: bool, fault| {
        if !holds {
            faults.push(fault);
        }
    };
    let by_code = wish.method == DeviceMethod::Code;
    match wish.model {
        None => demand(false, F::UnknownModel),
        Some(model) => {
            demand(wish.is_listed, F::ModelNotInList);
            demand(!by_code || model.ivr_activation, F::ModelRequiresMac);
            let fits = wish.mac.is_none_or(|mac| model.fits(mac));
            demand(by_code || fits, F::MacOfOtherMaker);
        }
    }
    demand(by_code || wish.mac.is_some(), F::MacMissing);
    demand(!by_code || wish.mac.is_none(), F::MacUnwanted);
    demand(wish.user.enabled, F::UserDisabled);
    demand(wish.user.license, F::UserHasNoLicense);
    demand(wish.user.number, F::UserHasNoNumber);
    demand(wish.user.extension, F::UserHasNoExtension);
    faults
}

/// Whether a code that was typed at a telephone may make it the user's.
pub fn may_bind(model: &DeviceModel, mac: Mac, user: Equipment) -> bool {
    model.ivr_activation && model.fits(mac) && user.is_complete()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            model: DeviceModel::of("yealink-t46u"),
            is_listed: true,
            method: DeviceMethod::Mac,
            mac: "001565aabbcc".parse().ok(),
            user: Equipment {
                enabled: true,
                license: true,
                number: true,
                extension: true,
            },
        }
    }

    /// D-01, D-02, D-12: each thing that is missing is told by itself.
    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(check(&wish()), []);
        let code = Wish {
            method: DeviceMethod::Code,
            mac: None,
            ..wish()
        };
        assert_eq!(check(&code), []);
        let ip450 = DeviceModel::of("poly-soundpoint-ip450");
        let polycom: Option<Mac> = "0004f2aabbcc".parse().ok();
        let without = |change: fn(&mut Equipment)| {
            let mut wish = wish();
            change(&mut wish.user);
            wish
        };
        for (wish, fault) in [
            (
                Wish {
                    model: None,
                    ..wish()
                },
                WishFault::UnknownModel,
            ),
            (
                Wish {
                    is_listed: false,
                    ..wish()
                },
                WishFault::ModelNotInList,
            ),
            (
                Wish {
                    model: ip450,
                    ..code
                },
                WishFault::ModelRequiresMac,
            ),
            (
                Wish {
                    mac: None,
                    ..wish()
                },
                WishFault::MacMissing,
            ),
            (
                Wish {
                    mac: wish().mac,
                    ..code
                },
                WishFault::MacUnwanted,
            ),
            (
                Wish {
                    mac: polycom,
                    ..wish()
                },
                WishFault::MacOfOtherMaker,
            ),
            (
                without(|user| user.enabled = false),
                WishFault::UserDisabled,
            ),
            (
                without(|user| user.license = false),
                WishFault::UserHasNoLicense,
            ),
            (
                without(|user| user.number = false),
                WishFault::UserHasNoNumber,
            ),
            (
                without(|user| user.extension = false),
                WishFault::UserHasNoExtension,
            ),
        ] {
            assert_eq!(check(&wish), [fault]);
        }
        let ip450 = Wish {
            model: ip450,
            mac: polycom,
            ..wish()
        };
        assert_eq!(check(&ip450), []);
        let nothing = Wish {
            user: Equipment::default(),
            model: None,
            ..wish()
        };
        assert_eq!(check(&nothing).len(), 5);
    }
}
