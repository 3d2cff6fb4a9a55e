//! What the peer answers to requests of ours.

use std::time::Duration;

use tokio::time::Instant;

use super::{Party, Progress, Purpose, Sent, new_branch};
use crate::emulate::call::{By, CallError, Offer, Phase};
use crate::emulate::digest;
use crate::emulate::message::{Draft, Message};
use crate::emulate::sdp::Direction;
use crate::emulate::wire::Inbound;

impl Party {
    pub(super) async fn response(&mut self, inbound: Inbound) {
        let message = &inbound.message;
        let found = self
            .sent
            .iter()
            .position(|s| s.branch == message.branch() && s.method == message.method());
        let Some(at) = found else {
            // A 2xx that comes again wants its ACK again (RFC 3261 §13.2.2.4).
            if let Some((sequence, bytes, wire)) = self.acknowledged.clone()
                && message.method() == "INVITE"
                && message.sequence() == sequence
            {
                self.agent.send(&wire, bytes);
            }
            return;
        };
        let status = message.status().unwrap_or(0);
        if matches!(self.sent[at].purpose, Purpose::Call { .. }) && (101..300).contains(&status) {
            self.agent
                .role
                .judge_answer(&self.agent, message, &self.dialled);
            self.note_tag(message);
        }
        if status < 200 {
            return self.provisional(at, message);
        }
        let sent = self.sent.remove(at);
        if sent.method == "INVITE" && status >= 300 {
            self.acknowledge_refusal(&sent, message);
        }
        match sent.purpose {
            Purpose::Call {
                authorized,
                without_offer,
            } => match status {
                200..300 => {
                    self.established(message, without_offer, sent.progress)
                        .await
                }
                401 | 407 if !authorized => {
                    self.authorize(message, &sent.bytes, without_offer).await
                }
                _ => self.end(By::Peer, status, message.header("Reason")),
            },
            Purpose::Reinvite(offer, done) => {
                let outcome = self.reinvite_answered(status, message, offer).await;
                let _ = done.send(outcome);
            }
            Purpose::Ask(done) => {
                let _ = done.send(if status < 300 {
                    Ok(message.text.clone())
                } else {
                    Err(CallError::Refused(status))
                });
            }
            Purpose::Other => {}
        }
    }

    pub(super) fn provisional(&mut self, at: usize, message: &Message) {
        let sent = &mut self.sent[at];
        if sent.method == "INVITE" {
            sent.repeat = None;
            sent.gives_up = Instant::now() + Duration::from_secs(180);
        }
        let unwanted = sent.progress == Progress::Unwanted;
        if matches!(sent.progress, Progress::Sent | Progress::Unwanted) {
            sent.progress = Progress::Proceeding;
        }
        let Purpose::Call { without_offer, .. } = sent.purpose else {
            return;
        };
        if message.status() > Some(100) {
            if !without_offer && !message.body.is_empty() {
                self.accept(&message.body);
            }
            self.advance(Phase::Ringing);
        }
        if unwanted {
            self.send_cancel();
        }
    }

    pub(super) async fn established(
        &mut self,
        message: &Message,
        without_offer: bool,
        progress: Progress,
    ) {
        self.dialog.confirm(message);
        let role = &self.agent.role;
        self.dialog.routes.retain(|route| !role.is_own_route(route));
        let answer = if without_offer {
            self.answer_offer(message).ok()
        } else {
            None
        };
        let described = if without_offer {
            answer.is_some()
        } else {
            self.accept(&message.body)
        };
        self.acknowledge(message, answer).await;
        self.advance(Phase::Answered);
        // Cancelled too late, or answered by what is of no use: it has to be ended the ordinary way.
        if matches!(progress, Progress::Cancelled | Progress::Unwanted) || !described {
            self.bye(By::Us).await;
        }
    }

