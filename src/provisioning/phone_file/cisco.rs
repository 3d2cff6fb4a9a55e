//! Cisco SPA and Multiplatform phones: a flat profile.

use super::escape::{url, xml};
use super::{Line, Site, exposed};
use crate::provisioning::device::PhoneTransport;
use std::fmt::Write;

/// Whatever is dialled, after a pause.
const DIAL_PLAN: &str = "(*x.|+x.|x.)";

pub(super) fn own(site: &Site, of: &Line) -> String {
    let transport = match site.transport {
        PhoneTransport::Udp => "UDP",
        PhoneTransport::Tcp => "TCP",
        PhoneTransport::Tls => "TLS",
    };
    let proxy = format!("{}:{}", site.host, site.port);
    let expires = site.expires_s.to_string();
    let plan = of
        .hotline
        .as_ref()
        .map_or(DIAL_PLAN.to_owned(), |to| format!("(S0<:{to}>)"));
    let rule = match &of.file {
        None => rule(site),
        Some(password) => format!(
            "[--uid {} --pwd {}]{}",
            of.mac,
            url(password.expose()),
            rule(site)
        ),
    };
    let mut pairs = vec![
        ("Line_Enable_1_", "Yes"),
        ("Station_Name", of.label.as_str()),
        ("Short_Name_1_", &of.label),
        ("Display_Name_1_", &of.display_name),
        ("User_ID_1_", &of.user),
        ("Password_1_", of.password.expose()),
        ("Use_Auth_ID_1_", "Yes"),
        ("Auth_ID_1_", &of.user),
        ("Proxy_1_", &proxy),
        ("SIP_Transport_1_", transport),
        ("Register_1_", "Yes"),
        ("Register_Expires_1_", &expires),
        ("Dial_Plan_1_", &plan),
        ("Profile_Rule", &rule),
        ("Resync_From_SIP", "Yes"),
        ("Resync_Fails_On_FNF", "No"),
    ];
    if of.admin.is_some() {
        pairs.push(("Admin_Password", exposed(&of.admin)));
    }
    document(&pairs)
}

pub(super) fn pointer(site: &Site) -> String {
    document(&[("Profile_Rule", &rule(site)), ("Resync_Fails_On_FNF", "No")])
}

/// The telephone puts its own address in, in lower case.
fn rule(site: &Site) -> String {
    format!("{}$MA.xml", site.base_url)
}

fn document(pairs: &[(&str, &str)]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<flat-profile>\n".to_owned();
    for (name, value) in pairs {
        let _ = writeln!(text, "  <{name}>{}</{name}>", xml(value));
    }
    text.push_str("</flat-profile>\n");
    text
}
