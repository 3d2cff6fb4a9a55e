//! Snom: settings, each of which the user may (`RW`) or may not (`R`) change.

use super::escape::{url, xml};
use super::{Line, Site, exposed};
use crate::provisioning::device::PhoneTransport;
use std::fmt::Write;

const HEAD: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<settings>\n  <phone-settings e=\"2\">\n";

pub(super) fn own(site: &Site, of: &Line) -> String {
    let transport = match site.transport {
        PhoneTransport::Udp => "udp",
        PhoneTransport::Tcp => "tcp",
        PhoneTransport::Tls => "tls",
    };
    let outbound = format!("{}:{};transport={transport}", site.host, site.port);
    let expires = site.expires_s.to_string();
    let mut text = HEAD.to_owned();
    for (name, value) in [
        ("user_active", "on"),
        ("user_realname", &of.display_name),
        ("user_idle_text", &of.label),
        ("user_name", &of.user),
        ("user_pname", &of.user),
        ("user_pass", of.password.expose()),
        ("user_host", &site.host),
        ("user_outbound", &outbound),
        ("user_expiry", &expires),
    ] {
        let _ = writeln!(
            text,
            "    <{name} idx=\"1\" perm=\"R\">{}</{name}>",
            xml(value)
        );
    }
    setting(&mut text, "setting_server", &server(site, of));
    if of.admin.is_some() {
        setting(&mut text, "admin_mode_password", exposed(&of.admin));
    }
    text.push_str("  </phone-settings>\n");
    // Written in every file, or the key of the bootstrap file would stay with who owns the telephone afterwards.
    let key = match &of.hotline {
        Some(to) => format!("speed {}", xml(to)),
        None => "line".to_owned(),
    };
    let label = of.hotline.as_ref().map_or("", |_| &of.label);
    let _ = writeln!(
        text,
        "  <functionKeys e=\"2\">\n    <fkey idx=\"0\" context=\"1\" label=\"{}\" perm=\"R\">{key}</fkey>\n  \
         </functionKeys>",
        xml(label)
    );
    text.push_str("</settings>\n");
    text
}

pub(super) fn pointer(site: &Site) -> String {
    let mut text = HEAD.to_owned();
    setting(
        &mut text,
        "setting_server",
        &format!("{}{{mac}}.htm", site.base_url),
    );
    text.push_str("  </phone-settings>\n</settings>\n");
    text
}

fn setting(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "    <{name} perm=\"R\">{}</{name}>", xml(value));
}

/// The telephone's own file, with what proves that it is its own.
fn server(site: &Site, of: &Line) -> String {
    let plain = format!("{}{}.htm", site.base_url, of.mac);
    match (&of.file, plain.split_once("://")) {
        (Some(password), Some((scheme, rest))) => {
            format!("{scheme}://{}:{}@{rest}", of.mac, url(password.expose()))
        }
        _ => plain,
    }
}