    pub(super) async fn reinvite_answered(
        &mut self,
        status: u16,
        message: &Message,
        offer: Offer,
    ) -> Result<(), CallError> {
        if status == 481 || status == 408 {
            self.end(By::Peer, status, message.header("Reason"));
        }
        if status >= 300 {
            return Err(CallError::Refused(status));
        }
        self.dialog.refresh(message);
        let answer = if offer == Offer::Absent {
            self.answer_offer(message).ok()
        } else {
            None
        };
        self.acknowledge(message, answer).await;
        if offer != Offer::Absent {
            self.accept(&message.body);
        }
        match offer {
            Offer::Direction(direction) => self.held = direction != Direction::SendRecv,
            Offer::Zero => self.held = true,
            Offer::Restart => self.held = false,
            Offer::Same | Offer::Rekeyed | Offer::Absent => {}
        }
        Ok(())
    }

    /// Takes the answer to our last offer; `false` if it is of no use.
    pub(super) fn accept(&mut self, body: &[u8]) -> bool {
        match self.ends.negotiation.accept(body) {
            Ok(agreed) => {
                self.ends.media.configure(agreed);
                self.note_direction(body);
                true
            }
            Err(objection) => {
                self.agent.note(
                    objection.item(),
                    format!("an answer was of no use: {objection}"),
                );
                false
            }
        }
    }

    pub(super) async fn acknowledge(&mut self, message: &Message, answer: Option<String>) {
        if !self.acknowledges {
            return;
        }
        let mut draft = self.dialog.request("ACK", Some(message.sequence()));
        self.dress_plainly(&mut draft, true);
        if let Some(answer) = answer {
            draft.body("application/sdp", answer);
        }
        match self.agent.role.connect(self.dialog.next_hop()).await {
            Ok(wire) => {
                let bytes = draft.print(
                    Some(&self.via(&wire, &new_branch())),
                    self.agent.role.capitals(),
                );
                self.agent.send(&wire, bytes.clone());
                self.acknowledged = Some((message.sequence(), bytes, wire));
            }
            Err(error) => self
                .agent
                .note("TDR-129", format!("an ACK could not be sent: {error}")),
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK of a refusal belongs to the INVITE's transaction.
    pub(super) fn acknowledge_refusal(&mut self, sent: &Sent, message: &Message) {
        let target = match sent.purpose {
            Purpose::Call { .. } => &self.dialled,
            _ => &self.dialog.remote_target,
        };
        let mut draft = Draft::request("ACK", target);
        for route in &self.dialog.routes {
            draft.push("Route", route);
        }
        draft
            .push("From", &self.dialog.local)
            .push("To", message.header("To").unwrap_or_default());
        draft
            .push("Call-ID", &self.dialog.call_id)
            .push("CSeq", format!("{} ACK", sent.sequence))
            .push("Max-Forwards", "70");
        let bytes = draft.print(
            Some(&self.via(&sent.wire, &sent.branch)),
            self.agent.role.capitals(),
        );
        self.agent.send(&sent.wire, bytes);
    }

    /// RFC 3261 §22.2: the same INVITE again, with credentials and the next CSeq.
    pub(super) async fn authorize(
        &mut self,
        challenge: &Message,
        invite: &[u8],
        without_offer: bool,
    ) {
        let answer = self
            .agent
            .role
            .credentials()
            .and_then(|c| digest::answer(challenge, c, "INVITE", &self.dialled));
        let (Some((name, value)), Ok(invite)) = (answer, Message::parse(invite, true)) else {
            return self.end(
                By::Peer,
                challenge.status().unwrap_or(401),
                challenge.header("Reason"),
            );
        };
        let mut draft = self.dialog.request("INVITE", None);
        self.dress(&mut draft, true);
        draft.push(name, value);
        if !without_offer {
            draft.body("application/sdp", String::from_utf8_lossy(&invite.body));
        }
        if let Err((_, reason)) = self
            .send(
                "INVITE",
                draft,
                Purpose::Call {
                    authorized: true,
                    without_offer,
                },
            )
            .await
        {
            self.end(By::Nobody, 503, Some(&reason));
        }
    }
}
