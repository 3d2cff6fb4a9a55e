//! One call of an emulator, and the handle by which tests and the demonstration steer it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::agent::{Agent, Behaviour};
use super::media::{Media, Report};
use super::message::{Message, tag_of};
use super::negotiation::{Manner, Negotiation, Shape};
use super::party::{Party, Script};
use super::sdp::Direction;
use super::tone::Heard;
use super::trace::{Traced, Way};
use super::wire::Inbound;

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The INVITE is out, or came in.
    Calling,
    /// A provisional response with a tag was sent or received.
    Ringing,
    /// A 2xx was sent or received.
    Answered,
    /// Over.
    Ended(Ended),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Who ended it.
    pub by: By,
    /// The final status of an INVITE that failed, or 0.
    pub status: u16,
    /// The Reason header of the message that ended it.
    pub reason: Option<String>,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The emulator.
    Us,
    /// The other side.
    Peer,
    /// Nobody: a timer ran out or a connection could not be made.
    Nobody,
}

/// Why something asked of a call did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call is over.
    #[error("the call ended: {0:?}")]
    Ended(Ended),
    /// It did not happen in time.
    #[error("it did not happen within the emulator's patience")]
    Patience,
    /// The peer refused the request inside the call.
    #[error("the peer answered {0}")]
    Refused(u16),
    /// No socket, no connection, or too many calls.
    #[error("the call could not be made: {0}")]
    Unable(String),
}

/// How a PBX asks to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// `a=inactive`, the only way of Teams (TDR-604).
    Inactive,
    /// `a=sendonly`: music of its own.
    SendOnly,
    /// An all-zero address.
    ZeroAddress,
}

/// What a handle tells its call.
#[derive(Debug)]
pub(super) enum Command {
    Ring,
    Early,
    Answer,
    Reject(u16),
    Bye,
    Cancel,
    Reinvite(Offer, oneshot::Sender<Result<(), CallError>>),
    Ask(Request, oneshot::Sender<Result<String, CallError>>),
}

/// A request inside a call, besides those that a call makes by itself.
#[derive(Debug)]
pub(super) struct Request {
    pub method: &'static str,
    pub headers: Vec<(&'static str, String)>,
}

/// What a re-INVITE offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Direction(Direction),
    Zero,
    /// What was last said, word for word.
    Same,
    /// What was last said, with new keys.
    Rekeyed,
    /// No description: the peer is to offer.
    Absent,
    /// The call moves to another endpoint, with new ICE credentials.
    Restart,
}

/// A call, seen from one emulator. Dropping the handle does not end the call.
pub struct EmuCall {
    call_id: String,
    invite: String,
    agent: Arc<Agent>,
    media: Arc<Media>,
    fork: Option<Arc<Media>>,
    commands: mpsc::Sender<Command>,
    phase: watch::Receiver<Phase>,
    counts: watch::Receiver<Counts>,
}

/// What happened inside a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// INVITEs inside the call that were received.
    pub reinvites: u32,
    /// Different To tags seen in answers to our INVITE.
    pub tags: u32,
    /// The direction of the peer's last description, as the peer says it.
    pub direction: Option<Direction>,
}

impl EmuCall {
    /// The Call-ID of this leg.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The INVITE that started the call, empty for our own.
    pub fn invite(&self) -> &str {
        &self.invite
    }

    /// How far it is now.
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// What happened inside it.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until it rings or is answered.
    pub async fn ringing(&self) -> Result<(), CallError> {
        self.reach(|phase| matches!(phase, Phase::Ringing | Phase::Answered))
            .await
    }

