//! NOTIFY that tells a telephone to look for its configuration (`check-sync`), outside any dialog
//! and on the flow that it registered on.
//!
//! One that asks for credentials gets its own (RFC 7616). One that does not answer within four seconds has probably begun
//! to restart, which cannot be told from one that is gone. One that is in a call is told when the call is over.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tracing::info;

use super::registrar::{Reach, Who};
use super::{Calls, Output};
use crate::base::Redact;
use crate::directory::{Secret, bootstrap_user};
use crate::sip::auth::{Credentials, Prover};
use crate::sip::{Builder, ClientKey, Message, Method, Name};

/// How long a telephone has for its answer, asking for credentials included.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// Between two looks whether a telephone's call is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Telephones that are waited for at once; the oldest is given up for one more.
const MOST_DEFERRED: usize = 1000;

/// What a telephone is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeUp {
    /// To look for its configuration, and whether to restart in any case.
    CheckSync {
        /// The latter.
        reboot: bool,
    },
}

impl WakeUp {
    /// The value of the Event header.
    pub fn event(self) -> &'static str {
        match self {
            Self::CheckSync { reboot: true } => "check-sync;reboot=true",
            Self::CheckSync { reboot: false } => "check-sync;reboot=false",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resynced {
    /// It said 200.
    Confirmed,
    /// It said something else, or nothing in time.
    Unconfirmed,
    /// It is in a call; another answer follows when it is told.
    Deferred,
    /// It is not registered, so that nothing was sent.
    NotRegistered,
}

/// NOTIFYs that wait for an answer, and those that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Resyncs {
    open: HashMap<ClientKey, Notified>,
    /// The oldest first.
    deferred: VecDeque<(String, WakeUp)>,
    look_at: Option<Instant>,
}

/// A NOTIFY that is out.
#[derive(Debug)]
struct Notified {
    /// Who was asked for.
    user: String,
    /// As what it is registered.
    name: String,
    wake_up: WakeUp,
    reach: Reach,
    password: Option<Secret>,
    call_id: String,
    cseq: u32,
    prover: Prover,
    gives_up: Instant,
}

impl Resyncs {
    pub fn deadline(&self) -> Option<Instant> {
        let open = self.open.values().map(|notified| notified.gives_up).min();
        let looks = self.look_at.filter(|_| !self.deferred.is_empty());
        open.into_iter().chain(looks).min()
    }

    pub fn len(&self) -> usize {
        self.open.len() + self.deferred.len()
    }
}

impl Calls {
    /// Tells a telephone to look for its configuration; what comes of it is told by [`Output::Resynced`]. A telephone that
    /// has been activated and is still registered as one out of its box is found as well.
    pub fn resync(&mut self, auth_user: &str, wake_up: WakeUp, now: Instant) {
        self.core.now = now;
        self.wake(auth_user.to_ascii_lowercase(), wake_up);
        self.run();
    }

    fn wake(&mut self, user: String, wake_up: WakeUp) {
        let Some((name, who, reach)) = self.registered_as(&user) else {
            return self.told(user, Resynced::NotRegistered);
        };
        if self.is_in_a_call(&name) {
            let deferred = &mut self.resyncs.deferred;
            deferred.retain(|(other, _)| *other != user);
            if deferred.len() >= MOST_DEFERRED
                && let Some((oldest, _)) = deferred.pop_front()
            {
                self.told(oldest, Resynced::Unconfirmed);
            }
            self.resyncs.deferred.push_back((user.clone(), wake_up));
            self.resyncs
                .look_at
                .get_or_insert(self.core.now + LOOK_EVERY);
            return self.told(user, Resynced::Deferred);
        }
        let password = match who {
            Who::Phone(phone) => Some(phone.password.clone()),
            Who::Bootstrap(_) => self.core.config.registrar.bootstrap_password.clone(),
        };
        let notified = Notified {
            user,
            name,
            wake_up,
            reach,
            password,
            call_id: self.core.random.token(26),
            cseq: 0,
            prover: Prover::default(),
            gives_up: self.core.now + ANSWERS_WITHIN,
        };
        self.notify(notified);
    }

    /// As what a telephone is registered, and where: by its own name, or by that of its MAC address.
    fn registered_as(&self, user: &str) -> Option<(String, Who, Reach)> {
        let core = &self.core;
        let mac = core.directory.phone(user).and_then(|phone| phone.bootstrap);
        let unboxed = mac.map(|mac| bootstrap_user(&mac));
        let names = [Some(user.to_owned()), unboxed];
        names.into_iter().flatten().find_map(|name| {
            let (who, binding) = core.registrar.last_known(&name)?;
            let (who, reach) = (who.clone(), binding.reach.clone());
            Some((name, who, reach))
        })
    }

