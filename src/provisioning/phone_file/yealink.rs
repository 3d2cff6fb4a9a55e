//! Yealink: a first line that must be exact, then `key = value`.

use super::escape::line;
use super::{Line, Site, exposed};
use crate::provisioning::device::{Mac, PhoneTransport};
use std::fmt::Write;

const HEAD: &str = "#!version:1.0.0.1\n";
/// Puts a key back to what the telephone has by itself.
const UNSET: &str = "%NULL%";

pub(super) fn own(site: &Site, of: &Line) -> String {
    let transport = match site.transport {
        PhoneTransport::Udp => "0",
        PhoneTransport::Tcp => "1",
        PhoneTransport::Tls => "2",
    };
    let (port, expires) = (site.port.to_string(), site.expires_s.to_string());
    let hotline = of.hotline.as_deref().unwrap_or(UNSET);
    let mut text = HEAD.to_owned();
    for (key, value) in [
        ("account.1.enable", "1"),
        ("account.1.label", &line(&of.label)),
        ("account.1.display_name", &line(&of.display_name)),
        ("account.1.user_name", &line(&of.user)),
        ("account.1.auth_name", &line(&of.user)),
        ("account.1.password", &line(of.password.expose())),
        ("account.1.sip_server.1.address", &site.host),
        ("account.1.sip_server.1.port", &port),
        ("account.1.sip_server.1.expires", &expires),
        ("account.1.sip_server.1.transport_type", transport),
        ("features.hotline_number", hotline),
        ("features.hotline_delay", "0"),
        // Restarts only when it is told to.
        ("sip.notify_reboot_enable", "0"),
        ("static.auto_provision.server.url", &site.base_url),
    ] {
        pair(&mut text, key, value);
    }
    if let Some(password) = &of.file {
        pair(
            &mut text,
            "static.auto_provision.server.username",
            &of.mac.to_string(),
        );
        pair(
            &mut text,
            "static.auto_provision.server.password",
            &line(password.expose()),
        );
    }
    if of.admin.is_some() {
        let password = format!("admin:{}", line(exposed(&of.admin)));
        pair(&mut text, "static.security.user_password", &password);
    }
    text
}

/// A boot file names what to read; a common file only says where to go.
pub(super) fn pointer(site: &Site, mac: Option<Mac>) -> String {
    let mut text = HEAD.to_owned();
    match mac {
        Some(mac) => {
            let _ = writeln!(text, "include:config \"{mac}.cfg\"\noverwrite_mode = 1");
        }
        None => pair(
            &mut text,
            "static.auto_provision.server.url",
            &site.base_url,
        ),
    }
    text
}

fn pair(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}
