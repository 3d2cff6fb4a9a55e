//! The line on which a telephone is activated (provisioning rules: section 12.1): a telephone that nobody has activated calls
//! `activate`, hears what to do, and presses the digits of its code.
//!
//! It is no call: it takes no channel, there is no other party and no record. Which telephone calls is said by the name that
//! it has proven, which holds its MAC address. Whether a code is right is decided above, by whoever answers
//! [`Output::Activate`]; here is only what is heard, and when. There are so many lines at once, and each ends by itself.

mod dialogue;
mod line;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use self::line::Line;
use super::announcement::Invited;
use super::core::{Core, SUPPORTED};
use super::leg::{Leg, Peer, State};
use super::refusal::Refusal;
use super::{Calls, Output, Report};
use crate::base::Redact;
use crate::directory::{ACTIVATE, Mac, Phone, Secret, bootstrap_user};
use crate::media::{self, Command, LegId, MediaError};
use crate::sdp::{Codec, Direction};
use crate::sip::{ClientKey, Message, Method, Name, ServerKey, Source, Uri};
use uuid::Uuid;

/// Telephones that are being activated at once.
const MOST: usize = 100;

/// Names a question of [`Output::Activate`]. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ActivationId(pub(super) LegId);

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationAnswer {
    /// The telephone belongs to the code's user from now on.
    Bound,
    /// It is not valid for this telephone, now.
    NotValid,
    /// There were too many wrong ones; the caller hears the same.
    Locked,
    /// Nothing could be found out, and nothing was changed.
    Busy,
}

/// Telephones that are being activated.
#[derive(Debug, Default)]
pub(super) struct Lines(HashMap<LegId, Line>);

impl Lines {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn has(&self, leg: LegId) -> bool {
        self.0.contains_key(&leg)
    }

    pub fn has_phone(&self, name: &str) -> bool {
        let mut lines = self.0.values();
        lines.any(|line| line.leg.is_alive() && line.leg.peer.is_phone(name))
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(Line::deadline).min()
    }
}

impl Calls {
    /// An INVITE of a telephone that nobody has activated: to its activation, or nowhere.
    pub(super) fn on_bootstrap_invite(
        &mut self,
        invited: &Invited,
        mac: Mac,
    ) -> Result<(), Refusal> {
        let uri = Uri::parse(invited.message.request_uri());
        let uri = uri.map_err(|e| Refusal::Malformed(e.to_string()))?;
        let called = uri.user.unwrap_or_default();
        if !called.eq_ignore_ascii_case(ACTIVATE) {
            return Err(Refusal::Bootstrap);
        }
        if self.draining {
            return Err(Refusal::Draining);
        }
        let core = &mut self.core;
        // Pairs of ports that the calls of which there may be more could ask for.
        let spoken_for = 2 * core.config.max_calls.saturating_sub(self.calls.len());
        if self.lines.len() >= MOST || core.ports.free(core.now) <= spoken_for {
            return Err(Refusal::Overloaded("activations"));
        }
        let phone = unboxed(&mac, core.config.registrar.bootstrap_password.clone());
        let peer = self.at(&phone, invited.source);
        let line = begin(&mut self.core, invited, peer, mac)?;
        info!(phone = %Redact(&phone.auth_user), "a telephone is to be activated");
        self.lines.0.insert(line.leg.id, line);
        Ok(())
    }

    /// The answer to [`Output::Activate`].
    pub fn activated(&mut self, id: ActivationId, answer: ActivationAnswer, now: Instant) {
        self.core.now = now;
        let ActivationId(leg) = id;
        self.with_line(leg, |line, core| line.answered(core, answer));
        self.run();
    }

    /// The relay heard a key, or cannot serve the line.
    pub(super) fn on_line_media(&mut self, leg: LegId, event: &media::Event) {
        match event {
            media::Event::Key { key, .. } => {
                self.with_line(leg, |line, core| line.pressed(core, *key));
            }
            media::Event::Failed { .. } => self.with_line(leg, Line::hang_up),
            _ => {}
        }
    }