    fn is_in_a_call(&self, name: &str) -> bool {
        if self.lines.has_phone(name) {
            return true;
        }
        let mut legs = self.calls.values().flat_map(|call| &call.legs);
        legs.any(|leg| leg.is_alive() && leg.peer.is_phone(name))
    }

    /// Sends it, or sends it again with credentials.
    fn notify(&mut self, mut notified: Notified) {
        let core = &mut self.core;
        notified.cseq += 1;
        let own = core.own(notified.reach.transport).to_string();
        let mut draft = Builder::request(Method::Notify, &notified.reach.contact);
        draft
            .header(Name::MaxForwards, "70")
            .header_fmt(
                Name::From,
                format_args!("<sip:{own}>;tag={}", core.random.token(10)),
            )
            .header_fmt(Name::To, format_args!("<sip:{}@{own}>", notified.name))
            .header(Name::CallId, &notified.call_id)
            .header_fmt(Name::CSeq, format_args!("{} NOTIFY", notified.cseq))
            .header_fmt(Name::Contact, format_args!("<sip:{own}>"))
            .header(Name::Event, notified.wake_up.event())
            .header(Name::SubscriptionState, "terminated;reason=noresource")
            .header(Name::UserAgent, &core.config.product);
        if let Some(password) = &notified.password {
            let credentials = Credentials {
                username: notified.name.clone(),
                password: password.expose().to_owned(),
            };
            let prover = &mut notified.prover;
            prover.write(&credentials, Method::Notify, &mut draft, &mut core.random);
        }
        let next = notified.reach.next_hop();
        let key = core.endpoint.request(draft, next, core.now);
        self.resyncs.open.insert(key, notified);
    }

    /// The answer of a telephone, or that there is none; `false`: it is not about a NOTIFY of these.
    pub(super) fn on_notified(&mut self, key: ClientKey, answer: Option<&Message>) -> bool {
        if !self.resyncs.open.contains_key(&key) {
            return false;
        }
        let status = answer.map_or(408, Message::status);
        if status < 200 {
            return true;
        }
        let Some(mut notified) = self.resyncs.open.remove(&key) else {
            return true;
        };
        if let (401 | 407, Some(answer)) = (status, answer)
            && notified.password.is_some()
            && notified.prover.take(answer).is_ok()
        {
            self.notify(notified);
            return true;
        }
        let outcome = match status {
            200..=299 => Resynced::Confirmed,
            _ => Resynced::Unconfirmed,
        };
        self.forget_stale(&notified.name);
        self.told(notified.user, outcome);
        true
    }

    /// Gives up who does not answer, and looks for whose call is over.
    pub(super) fn on_resync_time(&mut self) {
        let now = self.core.now;
        let open = self.resyncs.open.iter();
        let late: Vec<ClientKey> = open
            .filter(|(_, notified)| notified.gives_up <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            if let Some(notified) = self.resyncs.open.remove(&key) {
                // A telephone that restarts must not find the same once more.
                self.core.endpoint.give_up(key, now);
                self.forget_stale(&notified.name);
                self.told(notified.user, Resynced::Unconfirmed);
            }
        }
        if self.resyncs.look_at.is_some_and(|at| at <= now) {
            self.resyncs.look_at = None;
            for (user, wake_up) in std::mem::take(&mut self.resyncs.deferred) {
                let registered = self.registered_as(&user);
                let busy = registered.is_some_and(|(name, ..)| self.is_in_a_call(&name));
                if busy {
                    self.resyncs.deferred.push_back((user, wake_up));
                    self.resyncs.look_at = Some(now + LOOK_EVERY);
                } else {
                    self.wake(user, wake_up);
                }
            }
        }
    }

    /// A binding whose credentials hold no longer was kept so that its telephone could be told.
    fn forget_stale(&mut self, name: &str) {
        let core = &mut self.core;
        let is_stale = |who: &Who| match who {
            Who::Bootstrap(mac) => core.directory.phone_with(mac).is_some(),
            Who::Phone(then) => core.directory.phone(name).is_none_or(|now| {
                !now.active || now.device != then.device || now.password != then.password
            }),
        };
        let registered = core.registrar.last_known(name);
        if registered.is_some_and(|(who, _)| is_stale(who)) {
            core.registrar.remove(name);
        }
    }

    fn told(&mut self, auth_user: String, outcome: Resynced) {
        info!(user = %Redact(&auth_user), ?outcome, "a telephone is told to look for its configuration");
        self.core
            .outputs
            .push_back(Output::Resynced { auth_user, outcome });
    }
}
