//! The task of one call: requests and responses with their repetitions, the dialog, offer and answer.
//!
//! It keeps RFC 3261 §13 to §17 as far as a peer in a laboratory needs them: every request has a client transaction
//! that repeats it on UDP, every received request's answer is kept for its repetitions, a 2xx is repeated until its ACK.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::agent::{Agent, Behaviour, phrase, refuse};
use super::call::{By, CallError, Command, Dial, Ended, Ends, Offer, Phase};
use super::dialog::Dialog;
use super::digest;
use super::message::{Draft, Message, tag_of};
use super::negotiation::{Agreed, Objection};
use super::sdp::{Direction, Sdp};
use super::wire::{Inbound, Wire};

/// RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const GIVES_UP: Duration = Duration::from_secs(32);
/// How long an ended call still answers repetitions.
const LINGERS: Duration = Duration::from_secs(2);
/// Answered requests kept for repetitions.
const MAX_ANSWERED: usize = 16;
/// Different To tags counted.
const MAX_TAGS: usize = 32;

/// What a party begins with.
pub(super) enum Script {
    /// Sends an INVITE.
    Call(Dial),
    /// Treats an INVITE as told.
    Answer(Box<Inbound>, Behaviour),
}

/// One side of a call.
pub(super) struct Party {
    agent: Arc<Agent>,
    ends: Ends,
    dialog: Dialog,
    contact: String,
    /// The Request-URI of our INVITE.
    dialled: String,
    sent: Vec<Sent>,
    answered: VecDeque<(String, Bytes)>,
    /// The INVITE that we have not answered finally.
    invite: Option<Inbound>,
    /// Our description in answer to it.
    description: Option<String>,
    /// That of the other client that rings; on a trunk without media bypass Teams speaks for all.
    fork_description: Option<String>,
    /// Whether the ACK of our 2xx has to bring an answer.
    answer_awaited: bool,
    repeating: Option<Repeating>,
    acknowledged: Option<(u32, Bytes, Wire)>,
    steps: VecDeque<(Instant, Step)>,
    tags: HashSet<String>,
    held: bool,
    over_at: Option<Instant>,
}

/// A request of ours that has no final response yet.
struct Sent {
    branch: String,
    method: &'static str,
    sequence: u32,
    bytes: Bytes,
    wire: Wire,
    repeat: Option<(Instant, Duration)>,
    gives_up: Instant,
    purpose: Purpose,
    progress: Progress,
}

/// How far a request of ours is.
#[derive(PartialEq)]
enum Progress {
    Sent,
    Proceeding,
    /// To be cancelled as soon as it proceeds (RFC 3261 §9.1).
    Unwanted,
    Cancelled,
}

enum Purpose {
    Call {
        authorized: bool,
        without_offer: bool,
    },
    Reinvite(Offer, oneshot::Sender<Result<(), CallError>>),
    Info(oneshot::Sender<Result<(), CallError>>),
    Other,
}

/// A final response to an INVITE that waits for its ACK.
struct Repeating {
    bytes: Bytes,
    wire: Wire,
    at: Instant,
    interval: Duration,
    gives_up: Instant,
    success: bool,
}

/// One step of the answer to an INVITE.
enum Step {
    Provisional {
        status: u16,
        tag: String,
        described: bool,
    },
    Answer {
        tag: String,
    },
    Refuse {
        status: u16,
        contact: Option<String>,
    },
}

impl Party {
    /// The calling side.
    pub fn calling(agent: Arc<Agent>, ends: Ends, call_id: String, dial: &Dial) -> Self {
        let dialog = Dialog::calling(&call_id, &dial.from, &dial.to, &dial.uri);
        let contact = agent.role.contact(&dial.user);
        Self::new(agent, ends, dialog, contact)
    }

    /// The called side.
    pub fn called(agent: Arc<Agent>, ends: Ends, inbound: &Inbound) -> Self {
        let dialog = Dialog::called(&inbound.message, &new_tag());
        let contact = agent
            .role
            .contact(super::message::user_of(inbound.message.uri()));
        Self::new(agent, ends, dialog, contact)
    }

