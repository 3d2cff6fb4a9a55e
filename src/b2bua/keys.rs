//! Keys that are told by INFO (`application/dtmf-relay`, `application/dtmf`): what a peer tells reaches the other one in
//! the form that it has, and what the relay takes out of the media goes out as INFO, one request for each key, in order.

use std::time::Duration;

use bytes::Bytes;
use tracing::{debug, info};

use super::Report;
use super::call::Call;
use super::core::{Core, SUPPORTED};
use super::leg::{Leg, Purpose};
use crate::directory::Dtmf;
use crate::media::{Command, LegId};
use crate::sip::{Message, Method, Name, ServerKey};

/// Keys that wait to be told to one peer.
const MAX_WAITING: usize = 32;
/// What we read, for Accept.
const ACCEPTED: &str = "application/dtmf-relay, application/dtmf";
/// How long a key was pressed of which a peer does not say it.
const USUAL: Duration = Duration::from_millis(160);
/// The longest that is believed.
const LONGEST: Duration = Duration::from_secs(5);

/// A key, and for how long it was pressed.
type Pressed = (char, Duration);

impl Call {
    /// An INFO inside a dialog of this leg (RFC 6086 §3, §4).
    pub(super) fn on_info(
        &mut self,
        core: &mut Core,
        id: LegId,
        key: ServerKey,
        message: &Message,
    ) {
        let Some(leg) = self.leg(id) else { return };
        let teams = leg.peer.is_teams();
        // TDR-511: Teams tells nothing by it, and hears 200.
        let read = if teams { Ok(None) } else { pressed(message) };
        let status = match &read {
            Ok(_) => 200,
            Err(status) => *status,
        };
        let mut draft = core.response(message, status, teams);
        match status {
            200 => draft
                .header(Name::Contact, &leg.contact)
                .header(Name::Allow, Core::allow(&leg.peer))
                .header(Name::Supported, SUPPORTED),
            415 => draft.header(Name::Accept, ACCEPTED),
            // RFC 6086 §4.2.2: we want no package at all.
            469 => draft.header(Name::Extension("Recv-Info"), ""),
            _ => &mut draft,
        };
        core.endpoint.respond(key, draft, core.now);
        let Ok(Some(pressed)) = read else { return };
        // Who has keys in its media tells of them twice; once is enough.
        if leg.dtmf() == Dtmf::Info || !leg.anchor.has_events() {
            self.pass_on(core, id, pressed);
        } else {
            debug!(leg = %id.0, "an INFO tells of a key that came by media");
        }
    }

    /// A key of this leg's peer reaches its partner, if there is one.
    fn pass_on(&mut self, core: &mut Core, id: LegId, (key, duration): Pressed) {
        let partner = self.partner(id).and_then(|partner| self.leg_mut(partner));
        let Some(partner) = partner.filter(|partner| partner.has_media()) else {
            return;
        };
        if partner.dtmf() == Dtmf::Info {
            return partner.tell(core, (key, duration));
        }
        core.media(Command::Dial {
            leg: partner.id,
            key,
            duration,
        });
    }

    /// The relay heard a key of which this leg's peer is to be told.
    pub(super) fn on_key(&mut self, core: &mut Core, id: LegId, pressed: Pressed) {
        if let Some(leg) = self.leg_mut(id) {
            leg.tell(core, pressed);
        }
    }

    /// The peer's answer to an INFO of ours.
    pub(super) fn on_told(&mut self, core: &mut Core, id: LegId, status: u16) {
        if status >= 300 {
            info!(call = %self.id, leg = %id.0, status, "a peer does not take a key by INFO");
        }
        if let Some(leg) = self.leg_mut(id) {
            leg.tell_next(core);
        }
    }
}

impl Leg {
    /// In which form the peer has keys.
    pub fn dtmf(&self) -> Dtmf {
        self.peer.dtmf()
    }

    /// Tells the peer of a key, after those that wait.
    fn tell(&mut self, core: &mut Core, pressed: Pressed) {
        if !self.is_confirmed() || self.keys.len() >= MAX_WAITING {
            let trunk = self.peer.label();
            return core.report(Report::KeyLost { trunk });
        }
        self.keys.push_back(pressed);
        self.tell_next(core);
    }

