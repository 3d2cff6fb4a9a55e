//! The called side of a call, and requests of the peer inside one.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{GIVES_UP, MAX_TAGS, Party, Repeating, Step, T1, cause, new_tag};
use crate::emulate::agent::{Behaviour, Move, phrase, refuse};
use crate::emulate::call::{By, Phase};
use crate::emulate::dialog::Dialog;
use crate::emulate::message::{Draft, Message, tag_of};
use crate::emulate::negotiation::{Agreed, Objection};
use crate::emulate::sdp::Direction;
use crate::emulate::wire::Inbound;

impl Party {
    pub(super) fn begin_answer(&mut self, inbound: Inbound, behaviour: Behaviour) {
        if let Behaviour::Late(after) = behaviour {
            let ordinary = Behaviour::Answer(Duration::from_millis(200));
            let later = Step::Begin(Box::new(inbound), ordinary);
            self.steps.push_back((Instant::now() + after, later));
            return;
        }
        self.respond(
            &inbound,
            Draft::response(&inbound.message, 100, phrase(100), ""),
        );
        let judged = if inbound.message.body.is_empty() {
            self.answer_awaited = true;
            Ok(self.ends.negotiation.offer(Direction::SendRecv))
        } else {
            self.fork_description = self.answer_in_fork(&inbound.message);
            self.answer_offer(&inbound.message)
        };
        self.invite = Some(inbound);
        match judged {
            Ok(description) => {
                self.description = Some(description);
                self.plan(&behaviour);
            }
            Err(objection) => {
                self.refuse_invite(objection.status().0, None, Some(&objection.to_string()))
            }
        }
    }

    /// The other client checks and nominates like the one that answers in the end (TDR-842).
    fn answer_in_fork(&mut self, message: &Message) -> Option<String> {
        let (media, negotiation) = self.ends.fork.as_mut()?;
        let (description, agreed) = negotiation.answer(&message.body, false).ok()?;
        media.configure(Agreed {
            send: false,
            ..agreed
        });
        Some(description)
    }

    /// Teams rings several clients, each with a tag of its own, then speaks on a third and answers on the first (TDR-504).
    pub(super) fn plan(&mut self, behaviour: &Behaviour) {
        if let Behaviour::Script(moves) = behaviour {
            return self.plan_script(moves);
        }
        let now = Instant::now();
        let first = tag_of(&self.dialog.local).unwrap_or_default().to_owned();
        let provisional = |status, tag: &str, described| Step::Provisional {
            status,
            tag: tag.to_owned(),
            described,
        };
        let forks = self.agent.role.manner().is_teams();
        let mut ring = || {
            self.steps.push_back((now, provisional(180, &first, false)));
            if forks {
                self.steps.push_back((
                    now + Duration::from_millis(20),
                    provisional(180, &new_tag(), false),
                ));
            }
        };
        match behaviour {
            Behaviour::Answer(after) => {
                ring();
                if forks {
                    self.steps.push_back((
                        now + Duration::from_millis(40),
                        provisional(183, &new_tag(), true),
                    ));
                }
                self.steps
                    .push_back((now + *after, Step::Answer { tag: first }));
            }
            Behaviour::EarlyMedia(after) => {
                self.steps.push_back((now, provisional(183, &first, true)));
                self.steps
                    .push_back((now + *after, Step::Answer { tag: first }));
            }
            Behaviour::Ring => ring(),
            Behaviour::Refuse(status) => self.steps.push_back((
                now,
                Step::Refuse {
                    status: *status,
                    contact: None,
                },
            )),
            Behaviour::Redirect(uri) => self.steps.push_back((
                now,
                Step::Refuse {
                    status: 302,
                    contact: Some(uri.clone()),
                },
            )),
            Behaviour::Trying
            | Behaviour::Silent
            | Behaviour::Manual
            | Behaviour::Late(_)
            | Behaviour::Script(_) => {}
        }
    }

