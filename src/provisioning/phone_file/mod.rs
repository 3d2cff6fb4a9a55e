//! The files that desk telephones fetch: which names they ask for, and what they find there.
//!
//! A telephone asks for several names in the order of its family. Of those one is its own and holds its credentials; the
//! others only lead to it. Below the line: a name and what is known go in, a text comes out, the same for the same.

mod baresip;
mod cisco;
mod escape;
mod grandstream;
mod name;
mod polycom;
mod snom;
mod yealink;

pub use name::{FileName, Part};

use super::device::{Family, Mac, PhoneTransport};
use crate::directory::{ACTIVATE, Secret, bootstrap_user};

/// Where telephones find their files, and where they register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What comes before the name of a file, with a slash at its end.
    pub base_url: String,
    /// The registrar's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// By what.
    pub transport: PhoneTransport,
    /// Seconds that a registration is asked to last.
    pub expires_s: u32,
}

/// What a telephone is told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which one it is.
    pub mac: Mac,
    /// On its display, beside the key of the line.
    pub label: String,
    /// Who it is to others.
    pub display_name: String,
    /// As whom it registers.
    pub user: String,
    /// With which password.
    pub password: Secret,
    /// Where a lifted handset calls at once.
    pub hotline: Option<String>,
    /// For its own menu.
    pub admin: Option<Secret>,
    /// With its address as user name, for its own file.
    pub file: Option<Secret>,
}

impl Line {
    /// Of a telephone that is nobody's yet: it can be activated, and do nothing else.
    pub fn bootstrap(mac: Mac, password: Secret) -> Self {
        Self {
            mac,
            label: "Activate".to_owned(),
            display_name: "Activate".to_owned(),
            user: bootstrap_user(&mac.bytes()),
            password,
            hotline: Some(ACTIVATE.to_owned()),
            admin: None,
            file: None,
        }
    }
}

/// The file that is a telephone's own.
pub fn own(family: Family, site: &Site, line: &Line) -> String {
    match family {
        Family::Yealink => yealink::own(site, line),
        Family::Polycom => polycom::own(site, line),
        Family::Grandstream => grandstream::own(site, line),
        Family::Cisco => cisco::own(site, line),
        Family::Snom => snom::own(site, line),
        Family::Generic => baresip::own(site, line),
    }
}

/// A file that leads to it, of one telephone or of all of a family; none if the family needs no such file.
pub fn pointer(family: Family, site: &Site, mac: Option<Mac>) -> Option<String> {
    match family {
        Family::Yealink => Some(yealink::pointer(site, mac)),
        Family::Polycom => Some(polycom::pointer(mac)),
        Family::Grandstream => Some(grandstream::pointer(site)),
        Family::Cisco => Some(cisco::pointer(site)),
        Family::Snom => Some(snom::pointer(site)),
        Family::Generic => None,
    }
}

/// What kind of file it is to HTTP.
pub fn content_type(family: Family) -> &'static str {
    match family {
        Family::Yealink | Family::Generic => "text/plain; charset=utf-8",
        Family::Polycom | Family::Grandstream | Family::Cisco | Family::Snom => {
            "text/xml; charset=utf-8"
        }
    }
}

/// A secret that may not be there.
fn exposed(secret: &Option<Secret>) -> &str {
    secret.as_ref().map_or("", Secret::expose)
}

#[cfg(test)]
mod tests;
