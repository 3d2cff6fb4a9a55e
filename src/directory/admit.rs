use super::{
    ActivationState, AdminState, Callers, Customer, Dialled, Directory, Gateway, Number,
    NumberFormat, Origin, Phone, PhoneNumber, Registration, Role, Trunk, TrunkState,
};
use std::sync::Arc;

/// An initial INVITE that asks to become a call.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Who sent it.
    pub origin: &'a Origin,
    /// The Request-URI's host, which is the customer's gateway if Teams sent it (TDR-301).
    pub request_host: &'a str,
    /// The Request-URI's user part, as written.
    pub called: &'a str,
    /// The user part of whom the caller claims to be: From, or P-Asserted-Identity where that counts.
    pub caller: &'a str,
    /// Any number; it decides among trunks of equal priority by their weights.
    pub random: u64,
}

/// A call that may go on, once a channel is free (an emergency call in any case).
#[derive(Debug, Clone)]
pub struct Admission {
    /// Whose channel it takes.
    pub customer: Arc<Customer>,
    /// Whether it passes every limit and is never screened (TDR-1007).
    pub emergency: bool,
    /// What was dialled: `+14255550100`, perhaps with `;ext=`, or as dialled if it is no whole number. A `#` stands
    /// plain here and must be escaped in a Request-URI.
    pub called: String,
    /// The number by which Teams knows who was called by a further number.
    pub forwarded_to: Option<String>,
    /// Who calls, in the same form.
    pub caller: String,
    /// From Teams: the gateway it named.
    pub gateway: Option<Arc<Gateway>>,
    /// From a PBX or carrier: the trunk it came in by.
    pub trunk: Option<Arc<Trunk>>,
    /// From a desk telephone: which one.
    pub phone: Option<Arc<Phone>>,
    /// Where to, in the order of trial; never empty.
    pub routes: Vec<Route>,
}

/// Where a call may go.
#[derive(Debug, Clone)]
pub enum Route {
    /// To Teams, in the name of this gateway.
    Teams(Arc<Gateway>),
    /// To a PBX or carrier.
    Trunk(Arc<Trunk>),
    /// To a desk telephone, wherever it is registered; one that is not active is nowhere.
    Phone(Arc<Phone>),
}

impl Route {
    /// A gateway's FQDN, a trunk's name, or the name that a telephone registers by.
    pub fn name(&self) -> &str {
        match self {
            Self::Teams(gateway) => &gateway.fqdn,
            Self::Trunk(trunk) => &trunk.name,
            Self::Phone(phone) => &phone.auth_user,
        }
    }
}

/// A call that may not go on.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Why.
    pub denied: Denied,
    /// Whose call it would have been, as far as that is known.
    pub customer: Option<Arc<Customer>>,
}

/// Why a peer or a call is not let in. Facts; what the peer hears is said elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// Neither Teams nor a trunk's address.
    #[error("the peer is unknown")]
    UnknownPeer,
    /// Teams named a host that is no gateway, or one that takes no calls (TDR-301).
    #[error("the gateway is unknown or takes no calls")]
    UnknownGateway,
    /// An operator disabled the customer.
    #[error("the customer is disabled")]
    CustomerDisabled,
    /// The customer's Teams side is not set up.
    #[error("the customer is not active")]
    CustomerInactive,
    /// The called number belongs to nobody, or is out of service.
    #[error("the called number is not in service")]
    NumberNotInService,
    /// The caller from Teams presents a number that is not its customer's, or is out of service (TDR-313, TDR-1212); or a
    /// trunk presents one that its profile does not let it.
    #[error("the caller may not present this number")]
    CallerNotAllowed,
    /// A customer's trunk called a number of another customer (TDR-1212).
    #[error("the called number belongs to another customer than the trunk")]
    ForeignTrunk,
    /// The customer has no gateway that is ready for calls to Teams.
    #[error("no gateway of the customer is active")]
    GatewayNotActive,
    /// No trunk is in service for a call from Teams.
    #[error("there is no trunk to route the call to")]
    NoRoute,
}

