//! RFC 3263 §4 without the queries: which DNS records to ask for, and in which order their answers are tried.
//!
//! Whoever can ask DNS makes a [`Search`], answers each [`Question`] and gets [`Target`]s in the order of trial. The
//! weights of SRV records (RFC 2782) are drawn from the [`Random`] handed in.

use std::collections::VecDeque;
use std::mem;
use std::net::{IpAddr, SocketAddr};

use super::{Hop, Realm, Target, Transport};
use crate::base::Random;

/// How many targets one search yields at most; what DNS names beyond that is not tried.
pub const MAX_TARGETS: usize = 16;
/// How many questions one search asks at most, however many records the answers hold.
const MAX_QUESTIONS: usize = 16;

/// What to ask DNS. Names have no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The NAPTR records of a domain; answered by [`Search::naptr`].
    Naptr(String),
    /// The SRV records of a service; answered by [`Search::srv`].
    Srv(String),
    /// The A and AAAA records of a host, in the order they should be tried; answered by [`Search::addresses`].
    Addresses(String),
}

/// A NAPTR record (RFC 3403 §4), as far as SIP looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower is tried first.
    pub order: u16,
    /// Among equal orders, lower is tried first.
    pub preference: u16,
    /// SIP uses `s` only: the replacement names SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T` or `SIPS+D2T`; others are passed over.
    pub service: String,
    /// Where to ask for SRV records.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// The share among equal priorities.
    pub weight: u16,
    /// Where the service listens.
    pub port: u16,
    /// The host that offers it; `.` says that the service is not offered.
    pub target: String,
}

/// One hop on its way to its targets.
#[derive(Debug)]
pub struct Search {
    hop: Hop,
    ahead: VecDeque<Step>,
    asked: usize,
    offered: bool,
    targets: Vec<Target>,
}

#[derive(Debug)]
enum Step {
    Naptr,
    Srv(Transport, String),
    Addresses(Transport, u16, String),
}

impl Search {
    /// RFC 3263 §4.1 and §4.2: begins with the record that the hop's host, port and transport call for.
    pub fn new(hop: Hop) -> Self {
        let mut search = Self {
            ahead: VecDeque::new(),
            asked: 0,
            offered: false,
            targets: Vec::new(),
            hop,
        };
        if let Some(target) = literal(&search.hop) {
            search.targets.push(target);
            return search;
        }
        let host = search.hop.host.clone();
        search
            .ahead
            .push_back(match (transport(&search.hop), search.hop.port) {
                (transport, Some(port)) => {
                    Step::Addresses(transport.unwrap_or(Transport::Udp), port, host)
                }
                (Some(transport), None) => Step::Srv(transport, service(transport, &host)),
                (None, None) => Step::Naptr,
            });
        search
    }

    /// What must be known next; nothing once the search is over.
    pub fn question(&self) -> Option<Question> {
        if self.asked >= MAX_QUESTIONS || self.targets.len() >= MAX_TARGETS {
            return None;
        }
        Some(match self.ahead.front()? {
            Step::Naptr => Question::Naptr(self.hop.host.clone()),
            Step::Srv(_, name) => Question::Srv(name.clone()),
            Step::Addresses(_, _, host) => Question::Addresses(host.clone()),
        })
    }

    /// Answers [`Question::Naptr`]; empty where there are none. Without a usable one, every transport's SRV records
    /// are asked for, the safest transport first.
    pub fn naptr(&mut self, mut records: Vec<Naptr>) {
        let Some(Step::Naptr) = self.next() else {
            return;
        };
        records.sort_by_key(|record| (record.order, record.preference));
        let usable = records
            .into_iter()
            .filter(|record| record.flags.eq_ignore_ascii_case("s"));
        self.ahead.extend(usable.filter_map(|record| {
            Some(Step::Srv(
                carried_by(&record.service)?,
                undotted(record.replacement),
            ))
        }));
        if self.ahead.is_empty() {
            let transports = [Transport::Tls, Transport::Tcp, Transport::Udp];
            self.ahead
                .extend(transports.map(|t| Step::Srv(t, service(t, &self.hop.host))));
        }
    }

