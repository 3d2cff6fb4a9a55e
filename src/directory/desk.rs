//! Calls of desk telephones and to them (provisioning rules: section 7). Teams need not be set up for those that do not
//! go there.

use super::admit::{check_admin_state, check_states};
use super::{
    Admission, Attempt, Customer, Denial, Denied, Dialled, Directory, GatewayState, Number,
    NumberFormat, Phone, Role, Route,
};
use std::sync::Arc;

impl Directory {
    /// A call of a telephone: to another one of its customer by extension or number, to a Teams user, or outside. It is
    /// made in the name of the telephone's own number, whatever the telephone says; without one only calls within the
    /// customer are, and emergency calls.
    pub(super) fn admit_from_phone(
        &self,
        attempt: &Attempt,
        phone: &Arc<Phone>,
    ) -> Result<Admission, Denial> {
        let customer = self.customer(phone.customer);
        let customer = customer.ok_or_else(|| Denial::of_nobody(Denied::UnknownPeer))?;
        check_admin_state(customer)?;
        let called = Dialled::parse(attempt.called);
        let emergency = self.is_emergency(customer, &called);
        let (called, routes) = match emergency {
            true => (
                called.to_string(),
                self.emergency_routes(customer, attempt.random),
            ),
            false => self.dialled_at_a_phone(customer, &called, attempt.random)?,
        };
        if routes.is_empty() {
            return Err(Denial::of(Denied::NoRoute, customer));
        }
        let outside = matches!(routes.first(), Some(Route::Trunk(_)));
        let may = self.may_present(customer, phone.number.as_ref());
        if outside && !emergency && !may {
            return Err(Denial::of(Denied::CallerNotAllowed, customer));
        }
        let number = phone.number.filter(|_| may || emergency);
        Ok(Admission {
            customer: customer.clone(),
            emergency,
            called,
            forwarded_to: None,
            caller: number.map_or_else(|| phone.extension.to_string(), |n| n.to_string()),
            gateway: None,
            trunk: None,
            phone: Some(phone.clone()),
            routes,
        })
    }

    /// Whom these digits mean: an extension first, then a number, written as the carrier wants numbers.
    fn dialled_at_a_phone(
        &self,
        customer: &Arc<Customer>,
        called: &Dialled,
        random: u64,
    ) -> Result<(String, Vec<Route>), Denial> {
        let carriers = self.carriers(customer, random);
        let format = carriers.iter().find_map(|route| match route {
            Route::Trunk(trunk) => Some(&trunk.number_format),
            _ => None,
        });
        let format = format.unwrap_or(&NumberFormat::E164);
        let unknown = || Denial::of(Denied::NumberNotInService, customer);
        if let Some(other) = self.phone_dialled(customer, called, format) {
            return Ok((called.to_string(), vec![Route::Phone(other.clone())]));
        }
        let number = match called.is_extension() {
            true => self.identifier(customer, called),
            false => format.read(called),
        };
        let Some(number) = number else {
            let mut phones = self.phones_of(customer.id);
            let gone = phones.find(|phone| *phone.extension == *called.base());
            let gone = gone.ok_or_else(unknown)?;
            return Ok((called.to_string(), vec![Route::Phone(gone.clone())]));
        };
        let own = self.number_for(customer.id, &number);
        let Some(own) = own.filter(|own| own.customer == customer.id) else {
            return Ok((called.with_base(number), carriers));
        };
        if !own.in_service {
            return Err(unknown());
        }
        let number = self.forwarded(customer, &number).unwrap_or(number);
        self.check_called(customer, &number)?;
        let routes = self.routes_to_number(customer, &number)?;
        Ok((called.with_base(number), routes))
    }

    /// The active telephone that these digits mean, by its extension or its number.
    pub(super) fn phone_dialled(
        &self,
        customer: &Customer,
        called: &Dialled,
        format: &NumberFormat,
    ) -> Option<&Arc<Phone>> {
        if called.is_extension() {
            return self.phone_at(customer.id, called.base());
        }
        let number = format.read(called)?;
        let own = self.number_for(customer.id, &number)?;
        let is_own = own.customer == customer.id && own.in_service;
        let phone = self.phone_of_number(customer.id, &number)?;
        (is_own && phone.active).then_some(phone)
    }