impl Directory {
    /// Decides about an initial INVITE: whose it is, whether it may pass, and where it goes. The order of checks is
    /// fixed, so that the first that fails is what is told: peer, customer, its states, number, caller, route. The
    /// caller of this function takes the channel.
    pub fn admit(&self, attempt: &Attempt) -> Result<Admission, Denial> {
        match attempt.origin {
            Origin::Teams => self.admit_from_teams(attempt),
            Origin::Trunk(_) | Origin::Shared(_) => self.admit_from_trunk(attempt),
            Origin::Phone(phone) => self.admit_from_phone(attempt, phone),
        }
    }

    fn admit_from_teams(&self, attempt: &Attempt) -> Result<Admission, Denial> {
        let gateway = self
            .gateway(attempt.request_host.trim_end_matches('.'))
            .filter(|gateway| self.is_open(gateway));
        let gateway = gateway.ok_or_else(|| Denial::of_nobody(Denied::UnknownGateway))?;
        let customer = self
            .customer(gateway.customer)
            .ok_or_else(|| Denial::of_nobody(Denied::UnknownGateway))?;
        // The first call from Teams is what proves a gateway, so it passes while the customer is being set up.
        match customer.activation_state {
            ActivationState::Activating => check_admin_state(customer)?,
            _ => check_states(customer)?,
        }

        let called = Dialled::parse(attempt.called);
        let caller = Dialled::parse(attempt.caller);
        let caller_number = NumberFormat::E164.read(&caller);
        let emergency = self.is_emergency(customer, &called);
        if !emergency {
            if called.base().is_empty() {
                return Err(Denial::of(Denied::NumberNotInService, customer));
            }
            let number = caller_number.as_ref();
            if self.is_foreign(customer, number)
                || customer.caller_screening && !self.may_present(customer, number)
            {
                return Err(Denial::of(Denied::CallerNotAllowed, customer));
            }
        }
        let phone = self.phone_dialled(customer, &called, &NumberFormat::E164);
        let routes = match phone.filter(|_| !emergency) {
            Some(phone) => vec![Route::Phone(phone.clone())],
            None => {
                self.routes_outside(customer, caller_number.as_ref(), emergency, attempt.random)
            }
        };
        if routes.is_empty() {
            return Err(Denial::of(Denied::NoRoute, customer));
        }
        Ok(Admission {
            customer: customer.clone(),
            emergency,
            called: called.to_string(),
            forwarded_to: None,
            caller: NumberFormat::E164.canonical(&caller),
            gateway: Some(gateway.clone()),
            trunk: None,
            phone: None,
            routes,
        })
    }

    /// Who is a user of an exchange calls as that user, and in no other name; an emergency call takes what there is.
    fn routes_outside(
        &self,
        customer: &Arc<Customer>,
        caller: Option<&Number>,
        emergency: bool,
        random: u64,
    ) -> Vec<Route> {
        let line = caller.and_then(|number| self.registration_of_number(customer.id, number));
        let line = line.map(|line| Route::Trunk(line.trunk([]).into()));
        let mut routes: Vec<_> = line.into_iter().collect();
        if routes.is_empty() || emergency {
            routes.extend(self.trunk_routes(customer, random));
        }
        routes
    }

    /// A call to the Contact of a registration, which stands for one user.
    fn admit_on_line(
        &self,
        attempt: &Attempt,
        trunk: &Arc<Trunk>,
        line: &Registration,
    ) -> Result<Admission, Denial> {
        let customer = line.customer.and_then(|id| self.customer(id));
        let customer = customer.ok_or_else(|| Denial::of_nobody(Denied::NumberNotInService))?;
        check_states(customer)?;
        let serves = |number: &&Number| self.may_present(customer, Some(number));
        let number = line.numbers.iter().find(serves);
        let number = number.filter(|_| *attempt.called == *line.token);
        let number = number.ok_or_else(|| Denial::of(Denied::NumberNotInService, customer))?;
        let caller = Dialled::parse(attempt.caller);
        Ok(Admission {
            customer: customer.clone(),
            emergency: false,
            called: number.to_string(),
            forwarded_to: None,
            caller: trunk.number_format.canonical(&caller),
            gateway: None,
            trunk: Some(trunk.clone()),
            phone: None,
            routes: self.routes_to_number(customer, number)?,
        })
    }