    /// Answers [`Question::Srv`]; empty where there are none. When no SRV record was found at all, the host's own
    /// addresses are tried at the transport's default port.
    pub fn srv(&mut self, records: Vec<Srv>, random: &mut Random) {
        let Some(Step::Srv(transport, _)) = self.next() else {
            return;
        };
        self.offered |= !records.is_empty();
        let hosts = ordered(records, random)
            .into_iter()
            .filter(|record| record.target != ".");
        let steps =
            hosts.map(|record| Step::Addresses(transport, record.port, undotted(record.target)));
        // One service's hosts are tried before the next service is asked for.
        let later = mem::replace(&mut self.ahead, steps.collect());
        self.ahead.extend(later);
        if self.ahead.is_empty() && !self.offered {
            let transport = self::transport(&self.hop).unwrap_or(Transport::Udp);
            self.ahead.push_back(Step::Addresses(
                transport,
                transport.default_port(),
                self.hop.host.clone(),
            ));
        }
    }

    /// Answers [`Question::Addresses`]; empty where there are none.
    pub fn addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        let Some(Step::Addresses(transport, port, _)) = self.next() else {
            return;
        };
        let room = MAX_TARGETS - self.targets.len();
        let targets = addresses.into_iter().take(room);
        self.targets
            .extend(targets.map(|ip| target(&self.hop, transport, SocketAddr::new(ip, port))));
    }

    /// What was found, in the order of trial; empty where the name leads nowhere.
    pub fn targets(self) -> Vec<Target> {
        self.targets
    }

    fn next(&mut self) -> Option<Step> {
        self.asked += 1;
        self.ahead.pop_front()
    }
}

/// The target of a hop that names an address, for which DNS is not asked (RFC 3263 §4.1 and §4.2).
pub fn literal(hop: &Hop) -> Option<Target> {
    let ip: IpAddr = hop.host.parse().ok()?;
    let transport = transport(hop).unwrap_or(Transport::Udp);
    let address = SocketAddr::new(ip, hop.port.unwrap_or(transport.default_port()));
    Some(target(hop, transport, address))
}

/// The transport that is settled without DNS. Microsoft's proxies speak TLS only, and their Contacts do not always
/// say so (TDR-309).
fn transport(hop: &Hop) -> Option<Transport> {
    hop.transport
        .or((hop.realm == Realm::Teams).then_some(Transport::Tls))
}

/// The certificate must name the domain that was asked for, not the host that DNS led to (RFC 5922 §4).
fn target(hop: &Hop, transport: Transport, address: SocketAddr) -> Target {
    Target {
        transport,
        address,
        name: hop.host.clone(),
        realm: hop.realm,
    }
}

fn service(transport: Transport, host: &str) -> String {
    match transport {
        Transport::Udp => format!("_sip._udp.{host}"),
        Transport::Tcp => format!("_sip._tcp.{host}"),
        Transport::Tls => format!("_sips._tcp.{host}"),
    }
}

fn carried_by(service: &str) -> Option<Transport> {
    match service.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Some(Transport::Udp),
        "SIP+D2T" => Some(Transport::Tcp),
        "SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    }
}

fn undotted(mut name: String) -> String {
    if name.ends_with('.') && name.len() > 1 {
        name.pop();
    }
    name
}

