//! Which telephones we can set up, as data: a model more is a line more.

use super::Mac;
use crate::provisioning::named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Telephones that read the same kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Keys and values, one on a line.
    Yealink,
    /// XML attributes, behind a master file.
    Polycom,
    /// XML elements `P…`.
    Grandstream,
    /// `flat-profile`: SPA and Multiplatform phones.
    Cisco,
    /// XML settings with permissions.
    Snom,
    /// A line of baresip's `accounts`, which other programs understand, too.
    Generic,
}

named!(Family {
    Yealink => "yealink", Polycom => "polycom", Grandstream => "grandstream", Cisco => "cisco", Snom => "snom",
    Generic => "generic",
});

/// How a telephone is told to fetch its file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// `check-sync;reboot=true`.
    CheckSyncReboot,
    /// `check-sync`, by which the telephone restarts if it has to.
    CheckSync,
}

/// By what a telephone speaks SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhoneTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
}

named!(PhoneTransport { Udp => "udp", Tcp => "tcp", Tls => "tls" });

/// A model of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceModel {
    /// For programs; stable.
    pub code: &'static str,
    /// Who makes it.
    pub vendor: &'static str,
    /// As it stands on the box.
    pub name: &'static str,
    /// What kind of file it reads.
    pub config_format: Family,
    /// Whether somebody at the telephone can activate it by code; else its MAC address has to be known.
    pub ivr_activation: bool,
    /// Older firmware does not register.
    pub min_firmware: Option<&'static str>,
    /// How it is told to fetch its file again.
    pub notify_event: Wake,
    /// Whether it asks for credentials before it does.
    pub notify_auth: bool,
    /// By what it speaks SIP, the best first.
    pub transports: &'static [PhoneTransport],
}

const ALL_TRANSPORTS: &[PhoneTransport] = &[
    PhoneTransport::Tls,
    PhoneTransport::Tcp,
    PhoneTransport::Udp,
];

const fn model(
    code: &'static str,
    vendor: &'static str,
    name: &'static str,
    config_format: Family,
    min_firmware: Option<&'static str>,
) -> DeviceModel {
    let reboot = matches!(config_format, Family::Yealink | Family::Snom);
    DeviceModel {
        code,
        vendor,
        name,
        config_format,
        ivr_activation: true,
        min_firmware,
        notify_event: if reboot {
            Wake::CheckSyncReboot
        } else {
            Wake::CheckSync
        },
        notify_auth: matches!(config_format, Family::Grandstream),
        transports: ALL_TRANSPORTS,
    }
}

const VVX: Option<&str> = Some("5.9.4.3247");
const SOUNDPOINT: Option<&str> = Some("4.0.15.1047");

/// All models, by vendor and name.
#[rustfmt::skip]
pub const MODELS: &[DeviceModel] = &[
    model("cisco-7841-3pcc",        "Cisco",       "CP-7841-3PCC",      Family::Cisco,       None),
    model("cisco-8851-3pcc",        "Cisco",       "CP-8851-3PCC",      Family::Cisco,       None),
    model("cisco-spa504g",          "Cisco",       "SPA504G",           Family::Cisco,       None),
    model("cisco-spa525g2",         "Cisco",       "SPA525G2",          Family::Cisco,       None),
    model("generic-sip",            "Generic",     "SIP telephone",     Family::Generic,     None),
    model("grandstream-grp2614",    "Grandstream", "GRP2614",           Family::Grandstream, None),
    model("grandstream-gxp2135",    "Grandstream", "GXP2135",           Family::Grandstream, None),
    model("grandstream-gxp2170",    "Grandstream", "GXP2170",           Family::Grandstream, None),
    DeviceModel { ivr_activation: false,
      ..model("poly-soundpoint-ip450", "Poly",     "SoundPoint IP 450", Family::Polycom,     SOUNDPOINT) },
    model("poly-soundpoint-ip550",  "Poly",        "SoundPoint IP 550", Family::Polycom,     SOUNDPOINT),
    model("poly-vvx250",            "Poly",        "VVX 250",           Family::Polycom,     VVX),
    model("poly-vvx350",            "Poly",        "VVX 350",           Family::Polycom,     VVX),
    model("poly-vvx450",            "Poly",        "VVX 450",           Family::Polycom,     VVX),
    model("snom-d385",              "Snom",        "D385",              Family::Snom,        None),
    model("snom-d735",              "Snom",        "D735",              Family::Snom,        None),
    model("snom-d785",              "Snom",        "D785",              Family::Snom,        None),
    model("yealink-t33g",           "Yealink",     "SIP-T33G",          Family::Yealink,     None),
    model("yealink-t46u",           "Yealink",     "SIP-T46U",          Family::Yealink,     None),
    model("yealink-t48u",           "Yealink",     "SIP-T48U",          Family::Yealink,     None),
    model("yealink-t54w",           "Yealink",     "SIP-T54W",          Family::Yealink,     None),
];

