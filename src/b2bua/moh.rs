//! Music that an exchange plays because it is referred to it (`moh_method` `refer`, provisioning rules, section 7).
//!
//! Teams holds; the exchange gets a REFER in the dialog of its leg, whose Refer-To names the exchange's own music
//! (`moh_target` at the trunk's host). Its 2xx means that it takes care of the party: it plays from now on, and the dialog
//! and its media stay as they are. When Teams resumes, a re-INVITE with sendrecv in that dialog takes the party back, as
//! after a hold. NOTIFYs are answered, and followed: an exchange that refuses the REFER, does not answer it, or says
//! later that it came to nothing, is put on hold by a re-INVITE after all, and is not referred again in this call. One that
//! takes the REFER for a transfer, and hangs up, ends the call: it is to be configured with `reinvite`.

use tracing::info;

use super::bridge::held_by;
use super::call::Call;
use super::core::Core;
use super::leg::{Leg, Purpose};
use crate::directory::MohMethod;
use crate::media::LegId;
use crate::sdp::Direction;
use crate::sip::{Message, Method, Name, Transport};

/// How far an exchange was brought to play its own music by REFER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Referral {
    /// It was not asked, or has played and may be asked again.
    #[default]
    None,
    /// The REFER is out.
    Asked,
    /// It was taken.
    Taken,
    /// It was refused, or failed: the exchange is told by re-INVITE.
    Refused,
}

impl Call {
    /// Refers this leg's peer to its music, if that is how it wants to be told; whether it is told so.
    pub(super) fn refers_to_music(&mut self, core: &mut Core, id: LegId) -> bool {
        let Some(leg) = self.leg_mut(id) else {
            return false;
        };
        match (leg.music_uri(), leg.referral) {
            (None, _) | (_, Referral::Refused) => false,
            (_, Referral::Asked) => true,
            (Some(music), Referral::None | Referral::Taken) => {
                leg.send_refer(core, &music);
                true
            }
        }
    }

    /// The exchange answered our REFER.
    pub(super) fn on_refer_answered(&mut self, core: &mut Core, id: LegId, status: u16) {
        let Some(leg) = self.leg_mut(id) else { return };
        match leg.referral {
            Referral::Asked if (200..300).contains(&status) => {
                leg.referral = Referral::Taken;
                // It counts as held until a re-INVITE takes it back, also if Teams has resumed meanwhile.
                leg.told = held_by(leg);
                self.tell(core, id);
            }
            Referral::Asked => self.refer_failed(core, id, status),
            Referral::None | Referral::Taken | Referral::Refused => {}
        }
    }

    /// A NOTIFY of the exchange, already answered (RFC 3515 §2.4.4): what became of our REFER, if it says that.
    pub(super) fn on_refer_notified(&mut self, core: &mut Core, id: LegId, message: &Message) {
        let is_about_refer = message
            .header(Name::Event)
            .is_some_and(|event| event.bytes().starts_with(b"refer"));
        let status = notified_status(&message.body()).filter(|_| is_about_refer);
        let referral = self.leg(id).map_or(Referral::None, |leg| leg.referral);
        if let (Some(300..), Referral::Asked | Referral::Taken) = (status, referral) {
            self.refer_failed(core, id, status.unwrap_or_default());
        }
    }

    /// There is no music by REFER: if it is still held, the exchange is told by re-INVITE.
    pub(super) fn refer_failed(&mut self, core: &mut Core, id: LegId, status: u16) {
        info!(call = %self.id, leg = id.0, status, "a REFER to music failed");
        if let Some(leg) = self.leg_mut(id) {
            leg.referral = Referral::Refused;
            leg.told = Direction::SendRecv;
        }
        self.tell(core, id);
    }
}

impl Leg {
    /// Where the peer's own music is, if it is to be referred there.
    fn music_uri(&self) -> Option<String> {
        let trunk = self.peer.trunk()?;
        let target = trunk.profile.moh_target.as_deref()?;
        let hop = trunk.hop();
        let host = match hop.host.contains(':') {
            true => format!("[{}]", hop.host),
            false => hop.host,
        };
        let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
        let transport = match trunk.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        let uri = format!("<sip:{target}@{host}{port}{transport}>");
        (trunk.profile.moh_method == MohMethod::Refer).then_some(uri)
    }

    fn send_refer(&mut self, core: &mut Core, music: &str) {
        let contact = self.contact.clone();
        let Some(mut draft) = self.request(core, Method::Refer) else {
            return;
        };
        draft
            .header(Name::ReferTo, music)
            .header(Name::ReferredBy, contact);
        self.referral = Referral::Asked;
        self.send(core, draft, Purpose::Refer);
    }
}

/// The status in a `message/sipfrag` (RFC 3420).
fn notified_status(body: &[u8]) -> Option<u16> {
    let line = body.strip_prefix(b"SIP/2.0 ")?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sipfrag_tells_its_status() {
        assert_eq!(notified_status(b"SIP/2.0 200 OK"), Some(200));
        assert_eq!(
            notified_status(b"SIP/2.0 503 Service Unavailable\r\n"),
            Some(503)
        );
        for nothing in [
            "",
            "SIP/2.0",
            "SIP/2.0 2",
            "INVITE sip:a@b SIP/2.0",
            "SIP/2.0 xyz",
        ] {
            assert_eq!(notified_status(nothing.as_bytes()), None);
        }
    }
}
