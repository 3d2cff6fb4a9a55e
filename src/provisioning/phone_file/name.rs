use crate::provisioning::device::{Family, Mac};

/// The name of a file that a telephone asks for or brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName {
    /// Whose, if the name says so.
    pub mac: Option<Mac>,
    form: Form,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A telephone's own, with its credentials.
    Own,
    /// One that leads to it.
    Pointer,
    /// One that telephones bring, such as a log, and may ask for again.
    Brought,
}

/// How a name is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `<mac>.boot`
    Boot,
    /// `<mac>.cfg`, which is Yealink's own file and Poly's master file.
    Cfg,
    /// `<mac>-tollgate.cfg`, to which Poly's master file leads.
    PolycomOwn,
    /// `cfg<mac>.xml`
    GrandstreamOwn,
    /// `cfg<mac>` and `cfg<mac>.bin`, which we do not make: the telephone goes on to `cfg<mac>.xml`.
    GrandstreamBinary,
    /// `<mac>.xml`
    CiscoOwn,
    /// `<type>-<MAC>.htm`
    SnomOwn,
    /// `<mac>.accounts`
    GenericOwn,
    /// `<mac>-….log`, `<mac>-local.cfg` and the like.
    Brought,
    /// Of all telephones of a family.
    Common(Family),
}

/// Longer names are nobody's.
const LONGEST: usize = 64;
/// What Poly and Yealink telephones keep on the server.
const BROUGHT: [&str; 8] = [
    "-local.cfg",
    "-phone.cfg",
    "-web.cfg",
    "-license.cfg",
    "-directory.xml",
    "-calls.xml",
    "-contact.xml",
    "-favorite.xml",
];

impl FileName {
    /// In whatever case; none if no telephone asks for such a name.
    pub fn read(name: &str) -> Option<Self> {
        if name.len() > LONGEST || !name.bytes().all(is_plain) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        let of_one = one_telephone(&name).map(|(mac, form)| Self {
            mac: Some(mac),
            form,
        });
        let of_all = || {
            family(&name).map(|family| Self {
                mac: None,
                form: Form::Common(family),
            })
        };
        of_one.or_else(of_all)
    }

    /// The family that alone asks for such a name.
    pub fn family(self) -> Option<Family> {
        match self.form {
            Form::Boot => Some(Family::Yealink),
            Form::PolycomOwn => Some(Family::Polycom),
            Form::GrandstreamOwn | Form::GrandstreamBinary => Some(Family::Grandstream),
            Form::CiscoOwn => Some(Family::Cisco),
            Form::SnomOwn => Some(Family::Snom),
            Form::GenericOwn => Some(Family::Generic),
            Form::Common(family) => Some(family),
            Form::Cfg | Form::Brought => None,
        }
    }

    /// What the file is to a telephone of this family; none if it has no business with it.
    pub fn part(self, family: Family) -> Option<Part> {
        match (self.form, family) {
            (Form::Cfg, Family::Yealink)
            | (Form::PolycomOwn, Family::Polycom)
            | (Form::GrandstreamOwn, Family::Grandstream)
            | (Form::CiscoOwn, Family::Cisco)
            | (Form::SnomOwn, Family::Snom)
            | (Form::GenericOwn, Family::Generic) => Some(Part::Own),
            (Form::Boot, Family::Yealink) | (Form::Cfg, Family::Polycom) => Some(Part::Pointer),
            (Form::Common(common), family) if common == family => Some(Part::Pointer),
            (Form::Brought, _) => Some(Part::Brought),
            _ => None,
        }
    }
}

fn is_plain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')
}

/// `name` in lower case.
fn one_telephone(name: &str) -> Option<(Mac, Form)> {
    if let Some(rest) = name.strip_prefix("cfg") {
        let (mac, rest) = address(rest)?;
        return match rest {
            ".xml" => Some((mac, Form::GrandstreamOwn)),
            "" | ".bin" => Some((mac, Form::GrandstreamBinary)),
            _ => None,
        };
    }
    if let Some((_, mac)) = name.strip_suffix(".htm").and_then(|n| n.rsplit_once('-')) {
        let (mac, rest) = address(mac)?;
        return rest.is_empty().then_some((mac, Form::SnomOwn));
    }
    let (mac, rest) = address(name)?;
    let form = match rest {
        ".boot" => Form::Boot,
        ".cfg" => Form::Cfg,
        "-tollgate.cfg" => Form::PolycomOwn,
        ".xml" => Form::CiscoOwn,
        ".htm" => Form::SnomOwn,
        ".accounts" => Form::GenericOwn,
        rest if BROUGHT.contains(&rest) => Form::Brought,
        rest if rest.starts_with('-') && rest.ends_with(".log") => Form::Brought,
        _ => return None,
    };
    Some((mac, form))
}

