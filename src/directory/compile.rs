use super::{
    AdminState, Customer, Directory, Forwarded, Gateway, HeldGateways, Phone, PhoneNumber, Region,
    Registration, Trunk, TrunkState,
};
use crate::audio::{Announcement, Clip};
use ipnet::IpNet;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;
use uuid::Uuid;

/// What the directory needs to know besides the provisioned rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where Microsoft's proxies send from (TDR-105).
    pub teams_ranges: Vec<IpNet>,
    /// Emergency numbers everywhere, as dialled, without `+` (TDR-1001).
    pub emergency_numbers: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let range =
            |a, b, c, d, length| IpNet::new_assert(Ipv4Addr::new(a, b, c, d).into(), length);
        Self {
            teams_ranges: vec![range(52, 112, 0, 0, 14), range(52, 120, 0, 0, 14)],
            emergency_numbers: ["112", "911", "933", "999"].map(str::to_owned).to_vec(),
        }
    }
}

/// All that a directory is compiled from.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Of the directory to be.
    pub generation: u64,
    /// From the configuration file.
    pub config: Config,
    /// In any order, like all that follow.
    pub regions: Vec<Region>,
    /// Whom the rest belongs to.
    pub customers: Vec<Customer>,
    /// At most one for each customer and region.
    pub gateways: Vec<Gateway>,
    /// Those that are to be known, in service or not.
    pub numbers: Vec<PhoneNumber>,
    /// The same of identifiers that are written like numbers and are one customer's own: another may have the same.
    pub extensions: Vec<PhoneNumber>,
    /// Further numbers of users.
    pub forwarded: Vec<Forwarded>,
    /// Disabled ones are left out.
    pub trunks: Vec<Trunk>,
    /// Users of exchanges in whose names we register.
    pub registrations: Vec<Registration>,
    /// Desk telephones, active or not.
    pub phones: Vec<Phone>,
    /// Announcements that are not the built-in ones.
    pub announcements: HashMap<Announcement, Arc<Clip>>,
}

/// Why rows make no directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Two rows claim what only one may have.
    #[error("{what} {name} occurs twice")]
    Twice {
        /// `region`, `customer`, `gateway`, `number`, `trunk`, `registration` or `phone`.
        what: &'static str,
        /// Its code, id, domain name, number, user name or extension.
        name: String,
    },
    /// A row belongs to a customer that is not there.
    #[error("{what} {name} belongs to unknown customer {customer}")]
    UnknownCustomer {
        /// Kind of the row.
        what: &'static str,
        /// Its id, name or number.
        name: String,
        /// Whom it names.
        customer: Uuid,
    },
    /// A row names a region that is not there.
    #[error("{what} {name} names unknown region {region}")]
    UnknownRegion {
        /// Kind of the row.
        what: &'static str,
        /// Its name.
        name: String,
        /// What it names.
        region: String,
    },
    /// A customer has two gateways in one region, so that the order of regions decides nothing.
    #[error("gateway {fqdn} is the second of its customer in region {region}")]
    SecondGateway {
        /// The later one.
        fqdn: String,
        /// Where.
        region: String,
    },
    /// TDR-846: Teams tells two carrier trunks by name and port.
    #[error(
        "regions {region} and {other} share port {port}, and only one of them bypasses media (TDR-846)"
    )]
    SharedPort {
        /// The one with media bypass.
        region: String,
        /// One without.
        other: String,
        /// What both have.
        port: u16,
    },
    /// A trunk would let in everybody.
    #[error("trunk {name} lets in every address")]
    OpenAccess {
        /// The trunk's.
        name: String,
    },
}

/// What belongs to one customer.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Whose.
    pub id: Uuid,
    /// The customer itself; none if it is gone, and then nothing else may be left of it.
    pub customer: Option<Customer>,
    /// At most one in each region.
    pub gateways: Vec<Gateway>,
    /// In service or not.
    pub numbers: Vec<PhoneNumber>,
    /// Identifiers that are written like numbers and are the customer's own.
    pub extensions: Vec<PhoneNumber>,
    /// Further numbers of users.
    pub forwarded: Vec<Forwarded>,
    /// Disabled ones are left out.
    pub trunks: Vec<Trunk>,
    /// Those of a customer that may not call are left out.
    pub registrations: Vec<Registration>,
    /// Desk telephones, active or not.
    pub phones: Vec<Phone>,
}

impl Holding {
    /// Of a customer that has nothing yet.
    pub fn new(id: Uuid) -> Self {
        Self {
            id,
            customer: None,
            gateways: Vec::new(),
            numbers: Vec::new(),
            extensions: Vec::new(),
            forwarded: Vec::new(),
            trunks: Vec::new(),
            registrations: Vec::new(),
            phones: Vec::new(),
        }
    }
}

