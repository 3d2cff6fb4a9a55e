use super::acl::AccessList;
use super::{Customer, Directory, Gateway, Number, PhoneNumber, Region, Trunk, TrunkState};
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
    /// Disabled ones are left out.
    pub trunks: Vec<Trunk>,
}

/// Why rows make no directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Two rows claim what only one may have.
    #[error("{what} {name} occurs twice")]
    Twice {
        /// `region`, `customer`, `gateway`, `number` or `trunk`.
        what: &'static str,
        /// Its code, id, domain name or number.
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

impl Directory {
    /// Checks that the rows fit together and indexes them. All errors are told, not just the first.
    pub fn compile(rows: Rows) -> Result<Self, Vec<CompileError>> {
        let mut errors = Vec::new();
        let regions = index(
            "region",
            rows.regions,
            |region| region.code.clone(),
            &mut errors,
        );
        let customers = index(
            "customer",
            rows.customers,
            |customer| customer.id,
            &mut errors,
        );
        check_regions(&customers, &regions, &mut errors);
        check_ports(&regions, &mut errors);

        let gateways = rows.gateways.into_iter().map(|g| Gateway {
            fqdn: g.fqdn.to_ascii_lowercase(),
            ..g
        });
        let gateways = index(
            "gateway",
            gateways,
            |gateway| gateway.fqdn.clone(),
            &mut errors,
        );
        let gateways_by_customer = gateways_of(&gateways, &customers, &regions, &mut errors);

        let numbers = numbers_of(rows.numbers, &customers, &mut errors);

        let enabled = rows
            .trunks
            .into_iter()
            .filter(|trunk| trunk.state != TrunkState::Disabled);
        let trunks = index("trunk", enabled, |trunk| trunk.id, &mut errors);
        let trunks_by_customer = trunks_of(&trunks, &customers, &mut errors);

        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            generation: rows.generation,
            teams_names: teams_names(regions.values(), gateways.values()),
            teams_ranges: rows.config.teams_ranges,
            emergency_numbers: rows.config.emergency_numbers,
            access: AccessList::new(trunks.values()),
            regions,
            customers,
            gateways,
            gateways_by_customer,
            numbers,
            trunks,
            trunks_by_customer,
        })
    }
}

/// A number for all that Teams knows of us, in whatever order it comes.
fn teams_names<'a>(
    regions: impl Iterator<Item = &'a Arc<Region>>,
    gateways: impl Iterator<Item = &'a Arc<Gateway>>,
) -> u64 {
    let regions = regions.map(|r| fingerprint((&r.base_fqdn, r.sip_port, r.enabled)));
    let gateways = gateways.map(|g| fingerprint((&g.fqdn, g.sip_port, g.state.name())));
    regions.chain(gateways).fold(0, u64::wrapping_add)
}