    /// One at a time: requests may overtake each other, and keys must not.
    fn tell_next(&mut self, core: &mut Core) {
        let is_info = |purpose: &Purpose| matches!(purpose, Purpose::Info(_));
        if self.pending.iter().any(|(_, purpose)| is_info(purpose)) {
            return;
        }
        // Who has left hears no more.
        if !self.is_confirmed() {
            return self.keys.clear();
        }
        if let Some((key, duration)) = self.keys.pop_front() {
            let ms = duration.as_millis().max(1);
            let body = format!("Signal={key}\r\nDuration={ms}\r\n");
            self.send_info(core, body.into());
        }
    }

    /// Sends an INFO, or sends it again with credentials.
    pub(super) fn send_info(&mut self, core: &mut Core, body: Bytes) {
        let Some(mut draft) = self.request(core, Method::Info) else {
            return;
        };
        draft.body("application/dtmf-relay", &body);
        self.send(core, draft, Purpose::Info(body));
    }
}

/// The key that an INFO tells of, if it tells of one; else the status to refuse it with.
pub(super) fn pressed(info: &Message) -> Result<Option<Pressed>, u16> {
    if info.header(Name::Extension("Info-Package")).is_some() {
        return Err(469);
    }
    let body = info.body();
    if body.is_empty() {
        return Ok(None);
    }
    let is = |name: &str| {
        info.content_type()
            .is_some_and(|kind| kind.eq_ignore_ascii_case(name))
    };
    let text = std::str::from_utf8(&body).map_err(|_| 400u16);
    if is("application/dtmf-relay") {
        relayed(text?).ok_or(400)
    } else if is("application/dtmf") {
        let text = text?.trim();
        let signal = text.rsplit('=').next().unwrap_or(text);
        Ok(Some((key(signal).ok_or(400u16)?, USUAL)))
    } else {
        Err(415)
    }
}

/// `Signal=5` and `Duration=160`, one a line, in any order; spaces and case are as peers please.
fn relayed(text: &str) -> Option<Option<Pressed>> {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.split_once('=')?;
            found
                .trim()
                .eq_ignore_ascii_case(name)
                .then_some(value.trim())
        })
    };
    let signal = field("Signal")?;
    // Flash is no key.
    if signal == "16" || signal.eq_ignore_ascii_case("hf") || signal == "!" {
        return Some(None);
    }
    let duration = match field("Duration") {
        Some(ms) => Duration::from_millis(ms.parse().ok()?).min(LONGEST),
        None => USUAL,
    };
    Some(Some((key(signal)?, duration)))
}

/// A key by its sign, or by its number as an event.
fn key(signal: &str) -> Option<char> {
    let numbered = match signal {
        "10" => Some('*'),
        "11" => Some('#'),
        "12" => Some('A'),
        "13" => Some('B'),
        "14" => Some('C'),
        "15" => Some('D'),
        _ => None,
    };
    let mut signs = signal.chars();
    let one = signs.next().filter(|_| signs.next().is_none());
    let sign = one.map(|sign| sign.to_ascii_uppercase());
    numbered.or(sign.filter(|sign| "0123456789*#ABCD".contains(*sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Cisco's, Asterisk's and others' look.
    #[test]
    fn bodies_of_many_peers_are_read() {
        let ms = Duration::from_millis;
        for (text, read) in [
            ("Signal=5\r\nDuration=160\r\n", Some(Some(('5', ms(160))))),
            ("signal= #\nduration= 90", Some(Some(('#', ms(90))))),
            ("Duration=100\r\nSignal=11\r\n", Some(Some(('#', ms(100))))),
            ("Signal=d", Some(Some(('D', USUAL)))),
            ("Signal=1\r\nDuration=999999", Some(Some(('1', LONGEST)))),
            ("Signal=16\r\nDuration=160", Some(None)),
            ("Signal=\r\nDuration=160", None),
            ("Signal=55", None),
            ("Signal=5\r\nDuration=-1", None),
            ("hello", None),
        ] {
            assert_eq!(relayed(text), read, "{text}");
        }
    }
}