    /// The identifier that Teams has for an extension in place of a number: `+1` and the digits.
    fn identifier(&self, customer: &Customer, called: &Dialled) -> Option<Number> {
        let number = format!("+1{}", called.base()).parse().ok()?;
        let own = self.extensions.get(&customer.id)?;
        own.contains_key(&number).then_some(number)
    }

    /// Whether calls to this number pass: what a telephone has does not wait for Teams.
    pub(super) fn check_called(
        &self,
        customer: &Arc<Customer>,
        number: &Number,
    ) -> Result<(), Denial> {
        match self.phone_of_number(customer.id, number) {
            Some(_) => check_admin_state(customer),
            None => check_states(customer),
        }
    }

    /// Where a call to a number of the customer goes: to the telephone that has it; if none does, to Teams. A telephone
    /// that was taken out of use keeps the number where there is no Teams.
    pub(super) fn routes_to_number(
        &self,
        customer: &Arc<Customer>,
        number: &Number,
    ) -> Result<Vec<Route>, Denial> {
        let phone = self.phone_of_number(customer.id, number);
        if let Some(phone) = phone.filter(|phone| phone.active) {
            return Ok(vec![Route::Phone(phone.clone())]);
        }
        let gateways = self.gateways_by_customer.get(&customer.id);
        let active = gateways
            .iter()
            .filter(|_| customer.activation_state.is_in_service())
            .flat_map(|held| held.in_order.iter())
            .filter(|gateway| gateway.state == GatewayState::Active);
        let routes: Vec<_> = active
            .map(|gateway| Route::Teams(gateway.clone()))
            .collect();
        match (routes.is_empty(), phone) {
            (false, _) => Ok(routes),
            (true, Some(phone)) => Ok(vec![Route::Phone(phone.clone())]),
            (true, None) => Err(Denial::of(Denied::GatewayNotActive, customer)),
        }
    }

    fn carriers(&self, customer: &Customer, random: u64) -> Vec<Route> {
        let mut routes = self.trunk_routes(customer, random);
        let is_carrier =
            |route: &Route| matches!(route, Route::Trunk(trunk) if trunk.role == Role::Carrier);
        routes.retain(is_carrier);
        routes
    }