impl Directory {
    /// Checks that the rows fit together and indexes them. All errors are told, not just the first.
    pub fn compile(rows: Rows) -> Result<Self, Vec<CompileError>> {
        let mut errors = Vec::new();
        let regions = regions_of(rows.regions, &mut errors);
        let (shared, owned): (Vec<_>, Vec<_>) = rows
            .trunks
            .into_iter()
            .partition(|trunk| trunk.customer.is_none());
        let mut holdings: HashMap<Uuid, Holding> = HashMap::with_capacity(rows.customers.len());
        for customer in rows.customers {
            let holding = of(&mut holdings, customer.id);
            if holding.customer.is_some() {
                errors.push(twice("customer", customer.id.to_string()));
            } else {
                holding.customer = Some(customer);
            }
        }
        for gateway in rows.gateways {
            of(&mut holdings, gateway.customer).gateways.push(gateway);
        }
        for number in rows.numbers {
            of(&mut holdings, number.customer).numbers.push(number);
        }
        for extension in rows.extensions {
            let holding = of(&mut holdings, extension.customer);
            holding.extensions.push(extension);
        }
        for forwarded in rows.forwarded {
            let holding = of(&mut holdings, forwarded.customer);
            holding.forwarded.push(forwarded);
        }
        for phone in rows.phones {
            of(&mut holdings, phone.customer).phones.push(phone);
        }
        for trunk in owned {
            if let Some(customer) = trunk.customer {
                of(&mut holdings, customer).trunks.push(trunk);
            }
        }
        for registration in rows.registrations {
            // Rows are of users, whom a customer has; one without is told as one of an unknown customer.
            let owner = registration.customer.unwrap_or_default();
            of(&mut holdings, owner).registrations.push(registration);
        }

        let mut directory = Self {
            generation: rows.generation,
            teams_names: regions
                .values()
                .map(name_of_region)
                .fold(0, u64::wrapping_add),
            teams_ranges: rows.config.teams_ranges,
            emergency_numbers: rows.config.emergency_numbers,
            regions,
            announcements: rows.announcements,
            ..Self::default()
        };
        directory.put_trunks(None, true, shared, &mut errors);
        for (_, holding) in holdings {
            directory.put(holding, &mut errors);
        }
        told(directory, errors)
    }

    /// The next generation: the same but for what these customers have. It costs what they have, not what is there in
    /// all. The result equals what [`compile`](Self::compile) makes of all rows.
    pub fn replace(
        &self,
        generation: u64,
        holdings: Vec<Holding>,
    ) -> Result<Self, Vec<CompileError>> {
        let mut directory = self.clone();
        directory.generation = generation;
        // All go before one comes: a number may move from one to another.
        for holding in &holdings {
            directory.take(holding.id);
        }
        let mut errors = Vec::new();
        for holding in holdings {
            directory.put(holding, &mut errors);
        }
        told(directory, errors)
    }

    fn put(&mut self, holding: Holding, errors: &mut Vec<CompileError>) {
        let Some(customer) = holding.customer else {
            errors.extend(orphans(&holding));
            return;
        };
        let unknown = customer
            .regions
            .iter()
            .filter(|code| !self.regions.contains_key(*code));
        errors.extend(unknown.map(|region| CompileError::UnknownRegion {
            what: "customer",
            name: customer.account_id.clone(),
            region: region.clone(),
        }));
        self.put_gateways(&customer, holding.gateways, errors);
        self.put_numbers(customer.id, holding.numbers, errors);
        self.put_extensions(customer.id, holding.extensions, errors);
        if !holding.forwarded.is_empty() {
            let forwarded = holding.forwarded.iter().map(|f| (f.number, f.to));
            let forwarded: HashMap<_, _> = forwarded.collect();
            self.forwarded.insert(customer.id, forwarded.into());
        }
        // Nobody registers for a customer whose calls would be refused.
        let may_call = customer.admin_state == AdminState::Enabled
            && customer.activation_state.is_in_service();
        self.put_trunks(Some(customer.id), may_call, holding.trunks, errors);
        if may_call {
            self.put_registrations(customer.id, holding.registrations, errors);
        }
        self.put_phones(customer.id, holding.phones, errors);
        self.customers.insert(customer.id, Arc::new(customer));
    }

