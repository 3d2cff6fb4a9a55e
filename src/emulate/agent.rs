//! What both emulators are: messages in from all sockets, given to the calls they belong to; everything else is judged
//! by the role, Teams or PBX, and answered without state (RFC 3261 §8.2.7).

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::call::{self, Command, EmuCall};
use super::digest::Credentials;
use super::g711::Law;
use super::message::{Draft, Message, Start, tag_of, user_of};
use super::negotiation::Manner;
use super::trace::Trace;
use super::wire::{Inbound, Wire};

/// Calls at once; further ones are answered 503.
const MAX_CALLS: usize = 256;
/// Calls that wait for `incoming()`; of further ones nobody hears, they run all the same.
const MAX_INCOMING: usize = 256;
/// Messages that wait for one call.
const MAX_INBOX: usize = 64;
/// Messages that wait for the emulator.
pub const MAX_INBOUND: usize = 1024;
/// Noted rule breaches; further ones are only counted by the last.
const MAX_NOTES: usize = 256;

/// A future that a role returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What tells Teams from a PBX.
pub trait Role: Send + Sync + 'static {
    /// How it describes its media.
    fn manner(&self) -> Manner;
    /// Whether header names are written in capitals.
    fn capitals(&self) -> bool {
        self.manner().is_teams()
    }
    /// Judges an INVITE that starts a call.
    fn judge(&self, agent: &Agent, inbound: &Inbound) -> Result<(), Draft>;
    /// Judges a request inside a call whose party calls itself `contact`.
    fn judge_inside(&self, agent: &Agent, inbound: &Inbound, contact: &str) -> Result<(), Draft>;
    /// Looks at a response, above 100, to the INVITE that we sent to `uri`.
    fn judge_answer(&self, agent: &Agent, response: &Message, uri: &str);
    /// Answers a request outside any call other than INVITE.
    fn other(&self, agent: &Agent, inbound: &Inbound) -> Draft;
    /// Opens, or takes, a way to the host of `uri`.
    fn connect<'a>(&'a self, uri: &'a str) -> Later<'a, io::Result<Wire>>;
    /// What goes into a Via for requests on `wire`: host and port.
    fn sent_by(&self, wire: &Wire) -> String;
    /// The Contact URI of a new call of the party with this user part.
    fn contact(&self, user: &str) -> String;
    /// Headers of every request and response of a call: Record-Route, User-Agent, Allow …
    fn dress(&self, draft: &mut Draft, request: bool);
    /// Whether a recorded route names the emulator's own proxy, which would take itself off again (RFC 3261 §16.4).
    fn is_own_route(&self, _route: &str) -> bool {
        false
    }
    /// Whether a message is to go unheard.
    fn is_deaf(&self, _inbound: &Inbound) -> bool {
        false
    }
    /// Answers challenges to our requests.
    fn credentials(&self) -> Option<&Credentials>;
}

/// What an emulator does with a call to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Rings, and answers after this time.
    Answer(Duration),
    /// Sends 183 with a description and its tone, and answers after this time.
    EarlyMedia(Duration),
    /// Rings for ever.
    Ring,
    /// Says nothing for this time, then 100, rings and answers.
    Late(Duration),
    /// Does these things one after the other (TDR-504).
    Script(Vec<Move>),
    /// Says 100 and nothing more.
    Trying,
    /// Says nothing at all.
    Silent,
    /// Refuses with this status.
    Refuse(u16),
    /// Answers 302 with this Contact URI.
    Redirect(String),
    /// Says 100; the rest is up to whoever takes the call from `incoming()`.
    Manual,
}

/// One response of a [`Behaviour::Script`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// After the move before.
    pub after: Duration,
    /// Up to 200; a 200 always has a description.
    pub status: u16,
    /// Which of the callee's clients says it: each has a To tag of its own.
    pub fork: usize,
    /// Whether it carries a description.
    pub described: bool,
}

/// A rule of TDR that the peer broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// `TDR-` and its number.
    pub item: &'static str,
    /// What happened, with the value that broke it.
    pub text: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.item)
    }
}