    fn admit_from_trunk(&self, attempt: &Attempt) -> Result<Admission, Denial> {
        if let Origin::Trunk(trunk) = attempt.origin
            && let Some(line) = trunk.user()
        {
            return self.admit_on_line(attempt, trunk, line);
        }
        let called = Dialled::parse(attempt.called);
        if let Some((trunk, customer)) = self.caller_out(attempt.origin, &called) {
            return self.admit_out(attempt, trunk, customer, &called);
        }
        let (trunk, phone) = self.ingress(attempt.origin.trunks(), &called)?;
        let customer = self
            .customer(phone.customer)
            .ok_or_else(|| Denial::of_nobody(Denied::NumberNotInService))?;
        let forwarded_to = self.forwarded(customer, &phone.number);
        let rings = forwarded_to.unwrap_or(phone.number);
        self.check_called(customer, &rings)?;
        if !phone.in_service {
            return Err(Denial::of(Denied::NumberNotInService, customer));
        }
        let caller = Dialled::parse(attempt.caller);
        if !self.may_come_in(trunk, customer, &caller) {
            return Err(Denial::of(Denied::CallerNotAllowed, customer));
        }
        let routes = self.routes_to_number(customer, &rings)?;
        Ok(Admission {
            customer: customer.clone(),
            emergency: false,
            called: called.with_base(phone.number),
            forwarded_to: forwarded_to.map(|to| called.with_base(to)),
            caller: trunk.number_format.canonical(&caller),
            gateway: None,
            trunk: Some(trunk.clone()),
            phone: None,
            routes,
        })
    }