/// RFC 2782: by priority; among equals each is drawn with the chance of its weight, and those of weight 0 stand in
/// front, so that they are drawn now and then.
fn ordered(mut records: Vec<Srv>, random: &mut Random) -> Vec<Srv> {
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let equals = || {
            records
                .iter()
                .take_while(|record| record.priority == priority)
        };
        let total: u32 = equals().map(|record| u32::from(record.weight)).sum();
        let drawn = random.u32() % (total + 1);
        let mut sum = 0;
        let at = equals().position(|record| {
            sum += u32::from(record.weight);
            sum >= drawn
        });
        ordered.push(records.remove(at.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(host: &str, port: Option<u16>, transport: Option<Transport>) -> Hop {
        Hop {
            host: host.to_owned(),
            port,
            transport,
            realm: Realm::Trunk,
        }
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight,
            port,
            target: target.to_owned(),
        }
    }

    fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Naptr {
        let (flags, service, replacement) =
            ("s".to_owned(), service.to_owned(), replacement.to_owned());
        Naptr {
            order,
            preference,
            flags,
            service,
            replacement,
        }
    }

    /// Answers every question from a little zone and says what was asked and found.
    fn search(
        hop: Hop,
        naptrs: &[Naptr],
        srvs: &[(&str, Srv)],
        hosts: &[(&str, &str)],
    ) -> (Vec<String>, Vec<String>) {
        let (mut random, mut asked, mut search) =
            (Random::from_number(1), Vec::new(), Search::new(hop));
        while let Some(question) = search.question() {
            match question {
                Question::Naptr(name) => {
                    asked.push(format!("NAPTR {name}"));
                    search.naptr(naptrs.to_vec());
                }
                Question::Srv(name) => {
                    let found = srvs
                        .iter()
                        .filter(|(owner, _)| *owner == name)
                        .map(|(_, record)| record.clone());
                    search.srv(found.collect(), &mut random);
                    asked.push(format!("SRV {name}"));
                }
                Question::Addresses(name) => {
                    let found = hosts.iter().filter(|(owner, _)| *owner == name);
                    search.addresses(found.map(|(_, ip)| ip.parse().unwrap()));
                    asked.push(format!("A {name}"));
                }
            }
        }
        let found = search
            .targets()
            .into_iter()
            .map(|t| format!("{} {} {}", t.transport, t.address, t.name));
        (asked, found.collect())
    }

    /// An address needs no DNS: UDP and the default port unless the URI says otherwise.
    #[test]
    fn an_address_is_its_own_target() {
        let found = |hop| search(hop, &[], &[], &[]);
        assert_eq!(
            found(hop("192.0.2.1", None, None)),
            (vec![], vec!["udp 192.0.2.1:5060 192.0.2.1".to_owned()])
        );
        let (_, six) = found(hop("2001:db8::1", None, Some(Transport::Tls)));
        assert_eq!(six, ["tls [2001:db8::1]:5061 2001:db8::1"]);
        let (_, port) = found(hop("192.0.2.1", Some(5070), Some(Transport::Tcp)));
        assert_eq!(port, ["tcp 192.0.2.1:5070 192.0.2.1"]);
    }

    /// A port in the URI leaves only the addresses to be asked for.
    #[test]
    fn a_port_skips_srv() {
        let hosts = [("pbx.example", "192.0.2.1"), ("pbx.example", "192.0.2.2")];
        let (asked, found) = search(hop("pbx.example", Some(5080), None), &[], &[], &hosts);
        assert_eq!(asked, ["A pbx.example"]);
        assert_eq!(
            found,
            [
                "udp 192.0.2.1:5080 pbx.example",
                "udp 192.0.2.2:5080 pbx.example"
            ]
        );
    }

    /// With a transport, SRV is asked for; the certificate is still judged by the domain of the URI.
    #[test]
    fn a_transport_leads_to_its_srv_records() {
        let srvs = [
            (
                "_sips._tcp.carrier.example",
                srv(20, 0, 5071, "b.carrier.example."),
            ),
            (
                "_sips._tcp.carrier.example",
                srv(10, 0, 5061, "a.carrier.example"),
            ),
        ];
        let hosts = [
            ("a.carrier.example", "192.0.2.1"),
            ("b.carrier.example", "192.0.2.2"),
        ];
        let (asked, found) = search(
            hop("carrier.example", None, Some(Transport::Tls)),
            &[],
            &srvs,
            &hosts,
        );
        assert_eq!(
            asked,
            [
                "SRV _sips._tcp.carrier.example",
                "A a.carrier.example",
                "A b.carrier.example"
            ]
        );
        assert_eq!(
            found,
            [
                "tls 192.0.2.1:5061 carrier.example",
                "tls 192.0.2.2:5071 carrier.example"
            ]
        );
    }

    /// Without SRV records the host itself is asked for, at the default port.
    #[test]
    fn no_srv_falls_back_to_addresses() {
        let hosts = [("pbx.example", "192.0.2.1")];
        let (asked, found) = search(
            hop("pbx.example", None, Some(Transport::Tcp)),
            &[],
            &[],
            &hosts,
        );
        assert_eq!(asked, ["SRV _sip._tcp.pbx.example", "A pbx.example"]);
        assert_eq!(found, ["tcp 192.0.2.1:5060 pbx.example"]);
    }

    /// NAPTR chooses the transports by order and preference; services that we do not speak are passed over.
    #[test]
    fn naptr_orders_transports() {
        let naptrs = [
            naptr(50, 50, "SIP+D2U", "_sip._udp.carrier.example."),
            naptr(20, 90, "SIPS+D2T", "_sips._tcp.carrier.example."),
            naptr(10, 1, "SIP+D2S", "_sip._sctp.carrier.example."),
        ];
        let srvs = [
            (
                "_sips._tcp.carrier.example",
                srv(0, 0, 5061, "a.carrier.example"),
            ),
            (
                "_sip._udp.carrier.example",
                srv(0, 0, 5060, "a.carrier.example"),
            ),
        ];
        let (_, found) = search(
            hop("carrier.example", None, None),
            &naptrs,
            &srvs,
            &[("a.carrier.example", "192.0.2.1")],
        );
        assert_eq!(
            found,
            [
                "tls 192.0.2.1:5061 carrier.example",
                "udp 192.0.2.1:5060 carrier.example"
            ]
        );
    }

    /// Without NAPTR every service is asked for; without any, UDP to the host is what is left.
    #[test]
    fn a_bare_host_ends_at_udp() {
        let (asked, found) = search(
            hop("pbx.example", None, None),
            &[],
            &[],
            &[("pbx.example", "192.0.2.1")],
        );
        let services = ["_sips._tcp", "_sip._tcp", "_sip._udp"]
            .map(|service| format!("SRV {service}.pbx.example"));
        assert_eq!(
            asked,
            [
                &["NAPTR pbx.example".to_owned()],
                &services[..],
                &["A pbx.example".to_owned()]
            ]
            .concat()
        );
        assert_eq!(found, ["udp 192.0.2.1:5060 pbx.example"]);
    }

    /// A single SRV record of target `.` says no, and the host's addresses are not tried (RFC 2782).
    #[test]
    fn a_dot_means_not_offered() {
        let srvs = [("_sip._tcp.pbx.example", srv(0, 0, 0, "."))];
        let (_, found) = search(
            hop("pbx.example", None, Some(Transport::Tcp)),
            &[],
            &srvs,
            &[("pbx.example", "192.0.2.1")],
        );
        assert_eq!(found, [""; 0]);
    }

    /// Teams speaks TLS, whether its URI says so or not.
    #[test]
    fn teams_is_tls() {
        let hop = Hop {
            realm: Realm::Teams,
            ..hop("sip.pstnhub.microsoft.com", Some(443), None)
        };
        let (_, found) = search(
            hop,
            &[],
            &[],
            &[("sip.pstnhub.microsoft.com", "52.112.0.1")],
        );
        assert_eq!(found, ["tls 52.112.0.1:443 sip.pstnhub.microsoft.com"]);
    }

    /// Of weights 3 and 1, the heavier leads three times in five: the rule draws from 0 to 4, and 0 falls to the lighter.
    #[test]
    fn weights_share_the_load() {
        let (mut random, records) = (
            Random::from_number(3),
            [srv(1, 3, 1, "a"), srv(1, 1, 2, "b"), srv(2, 9, 3, "c")],
        );
        let mut led = 0;
        for _ in 0..10_000 {
            let order = ordered(records.to_vec(), &mut random);
            led += u32::from(order[0].target == "a");
            assert_eq!(order[2].target, "c");
        }
        assert!((5_700..6_300).contains(&led), "{led}");
    }

    /// A zone made to keep us busy is left after a bounded number of questions and targets.
    #[test]
    fn a_hostile_zone_is_bounded() {
        let srvs: Vec<_> = (0..500)
            .map(|n| ("_sip._tcp.x", srv(n, 0, 1, "nowhere")))
            .collect();
        let (asked, found) = search(hop("x", None, Some(Transport::Tcp)), &[], &srvs, &[]);
        assert_eq!((asked.len(), found.len()), (MAX_QUESTIONS, 0));
        let hosts: Vec<_> = (0..500).map(|_| ("x", "192.0.2.1")).collect();
        assert_eq!(
            search(hop("x", Some(1), None), &[], &[], &hosts).1.len(),
            MAX_TARGETS
        );
    }
}