/// What an agent knows of one call: where its messages go, and where its commands go once it has begun.
struct Entry {
    inbox: mpsc::Sender<Inbound>,
    commands: Option<mpsc::Sender<Command>>,
}

/// The part of an emulator that all its tasks share.
pub struct Agent {
    /// Teams or PBX.
    pub role: Arc<dyn Role>,
    /// What went by.
    pub trace: Trace,
    /// Where media is bound.
    pub media: IpAddr,
    /// How long a waiting method of a call waits.
    pub patience: Duration,
    /// Hz, of every call at its start.
    pub tone: f64,
    /// The one law of G.711 that it speaks; none: both.
    pub law: Option<Law>,
    /// Ends when the emulator is dropped.
    pub closed: watch::Receiver<()>,
    behaviours: Mutex<(Behaviour, HashMap<String, Behaviour>)>,
    calls: Mutex<HashMap<String, Entry>>,
    incoming: mpsc::Sender<EmuCall>,
    notes: Mutex<Vec<Note>>,
}

/// What [`Agent::new`] is made of.
pub struct Parts {
    /// See [`Agent`].
    pub role: Arc<dyn Role>,
    /// See [`Agent`].
    pub media: IpAddr,
    /// See [`Agent`].
    pub patience: Duration,
    /// See [`Agent`].
    pub tone: f64,
    /// See [`Agent`].
    pub law: Option<Law>,
    /// For numbers without one of their own.
    pub behaviour: Behaviour,
    /// See [`Agent`].
    pub closed: watch::Receiver<()>,
}

impl Agent {
    /// Starts the task that takes `inbound` apart; the second value yields calls that come in.
    pub fn start(
        parts: Parts,
        inbound: mpsc::Receiver<Inbound>,
    ) -> (Arc<Self>, mpsc::Receiver<EmuCall>) {
        let (incoming, calls) = mpsc::channel(MAX_INCOMING);
        let Parts {
            role,
            media,
            patience,
            tone,
            law,
            behaviour,
            closed,
        } = parts;
        let agent = Arc::new(Self {
            role,
            trace: Trace::default(),
            media,
            patience,
            tone,
            law,
            closed,
            behaviours: Mutex::new((behaviour, HashMap::new())),
            calls: Mutex::default(),
            incoming,
            notes: Mutex::default(),
        });
        tokio::spawn(agent.clone().run(inbound));
        (agent, calls)
    }

    /// Sends and traces.
    pub fn send(&self, wire: &Wire, bytes: bytes::Bytes) -> bool {
        self.trace.sent(&bytes, wire);
        wire.send(bytes)
    }

    /// Prints, sends and traces a response.
    pub fn respond(&self, wire: &Wire, draft: &Draft) {
        self.send(wire, draft.print(None, self.role.capitals()));
    }

    /// Notes that the peer broke a rule.
    pub fn note(&self, item: &'static str, text: impl Into<String>) {
        let mut notes = lock(&self.notes);
        if notes.len() < MAX_NOTES {
            notes.push(Note {
                item,
                text: text.into(),
            });
        }
    }

    /// The rules that the peer broke so far.
    pub fn notes(&self) -> Vec<Note> {
        lock(&self.notes).clone()
    }