    /// The exchange that calls out, and whose it is: one that may do so, belongs to a customer and shares its address with
    /// no other trunk. A number of the customer itself is not outside.
    fn caller_out<'a>(
        &'a self,
        origin: &'a Origin,
        called: &Dialled,
    ) -> Option<(&'a Arc<Trunk>, &'a Arc<Customer>)> {
        let Origin::Trunk(trunk) = origin else {
            return None;
        };
        let customer = self.customer(trunk.customer?)?;
        let phone = trunk.number_format.read(called);
        let phone = phone.and_then(|number| self.number_for(customer.id, &number));
        let is_own = phone.is_some_and(|phone| phone.customer == customer.id)
            && !self.is_emergency(customer, called);
        let may = trunk.role == Role::Pbx && trunk.profile.calls_out && !is_own;
        may.then_some((trunk, customer))
    }

    /// A call of a customer's exchange to the world outside. It is no way through for anybody else: the caller is a number
    /// of the customer, whether or not the customer screens Teams, and only carriers are called.
    fn admit_out(
        &self,
        attempt: &Attempt,
        trunk: &Arc<Trunk>,
        customer: &Arc<Customer>,
        called: &Dialled,
    ) -> Result<Admission, Denial> {
        check_states(customer)?;
        let caller = Dialled::parse(attempt.caller);
        let number = trunk.number_format.read(&caller);
        let emergency = self.is_emergency(customer, called);
        if !emergency {
            if called.base().is_empty() {
                return Err(Denial::of(Denied::NumberNotInService, customer));
            }
            if !self.may_present(customer, number.as_ref()) {
                return Err(Denial::of(Denied::CallerNotAllowed, customer));
            }
        }
        let is_carrier = |route: &Route| match route {
            Route::Trunk(to) => to.role == Role::Carrier && to.id != trunk.id,
            Route::Teams(_) | Route::Phone(_) => false,
        };
        let mut routes = self.trunk_routes(customer, attempt.random);
        routes.retain(is_carrier);
        if routes.is_empty() {
            return Err(Denial::of(Denied::NoRoute, customer));
        }
        Ok(Admission {
            customer: customer.clone(),
            emergency,
            called: if emergency {
                called.to_string()
            } else {
                trunk.number_format.canonical(called)
            },
            forwarded_to: None,
            caller: trunk.number_format.canonical(&caller),
            gateway: None,
            trunk: Some(trunk.clone()),
            phone: None,
            routes,
        })
    }

    /// Which of these trunks a call came in by, and the number it is for: a customer's own trunk before a shared one,
    /// and never that of another customer.
    fn ingress<'a>(
        &'a self,
        trunks: &'a [Arc<Trunk>],
        called: &Dialled,
    ) -> Result<(&'a Arc<Trunk>, &'a PhoneNumber), Denial> {
        let numbers = trunks.iter().filter_map(|trunk| {
            let number = trunk.number_format.read(called)?;
            let phone = match trunk.customer {
                Some(owner) => self.number_for(owner, &number),
                None => self.number(&number),
            };
            Some((trunk, phone?))
        });
        let fits = |(trunk, phone): &(&Arc<Trunk>, &PhoneNumber)| {
            trunk.customer.is_none_or(|owner| owner == phone.customer)
        };
        let best = numbers
            .clone()
            .filter(fits)
            .min_by_key(|(trunk, _)| trunk.customer.is_none());
        best.ok_or_else(|| {
            let denied = if numbers.clone().next().is_some() {
                Denied::ForeignTrunk
            } else {
                Denied::NumberNotInService
            };
            self.denied_to_owner(trunks, denied)
        })
    }

    /// A call that is for none of the numbers a trunk may reach: its owner's states come first, as always.
    fn denied_to_owner(&self, trunks: &[Arc<Trunk>], denied: Denied) -> Denial {
        let owner = match trunks {
            [trunk] => trunk.customer.and_then(|id| self.customer(id)),
            _ => None,
        };
        match owner {
            None => Denial::of_nobody(denied),
            Some(customer) => check_states(customer)
                .err()
                .unwrap_or_else(|| Denial::of(denied, customer)),
        }
    }

    fn is_open(&self, gateway: &Gateway) -> bool {
        gateway.state.takes_calls()
            && self
                .region(&gateway.region)
                .is_some_and(|region| region.enabled)
    }

    pub(super) fn is_emergency(&self, customer: &Customer, called: &Dialled) -> bool {
        let in_region = |code: &String| {
            self.region(code)
                .is_some_and(|region| called.is_any_of(&region.emergency_numbers))
        };
        called.is_any_of(&self.emergency_numbers)
            || called.is_any_of(&customer.emergency_numbers)
            || customer.regions.iter().any(in_region)
    }

    /// Whether this could be an emergency call, whoever makes it from wherever: a number that is one to this customer, or
    /// if nobody knows whose call it is, to anybody.
    pub fn may_be_emergency(&self, customer: Option<&Customer>, called: &str) -> bool {
        let called = Dialled::parse(called);
        match customer {
            Some(customer) => self.is_emergency(customer, &called),
            None => {
                let regions = self.regions.values();
                let mut all = regions
                    .map(|region| &region.emergency_numbers)
                    .chain(self.customers.values().map(|c| &c.emergency_numbers))
                    .chain([&self.emergency_numbers]);
                all.any(|numbers| called.is_any_of(numbers))
            }
        }
    }

    pub(super) fn may_present(&self, customer: &Customer, number: Option<&Number>) -> bool {
        let phone = number.and_then(|number| self.number_for(customer.id, number));
        phone.is_some_and(|phone| phone.customer == customer.id && phone.in_service)
    }

    /// Whether a call to this customer may come in by this trunk in the caller's name. A carrier, or an exchange with lines
    /// of its own, passes on calls of everybody, other customers' users among them; only who runs it knows that it does
    /// not.
    fn may_come_in(&self, trunk: &Trunk, customer: &Customer, caller: &Dialled) -> bool {
        let number = trunk.number_format.read(caller);
        match trunk.profile.callers {
            Callers::Any => true,
            Callers::NotOthers | Callers::Own if caller.is_extension() => true,
            Callers::Own if customer.caller_screening => {
                self.may_present(customer, number.as_ref())
            }
            Callers::NotOthers | Callers::Own => !self.is_foreign(customer, number.as_ref()),
        }
    }

    /// Whether this number, in E.164 form, is another customer's.
    pub fn is_of_another(&self, customer: &Customer, number: &str) -> bool {
        let number = NumberFormat::E164.read(&Dialled::parse(number));
        self.is_foreign(customer, number.as_ref())
    }

    /// Whether a number is another customer's: from Teams nobody may present that, screened or not (TDR-1212).
    fn is_foreign(&self, customer: &Customer, number: Option<&Number>) -> bool {
        let phone = number.and_then(|number| self.number_for(customer.id, number));
        phone.is_some_and(|phone| phone.customer != customer.id)
    }

    /// Whether this is a number of the customer that is in service, in whatever form it is written.
    pub fn owns(&self, customer: &Customer, number: &str) -> bool {
        let number = NumberFormat::E164.read(&Dialled::parse(number));
        self.may_present(customer, number.as_ref())
    }

    /// The customer's trunks, then the shared carriers.
    pub(super) fn trunk_routes(&self, customer: &Customer, random: u64) -> Vec<Route> {
        let owners = [Some(customer.id), None];
        let trunks = owners.iter().map(|owner| self.trunks_of(*owner));
        trunks
            .flat_map(|trunks| in_order_of_trial(trunks, random))
            .map(Route::Trunk)
            .collect()
    }
}