    /// The first of the callee's clients has the tag that the party was born with.
    fn plan_script(&mut self, moves: &[Move]) {
        let mut tags = vec![tag_of(&self.dialog.local).unwrap_or_default().to_owned()];
        let mut at = Instant::now();
        for Move {
            after,
            status,
            fork,
            described,
        } in moves.iter().copied()
        {
            at += after;
            // A script of more forks than are counted would show nothing more.
            let fork = fork.min(MAX_TAGS);
            while tags.len() <= fork {
                tags.push(new_tag());
            }
            let tag = tags[fork].clone();
            let step = if status == 200 {
                Step::Answer { tag }
            } else {
                Step::Provisional {
                    status,
                    tag,
                    described,
                }
            };
            self.steps.push_back((at, step));
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        if let Step::Begin(inbound, behaviour) = step {
            return self.begin_answer(*inbound, behaviour);
        }
        let Some(inbound) = self.invite.clone() else {
            return;
        };
        match step {
            Step::Provisional {
                status,
                tag,
                described,
            } => {
                let mut draft = Draft::response(&inbound.message, status, phrase(status), &tag);
                self.dress(&mut draft, false);
                let other = self
                    .fork_description
                    .as_ref()
                    .filter(|_| tag != self.local_tag());
                let description = other.or(self.description.as_ref());
                if let Some(description) = description.filter(|_| described) {
                    draft.body("application/sdp", description);
                }
                self.respond(&inbound, draft);
                self.advance(Phase::Ringing);
            }
            Step::Begin(..) => {}
            Step::Answer { tag } => self.answer_invite(&inbound, &tag),
            Step::Refuse { status, contact } => self.refuse_invite(status, contact, None),
        }
    }

    pub(super) fn answer_invite(&mut self, inbound: &Inbound, tag: &str) {
        self.invite = None;
        self.steps.clear();
        self.dialog = Dialog {
            sequence: self.dialog.sequence,
            ..Dialog::called(&inbound.message, tag)
        };
        let description = self.description.clone().unwrap_or_default();
        self.respond_described(inbound, tag, description);
        self.advance(Phase::Answered);
    }

    /// A 200 to an INVITE, repeated until its ACK.
    pub(super) fn respond_described(&mut self, inbound: &Inbound, tag: &str, description: String) {
        let mut draft = Draft::response(&inbound.message, 200, phrase(200), tag);
        self.dress(&mut draft, false);
        draft.body("application/sdp", description);
        let bytes = self.respond(inbound, draft);
        self.repeat(inbound, bytes, true);
    }

    pub(super) fn refuse_invite(
        &mut self,
        status: u16,
        contact: Option<String>,
        reason: Option<&str>,
    ) {
        let Some(inbound) = self.invite.take() else {
            return;
        };
        self.steps.clear();
        let mut draft = refuse(&inbound.message, status);
        self.dress_plainly(&mut draft, false);
        if let Some(contact) = contact {
            draft.push("Contact", format!("<{contact}>"));
        }
        if let Some(reason) = reason {
            draft.push(
                "Warning",
                format!("399 emulator \"{}\"", reason.replace('"', "'")),
            );
        }
        if let Some(cause) = cause(status).filter(|_| self.agent.role.manner().is_teams()) {
            draft.push(
                "Reason",
                format!("Q.850;cause={cause};text=\"{}\"", phrase(status)),
            );
        }
        let bytes = self.respond(&inbound, draft);
        self.repeat(&inbound, bytes, false);
        self.end(By::Us, status, None);
    }

    pub(super) fn repeat(&mut self, inbound: &Inbound, bytes: Bytes, success: bool) {
        let now = Instant::now();
        // A 2xx is repeated on every transport (RFC 3261 §13.3.1.4), another final response on UDP only.
        let interval = if success || inbound.wire.transport() == "UDP" {
            T1
        } else {
            GIVES_UP
        };
        self.repeating = Some(Repeating {
            bytes,
            wire: inbound.wire.clone(),
            at: now + interval,
            interval,
            gives_up: now + GIVES_UP,
            success,
        });
    }

    // Requests inside the call

    pub(super) fn inside(&mut self, inbound: Inbound) {
        self.dialog.remote_sequence = inbound.message.sequence();
        if let Err(refusal) = self
            .agent
            .role
            .judge_inside(&self.agent, &inbound, &self.contact)
        {
            self.respond(&inbound, refusal);
            return;
        }
        match inbound.message.method() {
            "INVITE" => self.reinvited(&inbound),
            "BYE" => {
                let mut draft = Draft::response(&inbound.message, 200, phrase(200), "");
                self.dress_plainly(&mut draft, false);
                self.respond(&inbound, draft);
                self.end(By::Peer, 0, inbound.message.header("Reason"));
            }
            "OPTIONS" | "INFO" | "NOTIFY" => {
                let mut draft = Draft::response(&inbound.message, 200, phrase(200), "");
                self.dress(&mut draft, false);
                self.respond(&inbound, draft);
            }
            _ => {
                let mut draft = refuse(&inbound.message, 405);
                self.dress_plainly(&mut draft, false);
                self.respond(&inbound, draft);
            }
        }
    }

    pub(super) fn reinvited(&mut self, inbound: &Inbound) {
        if self.sent.iter().any(|s| s.method == "INVITE") || self.repeating.is_some() {
            self.respond(inbound, refuse(&inbound.message, 491));
            return;
        }
        self.dialog.refresh(&inbound.message);
        self.ends.counts.send_modify(|counts| counts.reinvites += 1);
        let judged = if inbound.message.body.is_empty() {
            self.answer_awaited = true;
            let direction = if self.held || self.last_direction() == Some(Direction::Inactive) {
                Direction::Inactive
            } else {
                Direction::SendRecv
            };
            Ok(self.ends.negotiation.offer(direction))
        } else {
            self.answer_offer(&inbound.message)
        };
        match judged {
            Ok(description) => self.respond_described(inbound, "", description),
            Err(objection) => {
                let mut draft = refuse(&inbound.message, objection.status().0);
                draft.push("Warning", format!("399 emulator \"{objection}\""));
                self.respond(inbound, draft);
            }
        }
    }

    pub(super) fn answer_offer(&mut self, message: &Message) -> Result<String, Objection> {
        if self.agent.role.manner().is_teams() && self.ends.negotiation.moved(&message.body) {
            self.agent
                .note("TDR-804", "the media address moved inside a call");
        }
        let (description, agreed) = self
            .ends
            .negotiation
            .answer(&message.body, self.held)
            .inspect_err(|objection| {
                self.agent.note(
                    objection.item(),
                    format!("an offer was refused: {objection}"),
                );
            })?;
        self.ends.media.configure(agreed);
        self.note_direction(&message.body);
        Ok(description)
    }

    pub(super) fn acknowledgement(&mut self, inbound: &Inbound) {
        if self.repeating.take().is_some_and(|r| r.success)
            && std::mem::take(&mut self.answer_awaited)
        {
            self.accept(&inbound.message.body);
        }
    }

    pub(super) fn cancelled(&mut self, inbound: &Inbound) {
        let Some(invite) = self.invite.take() else {
            self.respond(inbound, refuse(&inbound.message, 481));
            return;
        };
        self.steps.clear();
        let tag = tag_of(&self.dialog.local).unwrap_or_default().to_owned();
        self.respond(
            inbound,
            Draft::response(&inbound.message, 200, phrase(200), &tag),
        );
        let mut draft = Draft::response(&invite.message, 487, phrase(487), &tag);
        self.dress_plainly(&mut draft, false);
        let bytes = self.respond(&invite, draft);
        self.repeat(&invite, bytes, false);
        self.end(By::Peer, 487, inbound.message.header("Reason"));
    }
}
