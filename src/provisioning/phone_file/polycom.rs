//! Poly: a master file that lists others, and parameters as attributes. Transports are words.

use super::escape::xml;
use super::{Line, Site, exposed};
use crate::provisioning::device::{Mac, PhoneTransport};
use std::fmt::Write;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

pub(super) fn own(site: &Site, of: &Line) -> String {
    let transport = match site.transport {
        PhoneTransport::Udp => "UDPOnly",
        PhoneTransport::Tcp => "TCPOnly",
        PhoneTransport::Tls => "TLS",
    };
    let (port, expires) = (site.port.to_string(), site.expires_s.to_string());
    let mac = of.mac.to_string();
    let off_hook = if of.hotline.is_some() { "1" } else { "0" };
    let mut pairs = vec![
        ("reg.1.address", of.user.as_str()),
        ("reg.1.label", &of.label),
        ("reg.1.displayName", &of.display_name),
        ("reg.1.auth.userId", &of.user),
        ("reg.1.auth.password", of.password.expose()),
        ("reg.1.server.1.address", &site.host),
        ("reg.1.server.1.port", &port),
        ("reg.1.server.1.expires", &expires),
        ("reg.1.server.1.transport", transport),
        ("call.autoOffHook.1.enabled", off_hook),
        (
            "call.autoOffHook.1.contact",
            of.hotline.as_deref().unwrap_or_default(),
        ),
        ("call.autoOffHook.1.protocol", "SIP"),
        // Else it restarts only where it finds another file.
        ("voIpProt.SIP.specialEvent.checkSync.alwaysReboot", "1"),
        ("device.set", "1"),
        ("device.prov.serverName.set", "1"),
        (
            "device.prov.serverName",
            site.base_url.trim_end_matches('/'),
        ),
    ];
    if of.file.is_some() {
        pairs.extend([
            ("device.prov.user.set", "1"),
            ("device.prov.user", mac.as_str()),
            ("device.prov.password.set", "1"),
            ("device.prov.password", exposed(&of.file)),
        ]);
    }
    if of.admin.is_some() {
        pairs.extend([
            ("device.auth.localAdminPassword.set", "1"),
            ("device.auth.localAdminPassword", exposed(&of.admin)),
        ]);
    }
    let mut text = format!("{HEAD}<PHONE_CONFIG>\n  <ALL");
    for (name, value) in pairs {
        let _ = write!(text, "\n    {name}=\"{}\"", xml(value));
    }
    text.push_str("/>\n</PHONE_CONFIG>\n");
    text
}

/// The telephone puts its own address into the common file's list.
pub(super) fn pointer(mac: Option<Mac>) -> String {
    let of = mac.map_or_else(|| "[PHONE_MAC_ADDRESS]".to_owned(), |mac| mac.to_string());
    let own = format!("{of}-tollgate.cfg");
    format!(
        "{HEAD}<APPLICATION APP_FILE_PATH=\"\" CONFIG_FILES=\"{own}\" MISC_FILES=\"\" LOG_FILE_DIRECTORY=\"\" \
         OVERRIDES_DIRECTORY=\"\" CONTACTS_DIRECTORY=\"\"/>\n"
    )
}