    fn put_gateways(
        &mut self,
        customer: &Customer,
        mut rows: Vec<Gateway>,
        errors: &mut Vec<CompileError>,
    ) {
        rows.sort_unstable_by_key(|gateway| gateway.fqdn.to_ascii_lowercase());
        let mut names = Vec::with_capacity(rows.len());
        let mut of_region: HashMap<String, Arc<Gateway>> = HashMap::new();
        for gateway in rows {
            let name = gateway.fqdn.to_ascii_lowercase();
            let gateway = Arc::new(Gateway {
                fqdn: name.clone(),
                ..gateway
            });
            if self.gateways.contains_key(&name) {
                errors.push(twice("gateway", name));
                continue;
            }
            self.teams_names = self.teams_names.wrapping_add(name_of_gateway(&gateway));
            let region = gateway.region.clone();
            if !self.regions.contains_key(&region) {
                errors.push(CompileError::UnknownRegion {
                    what: "gateway",
                    name: name.clone(),
                    region,
                });
            } else if of_region.insert(region.clone(), gateway.clone()).is_some() {
                errors.push(CompileError::SecondGateway {
                    fqdn: name.clone(),
                    region,
                });
            }
            names.push(name.clone());
            self.gateways.insert(name, gateway);
        }
        if names.is_empty() {
            return;
        }
        let held = HeldGateways {
            // In the order of the customer's regions; those of other regions are never tried.
            in_order: customer
                .regions
                .iter()
                .filter(|code| self.regions.get(*code).is_some_and(|r| r.enabled))
                .filter_map(|code| of_region.get(code).cloned())
                .collect(),
            names: names.into(),
        };
        self.gateways_by_customer.insert(customer.id, held);
    }

    fn put_numbers(
        &mut self,
        customer: Uuid,
        mut rows: Vec<PhoneNumber>,
        errors: &mut Vec<CompileError>,
    ) {
        rows.sort_unstable_by_key(|row| row.number);
        let mut names = Vec::with_capacity(rows.len());
        for row in rows {
            if self.numbers.contains_key(&row.number) {
                errors.push(twice("number", row.number.to_string()));
                continue;
            }
            names.push(row.number);
            self.numbers.insert(row.number, row);
        }
        if !names.is_empty() {
            self.numbers_by_customer.insert(customer, names.into());
        }
    }

    fn put_extensions(
        &mut self,
        customer: Uuid,
        rows: Vec<PhoneNumber>,
        errors: &mut Vec<CompileError>,
    ) {
        let mut extensions = HashMap::with_capacity(rows.len());
        for row in rows {
            if let Some(taken) = extensions.insert(row.number, row) {
                errors.push(twice("number", taken.number.to_string()));
            }
        }
        if !extensions.is_empty() {
            self.extensions.insert(customer, extensions.into());
        }
    }

    fn put_trunks(
        &mut self,
        owner: Option<Uuid>,
        may_call: bool,
        mut rows: Vec<Trunk>,
        errors: &mut Vec<CompileError>,
    ) {
        rows.sort_unstable_by_key(|trunk| trunk.id);
        let mut held = Vec::new();
        for trunk in rows {
            if trunk.state == TrunkState::Disabled {
                continue;
            }
            if self.trunks.contains_key(&trunk.id) {
                errors.push(twice("trunk", trunk.id.to_string()));
                continue;
            }
            if trunk.acl.iter().any(|network| network.prefix_len() == 0) {
                errors.push(CompileError::OpenAccess {
                    name: trunk.name.clone(),
                });
            }
            let line = Registration::of_trunk(&trunk).map(Arc::new);
            if let Some(line) = line.as_ref().filter(|_| may_call) {
                let (token, held) = (line.token.clone(), Arc::clone(line));
                self.registrations_by_token.insert(token, held);
                self.registrations.insert(line.id, Arc::clone(line));
            }
            let trunk = Arc::new(Trunk { line, ..trunk });
            self.access.add(&trunk);
            self.trunks.insert(trunk.id, trunk.clone());
            held.push(trunk);
        }
        if !held.is_empty() {
            self.trunks_by_customer.insert(owner, held.into());
        }
    }

