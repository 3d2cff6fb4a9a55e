//! Grandstream: numbered parameters. A registration lasts minutes, not seconds.

use super::escape::xml;
use super::{Line, Site, exposed};
use crate::provisioning::device::PhoneTransport;
use std::fmt::Write;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<gs_provision version=\"1\">\n";
/// Files come by HTTPS.
const HTTPS: &str = "2";

pub(super) fn own(site: &Site, of: &Line) -> String {
    let transport = match site.transport {
        PhoneTransport::Udp => "0",
        PhoneTransport::Tcp => "1",
        PhoneTransport::Tls => "2",
    };
    let server = format!("{}:{}", site.host, site.port);
    let minutes = site.expires_s.div_ceil(60).to_string();
    let (mac, path) = (of.mac.to_string(), path(site));
    let mut pairs = vec![
        ("P271", "1"),
        ("P270", of.label.as_str()),
        ("P47", &server),
        ("P48", ""),
        ("P35", &of.user),
        ("P36", &of.user),
        ("P34", of.password.expose()),
        ("P3", &of.display_name),
        ("P130", transport),
        ("P32", &minutes),
        ("P71", of.hotline.as_deref().unwrap_or_default()),
        ("P212", HTTPS),
        ("P237", &path),
    ];
    if of.file.is_some() {
        pairs.extend([("P1360", mac.as_str()), ("P1361", exposed(&of.file))]);
    }
    if of.admin.is_some() {
        pairs.push(("P2", exposed(&of.admin)));
    }
    document(Some(&mac), &pairs)
}

pub(super) fn pointer(site: &Site) -> String {
    document(None, &[("P212", HTTPS), ("P237", &path(site))])
}

/// A telephone reads no file with another address in it.
fn document(mac: Option<&str>, pairs: &[(&str, &str)]) -> String {
    let mut text = HEAD.to_owned();
    if let Some(mac) = mac {
        let _ = writeln!(text, "  <mac>{mac}</mac>");
    }
    text.push_str("  <config version=\"1\">\n");
    for (name, value) in pairs {
        let _ = writeln!(text, "    <{name}>{}</{name}>", xml(value));
    }
    text.push_str("  </config>\n</gs_provision>\n");
    text
}

/// The way to the files without the scheme.
fn path(site: &Site) -> String {
    let url = site.base_url.trim_end_matches('/');
    url.split_once("://")
        .map_or(url, |(_, path)| path)
        .to_owned()
}