    /// The rules that the peer broke since the last time; none is told twice.
    pub fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *lock(&self.notes))
    }

    /// Decides what happens from now on to calls to `number`, which may be a user part or a whole Request-URI.
    pub fn behave(&self, number: &str, behaviour: Behaviour) {
        lock(&self.behaviours)
            .1
            .insert(number.to_owned(), behaviour);
    }

    /// What happens to calls to this Request-URI.
    pub fn behaviour(&self, uri: &str) -> Behaviour {
        let behaviours = lock(&self.behaviours);
        let (ordinary, special) = &*behaviours;
        let found = special.get(uri).or_else(|| special.get(user_of(uri)));
        found.unwrap_or(ordinary).clone()
    }

    /// Forgets every behaviour but the ordinary one.
    pub fn behave_ordinarily(&self) {
        lock(&self.behaviours).1.clear();
    }

    /// Has messages of this Call-ID delivered to the returned queue; nothing if there are too many calls.
    pub fn inbox(&self, call_id: &str) -> Option<mpsc::Receiver<Inbound>> {
        let (sender, receiver) = mpsc::channel(MAX_INBOX);
        let mut calls = lock(&self.calls);
        if calls.len() >= MAX_CALLS {
            return None;
        }
        let entry = Entry {
            inbox: sender,
            commands: None,
        };
        calls.insert(call_id.to_owned(), entry);
        Some(receiver)
    }

    /// Lets [`Agent::clear`] reach the call.
    pub fn steered(&self, call_id: &str, commands: mpsc::Sender<Command>) {
        if let Some(entry) = lock(&self.calls).get_mut(call_id) {
            entry.commands = Some(commands);
        }
    }

    /// Ends every call, in the way that suits its phase.
    pub async fn clear(&self) {
        let calls: Vec<_> = lock(&self.calls)
            .values()
            .filter_map(|entry| entry.commands.clone())
            .collect();
        for commands in calls {
            // Each does nothing in a call that it does not suit.
            for command in [Command::Cancel, Command::Reject(480), Command::Bye] {
                let _ = commands.send(command).await;
            }
        }
    }

    /// The end of [`Agent::inbox`].
    pub fn forget(&self, call_id: &str) {
        lock(&self.calls).remove(call_id);
    }

    async fn run(self: Arc<Self>, mut inbound: mpsc::Receiver<Inbound>) {
        let mut closed = self.closed.clone();
        loop {
            let next = tokio::select! {
                next = inbound.recv() => next,
                _ = closed.changed() => None,
            };
            let Some(next) = next else { return };
            if self.role.is_deaf(&next) {
                continue;
            }
            self.trace.received(&next.message, &next.wire);
            let inbox = lock(&self.calls)
                .get(next.message.call_id())
                .map(|entry| entry.inbox.clone());
            match inbox {
                // A call that does not keep up loses messages, as on a network.
                Some(inbox) => drop(inbox.try_send(next)),
                None => self.unattached(next),
            }
        }
    }

    /// A message that belongs to no call.
    fn unattached(self: &Arc<Self>, inbound: Inbound) {
        let message = &inbound.message;
        let Start::Request { method, .. } = &message.start else {
            return;
        };
        let inside = message.header("To").and_then(tag_of).is_some();
        let answer = match method.as_str() {
            "ACK" => return,
            "INVITE" if !inside => match self.role.judge(self, &inbound) {
                Ok(()) => return self.admit(inbound),
                Err(refusal) => refusal,
            },
            "CANCEL" | "BYE" => refuse(message, 481),
            _ if inside => refuse(message, 481),
            _ => self.role.other(self, &inbound),
        };
        self.respond(&inbound.wire, &answer);
    }

    fn admit(self: &Arc<Self>, inbound: Inbound) {
        let behaviour = self.behaviour(inbound.message.uri());
        if behaviour == Behaviour::Silent {
            return;
        }
        let Some(inbox) = self.inbox(inbound.message.call_id()) else {
            return self.respond(&inbound.wire, &refuse(&inbound.message, 503));
        };
        // Media needs a socket, and opening one must not keep other calls waiting.
        let agent = self.clone();
        tokio::spawn(async move {
            let (call_id, incoming) =
                (inbound.message.call_id().to_owned(), agent.incoming.clone());
            match call::accept(agent.clone(), inbound, inbox, behaviour).await {
                Ok(call) => drop(incoming.try_send(call)),
                Err(_) => agent.forget(&call_id),
            }
        });
    }
}

/// A refusal with its standard phrase and a tag that is the same for a retransmission.
pub fn refuse(request: &Message, status: u16) -> Draft {
    Draft::response(request, status, phrase(status), "refused")
}

/// RFC 3261 §21, as far as the emulators say it.
pub fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => "Refused",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