    fn put_registrations(
        &mut self,
        customer: Uuid,
        mut rows: Vec<Registration>,
        errors: &mut Vec<CompileError>,
    ) {
        if rows.is_empty() {
            return;
        }
        rows.sort_unstable_by_key(|row| row.id);
        let mut held = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, token) = (row.id, row.token.clone());
            let is_known = self.registrations.contains_key(&id)
                || self.registrations_by_token.contains_key(&token);
            if is_known {
                errors.push(twice("registration", id.to_string()));
                continue;
            }
            let row = Arc::new(row);
            for number in row.numbers.iter() {
                // A number of several users calls by the first.
                self.registrations_by_number
                    .entry((customer, *number))
                    .or_insert_with(|| Arc::clone(&row));
            }
            self.registrations_by_token.insert(token, Arc::clone(&row));
            self.registrations.insert(id, Arc::clone(&row));
            held.push(row);
        }
        self.registrations_by_customer.insert(customer, held.into());
    }

    /// Forgets a customer with all that it has.
    fn take(&mut self, customer: Uuid) {
        self.customers.remove(&customer);
        let gateways = self.gateways_by_customer.remove(&customer);
        for name in gateways.iter().flat_map(|held| held.names.iter()) {
            if let Some(gateway) = self.gateways.remove(name) {
                self.teams_names = self.teams_names.wrapping_sub(name_of_gateway(&gateway));
            }
        }
        let numbers = self.numbers_by_customer.remove(&customer);
        for number in numbers.iter().flat_map(|numbers| numbers.iter()) {
            self.numbers.remove(number);
        }
        self.extensions.remove(&customer);
        self.forwarded.remove(&customer);
        self.take_phones(customer);
        let trunks = self.trunks_by_customer.remove(&Some(customer));
        for trunk in trunks.iter().flat_map(|trunks| trunks.iter()) {
            self.trunks.remove(&trunk.id);
            self.access.remove(trunk);
            if let Some(line) = &trunk.line {
                self.registrations.remove(&line.id);
                self.registrations_by_token.remove(&line.token);
            }
        }
        let registrations = self.registrations_by_customer.remove(&customer);
        for row in registrations.iter().flat_map(|rows| rows.iter()) {
            self.registrations.remove(&row.id);
            self.registrations_by_token.remove(&row.token);
            for number in row.numbers.iter() {
                self.registrations_by_number.remove(&(customer, *number));
            }
        }
    }
}

fn told(directory: Directory, errors: Vec<CompileError>) -> Result<Directory, Vec<CompileError>> {
    if errors.is_empty() {
        Ok(directory)
    } else {
        Err(errors)
    }
}

fn of(holdings: &mut HashMap<Uuid, Holding>, id: Uuid) -> &mut Holding {
    holdings.entry(id).or_insert_with(|| Holding::new(id))
}

fn twice(what: &'static str, name: String) -> CompileError {
    CompileError::Twice { what, name }
}

/// Rows of a customer that is not there.
fn orphans(holding: &Holding) -> impl Iterator<Item = CompileError> {
    let gateways = holding.gateways.iter().map(|g| ("gateway", g.fqdn.clone()));
    let numbers = holding
        .numbers
        .iter()
        .chain(&holding.extensions)
        .map(|n| ("number", n.number.to_string()));
    let trunks = holding.trunks.iter().map(|t| ("trunk", t.name.clone()));
    let registrations = holding.registrations.iter();
    let registrations = registrations.map(|r| ("registration", r.id.to_string()));
    let phones = holding
        .phones
        .iter()
        .map(|p| ("phone", p.auth_user.to_string()));
    let unknown = |(what, name)| CompileError::UnknownCustomer {
        what,
        name,
        customer: holding.id,
    };
    gateways
        .chain(numbers)
        .chain(trunks)
        .chain(registrations)
        .chain(phones)
        .map(unknown)
}

fn regions_of(
    rows: Vec<Region>,
    errors: &mut Vec<CompileError>,
) -> Arc<HashMap<String, Arc<Region>>> {
    let mut regions = HashMap::new();
    for row in rows {
        match regions.entry(row.code.clone()) {
            Entry::Occupied(taken) => errors.push(twice("region", taken.key().clone())),
            Entry::Vacant(free) => {
                free.insert(Arc::new(row));
            }
        }
    }
    check_ports(&regions, errors);
    regions.into()
}

fn check_ports(regions: &HashMap<String, Arc<Region>>, errors: &mut Vec<CompileError>) {
    let (with, without): (Vec<_>, Vec<_>) = regions.values().partition(|r| r.media_bypass);
    for region in with {
        let same = without.iter().filter(|r| r.sip_port == region.sip_port);
        errors.extend(same.map(|other| CompileError::SharedPort {
            region: region.code.clone(),
            other: other.code.clone(),
            port: region.sip_port,
        }));
    }
}

/// What Teams knows of us is the sum of these, in whatever order they come.
fn name_of_region(region: &Arc<Region>) -> u64 {
    fingerprint((&region.base_fqdn, region.sip_port, region.enabled))
}

fn name_of_gateway(gateway: &Gateway) -> u64 {
    fingerprint((&gateway.fqdn, gateway.sip_port, gateway.state.name()))
}

fn fingerprint(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