fn fingerprint(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

type Index<K, V> = HashMap<K, Arc<V>>;

fn index<K, V>(
    what: &'static str,
    rows: impl IntoIterator<Item = V>,
    key: impl Fn(&V) -> K,
    errors: &mut Vec<CompileError>,
) -> Index<K, V>
where
    K: Eq + Hash + ToString,
{
    let mut index = HashMap::new();
    for row in rows {
        match index.entry(key(&row)) {
            Entry::Occupied(taken) => errors.push(CompileError::Twice {
                what,
                name: taken.key().to_string(),
            }),
            Entry::Vacant(free) => {
                free.insert(Arc::new(row));
            }
        }
    }
    index
}

fn check_regions(
    customers: &Index<Uuid, Customer>,
    regions: &Index<String, Region>,
    errors: &mut Vec<CompileError>,
) {
    for customer in customers.values() {
        for region in customer
            .regions
            .iter()
            .filter(|code| !regions.contains_key(*code))
        {
            let name = customer.account_id.clone();
            errors.push(CompileError::UnknownRegion {
                what: "customer",
                name,
                region: region.clone(),
            });
        }
    }
}

fn check_ports(regions: &Index<String, Region>, errors: &mut Vec<CompileError>) {
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

/// The gateways of each customer, in the order of its regions; those of other regions are never tried.
fn gateways_of(
    gateways: &Index<String, Gateway>,
    customers: &Index<Uuid, Customer>,
    regions: &Index<String, Region>,
    errors: &mut Vec<CompileError>,
) -> HashMap<Uuid, Vec<Arc<Gateway>>> {
    let mut of_region: HashMap<(Uuid, &str), &Arc<Gateway>> = HashMap::new();
    let mut by_name: Vec<_> = gateways.values().collect();
    by_name.sort_unstable_by(|a, b| a.fqdn.cmp(&b.fqdn));
    for gateway in by_name {
        let name = gateway.fqdn.clone();
        if !customers.contains_key(&gateway.customer) {
            errors.push(CompileError::UnknownCustomer {
                what: "gateway",
                name,
                customer: gateway.customer,
            });
        } else if !regions.contains_key(&gateway.region) {
            errors.push(CompileError::UnknownRegion {
                what: "gateway",
                name,
                region: gateway.region.clone(),
            });
        } else if of_region
            .insert((gateway.customer, &gateway.region), gateway)
            .is_some()
        {
            errors.push(CompileError::SecondGateway {
                fqdn: name,
                region: gateway.region.clone(),
            });
        }
    }
    let in_order = |customer: &Arc<Customer>| {
        let enabled = customer
            .regions
            .iter()
            .filter(|code| regions.get(*code).is_some_and(|region| region.enabled));
        enabled
            .filter_map(|code| of_region.get(&(customer.id, code.as_str())))
            .map(|g| Arc::clone(g))
            .collect()
    };
    customers
        .values()
        .map(|customer| (customer.id, in_order(customer)))
        .collect()
}

fn numbers_of(
    rows: Vec<PhoneNumber>,
    customers: &Index<Uuid, Customer>,
    errors: &mut Vec<CompileError>,
) -> HashMap<Number, PhoneNumber> {
    let mut numbers = HashMap::with_capacity(rows.len());
    for row in rows {
        let name = row.number.to_string();
        if !customers.contains_key(&row.customer) {
            errors.push(CompileError::UnknownCustomer {
                what: "number",
                name,
                customer: row.customer,
            });
        } else if numbers.insert(row.number.clone(), row).is_some() {
            errors.push(CompileError::Twice {
                what: "number",
                name,
            });
        }
    }
    numbers
}

/// The trunks that calls go to, by whom they belong to.
fn trunks_of(
    trunks: &Index<Uuid, Trunk>,
    customers: &Index<Uuid, Customer>,
    errors: &mut Vec<CompileError>,
) -> HashMap<Option<Uuid>, Vec<Arc<Trunk>>> {
    let mut by_customer: HashMap<_, Vec<_>> = HashMap::new();
    for trunk in trunks.values() {
        if let Some(customer) = trunk.customer.filter(|id| !customers.contains_key(id)) {
            errors.push(CompileError::UnknownCustomer {
                what: "trunk",
                name: trunk.name.clone(),
                customer,
            });
        }
        if trunk.acl.iter().any(|network| network.prefix_len() == 0) {
            errors.push(CompileError::OpenAccess {
                name: trunk.name.clone(),
            });
        }
        if trunk.state == TrunkState::InService {
            by_customer
                .entry(trunk.customer)
                .or_default()
                .push(trunk.clone());
        }
    }
    by_customer
}

#[cfg(test)]
mod tests {
    use super::super::GatewayState;
    use super::super::examples::{customer, gateway, phone_number, region, trunk};
    use super::*;

    /// TDR-145, TDR-1213: what Teams knows of us is another when a name comes, goes, moves or changes its state, and the same
    /// whatever else changes and in whatever order it is read.
    #[test]
    fn what_teams_knows_of_us_has_a_number() {
        type Change = fn(&mut Rows);
        let rows = || {
            let acme = customer("acme");
            Rows {
                regions: vec![region("EU"), region("US")],
                gateways: vec![
                    gateway(&acme, "EU", "acme.eu.example"),
                    gateway(&acme, "US", "acme.us.example"),
                ],
                numbers: vec![phone_number("+14255550100", &acme)],
                customers: vec![acme],
                trunks: vec![trunk("pbx", None)],
                ..Rows::default()
            }
        };
        let names = |change: Change| {
            let mut rows = rows();
            change(&mut rows);
            Directory::compile(rows).unwrap().teams_names
        };
        let before = names(|_| {});
        let others: [Change; 7] = [
            |rows| rows.gateways[0].fqdn = "acme2.eu.example".into(),
            |rows| rows.gateways[0].state = GatewayState::Verified,
            |rows| rows.gateways[1].sip_port = 5063,
            |rows| drop(rows.gateways.pop()),
            |rows| rows.regions[1].enabled = false,
            |rows| rows.regions[1].base_fqdn = "usa.example".into(),
            |rows| rows.regions.push(region("APAC")),
        ];
        let mut seen: Vec<u64> = others.map(names).to_vec();
        seen.push(before);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8, "each is another");
        let same: [Change; 4] = [
            |rows| rows.customers[0].max_channels = 1,
            |rows| rows.numbers.clear(),
            |rows| rows.trunks.clear(),
            |rows| {
                rows.regions.reverse();
                rows.gateways.reverse();
            },
        ];
        assert_eq!(same.map(names), [before; 4]);
    }

    #[test]
    fn every_contradiction_is_told_at_once() {
        let acme = customer("acme");
        let stranger = customer("stranger").id;
        let rows = Rows {
            regions: vec![region("EU"), region("EU")],
            customers: vec![
                Customer {
                    regions: vec!["MOON".into()],
                    ..acme.clone()
                },
                acme.clone(),
            ],
            gateways: vec![
                gateway(&acme, "EU", "acme.eu.example"),
                gateway(&acme, "EU", "ACME.eu.example"),
                gateway(&acme, "EU", "acme2.eu.example"),
                gateway(&acme, "MARS", "acme.mars.example"),
            ],
            numbers: vec![
                phone_number("+14255550100", &acme),
                phone_number("+14255550100", &acme),
                PhoneNumber {
                    customer: stranger,
                    ..phone_number("+14255550101", &acme)
                },
            ],
            trunks: vec![
                trunk("lost", Some(stranger)),
                Trunk {
                    acl: vec!["0.0.0.0/0".parse().unwrap()],
                    ..trunk("open", None)
                },
            ],
            ..Rows::default()
        };
        let mut told: Vec<_> = Directory::compile(rows)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        told.sort();
        for (said, begins) in told.iter().zip([
            "customer ",
            "customer acme names unknown region MOON",
            "gateway acme.eu.example occurs twice",
            "gateway acme.mars.example names unknown region MARS",
            "gateway acme2.eu.example is the second of its customer in region EU",
            "number +14255550100 occurs twice",
            "number +14255550101 belongs to unknown customer",
            "region EU occurs twice",
            "trunk lost belongs to unknown customer",
            "trunk open lets in every address",
        ]) {
            assert!(said.starts_with(begins), "{told:#?}");
        }
        assert_eq!(told.len(), 10, "{told:#?}");
    }

    #[test]
    fn gateways_are_found_in_any_case() {
        let acme = customer("acme");
        let rows = Rows {
            generation: 7,
            regions: vec![region("EU")],
            gateways: vec![gateway(&acme, "EU", "Acme.EU.example")],
            customers: vec![acme],
            ..Rows::default()
        };
        let directory = Directory::compile(rows).unwrap();
        assert_eq!(directory.generation, 7);
        assert_eq!(
            directory.gateway("aCME.eu.EXAMPLE").unwrap().fqdn,
            "acme.eu.example"
        );
        assert!(directory.gateway("other.eu.example").is_none());
    }

    /// TDR-846: with and without media bypass on one port is refused; a port of its own, or the same for both kinds of
    /// region that are alike, is not.
    #[test]
    fn media_bypass_needs_a_port_of_its_own() {
        let told = |port: u16, other_bypasses: bool| {
            let bypass = Region {
                media_bypass: true,
                sip_port: port,
                ..region("BYPASS")
            };
            let other = Region {
                media_bypass: other_bypasses,
                ..region("EU")
            };
            let rows = Rows {
                regions: vec![other, bypass],
                ..Rows::default()
            };
            Directory::compile(rows).map(|_| ())
        };
        let shared = CompileError::SharedPort {
            region: "BYPASS".into(),
            other: "EU".into(),
            port: 5061,
        };
        assert_eq!(told(5061, false), Err(vec![shared]));
        assert_eq!((told(5062, false), told(5061, true)), (Ok(()), Ok(())));
    }
}
