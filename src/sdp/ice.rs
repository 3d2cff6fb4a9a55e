use super::{Section, SessionDescription};
use crate::base::Random;
use std::fmt;
use std::net::IpAddr;

/// What a description says of ICE for one medium (RFC 8839 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ice {
    /// Of the description's writer; new ones restart ICE (RFC 8839 §4.4.1.1.1).
    pub credentials: IceCredentials,
    /// The writer sends no checks (RFC 8445 §2.5).
    pub lite: bool,
    /// Whether there is a candidate for RTP over UDP, whatever its address.
    pub has_candidates: bool,
}

/// `a=ice-ufrag` and `a=ice-pwd` (RFC 8839 §5.4). The password is never printed but into a description.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// 4 to 256 characters; in the clear in every check.
    pub ufrag: String,
    /// 22 to 256 characters; checks to its owner prove that their sender knows it.
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({})", self.ufrag)
    }
}

impl IceCredentials {
    /// New ones of 40 and 130 random bits; RFC 8445 §5.3 asks for 24 and 128.
    pub fn draw(random: &mut Random) -> Self {
        Self {
            ufrag: random.token(8),
            pwd: random.token(26),
        }
    }

    fn read(description: &SessionDescription, section: Section<'_>) -> Option<Self> {
        let find = |name, least: usize| {
            let own = section.values(name).next();
            own.or_else(|| description.session().values(name).next())
                .filter(|text| (least..=256).contains(&text.len()) && text.bytes().all(is_ice_char))
        };
        Some(Self {
            ufrag: find("ice-ufrag", 4)?.to_owned(),
            pwd: find("ice-pwd", 22)?.to_owned(),
        })
    }

    /// Whether a peer that had `before` and has these now has restarted ICE: both must be new.
    pub fn restart(&self, before: &Self) -> bool {
        self.ufrag != before.ufrag && self.pwd != before.pwd
    }
}

impl Ice {
    /// What holds for the medium of this section: its own attributes, or the session's. `None` without credentials
    /// that keep to RFC 8839 §5.4.
    pub(super) fn read(description: &SessionDescription, section: Section<'_>) -> Option<Self> {
        Some(Self {
            credentials: IceCredentials::read(description, section)?,
            lite: description.session().has("ice-lite") || section.has("ice-lite"),
            has_candidates: section.values("candidate").any(is_usable),
        })
    }
}

/// RFC 8839 §5.1: `foundation component transport priority address port typ …`.
fn is_usable(candidate: &str) -> bool {
    let mut words = candidate.split_ascii_whitespace();
    let (component, transport) = (words.nth(1), words.next());
    let (priority, port) = (words.next(), words.nth(1));
    component == Some("1")
        && transport.is_some_and(|name| name.eq_ignore_ascii_case("udp"))
        && priority.is_some_and(|number| number.parse::<u32>().is_ok())
        && port.is_some_and(|number| number.parse::<u16>().is_ok())
        && words.next() == Some("typ")
        && words.next().is_some()
}

fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// The one candidate of a lite agent for a component, 1 for RTP and 2 for RTCP: a host's, at the highest priority for
/// an only address (RFC 8445 §5.1.2.1, §5.2; TDR-840).
pub(super) fn host_candidate(component: u8, address: IpAddr, port: u16) -> String {
    let priority = (126 << 24) + (65_535 << 8) + (256 - u32::from(component));
    format!("1 {component} UDP {priority} {address} {port} typ host")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "a=ice-ufrag:Xy12\r\na=ice-pwd:0123456789abcdefABCD+/\r\n";
    const CANDIDATE: &str = "a=candidate:1 1 UDP 2130706431 52.112.10.21 50320 typ host\r\n";

    fn read(session: &str, medium: &str) -> Option<Ice> {
        let text = format!("v=0\r\ns=-\r\n{session}m=audio 4000 RTP/SAVP 8\r\n{medium}");
        let description = SessionDescription::parse(text).unwrap();
        Ice::read(&description, description.media(0).unwrap().1)
    }

    /// Credentials of the medium go before those of the session; `a=ice-lite` belongs to the session.
    #[test]
    fn session_and_medium_are_joined() {
        let ice = read(CREDENTIALS, "").unwrap();
        assert_eq!(ice.credentials.ufrag, "Xy12");
        assert!(!ice.lite && !ice.has_candidates);
        let own = CREDENTIALS.replace("Xy12", "Zz99");
        let ice = read(&format!("a=ice-lite\r\n{CREDENTIALS}"), &(own + CANDIDATE)).unwrap();
        assert_eq!(ice.credentials.ufrag, "Zz99");
        assert!(ice.lite && ice.has_candidates);
    }

    /// RFC 8839 §5.4: too short, too long, or of other characters.
    #[test]
    fn bad_credentials_are_none() {
        for (good, bad) in [
            ("Xy12", "Xy1"),
            ("Xy12", "Xy:2"),
            ("0123456789abcdefABCD+/", "0123456789abcdefABCD+"),
            ("Xy12", &"x".repeat(257)),
        ] {
            assert_eq!(read("", &CREDENTIALS.replace(good, bad)), None, "{bad}");
        }
        assert_eq!(read("", "a=ice-ufrag:Xy12\r\n"), None);
    }

    /// Names for addresses (RFC 8839 §5.1, mDNS) are candidates too; TCP and RTCP alone are none for us.
    #[test]
    fn candidates_for_rtp_over_udp_count() {
        let has = |line: &str| {
            let medium = format!("{CREDENTIALS}a=candidate:{line}\r\n");
            read("", &medium).unwrap().has_candidates
        };
        assert!(has(
            "1 1 udp 2130706431 a-b.local 50320 typ host generation 0"
        ));
        assert!(has(
            "x 1 UDP 1 2001:db8::1 9 typ relay raddr 0.0.0.0 rport 0"
        ));
        for useless in [
            "1 2 UDP 1 192.0.2.1 50320 typ host",
            "1 1 TCP 1 192.0.2.1 9 typ host tcptype active",
            "1 1 UDP 1 192.0.2.1 70000 typ host",
            "1 1 UDP x 192.0.2.1 50320 typ host",
            "1 1 UDP 1 192.0.2.1 50320 host",
            "1 1 UDP",
            "",
        ] {
            assert!(!has(useless), "{useless}");
        }
    }

    /// RFC 8839 §4.4.1.1.1: only both together say that ICE begins anew.
    #[test]
    fn a_restart_changes_both() {
        let old = read(CREDENTIALS, "").unwrap().credentials;
        let with = |ufrag: &str, pwd: &str| IceCredentials {
            ufrag: ufrag.into(),
            pwd: pwd.into(),
        };
        assert!(with("new1", "new-").restart(&old));
        assert!(!with("new1", &old.pwd).restart(&old) && !with(&old.ufrag, "new").restart(&old));
        assert!(!old.restart(&old));
    }

    /// What we draw is what RFC 8839 §5.4 allows, and shows no password.
    #[test]
    fn drawn_credentials_can_be_read() {
        let drawn = IceCredentials::draw(&mut Random::from_number(1));
        let (ufrag, pwd) = (&drawn.ufrag, &drawn.pwd);
        let lines = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        assert_eq!(read("", &lines).unwrap().credentials, drawn);
        assert!(!format!("{drawn:?}").contains(pwd));
    }
}
