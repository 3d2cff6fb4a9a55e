//! The task of one call: requests and responses with their repetitions, the dialog, offer and answer.
//!
//! It keeps RFC 3261 §13 to §17 as far as a peer in a laboratory needs them: every request has a client transaction
//! that repeats it on UDP, every received request's answer is kept for its repetitions, a 2xx is repeated until its ACK.

mod answering;
mod asking;
mod responses;
mod timers;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::agent::{Agent, Behaviour, refuse};
use super::call::{By, CallError, Dial, Ended, Ends, Offer, Phase};
use super::dialog::Dialog;
use super::message::{Draft, Message, tag_of};
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
    /// Whether a 2xx to our INVITE gets its ACK.
    acknowledges: bool,
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
    Ask(oneshot::Sender<Result<String, CallError>>),
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
    /// What [`Party::begin_answer`] left for later.
    Begin(Box<Inbound>, Behaviour),
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
        Self {
            acknowledges: !dial.quirks.unacknowledged,
            ..Self::new(agent, ends, dialog, contact)
        }
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
            acknowledges: true,
            over_at: None,
        }
    }

    /// Runs until the call is over and nobody could still repeat anything.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Inbound>, script: Script) {
        let mut closed = self.agent.closed.clone();
        match script {
            Script::Call(dial) => self.call(&dial).await,
            Script::Answer(inbound, behaviour) => self.begin_answer(*inbound, behaviour),
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
