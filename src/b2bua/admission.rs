//! An INVITE outside a dialog: who sends it, whose call it is, whether there is a channel; then it is a call, or is
//! refused.

use std::sync::Arc;

use tracing::info;

use super::announcement::Invited;
use super::body;
use super::call::{Call, CallKey, Progress, Reaching, Stage};
use super::core::Core;
use super::desk::Sender;
use super::explain;
use super::extensions;
use super::history;
use super::identity::Caller;
use super::leg::{Leg, Peer, Side};
use super::record::Record;
use super::refusal::Refusal;
use super::setup::attempts;
use super::why::{LimitOutcome, Notes};
use super::{Calls, Direction, Hints, Report};
use crate::base::Redact;
use crate::directory::{
    Admission, Attempt, Customer, Denial, Denied, Dialled, Directory, GatewayState, NumberFormat,
    Origin, Phone, Route, Trunk,
};
use crate::sip::{Message, Name, NameAddr, ServerKey, Source, Uri};

/// A refused INVITE, with as much as was found out about it.
struct Refused {
    refusal: Refusal,
    peer: Option<Peer>,
    customer: Option<Arc<Customer>>,
}

impl Refused {
    fn new(refusal: impl Into<Refusal>) -> Self {
        Self {
            refusal: refusal.into(),
            peer: None,
            customer: None,
        }
    }
}

/// Emergency calls that pass beyond the limit of calls (TDR-1007): what the process holds stays bounded.
const EMERGENCY_RESERVE: usize = 64;

impl Calls {
    /// An INVITE outside a dialog: it becomes a call, or is refused, and either way ends as one CDR.
    pub(super) fn on_invite(&mut self, key: ServerKey, message: Message, source: &Source) {
        let local_tag = self.core.random.token(12);
        let mut notes = Notes::new(self.core.now);
        notes.add(self.core.now, explain::received(source));
        let admitted = match self.sender(key, &message, source, &local_tag) {
            Ok(Sender::Asked) => return,
            Ok(Sender::NoPhone) => {
                if self.is_unproven(key, &message, source, &local_tag, &mut notes) {
                    return;
                }
                self.admit(key, &message, source, &local_tag, None, &mut notes)
            }
            Ok(Sender::Phone(phone)) => {
                let phone = Some(&phone);
                self.admit(key, &message, source, &local_tag, phone, &mut notes)
            }
            Ok(Sender::Bootstrap(mac)) => {
                let invited = Invited {
                    key,
                    message: &message,
                    source,
                    local_tag: &local_tag,
                };
                let begun = self.on_bootstrap_invite(&invited, mac);
                begun.map(|()| None).map_err(|r| Refused::new(r).into())
            }
            Err(refusal) => Err(Refused::new(refusal).into()),
        };
        match admitted {
            Ok(None) => {}
            Ok(Some(call_key)) => {
                if let Some(call) = self.calls.get_mut(&call_key) {
                    call.reach(&mut self.core);
                }
                self.settle(call_key);
            }
            Err(refused) => {
                let Refused {
                    refusal,
                    peer,
                    customer,
                } = *refused;
                info!(refusal = %refusal, from = %source.remote, peer = peer.as_ref().map(Peer::name), "call refused");
                let invited = Invited {
                    key,
                    message: &message,
                    source,
                    local_tag: &local_tag,
                };
                let owner = customer.as_deref();
                let announced = self.announce(&invited, &refusal, peer.as_ref(), owner, &mut notes);
                if announced.is_none() {
                    self.core
                        .refuse(key, &message, &refusal, peer.as_ref(), &local_tag);
                }
                self.core.report(Report::Refused {
                    customer: customer.as_ref().map(|c| c.id),
                    reason: refusal.label(),
                });
                let cdr = Record::refused(
                    &mut self.core,
                    &message,
                    peer.as_ref(),
                    customer.as_deref(),
                    &refusal,
                    notes,
                );
                match announced {
                    Some(leg) => self.announcements.record(leg, cdr),
                    None => self.core.write(cdr),
                }
            }
        }
    }