    pub(super) fn on_line_time(&mut self) {
        let now = self.core.now;
        let all = self.lines.0.iter();
        let due: Vec<LegId> = all
            .filter(|(_, line)| line.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for leg in due {
            self.with_line(leg, Line::on_time);
        }
    }

    /// Nobody is activated any longer: we are going down.
    pub(super) fn give_up_lines(&mut self) {
        for leg in self.lines.0.keys().copied().collect::<Vec<_>>() {
            self.with_line(leg, Line::hang_up);
        }
    }

    /// The ACK of our 200.
    pub(super) fn on_line_ack(&mut self, leg: LegId, source: &Source) {
        self.with_line(leg, |line, core| line.acknowledged(core, source));
    }

    /// Our 200 stayed without ACK.
    pub(super) fn on_line_no_ack(&mut self, leg: LegId) {
        self.with_line(leg, |line, core| {
            line.leg.state = State::Confirmed;
            line.hang_up(core);
        });
    }

    /// The answer to our BYE, or that there is none.
    pub(super) fn on_line_answer(&mut self, leg: LegId, key: ClientKey, answer: Option<&Message>) {
        self.with_line(leg, |line, core| line.left(core, key, answer));
    }

    /// A request of the telephone in the dialog.
    pub(super) fn on_line_request(
        &mut self,
        leg: LegId,
        key: ServerKey,
        message: &Message,
        source: &Source,
    ) {
        self.with_line(leg, |line, core| line.request(core, key, message, source));
    }

    /// A line with nobody on it is forgotten.
    fn with_line(&mut self, id: LegId, act: impl FnOnce(&mut Line, &mut Core)) {
        let Some(line) = self.lines.0.get_mut(&id) else {
            return;
        };
        act(line, &mut self.core);
        if matches!(line.leg.state, State::Ended)
            && let Some(line) = self.lines.0.remove(&id)
        {
            self.core.forget_leg(&line.leg);
            self.core.report(Report::Activation {
                outcome: line.outcome(),
            });
        }
    }
}

/// A telephone of which nothing is known but its MAC address.
fn unboxed(mac: &Mac, password: Option<Secret>) -> Arc<Phone> {
    Arc::new(Phone {
        device: Uuid::nil(),
        customer: Uuid::nil(),
        user: None,
        extension: ACTIVATE.into(),
        auth_user: bootstrap_user(mac).into(),
        password: password.unwrap_or_else(|| Secret::new("")),
        display_name: "".into(),
        number: None,
        active: false,
        bootstrap: Some(*mac),
    })
}

/// Answers the telephone and begins to speak.
fn begin(core: &mut Core, invited: &Invited, peer: Peer, mac: Mac) -> Result<Line, Refusal> {
    let Invited {
        key,
        message,
        source,
        local_tag,
    } = *invited;
    let mut leg = Leg::incoming(core, peer, key, message, source, local_tag, ACTIVATE)?;
    // Without an offer there is no knowing whether sounds can be played.
    if leg.late_offer {
        return Err(Refusal::Media(MediaError::NothingAgreed));
    }
    let is_of_use = |codec: &&Codec| {
        let names = ["PCMA", "PCMU", "telephone-event"];
        let mut names = names.into_iter();
        codec.clock == 8000 && names.any(|name| codec.name.eq_ignore_ascii_case(name))
    };
    let codecs: Vec<Codec> = leg
        .anchor
        .offered()
        .iter()
        .filter(is_of_use)
        .cloned()
        .collect();
    let answer = leg.anchor.answer(&codecs, Direction::SendRecv);
    let answer = answer.map_err(Refusal::Media)?;
    leg.open_media(core);
    if let Some(config) = leg.media_config() {
        let (leg, config) = (leg.id, Box::new(config));
        core.media(Command::Configure { leg, config });
    }
    let passage = Arc::new(leg.anchor.ear());
    core.media(Command::Listen {
        leg: leg.id,
        passage,
    });
    core.dialogs.insert(local_tag.to_owned(), leg.id);
    leg.expect_ack(core, key);
    leg.state = State::Accepted { owes_bye: None };
    let mut draft = core.response(message, 200, false);
    draft.copy(message, Name::RecordRoute);
    draft
        .to_tag(local_tag)
        .header(Name::Contact, &leg.contact)
        .header(Name::Allow, Core::allow(&leg.peer))
        .header(Name::Supported, SUPPORTED)
        .body("application/sdp", answer);
    core.endpoint.respond(key, draft, core.now);
    let mut line = Line::new(leg, mac, source.remote.ip());
    line.begin(core);
    Ok(line)
}

/// Asks whoever knows codes.
fn ask(core: &mut Core, leg: LegId, mac: Mac, code: String, source: IpAddr) {
    core.outputs.push_back(Output::Activate {
        id: ActivationId(leg),
        mac,
        code,
        source,
    });
}

/// What a request means that is no BYE: a key, or nothing.
fn answer_plainly(core: &mut Core, key: ServerKey, message: &Message, leg: &Leg) {
    match message.method() {
        Method::Invite | Method::Update => core.answer(key, message, 488, false),
        Method::Info | Method::Options | Method::Notify => {
            let mut draft = core.response(message, 200, false);
            draft
                .header(Name::Contact, &leg.contact)
                .header(Name::Allow, Core::allow(&leg.peer))
                .header(Name::Supported, SUPPORTED);
            core.endpoint.respond(key, draft, core.now);
        }
        _ => core.answer(key, message, 405, false),
    }
}