    fn new(agent: Arc<Agent>, ends: Ends, dialog: Dialog, contact: String) -> Self {
        let dialled = dialog.remote_target.clone();
        Self {
            agent,
            ends,
            dialog,
            contact,
            dialled,
            sent: Vec::new(),
            answered: VecDeque::new(),
            invite: None,
            description: None,
            fork_description: None,
            answer_awaited: false,
            repeating: None,
            acknowledged: None,
            steps: VecDeque::new(),
            tags: HashSet::new(),
            held: false,
            over_at: None,
        }
    }

    /// Runs until the call is over and nobody could still repeat anything.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Inbound>, script: Script) {
        let mut closed = self.agent.closed.clone();
        match script {
            Script::Call(dial) => self.call(&dial).await,
            Script::Answer(inbound, behaviour) => self.begin_answer(*inbound, &behaviour),
        }
        let mut steered = true;
        while !self.is_over() {
            let due = self.deadline();
            tokio::select! {
                Some(inbound) = inbox.recv() => self.receive(inbound).await,
                command = self.ends.commands.recv(), if steered => match command {
                    Some(command) => self.obey(command).await,
                    None => steered = false,
                },
                () = tokio::time::sleep_until(due) => self.expire().await,
                _ = closed.changed() => break,
            }
        }
        self.ends.media.stop();
        self.agent.forget(&self.dialog.call_id);
    }

    // The called side

    fn begin_answer(&mut self, inbound: Inbound, behaviour: &Behaviour) {
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
                self.plan(behaviour);
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
    fn plan(&mut self, behaviour: &Behaviour) {
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
            Behaviour::Trying | Behaviour::Silent | Behaviour::Manual => {}
        }
    }

    fn step(&mut self, step: Step) {
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
            Step::Answer { tag } => self.answer_invite(&inbound, &tag),
            Step::Refuse { status, contact } => self.refuse_invite(status, contact, None),
        }
    }

    fn answer_invite(&mut self, inbound: &Inbound, tag: &str) {
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
    fn respond_described(&mut self, inbound: &Inbound, tag: &str, description: String) {
        let mut draft = Draft::response(&inbound.message, 200, phrase(200), tag);
        self.dress(&mut draft, false);
        draft.body("application/sdp", description);
        let bytes = self.respond(inbound, draft);
        self.repeat(inbound, bytes, true);
    }

    fn refuse_invite(&mut self, status: u16, contact: Option<String>, reason: Option<&str>) {
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

    fn repeat(&mut self, inbound: &Inbound, bytes: Bytes, success: bool) {
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

    // Requests of the peer

    async fn receive(&mut self, inbound: Inbound) {
        if inbound.message.status().is_some() {
            return self.response(inbound).await;
        }
        let key = format!("{}/{}", inbound.message.branch(), inbound.message.method());
        if let Some((_, bytes)) = self.answered.iter().find(|(k, _)| *k == key) {
            let bytes = bytes.clone();
            self.agent.send(&inbound.wire, bytes);
            return;
        }
        match inbound.message.method() {
            "ACK" => self.acknowledgement(&inbound),
            "CANCEL" => self.cancelled(&inbound),
            _ if !self.dialog.includes(&inbound.message) => {
                drop(self.respond(&inbound, refuse(&inbound.message, 481)))
            }
            _ if inbound.message.sequence() <= self.dialog.remote_sequence => {
                drop(self.respond(&inbound, refuse(&inbound.message, 500)))
            }
            _ => self.inside(inbound),
        }
    }

    fn inside(&mut self, inbound: Inbound) {
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

    fn reinvited(&mut self, inbound: &Inbound) {
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

    fn answer_offer(&mut self, message: &Message) -> Result<String, Objection> {
        if self.agent.role.manner().is_teams() && self.ends.negotiation.moved(&message.body) {
            self.agent
                .note("the media address moved inside a call (TDR-804)");
        }
        let (description, agreed) = self
            .ends
            .negotiation
            .answer(&message.body, self.held)
            .inspect_err(|objection| {
                self.agent
                    .note(format!("an offer was refused: {objection}"));
            })?;
        self.ends.media.configure(agreed);
        self.note_direction(&message.body);
        Ok(description)
    }

    fn acknowledgement(&mut self, inbound: &Inbound) {
        if self.repeating.take().is_some_and(|r| r.success)
            && std::mem::take(&mut self.answer_awaited)
        {
            self.accept(&inbound.message.body);
        }
    }

    fn cancelled(&mut self, inbound: &Inbound) {
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

    // Requests of ours

    async fn call(&mut self, dial: &Dial) {
        let mut draft = self.dialog.request("INVITE", None);
        self.dress(&mut draft, true);
        for (name, value) in &dial.headers {
            draft.push(name, value);
        }
        if !dial.without_offer {
            let offer = self.ends.negotiation.offer(Direction::SendRecv);
            draft.body("application/sdp", offer);
        }
        let purpose = Purpose::Call {
            authorized: false,
            without_offer: dial.without_offer,
        };
        if let Err((_, reason)) = self.send("INVITE", draft, purpose).await {
            self.end(By::Nobody, 503, Some(&reason));
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Ring => self.step(Step::Provisional {
                status: 180,
                tag: self.local_tag(),
                described: false,
            }),
            Command::Early => self.step(Step::Provisional {
                status: 183,
                tag: self.local_tag(),
                described: true,
            }),
            Command::Answer => self.step(Step::Answer {
                tag: self.local_tag(),
            }),
            Command::Reject(status) => self.refuse_invite(status, None, None),
            Command::Cancel => self.cancel().await,
            Command::Bye => self.bye(By::Us).await,
            Command::Reinvite(offer, done) => self.reinvite(offer, done).await,
            Command::Info(done) => {
                let draft = self.dialog.request("INFO", None);
                self.ask("INFO", draft, Purpose::Info(done)).await;
            }
        }
    }

    async fn reinvite(&mut self, offer: Offer, done: oneshot::Sender<Result<(), CallError>>) {
        let mut draft = self.dialog.request("INVITE", None);
        self.dress(&mut draft, true);
        let body = match offer {
            Offer::Direction(direction) => Some(self.ends.negotiation.offer(direction)),
            Offer::Zero => Some(self.ends.negotiation.zero_offer()),
            Offer::Same => Some(self.ends.negotiation.again()),
            Offer::Absent => None,
            Offer::Restart => match self.ends.media.move_on(self.agent.media).await {
                Ok(port) => Some(self.ends.negotiation.restart(port)),
                Err(error) => {
                    let _ = done.send(Err(CallError::Unable(error.to_string())));
                    return;
                }
            },
        };
        if let Some(body) = body {
            draft.body("application/sdp", body);
        }
        self.ask("INVITE", draft, Purpose::Reinvite(offer, done))
            .await;
    }

    /// Sends a request inside the call, unless the call is not up.
    async fn ask(&mut self, method: &'static str, draft: Draft, purpose: Purpose) {
        let phase = self.ends.phase.borrow().clone();
        let outcome = match phase {
            Phase::Answered => match self.send(method, draft, purpose).await {
                Ok(()) => return,
                Err((purpose, reason)) => (purpose, CallError::Unable(reason)),
            },
            Phase::Ended(ended) => (purpose, CallError::Ended(ended)),
            _ => (
                purpose,
                CallError::Unable("the call is not answered".to_owned()),
            ),
        };
        if let (Purpose::Reinvite(_, done) | Purpose::Info(done), error) = outcome {
            let _ = done.send(Err(error));
        }
    }

    async fn bye(&mut self, by: By) {
        if *self.ends.phase.borrow() != Phase::Answered {
            return;
        }
        let mut draft = self.dialog.request("BYE", None);
        self.dress_plainly(&mut draft, true);
        if let Err((_, reason)) = self.send("BYE", draft, Purpose::Other).await {
            self.agent
                .note(format!("a BYE could not be sent: {reason}"));
        }
        self.end(by, 0, None);
    }

    async fn cancel(&mut self) {
        let Some(sent) = self
            .sent
            .iter_mut()
            .find(|s| matches!(s.purpose, Purpose::Call { .. }))
        else {
            return;
        };
        match sent.progress {
            Progress::Sent => sent.progress = Progress::Unwanted,
            Progress::Proceeding => self.send_cancel(),
            Progress::Unwanted | Progress::Cancelled => {}
        }
    }

    /// RFC 3261 §9.1: on the same way, with the branch of the INVITE.
    fn send_cancel(&mut self) {
        let Some(invite) = self
            .sent
            .iter_mut()
            .find(|s| matches!(s.purpose, Purpose::Call { .. }))
        else {
            return;
        };
        invite.progress = Progress::Cancelled;
        let mut draft = Draft::request("CANCEL", &self.dialled);
        draft
            .push("From", &self.dialog.local)
            .push("To", &self.dialog.remote)
            .push("Call-ID", &self.dialog.call_id);
        draft
            .push("CSeq", format!("{} CANCEL", invite.sequence))
            .push("Max-Forwards", "70");
        let (branch, sequence, wire) =
            (invite.branch.clone(), invite.sequence, invite.wire.clone());
        self.transmit("CANCEL", sequence, branch, wire, &draft, Purpose::Other);
    }

    /// Sends a request to its next hop; gives the purpose back if there is no way there.
    async fn send(
        &mut self,
        method: &'static str,
        draft: Draft,
        purpose: Purpose,
    ) -> Result<(), (Purpose, String)> {
        let connecting = self.agent.role.connect(self.dialog.next_hop());
        let wire = match connecting.await {
            Ok(wire) => wire,
            Err(error) => return Err((purpose, error.to_string())),
        };
        self.transmit(
            method,
            self.dialog.sequence,
            new_branch(),
            wire,
            &draft,
            purpose,
        );
        Ok(())
    }

    fn transmit(
        &mut self,
        method: &'static str,
        sequence: u32,
        branch: String,
        wire: Wire,
        draft: &Draft,
        purpose: Purpose,
    ) {
        let bytes = draft.print(Some(&self.via(&wire, &branch)), self.agent.role.capitals());
        self.agent.send(&wire, bytes.clone());
        let now = Instant::now();
        let repeat = (wire.transport() == "UDP").then_some((now + T1, T1));
        self.sent.push(Sent {
            branch,
            method,
            sequence,
            bytes,
            wire,
            repeat,
            gives_up: now + GIVES_UP,
            purpose,
            progress: Progress::Sent,
        });
    }

    // Responses

    async fn response(&mut self, inbound: Inbound) {
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
            Purpose::Info(done) => {
                let _ = done.send(if status < 300 {
                    Ok(())
                } else {
                    Err(CallError::Refused(status))
                });
            }
            Purpose::Other => {}
        }
    }

    fn provisional(&mut self, at: usize, message: &Message) {
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

    async fn established(&mut self, message: &Message, without_offer: bool, progress: Progress) {
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

    async fn reinvite_answered(
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
            Offer::Same | Offer::Absent => {}
        }
        Ok(())
    }

    /// Takes the answer to our last offer; `false` if it is of no use.
    fn accept(&mut self, body: &[u8]) -> bool {
        match self.ends.negotiation.accept(body) {
            Ok(agreed) => {
                self.ends.media.configure(agreed);
                self.note_direction(body);
                true
            }
            Err(objection) => {
                self.agent
                    .note(format!("an answer was of no use: {objection}"));
                false
            }
        }
    }

    async fn acknowledge(&mut self, message: &Message, answer: Option<String>) {
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
                .note(format!("an ACK could not be sent: {error}")),
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK of a refusal belongs to the INVITE's transaction.
    fn acknowledge_refusal(&mut self, sent: &Sent, message: &Message) {
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
    async fn authorize(&mut self, challenge: &Message, invite: &[u8], without_offer: bool) {
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

    // Timers

    fn deadline(&self) -> Instant {
        let sent = self
            .sent
            .iter()
            .flat_map(|s| s.repeat.map(|r| r.0).into_iter().chain([s.gives_up]));
        let repeating = self.repeating.iter().map(|r| r.at.min(r.gives_up));
        let steps = self.steps.front().map(|s| s.0);
        let far = Instant::now() + Duration::from_secs(3600);
        sent.chain(repeating)
            .chain(steps)
            .chain(self.over_at)
            .fold(far, Instant::min)
    }

    async fn expire(&mut self) {
        let now = Instant::now();
        while self.steps.front().is_some_and(|s| s.0 <= now) {
            if let Some((_, step)) = self.steps.pop_front() {
                self.step(step);
            }
        }
        for sent in &mut self.sent {
            if let Some((at, interval)) = sent.repeat.filter(|(at, _)| *at <= now) {
                self.agent.send(&sent.wire, sent.bytes.clone());
                let next = if sent.method == "INVITE" {
                    interval * 2
                } else {
                    (interval * 2).min(T2)
                };
                sent.repeat = Some((at + next, next));
            }
        }
        while let Some(at) = self.sent.iter().position(|s| s.gives_up <= now) {
            let sent = self.sent.remove(at);
            match sent.purpose {
                Purpose::Call { .. } => self.end(By::Nobody, 408, None),
                Purpose::Reinvite(_, done) | Purpose::Info(done) => {
                    drop(done.send(Err(CallError::Refused(408))))
                }
                Purpose::Other => {}
            }
        }
        self.expire_repeating(now).await;
    }

    async fn expire_repeating(&mut self, now: Instant) {
        let Some(repeating) = &mut self.repeating else {
            return;
        };
        if repeating.gives_up <= now {
            let success = repeating.success;
            self.repeating = None;
            if success {
                self.agent.note("a 200 was never acknowledged");
                self.bye(By::Nobody).await;
            }
        } else if repeating.at <= now {
            self.agent.send(&repeating.wire, repeating.bytes.clone());
            repeating.interval = (repeating.interval * 2).min(T2);
            repeating.at = now + repeating.interval;
        }
    }

    // Small things

    fn is_over(&self) -> bool {
        self.over_at.is_some_and(|at| at <= Instant::now())
            && self.sent.is_empty()
            && self.repeating.is_none()
    }

    fn end(&mut self, by: By, status: u16, reason: Option<&str>) {
        if self.over_at.is_some() {
            return;
        }
        self.over_at = Some(Instant::now() + LINGERS);
        if self.repeating.as_ref().is_some_and(|r| r.success) {
            self.repeating = None;
        }
        self.ends.media.stop();
        if let Some((media, _)) = &self.ends.fork {
            media.stop();
        }
        self.ends.phase.send_replace(Phase::Ended(Ended {
            by,
            status,
            reason: reason.map(str::to_owned),
        }));
    }

    /// An ended call stays ended, an answered one does not ring.
    fn advance(&mut self, phase: Phase) {
        self.ends.phase.send_if_modified(|now| {
            let forward = matches!(
                (&*now, &phase),
                (Phase::Calling, _) | (Phase::Ringing, Phase::Answered)
            );
            if forward {
                *now = phase;
            }
            forward
        });
    }

    /// Sends a response and keeps it for repetitions of its request.
    fn respond(&mut self, inbound: &Inbound, draft: Draft) -> Bytes {
        let bytes = draft.print(None, self.agent.role.capitals());
        self.agent.send(&inbound.wire, bytes.clone());
        let key = format!("{}/{}", inbound.message.branch(), inbound.message.method());
        self.answered.retain(|(k, _)| *k != key);
        if self.answered.len() >= MAX_ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back((key, bytes.clone()));
        bytes
    }

    fn dress(&self, draft: &mut Draft, request: bool) {
        draft.push("Contact", format!("<{}>", self.contact));
        self.dress_plainly(draft, request);
    }

    fn dress_plainly(&self, draft: &mut Draft, request: bool) {
        self.agent.role.dress(draft, request);
    }

    fn via(&self, wire: &Wire, branch: &str) -> String {
        format!(
            "SIP/2.0/{} {};branch={branch};rport",
            wire.transport(),
            self.agent.role.sent_by(wire)
        )
    }

    fn local_tag(&self) -> String {
        tag_of(&self.dialog.local).unwrap_or_default().to_owned()
    }

    fn note_tag(&mut self, message: &Message) {
        if let Some(tag) = message.header("To").and_then(tag_of)
            && self.tags.len() < MAX_TAGS
            && self.tags.insert(tag.to_owned())
        {
            let tags = self.tags.len() as u32;
            self.ends.counts.send_modify(|counts| counts.tags = tags);
        }
    }

    fn note_direction(&self, body: &[u8]) {
        let direction = Sdp::parse(body).ok().map(|sdp| sdp.direction);
        self.ends
            .counts
            .send_modify(|counts| counts.direction = direction);
    }

    fn last_direction(&self) -> Option<Direction> {
        self.ends.counts.borrow().direction
    }
}

fn new_tag() -> String {
    format!("{:08x}", rand::random::<u32>())
}

fn new_branch() -> String {
    format!("z9hG4bK{:016x}", rand::random::<u64>())
}

/// The Q.850 causes that Teams sends (TDR-516).
fn cause(status: u16) -> Option<u8> {
    match status {
        404 => Some(1),
        480 => Some(18),
        486 => Some(34),
        603 => Some(21),
        _ => None,
    }
}