/// The first three bytes of MAC addresses, and what reads telephones that have them.
#[rustfmt::skip]
const MAKERS: &[([u8; 3], Family)] = &[
    ([0x00, 0x15, 0x65], Family::Yealink),
    ([0x24, 0x9a, 0xd8], Family::Yealink),
    ([0x44, 0xdb, 0xd2], Family::Yealink),
    ([0x80, 0x5e, 0x0c], Family::Yealink),
    ([0x80, 0x5e, 0xc0], Family::Yealink),
    ([0xc4, 0xfc, 0x22], Family::Yealink),
    ([0x00, 0x04, 0xf2], Family::Polycom),
    ([0x48, 0x25, 0x67], Family::Polycom),
    ([0x64, 0x16, 0x7f], Family::Polycom),
    ([0x00, 0x0b, 0x82], Family::Grandstream),
    ([0xc0, 0x74, 0xad], Family::Grandstream),
    ([0xec, 0x74, 0xd7], Family::Grandstream),
    ([0x00, 0x0e, 0x08], Family::Cisco),
    ([0x54, 0x75, 0xd0], Family::Cisco),
    ([0xcc, 0xef, 0x48], Family::Cisco),
    ([0x00, 0x04, 0x13], Family::Snom),
];

impl DeviceModel {
    /// The one of this code.
    pub fn of(code: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.code == code)
    }

    /// Whether a telephone with this address can be one: makers put their own addresses into their telephones.
    pub fn fits(&self, mac: Mac) -> bool {
        self.config_format == Family::Generic || Family::of(mac) == Some(self.config_format)
    }
}

impl Family {
    /// What a telephone with this address reads, if its maker is known.
    pub fn of(mac: Mac) -> Option<Self> {
        let maker = mac.maker();
        let found = MAKERS.iter().find(|(known, _)| *known == maker);
        found.map(|(_, family)| *family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Codes and makers stand in the tables once; each kind of file has a model.
    #[test]
    fn the_tables_agree() {
        let codes: BTreeSet<_> = MODELS.iter().map(|model| model.code).collect();
        assert_eq!(codes.len(), MODELS.len());
        assert!(
            codes.iter().eq(MODELS.iter().map(|model| &model.code)),
            "sorted"
        );
        let makers: BTreeSet<_> = MAKERS.iter().map(|(maker, _)| maker).collect();
        assert_eq!(makers.len(), MAKERS.len());
        for family in Family::ALL {
            assert!(MODELS.iter().any(|model| model.config_format == *family));
        }
    }

    /// D-12: of all models this one alone cannot be activated by code.
    #[test]
    fn one_model_needs_its_address() {
        let without: Vec<_> = MODELS
            .iter()
            .filter(|model| !model.ivr_activation)
            .collect();
        assert_eq!(without.len(), 1);
        assert_eq!(without[0].code, "poly-soundpoint-ip450");
    }

    #[test]
    fn an_address_fits_its_makers_models() {
        let yealink: Mac = "001565aabbcc".parse().unwrap();
        let unknown: Mac = "02aabbccddee".parse().unwrap();
        let fits = |code, mac| DeviceModel::of(code).unwrap().fits(mac);
        assert!(fits("yealink-t46u", yealink) && fits("generic-sip", yealink));
        assert!(!fits("snom-d735", yealink) && !fits("yealink-t46u", unknown));
        assert!(fits("generic-sip", unknown));
        assert_eq!(DeviceModel::of("yealink"), None);
    }
}