    /// Waits until it is answered.
    pub async fn answered(&self) -> Result<(), CallError> {
        self.reach(|phase| *phase == Phase::Answered).await
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Result<Ended, CallError> {
        match self.reach(|_| false).await {
            Err(CallError::Ended(ended)) => Ok(ended),
            Err(other) => Err(other),
            Ok(()) => Err(CallError::Patience),
        }
    }

    /// Says 180.
    pub async fn ring(&self) {
        self.tell(Command::Ring).await;
    }

    /// Says 183 with a description.
    pub async fn early_media(&self) {
        self.tell(Command::Early).await;
    }

    /// Answers.
    pub async fn answer(&self) {
        self.tell(Command::Answer).await;
    }

    /// Refuses with this status.
    pub async fn reject(&self, status: u16) {
        self.tell(Command::Reject(status)).await;
    }

    /// Hangs up an answered call.
    pub async fn bye(&self) {
        self.tell(Command::Bye).await;
    }

    /// Gives up a call that is not answered.
    pub async fn cancel(&self) {
        self.tell(Command::Cancel).await;
    }

    /// Holds by a re-INVITE; done when the peer agreed.
    pub async fn hold(&self, hold: Hold) -> Result<(), CallError> {
        self.reinvite(match hold {
            Hold::Inactive => Offer::Direction(Direction::Inactive),
            Hold::SendOnly => Offer::Direction(Direction::SendOnly),
            Hold::ZeroAddress => Offer::Zero,
        })
        .await
    }

    /// Resumes by a re-INVITE.
    pub async fn resume(&self) -> Result<(), CallError> {
        self.reinvite(Offer::Direction(Direction::SendRecv)).await
    }

    /// Refreshes the session by a re-INVITE with the description last sent, word for word (TDR-512).
    pub async fn refresh(&self) -> Result<(), CallError> {
        self.reinvite(Offer::Same).await
    }

    /// Sends a re-INVITE with new keys, whose roll-over counter begins at 0 again (TDR-834).
    pub async fn rekey(&self) -> Result<(), CallError> {
        self.reinvite(Offer::Rekeyed).await
    }

    /// Sends a re-INVITE without a description.
    pub async fn reinvite_without_offer(&self) -> Result<(), CallError> {
        self.reinvite(Offer::Absent).await
    }

    /// Moves to another endpoint, which restarts ICE (TDR-844); media flows again once that has a path.
    pub async fn restart_ice(&self) -> Result<(), CallError> {
        self.reinvite(Offer::Restart).await
    }

    /// Counts of the media of the other client that rang, on a call that came in with media bypass.
    pub fn fork_report(&self) -> Option<Report> {
        self.fork.as_ref().map(|media| media.report())
    }

    /// Sends an INFO without a body.
    pub async fn info(&self) -> Result<(), CallError> {
        self.request("INFO", Vec::new()).await.map(drop)
    }

    /// Asks the peer to transfer the call (RFC 3515), in the words of Teams (TDR-704, TDR-705); the answer's text.
    pub async fn refer(&self, to: &str, by: &str) -> Result<String, CallError> {
        let headers = vec![
            ("Refer-To", format!("<{to}>")),
            ("Referred-By", format!("<{by}>")),
        ];
        self.request("REFER", headers).await
    }

    /// Sends a request with these headers inside the call; the answer's text if it is a 2xx.
    pub async fn request(
        &self,
        method: &'static str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<String, CallError> {
        let (done, outcome) = oneshot::channel();
        self.tell(Command::Ask(Request { method, headers }, done))
            .await;
        self.patiently(outcome).await
    }

    /// What a Replaces header must say to name this dialog to the peer (RFC 3891 §3); nothing before a 2xx.
    pub fn replaces(&self) -> Option<String> {
        let answer = self.messages().into_iter().find_map(|m| {
            (m.first_line.starts_with("SIP/2.0 2") && m.cseq.ends_with("INVITE")).then_some(m)
        })?;
        let message = Message::parse(answer.text.as_bytes(), true).ok()?;
        let tag = |name| message.header(name).and_then(tag_of);
        let (caller, called) = (tag("From")?, tag("To")?);
        let (theirs, ours) = match answer.way {
            Way::In => (called, caller),
            Way::Out => (caller, called),
        };
        Some(format!("{};to-tag={theirs};from-tag={ours}", self.call_id))
    }

    /// Waits until `found` finds something in the messages of this leg, asked every 20 ms.
    pub async fn sees<T>(&self, found: impl Fn(&[Traced]) -> Option<T>) -> Result<T, CallError> {
        let ends = tokio::time::Instant::now() + self.agent.patience;
        loop {
            if let Some(found) = found(&self.messages()) {
                return Ok(found);
            }
            if tokio::time::Instant::now() >= ends {
                return Err(CallError::Patience);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Plays a tone of `frequency` Hz from now on; 0 is silence.
    pub fn play(&self, frequency: f64) {
        self.media.play(frequency);
    }

    /// Sends digits by telephone-event (RFC 4733).
    pub fn dial(&self, digits: &str) {
        self.media.dial(digits);
    }

    /// What was heard so far.
    pub fn heard(&self) -> Heard {
        self.media.heard()
    }

    /// Counts of the media so far.
    pub fn report(&self) -> Report {
        self.media.report()
    }

    /// The messages of this leg so far.
    pub fn messages(&self) -> Vec<Traced> {
        self.agent.trace.of_call(&self.call_id)
    }

    /// The last message of this leg whose start line begins with `start`, if there was one.
    pub fn message(&self, start: &str) -> Option<String> {
        self.messages()
            .into_iter()
            .rev()
            .find(|m| m.first_line.starts_with(start))
            .map(|m| m.text)
    }

    /// Waits until `true` comes out of what was heard since now, asked every 20 ms; what was heard then.
    pub async fn hears(&self, enough: impl Fn(&Heard) -> bool) -> Result<Heard, CallError> {
        let (from, ends) = (
            std::time::Instant::now(),
            tokio::time::Instant::now() + self.agent.patience,
        );
        loop {
            let heard = self.heard().since(from);
            if enough(&heard) {
                return Ok(heard);
            }
            if tokio::time::Instant::now() >= ends {
                return Err(CallError::Patience);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the last 400 ms of what was heard since now are a pure tone of `frequency` Hz.
    pub async fn hears_tone(&self, frequency: f64) -> Result<(), CallError> {
        self.hears(|heard| {
            let last = heard.windows.iter().rev().take(20);
            last.clone().count() == 20 && last.filter(|w| w.is_tone(frequency)).count() >= 19
        })
        .await
        .map(drop)
    }

    /// Waits until a melody of three notes or more is heard in which `silenced` Hz does not sound; what was heard then.
    /// What was under way when the melody began is given time to arrive.
    pub async fn hears_melody(&self, silenced: f64) -> Result<Heard, CallError> {
        let ends = tokio::time::Instant::now() + self.agent.patience;
        loop {
            let heard = self
                .hears(|heard| heard.notes().len() >= 3 && heard.silence() < 0.5)
                .await?;
            if heard.tone(silenced) == 0.0 {
                return Ok(heard);
            }
            if tokio::time::Instant::now() >= ends {
                return Err(CallError::Patience);
            }
        }
    }

    /// Waits until nothing has come for 300 ms.
    pub async fn falls_silent(&self) -> Result<(), CallError> {
        const GAP: Duration = Duration::from_millis(300);
        let ends = tokio::time::Instant::now() + self.agent.patience;
        loop {
            let from = std::time::Instant::now();
            tokio::time::sleep(GAP).await;
            if self.heard().since(from).windows.is_empty() {
                return Ok(());
            }
            if tokio::time::Instant::now() >= ends {
                return Err(CallError::Patience);
            }
        }
    }

    async fn reinvite(&self, offer: Offer) -> Result<(), CallError> {
        let (done, outcome) = oneshot::channel();
        self.tell(Command::Reinvite(offer, done)).await;
        self.patiently(outcome).await
    }

    /// A call that is over takes no commands; what was asked of it then has no effect.
    async fn tell(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    async fn patiently<T>(
        &self,
        outcome: oneshot::Receiver<Result<T, CallError>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(self.agent.patience, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.over()),
            Err(_) => Err(CallError::Patience),
        }
    }

    async fn reach(&self, reached: impl Fn(&Phase) -> bool) -> Result<(), CallError> {
        let mut phase = self.phase.clone();
        let wait = phase.wait_for(|phase| reached(phase) || matches!(phase, Phase::Ended(_)));
        match tokio::time::timeout(self.agent.patience, wait).await {
            Err(_) => Err(CallError::Patience),
            Ok(Err(_)) => Err(self.over()),
            Ok(Ok(now)) => match &*now {
                Phase::Ended(ended) => Err(CallError::Ended(ended.clone())),
                _ => Ok(()),
            },
        }
    }

    fn over(&self) -> CallError {
        match self.phase() {
            Phase::Ended(ended) => CallError::Ended(ended),
            _ => CallError::Unable("the emulator stopped".to_owned()),
        }
    }
}

/// Everything that a new call of ours needs.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    /// The Request-URI.
    pub uri: String,
    /// Values without tags.
    pub from: String,
    pub to: String,
    /// The user part of our Contact.
    pub user: String,
    /// Whether the INVITE goes without a description.
    pub without_offer: bool,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// What is special about it.
    pub quirks: Quirks,
}

/// What is special about a call of Teams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Its offer.
    pub shape: Shape,
    /// A location (PIDF-LO) that goes with the offer as `multipart/mixed` (TDR-1002).
    pub location: Option<String>,
    /// Whether a 2xx is never acknowledged (TDR-514).
    pub unacknowledged: bool,
    /// The sequence number of the first packet.
    pub sequence: Option<u16>,
}

/// Starts a call of ours.
pub(super) async fn dial(agent: Arc<Agent>, dial: Dial) -> Result<EmuCall, CallError> {
    let call_id = format!("{:032x}", rand::random::<u128>());
    let inbox = agent
        .inbox(&call_id)
        .ok_or_else(|| CallError::Unable("too many calls".to_owned()))?;
    let (ends, handle) = wired(&agent, &call_id, String::new(), &dial.quirks)
        .await
        .inspect_err(|_| agent.forget(&call_id))?;
    let party = Party::calling(agent, ends, call_id, &dial);
    tokio::spawn(party.run(inbox, Script::Call(dial)));
    Ok(handle)
}

/// Takes a call that came in.
pub(super) async fn accept(
    agent: Arc<Agent>,
    inbound: Inbound,
    inbox: mpsc::Receiver<Inbound>,
    behaviour: Behaviour,
) -> Result<EmuCall, CallError> {
    let call_id = inbound.message.call_id().to_owned();
    let text = inbound.message.text.clone();
    let quirks = Quirks::default();
    let (mut ends, mut handle) = wired(&agent, &call_id, text, &quirks).await?;
    if agent.role.manner() == Manner::TeamsBypass {
        let (media, negotiation) = endpoint(&agent, &quirks).await?;
        handle.fork = Some(media.clone());
        ends.fork = Some((media, negotiation));
    }
    let party = Party::called(agent, ends, &inbound);
    tokio::spawn(party.run(inbox, Script::Answer(Box::new(inbound), behaviour)));
    Ok(handle)
}

/// A party's ends of what joins it to its handle.
pub(super) struct Ends {
    pub commands: mpsc::Receiver<Command>,
    pub phase: watch::Sender<Phase>,
    pub counts: watch::Sender<Counts>,
    pub media: Arc<Media>,
    pub negotiation: Negotiation,
    /// The other client that rings.
    pub fork: Option<(Arc<Media>, Negotiation)>,
}

async fn endpoint(agent: &Agent, quirks: &Quirks) -> Result<(Arc<Media>, Negotiation), CallError> {
    let manner = agent.role.manner();
    let mux = manner.is_secure() && quirks.shape != Shape::NoMux;
    let media = Media::start(agent.media, mux)
        .await
        .map_err(|e| CallError::Unable(e.to_string()))?;
    let negotiation =
        Negotiation::shaped(manner, quirks.shape, agent.media, media.ports).speaking(agent.law);
    Ok((Arc::new(media), negotiation))
}

async fn wired(
    agent: &Arc<Agent>,
    call_id: &str,
    invite: String,
    quirks: &Quirks,
) -> Result<(Ends, EmuCall), CallError> {
    let (media, negotiation) = endpoint(agent, quirks).await?;
    media.play(agent.tone);
    if let Some(sequence) = quirks.sequence {
        media.start_at(sequence);
    }
    let (command, commands) = mpsc::channel(16);
    agent.steered(call_id, command.clone());
    let (phase, phases) = watch::channel(Phase::Calling);
    let (counts, counted) = watch::channel(Counts::default());
    let handle = EmuCall {
        call_id: call_id.to_owned(),
        invite,
        agent: agent.clone(),
        media: media.clone(),
        fork: None,
        commands: command,
        phase: phases,
        counts: counted,
    };
    Ok((
        Ends {
            commands,
            phase,
            counts,
            media,
            negotiation,
            fork: None,
        },
        handle,
    ))
}