/// The twelve digits that a text begins with, and what follows.
fn address(text: &str) -> Option<(Mac, &str)> {
    let (digits, rest) = text.split_at_checked(12)?;
    let is_address = digits.bytes().all(|c| c.is_ascii_hexdigit());
    Some((digits.parse().ok().filter(|_| is_address)?, rest))
}

/// Whose common file a name is.
fn family(name: &str) -> Option<Family> {
    let (stem, kind) = name.rsplit_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match (stem, kind) {
        ("000000000000", "cfg") => Some(Family::Polycom),
        (stem, "cfg" | "boot") if stem.strip_prefix('y').is_some_and(digits) => {
            Some(Family::Yealink)
        }
        (stem, "cfg") if stem.starts_with("spa") && stem.len() > 3 => Some(Family::Cisco),
        (stem, "xml") if stem.starts_with("cfg") => Some(Family::Grandstream),
        (stem, "htm") if stem.starts_with("snom") => Some(Family::Snom),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each family's names in the order in which it asks.
    #[test]
    fn telephones_ask_for_their_names() {
        use Part::{Brought, Own, Pointer};
        for (family, name, part) in [
            (Family::Yealink, "001565aabbcc.boot", Some(Pointer)),
            (Family::Yealink, "y000000000000.boot", Some(Pointer)),
            (Family::Yealink, "y000000000108.cfg", Some(Pointer)),
            (Family::Yealink, "001565aabbcc.cfg", Some(Own)),
            (Family::Yealink, "001565aabbcc-local.cfg", Some(Brought)),
            (Family::Polycom, "0004f2aabbcc.cfg", Some(Pointer)),
            (Family::Polycom, "000000000000.cfg", Some(Pointer)),
            (Family::Polycom, "0004f2aabbcc-tollgate.cfg", Some(Own)),
            (Family::Polycom, "0004f2aabbcc-app.log", Some(Brought)),
            (Family::Grandstream, "cfg000b82aabbcc", None),
            (Family::Grandstream, "cfg000b82aabbcc.bin", None),
            (Family::Grandstream, "cfg000b82aabbcc.xml", Some(Own)),
            (Family::Grandstream, "cfggxp2170.xml", Some(Pointer)),
            (Family::Grandstream, "cfg.xml", Some(Pointer)),
            (Family::Cisco, "spa504G.cfg", Some(Pointer)),
            (Family::Cisco, "000E08AABBCC.xml", Some(Own)),
            (Family::Snom, "snomD735.htm", Some(Pointer)),
            (Family::Snom, "snomD735-000413AABBCC.htm", Some(Own)),
            (Family::Snom, "000413AABBCC.htm", Some(Own)),
            (Family::Generic, "02aabbccddee.accounts", Some(Own)),
            (Family::Snom, "001565aabbcc.cfg", None),
            (Family::Yealink, "cfg.xml", None),
        ] {
            let read = FileName::read(name).expect(name);
            assert_eq!(read.part(family), part, "{name}");
            assert!(
                read.family()
                    .is_none_or(|of| of == family || part.is_none()),
                "{name}"
            );
        }
    }

    #[test]
    fn what_no_telephone_asks_for() {
        for name in [
            "",
            "index.html",
            "../001565aabbcc.cfg",
            "001565aabbcc",
            "001565aabbcc.cfg.bak",
            "001565aabbc.cfg",
            "011565aabbcc.cfg",
            "001565aabbcc-other.cfg",
            "001565äabbcc.cfg",
            "y.cfg",
            "spa.cfg",
            "cfg000b82aabbcc.xml.xml",
            "001565aabbcc\n.cfg",
            &"0".repeat(65),
        ] {
            // A common file of Grandstream's may have a model of any name.
            let read = FileName::read(name).filter(|read| read.mac.is_some());
            assert_eq!(read, None, "{name}");
        }
        assert_eq!(FileName::read("index.html"), None);
        assert_eq!(FileName::read("y.cfg"), None);
    }
}
