//! A trunk with digest must prove each INVITE (RFC 3261 §22.2). One that does not is asked for credentials, which is no
//! call yet, or refused. Whatever comes of it is counted, and told by a record with its trace: at once where the
//! credentials are wrong, and after a while where none come at all. What the peer wrote into them stands nowhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::explain;
use super::leg::Peer;
use super::record::Record;
use super::refusal::Refusal;
use super::why::{Credentials, Notes};
use super::{Calls, Cdr, Report};
use crate::directory::{Auth, Customer, Trunk};
use crate::sip::auth::AuthFailure;
use crate::sip::{Message, Name, ServerKey, Source};

/// How long who was asked for credentials has for them: as long as its INVITE would have had for an answer (Timer B).
const PATIENCE: Duration = Duration::from_secs(32);
/// INVITEs that wait for credentials at once; one more, and the oldest waits no longer.
const MOST: usize = 1000;

/// INVITEs that were asked for credentials, with the records that are written if none come.
#[derive(Debug, Default)]
pub(super) struct Challenges(VecDeque<Challenged>);

#[derive(Debug)]
struct Challenged {
    call_id: String,
    due: Instant,
    cdr: Box<Cdr>,
}

impl Challenges {
    pub fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|oldest| oldest.due)
    }

    /// The caller came again: with credentials, or to be asked once more.
    fn answered(&mut self, call_id: &str) {
        self.0.retain(|waiting| waiting.call_id != call_id);
    }
}

/// What an INVITE proves, and for whom.
enum Proven {
    /// No trunk at this address has to prove anything.
    NotAsked,
    By(Arc<Trunk>),
    Not(Arc<Trunk>, AuthFailure),
}

impl Calls {
    /// Whether an INVITE that had to prove who sends it did not: it is answered here, and is no call. The trace of one that
    /// did tells so.
    pub(super) fn is_unproven(
        &mut self,
        key: ServerKey,
        message: &Message,
        source: &Source,
        local_tag: &str,
        notes: &mut Notes,
    ) -> bool {
        let (trunk, failure) = match self.proof(message, source) {
            Proven::NotAsked => return false,
            Proven::By(trunk) => {
                self.challenges
                    .answered(message.call_id().unwrap_or_default());
                notes.add(
                    self.core.now,
                    explain::credentials(&trunk, Credentials::Right),
                );
                return false;
            }
            Proven::Not(trunk, failure) => (trunk, failure),
        };
        notes.add(self.core.now, explain::credentials(&trunk, failure.into()));
        self.core.report(Report::Unproven {
            trunk: trunk.name.clone(),
            reason: Credentials::from(failure).name(),
        });
        self.ask_again(key, message, local_tag, failure);
        let notes = std::mem::replace(notes, Notes::new(self.core.now));
        let cdr = self.unproven_record(message, &trunk, failure, notes);
        let call_id = message.call_id().unwrap_or_default();
        self.challenges.answered(call_id);
        if is_asked_again(failure) {
            let call_id = call_id.to_owned();
            let (due, cdr) = (self.core.now + PATIENCE, Box::new(cdr));
            self.challenges
                .0
                .push_back(Challenged { call_id, due, cdr });
            if self.challenges.0.len() > MOST {
                self.give_up_oldest();
            }
        } else {
            info!(from = %source.remote, trunk = trunk.name, %failure, "wrong credentials");
            self.refuse_unproven(cdr);
        }
        true
    }

    fn proof(&mut self, message: &Message, source: &Source) -> Proven {
        let core = &mut self.core;
        let Ok(origin) = core.origin(message, source) else {
            return Proven::NotAsked;
        };
        let trunks = origin.trunks().iter();
        let trunks: Vec<_> = trunks.filter(|trunk| trunk.auth == Auth::Digest).collect();
        let Some(first) = trunks.first() else {
            return Proven::NotAsked;
        };
        let named = |user: &str| {
            let is_it = |trunk: &&&Arc<Trunk>| trunk.username.as_deref() == Some(user);
            trunks.iter().find(is_it)
        };
        let password = |user: &str| Some(named(user)?.password.as_ref()?.expose().to_owned());
        match core.challenger.check(message, password, core.now) {
            Ok(user) => Proven::By(Arc::clone(named(&user).unwrap_or(first))),
            Err(failure) => Proven::Not(Arc::clone(first), failure),
        }
    }

    fn ask_again(
        &mut self,
        key: ServerKey,
        message: &Message,
        local_tag: &str,
        failure: AuthFailure,
    ) {
        let core = &mut self.core;
        let again = is_asked_again(failure);
        let mut draft = core.response(message, if again { 401 } else { 403 }, false);
        draft.to_tag(local_tag);
        if again {
            for challenge in core.challenger.challenge(failure, core.now) {
                draft.header(Name::WwwAuthenticate, challenge);
            }
        }
        core.endpoint.respond(key, draft, core.now);
    }

    fn unproven_record(
        &mut self,
        message: &Message,
        trunk: &Arc<Trunk>,
        failure: AuthFailure,
        notes: Notes,
    ) -> Cdr {
        let core = &mut self.core;
        let customer = owner(core, trunk);
        let (peer, refusal) = (Peer::Trunk(Arc::clone(trunk)), Refusal::Unproven(failure));
        let customer = customer.as_deref();
        Record::refused(core, message, Some(&peer), customer, &refusal, notes)
    }

    /// Writes the records of those who were asked and did not come again.
    pub(super) fn on_challenge_time(&mut self) {
        while self
            .challenges
            .deadline()
            .is_some_and(|due| due <= self.core.now)
        {
            self.give_up_oldest();
        }
    }

    /// Nobody is waited for any longer: we are going down.
    pub(super) fn give_up_challenges(&mut self) {
        while self.challenges.deadline().is_some() {
            self.give_up_oldest();
        }
    }

    fn give_up_oldest(&mut self) {
        if let Some(oldest) = self.challenges.0.pop_front() {
            self.refuse_unproven(*oldest.cdr);
        }
    }

    fn refuse_unproven(&mut self, cdr: Cdr) {
        self.core.report(Report::Refused {
            customer: cdr.customer_id,
            reason: Refusal::Unproven(AuthFailure::Wrong).label(),
        });
        self.core.write(cdr);
    }
}

fn owner(core: &super::core::Core, trunk: &Trunk) -> Option<Arc<Customer>> {
    core.directory.customer(trunk.customer?).cloned()
}

/// Whether other credentials may still do.
fn is_asked_again(failure: AuthFailure) -> bool {
    matches!(failure, AuthFailure::Missing | AuthFailure::Stale)
}
