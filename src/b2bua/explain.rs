//! Facts for a call's trace, read off what its decisions were made from.

use super::call::Attempt;
use super::core::Core;
use super::refusal::{Refusal, Towards};
use super::why::{
    Candidate, Credentials, Fact, Failing, Found, LimitOf, LimitOutcome, Proof, Screening, cut,
};
use crate::directory::{
    Admission, Attempt as Request, Callers, Customer, Denial, Denied, Dialled, Directory, Origin,
    Route, Trunk,
};
use crate::sip::{Failure, Message, Name, Source, Target};

/// Reason headers that are kept of one response.
const MOST_REASONS: usize = 2;
/// Names of a certificate, or of trunks at one address, that are kept.
const MOST_NAMES: usize = 4;

pub(super) fn received(source: &Source) -> Fact {
    let names = source.certificate.iter().flat_map(|c| &c.names);
    Fact::Received {
        from: source.remote,
        transport: source.transport.parameter().to_owned(),
        certificate: names.take(MOST_NAMES).map(cut).collect(),
    }
}

pub(super) fn peer(origin: &Origin, source: &Source) -> Fact {
    let address = source.remote.ip().to_canonical();
    let networks = origin.trunks().iter().flat_map(|trunk| &trunk.acl);
    let narrowest = networks
        .filter(|network| network.contains(&address))
        .max_by_key(|network| network.prefix_len());
    match (origin, narrowest) {
        (Origin::Phone(phone), _) => Fact::Peer {
            peers: vec![phone.auth_user.to_string()],
            by: Proof::Digest,
        },
        (Origin::Teams, _) | (_, None) => Fact::Peer {
            peers: vec!["teams".to_owned()],
            by: Proof::CertificateAndRange,
        },
        (_, Some(network)) => Fact::Peer {
            peers: origin
                .trunks()
                .iter()
                .take(MOST_NAMES)
                .map(|trunk| trunk.name.clone())
                .collect(),
            by: Proof::Network {
                address: network.network(),
                prefix: network.prefix_len(),
            },
        },
    }
}

pub(super) fn credentials(trunk: &Trunk, found: Credentials) -> Fact {
    let trunk = trunk.name.clone();
    Fact::Credentials { trunk, found }
}

pub(super) fn gateway(directory: &Directory, host: &str) -> Fact {
    Fact::Gateway {
        host: cut(host),
        state: directory
            .gateway(host.trim_end_matches('.'))
            .map(|gateway| gateway.state),
    }
}

fn customer(customer: &Customer) -> Fact {
    Fact::Customer {
        id: customer.id,
        account: customer.account_id.clone(),
        admin: customer.admin_state,
        activation: customer.activation_state,
    }
}

/// What the directory said: whose call it is, and what its numbers are.
pub(super) fn decided(
    directory: &Directory,
    request: &Request,
    decided: &Result<Admission, Denial>,
) -> Vec<Fact> {
    match decided {
        Ok(admission) => {
            let chosen = match (request.origin, &admission.trunk) {
                (Origin::Shared(_), Some(trunk)) => Some(Fact::Trunk {
                    trunk: trunk.name.clone(),
                }),
                _ => None,
            };
            let [called, caller] = admitted(directory, admission, request);
            let facts = [
                chosen,
                Some(customer(&admission.customer)),
                Some(called),
                Some(caller),
            ];
            facts.into_iter().flatten().collect()
        }
        Err(denial) => {
            let facts = [
                denial.customer.as_deref().map(customer),
                denied(directory, denial, request),
            ];
            facts.into_iter().flatten().collect()
        }
    }
}

/// The numbers of a call that was let in.
fn admitted(directory: &Directory, admission: &Admission, request: &Request) -> [Fact; 2] {
    let (found, screening) = match (&admission.gateway, admission.emergency) {
        (_, true) => (Found::Emergency, Screening::Emergency),
        // An exchange that calls out is screened always, and so is a telephone.
        (None, _) if matches!(admission.routes.first(), Some(Route::Trunk(_))) => {
            (Found::Outside, Screening::Passed)
        }
        (None, _) => (Found::Owned, screened(directory, admission)),
        (Some(_), _) if admission.customer.caller_screening => (Found::Outside, Screening::Passed),
        (Some(_), _) => (Found::Outside, Screening::Off),
    };
    [
        number(request.called, &admission.called, found),
        caller(request.caller, &admission.caller, screening),
    ]
}

/// What a call that a trunk brought to Teams calls itself.
fn screened(directory: &Directory, admission: &Admission) -> Screening {
    let callers = admission.trunk.as_ref().map(|trunk| trunk.profile.callers);
    let (customer, caller) = (&admission.customer, &admission.caller);
    match callers {
        _ if directory.is_of_another(customer, caller) => Screening::Foreign,
        None | Some(Callers::Any) => Screening::NotFromTeams,
        Some(_) if directory.owns(customer, caller) => Screening::Passed,
        Some(_) => Screening::Outside,
    }
}