    /// The decision order of provisioning.md section 7; nothing is sent out before the channel is taken. No new call
    /// comes of an INVITE that replaces a leg of one that is there.
    fn admit(
        &mut self,
        key: ServerKey,
        message: &Message,
        source: &Source,
        local_tag: &str,
        phone: Option<&Arc<Phone>>,
        notes: &mut Notes,
    ) -> Result<Option<CallKey>, Box<Refused>> {
        let at_phone = phone.map(|phone| self.at(phone, source));
        let core = &mut self.core;
        let now = core.now;
        let malformed =
            |error: &dyn std::fmt::Display| Refused::new(Refusal::Malformed(error.to_string()));
        let origin = match phone {
            Some(phone) => Origin::Phone(phone.clone()),
            None => core.origin(message, source).map_err(Refused::new)?,
        };
        notes.add(now, explain::peer(&origin, source));
        let trunk = origin.trunks().first().cloned().map(Peer::Trunk);
        let known = at_phone.or(trunk);
        core.report(Report::Invite {
            peer: known.as_ref().map_or("teams".to_owned(), Peer::label),
            outgoing: false,
        });
        let uri = Uri::parse(message.request_uri()).map_err(|e| malformed(&e))?;
        let gateway = core.directory.gateway(uri.host).cloned();
        if known.is_none() {
            notes.add(now, explain::gateway(&core.directory, uri.host));
            // Whatever becomes of the call.
            if let Some(proven) = gateway
                .as_ref()
                .filter(|g| g.state == GatewayState::Verified)
            {
                core.report(Report::GatewayProven { gateway: proven.id });
            }
        }
        let profile = core.config.teams_profile.clone();
        let peer = known.or_else(|| gateway.map(|g| Peer::Teams(g, profile)));
        let with_peer = |refusal: Refusal| Refused {
            refusal,
            peer: peer.clone(),
            customer: None,
        };
        if message.max_forwards().map_err(|e| malformed(&e))? == Some(0) {
            return Err(with_peer(Refusal::TooManyHops).into());
        }
        if let Some(names) = extensions::unsupported(message, peer.as_ref()) {
            return Err(with_peer(Refusal::Extension(names)).into());
        }
        if message.header(Name::Replaces).is_some() {
            let replaced = self.replace(key, message, source, local_tag, peer.as_ref());
            return replaced.map(|()| None).map_err(|r| with_peer(r).into());
        }
        let caller = Caller::of(message, peer.as_ref().map(Peer::profile))
            .map_err(|e| with_peer(Refusal::Malformed(e)))?;
        let caller = match phone {
            Some(phone) => caller.of_phone(phone),
            None => caller,
        };
        let request = Attempt {
            origin: &origin,
            request_host: uri.host,
            called: called(message, &uri, &origin),
            caller: &caller.number,
            random: core.random.u64(),
        };
        let decided = vouched(&core.directory, &request, &caller);
        for fact in explain::decided(&core.directory, &request, &decided) {
            notes.add(now, fact);
        }
        let admission = decided.map_err(|denial| Refused {
            refusal: denial.denied.into(),
            peer: peer.clone(),
            customer: denial.customer,
        })?;
        let customer = admission.customer.clone();
        if let (Some(trunk), Direction::ToTeams) = (&admission.trunk, Direction::of(&admission))
            && core.directory.is_of_another(&customer, &admission.caller)
        {
            core.report(Report::ForeignCaller {
                trunk: trunk.name.clone(),
            });
        }
        // An emergency call tries what there is; any other goes by the caller's own exchange or not at all.
        if !admission.emergency && is_unregistered(core, &admission) {
            return Err(refused_of(&peer, &customer, Refusal::PbxUnregistered).into());
        }
        // Of several trunks at one address, the called number decided.
        let peer = admission.trunk.clone().map(Peer::Trunk).or(peer);
        let refused = |refusal: Refusal| refused_of(&peer, &customer, refusal);
        let Some(peer) = peer.clone() else {
            return Err(refused(Denied::UnknownGateway.into()).into());
        };
        if self.draining {
            return Err(refused(Refusal::Draining).into());
        }
        let reserve = if admission.emergency {
            EMERGENCY_RESERVE
        } else {
            0
        };
        if self.calls.len() >= core.config.max_calls + reserve {
            return Err(refused(Refusal::Overloaded("calls")).into());
        }
        if loops(core, &self.calls, message, &admission.called)
            || goes_round(message, &admission.called)
        {
            return Err(refused(Refusal::Loop).into());
        }
        body::offer(message).map_err(&refused)?;
        let permit = if admission.emergency {
            Some(core.ledger.exempt(&customer))
        } else {
            core.ledger.take(&customer)
        };
        let outcome = LimitOutcome::of(permit.is_some(), admission.emergency);
        notes.add(now, explain::customer_limit(core, &customer, outcome));
        let permit = permit.ok_or_else(|| refused(Refusal::ChannelsBusy))?;
        let trunk_permit = match peer.trunk() {
            Some(trunk) if !admission.emergency => {
                let permit = core.ledger.take_trunk(trunk);
                let outcome = LimitOutcome::of(permit.is_some(), false);
                notes.add(now, explain::trunk_limit(core, trunk, outcome));
                Some(permit.ok_or_else(|| refused(Refusal::TrunkBusy))?)
            }
            _ => None,
        };
        let called = &admission.called;
        let mut leg = Leg::incoming(core, peer.clone(), key, message, source, local_tag, called)
            .map_err(&refused)?;
        leg.side = Side::A;
        leg.party = admission.caller.clone();
        leg.permit = trunk_permit;
        leg.open_media(core);

        let call_key = self.next_key();
        let core = &mut self.core;
        core.homes.insert(leg.id, call_key);
        core.dialogs.insert(local_tag.to_owned(), leg.id);
        leg.expect_ack(core, key);
        let attempts = attempts(core, &admission.routes);
        notes.add(now, explain::candidates(core, attempts.iter()));
        let id = core.random.uuid();
        info!(call = %id, customer = %customer.account_id, peer = peer.name(), called = %Redact(&admission.called),
            caller = %Redact(&admission.caller), "call admitted");
        if let Some(hints) = Hints::of(message, &peer) {
            info!(call = %id, ?hints, "Teams tells of its user");
        }
        let notes = std::mem::replace(notes, Notes::new(now));
        let record = Record::new(core, id, message, &peer, &customer, &admission, notes);
        let call = Call {
            id,
            stage: Stage::Setup {
                reaching: Reaching {
                    attempts,
                    leg: None,
                    failed: None,
                },
                progress: Progress::Nothing,
                gives_up: core.now + core.config.ring_timeout,
            },
            legs: vec![leg],
            given: None,
            pbx_moh: None,
            customer,
            admission,
            permit: Some(permit),
            caller,
            invite: message.clone(),
            record,
        };
        let direction = Direction::of(&call.admission);
        core.report(Report::Admitted {
            customer: call.customer.id,
            direction,
        });
        self.calls.insert(call_key, Box::new(call));
        Ok(Some(call_key))
    }
}