    /// A carrier; the customer's exchange where it has none.
    fn emergency_routes(&self, customer: &Customer, random: u64) -> Vec<Route> {
        let carriers = self.carriers(customer, random);
        match carriers.is_empty() {
            true => self.trunk_routes(customer, random),
            false => carriers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{customer, gateway, id, phone, phone_number, region, trunk};
    use super::super::{ActivationState, AdminState, Origin, Rows, Trunk};
    use super::*;

    const OWN: &str = "+14255550100";
    const TEAMS: &str = "+14255550101";

    /// `acme` with a desk telephone that has a number, one that has none, one that was taken out of use, a Teams user
    /// and a carrier.
    fn rows() -> Rows {
        let acme = customer("acme");
        let desk = Phone {
            number: Some(OWN.parse().unwrap()),
            ..phone("desk", "1001", &acme)
        };
        let gone = Phone {
            active: false,
            ..phone("gone", "1003", &acme)
        };
        Rows {
            regions: vec![region("EU")],
            gateways: vec![gateway(&acme, "EU", "acme.eu.example")],
            numbers: vec![phone_number(OWN, &acme), phone_number(TEAMS, &acme)],
            extensions: vec![phone_number("+12001", &acme)],
            phones: vec![desk, phone("hall", "1002", &acme), gone],
            trunks: vec![Trunk {
                role: Role::Carrier,
                ..trunk("carrier", None)
            }],
            customers: vec![acme],
            ..Rows::default()
        }
    }

    fn call(rows: Rows, from: &str, called: &str) -> Result<(String, String, String), Denied> {
        let directory = Directory::compile(rows).unwrap();
        let origin = Origin::Phone(directory.phone(from).unwrap().clone());
        let attempt = Attempt {
            origin: &origin,
            request_host: "sbc.example",
            called,
            caller: "whoever",
            random: 0,
        };
        let admitted = directory.admit(&attempt).map_err(|denial| denial.denied)?;
        let first = admitted.routes[0].name().to_owned();
        Ok((first, admitted.called, admitted.caller))
    }

    fn to(first: &str, called: &str, caller: &str) -> Result<(String, String, String), Denied> {
        Ok((first.into(), called.into(), caller.into()))
    }

    /// By extension and by number to telephones and Teams users of the customer, and outside; always in the name of the
    /// telephone's own number, not of what it says.
    #[test]
    fn a_phone_calls() {
        let from_desk = |called: &str| call(rows(), "desk", called);
        assert_eq!(from_desk("1002"), to("hall", "1002", OWN));
        assert_eq!(from_desk(TEAMS), to("acme.eu.example", TEAMS, OWN));
        assert_eq!(from_desk("2001"), to("acme.eu.example", "+12001", OWN));
        assert_eq!(
            from_desk("+442075550123"),
            to("carrier", "+442075550123", OWN)
        );
        assert_eq!(
            from_desk("1003"),
            to("gone", "1003", OWN),
            "told as offline"
        );
        assert_eq!(from_desk("1999"), Err(Denied::NumberNotInService));
        assert_eq!(from_desk(""), Err(Denied::NumberNotInService));
        assert_eq!(call(rows(), "hall", OWN), to("desk", OWN, "1002"));
    }

    /// Without a number nobody outside can be called but emergency services.
    #[test]
    fn a_phone_without_a_number_stays_inside() {
        let outside = call(rows(), "hall", "+442075550123");
        assert_eq!(outside, Err(Denied::CallerNotAllowed));
        assert_eq!(call(rows(), "hall", "112"), to("carrier", "112", "1002"));
        assert_eq!(call(rows(), "desk", "112"), to("carrier", "112", OWN));
    }

    /// Teams is not needed for calls that do not go there; a disabled customer makes none.
    #[test]
    fn states_of_the_customer() {
        let inactive = || {
            let mut rows = rows();
            rows.customers[0].activation_state = ActivationState::Inactive;
            rows
        };
        assert_eq!(call(inactive(), "desk", "1002"), to("hall", "1002", OWN));
        let outside = call(inactive(), "desk", "+442075550123");
        assert_eq!(outside, to("carrier", "+442075550123", OWN));
        let teams = call(inactive(), "desk", TEAMS);
        assert_eq!(teams, Err(Denied::CustomerInactive));
        let mut disabled = rows();
        disabled.customers[0].admin_state = AdminState::Disabled;
        let told = call(disabled, "desk", "1002");
        assert_eq!(told, Err(Denied::CustomerDisabled));
    }

    /// Calls of a carrier and of Teams to the number of a telephone ring there; without the telephone, at Teams.
    #[test]
    fn a_phone_is_called() {
        let routed = |rows: Rows, teams: bool, called: &str| {
            let directory = Directory::compile(rows).unwrap();
            let origin = match teams {
                true => Origin::Teams,
                false => Origin::Trunk(directory.trunk(id("carrier")).unwrap().clone()),
            };
            let attempt = Attempt {
                origin: &origin,
                request_host: "acme.eu.example",
                called,
                caller: TEAMS,
                random: 0,
            };
            let admitted = directory.admit(&attempt).map_err(|denial| denial.denied);
            admitted.map(|admitted| admitted.routes[0].name().to_owned())
        };
        let desk = Ok("desk".to_owned());
        assert_eq!(routed(rows(), false, OWN), desk);
        assert_eq!(routed(rows(), true, OWN), desk);
        assert_eq!(routed(rows(), true, "1001"), desk);
        assert_eq!(routed(rows(), true, "112"), Ok("carrier".to_owned()));
        let mut without = rows();
        without.phones[0].active = false;
        let at_teams = Ok("acme.eu.example".to_owned());
        assert_eq!(routed(without.clone(), false, OWN), at_teams);
        without.gateways.clear();
        assert_eq!(routed(without, false, OWN), desk, "told as offline");
    }
}