/// The number, or the caller, that kept a call out.
fn denied(directory: &Directory, denial: &Denial, request: &Request) -> Option<Fact> {
    let Request {
        origin,
        called,
        caller: presented,
        ..
    } = request;
    match (denial.denied, origin) {
        (Denied::CallerNotAllowed, _) => Some(caller(presented, presented, Screening::Refused)),
        (Denied::NumberNotInService, Origin::Teams) => Some(number(called, "", Found::Empty)),
        (Denied::NumberNotInService | Denied::ForeignTrunk, _) => {
            let read = Dialled::parse(called);
            let formats = origin.trunks().iter().map(|trunk| &trunk.number_format);
            let numbers: Vec<_> = formats.filter_map(|format| format.read(&read)).collect();
            let known = numbers.iter().find_map(|number| directory.number(number));
            let found = match (denial.denied, known) {
                (Denied::ForeignTrunk, _) => Found::Foreign,
                (_, Some(phone)) if !phone.in_service => Found::OutOfService,
                _ => Found::Nobodys,
            };
            let read = numbers
                .first()
                .map_or_else(|| read.to_string(), ToString::to_string);
            Some(number(called, &read, found))
        }
        _ => None,
    }
}

fn number(dialled: &str, number: &str, found: Found) -> Fact {
    Fact::Number {
        dialled: cut(dialled),
        number: cut(number),
        found,
    }
}

fn caller(presented: &str, number: &str, screening: Screening) -> Fact {
    Fact::Caller {
        presented: cut(presented),
        number: cut(number),
        screening,
    }
}

/// The customer's limit, just after a channel was asked for.
pub(super) fn customer_limit(core: &Core, customer: &Customer, outcome: LimitOutcome) -> Fact {
    Fact::Limit {
        of: LimitOf::Customer,
        name: customer.account_id.clone(),
        in_use: core.ledger.usage(customer.id).in_use,
        limit: Some(customer.max_channels),
        outcome,
    }
}

/// The trunk's limit, just after a channel was asked for.
pub(super) fn trunk_limit(core: &Core, trunk: &Trunk, outcome: LimitOutcome) -> Fact {
    Fact::Limit {
        of: LimitOf::Trunk,
        name: trunk.name.clone(),
        in_use: core.ledger.trunk_usage(trunk.id).in_use,
        limit: trunk.cac_max_sessions,
        outcome,
    }
}

pub(super) fn candidates<'a>(core: &Core, attempts: impl Iterator<Item = &'a Attempt>) -> Fact {
    let candidate = |attempt: &Attempt| Candidate {
        peer: attempt.route.name().to_owned(),
        host: attempt.hop.host.clone(),
        up: super::setup::is_up(core, attempt),
    };
    Fact::Candidates {
        targets: attempts.map(candidate).collect(),
    }
}

pub(super) fn resolved(targets: &Result<Vec<Target>, String>) -> Fact {
    let found = targets.as_deref().unwrap_or_default();
    Fact::Resolved {
        addresses: found.iter().map(|target| target.address).collect(),
        failure: targets.as_ref().err().map(cut),
    }
}

/// Why an attempt failed; `message` is its final response, if there was one.
pub(super) fn failing(refusal: &Refusal, message: Option<&Message>) -> Failing {
    match refusal {
        Refusal::FarEnd { status, reason, .. } => Failing::Status {
            status: *status,
            phrase: cut(reason),
            reasons: message
                .iter()
                .flat_map(|m| m.headers(Name::Reason))
                .take(MOST_REASONS)
                .map(|reason| cut(reason.bytes()))
                .collect(),
        },
        Refusal::BadAnswer(_) | Refusal::Media(_) if message.is_some() => Failing::Unusable {
            what: cut(refusal.to_string()),
        },
        other => Failing::NotStarted {
            what: cut(other.to_string()),
        },
    }
}

impl From<&Failure> for Failing {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Timeout => Self::Timeout,
            Failure::Transport(what) => Self::Transport { what: cut(what) },
            Failure::Unresolvable(what) => Self::Unresolvable { what: cut(what) },
            other => Self::NotStarted {
                what: other.to_string(),
            },
        }
    }
}

pub(super) fn refused(refusal: &Refusal, towards: Towards) -> Fact {
    let answer = refusal.answer(towards);
    Fact::Refused {
        status: answer.status,
        q850: answer.q850,
        rule: refusal.label().to_owned(),
        why: cut(refusal.to_string()),
    }
}