fn refused_of(peer: &Option<Peer>, customer: &Arc<Customer>, refusal: Refusal) -> Refused {
    Refused {
        refusal,
        peer: peer.clone(),
        customer: Some(customer.clone()),
    }
}

/// The user part of who is called: of the Request-URI, unless that is the Contact of a trunk's registration. Then the
/// registrar has put the number elsewhere: into P-Called-Party-ID (RFC 7315 §4.2), or it left it in To.
fn called<'a>(message: &'a Message, uri: &Uri<'a>, origin: &Origin) -> &'a str {
    let user = uri.user.unwrap_or_default();
    let is_contact = |trunk: &Arc<Trunk>| {
        let line = trunk.line.as_ref();
        trunk.user().is_none() && line.is_some_and(|line| *line.token == *user)
    };
    if !origin.trunks().iter().any(is_contact) {
        return user;
    }
    let named = |name| {
        let address = NameAddr::parse(message.header(name)?.bytes()).ok()?;
        Uri::parse(address.uri).ok()?.user
    };
    named(Name::PCalledPartyId)
        .or_else(|| named(Name::To))
        .unwrap_or_default()
}

/// Whether a call could only go where we are to be registered, and are not.
fn is_unregistered(core: &Core, admission: &Admission) -> bool {
    let is_away = |route: &Route| match route {
        Route::Trunk(trunk) => {
            let line = trunk.line.as_ref();
            line.is_some_and(|line| core.standing.at(line.id).is_none())
        }
        Route::Teams(_) | Route::Phone(_) => false,
    };
    admission.routes.iter().all(is_away)
}

/// What the directory says. A caller whose own number may not be presented may all the same have been put through by one
/// whose may, as the caller of a diverted call is (TDR-313): such a number vouches for the call.
fn vouched(directory: &Directory, request: &Attempt, caller: &Caller) -> Result<Admission, Denial> {
    let refusal = match directory.admit(request) {
        Err(denial) if denial.denied == Denied::CallerNotAllowed => denial,
        decided => return decided,
    };
    let vouching = caller.vouching.iter().find_map(|number| {
        let caller = number.as_str();
        let admitted = directory.admit(&Attempt { caller, ..*request }).ok()?;
        let owns = directory.owns(&admitted.customer, &admitted.caller);
        owns.then_some(admitted)
    });
    let admitted = vouching.ok_or(refusal)?;
    let e164 = NumberFormat::E164;
    let trunk = admitted.trunk.as_deref();
    let format = trunk.map_or(&e164, |trunk| &trunk.number_format);
    Ok(Admission {
        caller: format.canonical(&Dialled::parse(request.caller)),
        ..admitted
    })
}

/// Whether a call was diverted too often, or for the second time by the party that it is meant for (TDR-308).
fn goes_round(message: &Message, called: &str) -> bool {
    let diversions = history::of(message);
    let by_called = diversions.iter().filter(|by| by.user == called).count();
    diversions.len() > history::MAX_DIVERSIONS || by_called > 1
}

/// Whether this INVITE is one of ours that came back unchanged: the Call-ID is that of a leg which called the same
/// number. A PBX that forwards a call to another number is a spiral, not a loop, and Max-Forwards bounds it.
fn loops(
    core: &Core,
    calls: &std::collections::HashMap<CallKey, Box<Call>>,
    message: &Message,
    called: &str,
) -> bool {
    let Ok(call_id) = message.call_id() else {
        return false;
    };
    let Some(home) = core.call_ids.get(call_id) else {
        return false;
    };
    calls
        .get(home)
        .is_some_and(|call| call.admission.called == called)
}