impl Denial {
    pub(super) fn of(denied: Denied, customer: &Arc<Customer>) -> Self {
        Self {
            denied,
            customer: Some(customer.clone()),
        }
    }

    pub(super) fn of_nobody(denied: Denied) -> Self {
        Self {
            denied,
            customer: None,
        }
    }
}

pub(super) fn check_states(customer: &Arc<Customer>) -> Result<(), Denial> {
    check_admin_state(customer)?;
    if !customer.activation_state.is_in_service() {
        return Err(Denial::of(Denied::CustomerInactive, customer));
    }
    Ok(())
}

pub(super) fn check_admin_state(customer: &Arc<Customer>) -> Result<(), Denial> {
    match customer.admin_state {
        AdminState::Enabled => Ok(()),
        AdminState::Disabled => Err(Denial::of(Denied::CustomerDisabled, customer)),
    }
}

/// Lower priorities first; among equal ones each is first as often as its weight says (RFC 2782). A weight of 0 comes
/// last. Each trunk draws an exponential time with its weight as the rate, and the earliest wins: so the order depends
/// on nothing but `random` and the trunks.
fn in_order_of_trial(trunks: &[Arc<Trunk>], random: u64) -> Vec<Arc<Trunk>> {
    let mut drawn: Vec<_> = trunks
        .iter()
        .filter(|trunk| trunk.state == TrunkState::InService)
        .map(|trunk| (trunk.priority, draw(trunk, random), trunk))
        .collect();
    drawn.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    drawn
        .into_iter()
        .map(|(_, _, trunk)| trunk.clone())
        .collect()
}

fn draw(trunk: &Trunk, random: u64) -> f64 {
    let (high, low) = trunk.id.as_u64_pair();
    let bits = mixed(mixed(random ^ high) ^ low);
    // 53 bits make an even number between 0, left out, and 1.
    let even = ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    -even.ln() / f64::from(trunk.weight)
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
