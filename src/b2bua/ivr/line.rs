//! One telephone on the line: its leg, and the conversation on it.

use std::net::IpAddr;
use std::time::Instant;

use super::dialogue::{Dialogue, Event, Output};
use super::{ActivationAnswer, answer_plainly, ask};
use crate::b2bua::core::Core;
use crate::b2bua::keys;
use crate::b2bua::leg::{Leg, State};
use crate::directory::Mac;
use crate::media::{Command, Sound};
use crate::sip::{ClientKey, Message, Method, ServerKey, Source};

#[derive(Debug)]
pub(super) struct Line {
    pub leg: Leg,
    mac: Mac,
    source: IpAddr,
    dialogue: Dialogue,
}

impl Line {
    pub fn new(leg: Leg, mac: Mac, source: IpAddr) -> Self {
        Self {
            leg,
            mac,
            source,
            dialogue: Dialogue::default(),
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.dialogue.deadline()
    }

    pub fn outcome(&self) -> &'static str {
        self.dialogue.outcome()
    }

    pub fn begin(&mut self, core: &mut Core) {
        self.on(core, Event::Begins);
    }

    pub fn pressed(&mut self, core: &mut Core, key: char) {
        self.on(core, Event::Key(key));
    }

    pub fn answered(&mut self, core: &mut Core, answer: ActivationAnswer) {
        self.on(core, Event::Answer(answer));
    }

    pub fn on_time(&mut self, core: &mut Core) {
        self.on(core, Event::Timeout);
    }

    fn on(&mut self, core: &mut Core, event: Event) {
        if !self.leg.is_alive() {
            return;
        }
        let (directory, mut out) = (core.directory.clone(), Vec::new());
        let lasts = |what| directory.announcement(what).duration();
        self.dialogue.on(event, core.now, lasts, &mut out);
        for output in out {
            match output {
                Output::Say(what) => {
                    let clip = core.directory.announcement(what);
                    let play = self.leg.playing(Sound::Announcement, clip);
                    let leg = self.leg.id;
                    core.media(Command::Play { leg, play });
                }
                Output::Hush => core.media(Command::Play {
                    leg: self.leg.id,
                    play: None,
                }),
                Output::Ask(code) => ask(core, self.leg.id, self.mac, code, self.source),
                Output::HangUp => self.hang_up(core),
            }
        }
    }

    /// Ends it from our side. RFC 3261 §15: no BYE before the ACK.
    pub fn hang_up(&mut self, core: &mut Core) {
        self.leg.close_media(core);
        match &mut self.leg.state {
            State::Accepted { owes_bye } => *owes_bye = Some(None),
            State::Confirmed => {
                self.leg.state = State::Leaving;
                self.leg.send_bye(core, None);
            }
            _ => {}
        }
    }

    pub fn acknowledged(&mut self, core: &mut Core, source: &Source) {
        if !self.leg.may_come_from(source) {
            return;
        }
        self.leg.peer.follow(source);
        if let State::Accepted { owes_bye } = &self.leg.state {
            let owes = owes_bye.is_some();
            self.leg.state = State::Confirmed;
            if owes {
                self.hang_up(core);
            }
        }
    }

    /// The answer to our BYE, or that there is none.
    pub fn left(&mut self, core: &mut Core, key: ClientKey, answer: Option<&Message>) {
        let status = answer.map_or(408, Message::status);
        if status < 200 {
            return;
        }
        self.leg.done(core, key);
        if let (401 | 407, Some(answer)) = (status, answer)
            && self.leg.may_authenticate(answer)
        {
            return self.leg.send_bye(core, None);
        }
        self.leg.state = State::Ended;
    }

    /// A request of the telephone: it may hang up, and tell of keys.
    pub fn request(&mut self, core: &mut Core, key: ServerKey, message: &Message, source: &Source) {
        if !self.leg.may_come_from(source) {
            return core.answer(key, message, 403, false);
        }
        if self.leg.dialog_of(message).is_none() {
            return core.answer(key, message, 481, false);
        }
        self.leg.peer.follow(source);
        if message.method() == Method::Bye {
            core.answer(key, message, 200, false);
            self.leg.close_media(core);
            self.leg.state = State::Ended;
            return;
        }
        answer_plainly(core, key, message, &self.leg);
        // Who has keys in its media tells of them twice; once is enough.
        if message.method() == Method::Info
            && !self.leg.anchor.has_events()
            && let Ok(Some((pressed, _))) = keys::pressed(message)
        {
            self.pressed(core, pressed);
        }
    }
}
