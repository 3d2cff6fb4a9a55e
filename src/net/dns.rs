//! Asks DNS what `sip::locate` wants to know, within limits of time and number (RFC 3263 §4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::config::DnsConfig;
use super::probe::Found;
use crate::base::Random;
use crate::sip::locate::{Naptr, Question, Search, Srv};
use crate::sip::{Hop, Target};

/// Names that do not exist are asked for again after this time at the latest: a record just made should soon count.
const NEGATIVE_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Dns {
    config: DnsConfig,
    hosts: HashMap<String, Vec<IpAddr>>,
    resolver: Option<TokioResolver>,
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl Dns {
    /// Without a name server, configured or of the system, only `hosts` is known.
    pub fn new(config: DnsConfig) -> Self {
        let resolver = resolver(&config)
            .inspect_err(|error| tracing::warn!(%error, "DNS is not available"))
            .ok();
        let hosts = config
            .hosts
            .iter()
            .map(|(name, addresses)| (canonical(name), addresses.clone()))
            .collect();
        Self {
            hosts,
            resolver,
            turns: Semaphore::new(config.concurrent),
            waiting: AtomicUsize::new(0),
            config,
        }
    }

    /// Finds the targets of a hop in the order of trial, at least one; the error is a sentence for the log.
    pub async fn resolve(&self, hop: Hop) -> Result<Vec<Target>, String> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.config.waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err("too many questions to DNS at once".to_owned());
        }
        let host = hop.host.clone();
        let found = timeout(self.config.timeout, async {
            let _turn = self
                .turns
                .acquire()
                .await
                .map_err(|error| error.to_string())?;
            self.search(hop).await
        });
        let found = found
            .await
            .unwrap_or_else(|_| Err(format!("DNS did not answer in time for {host}")));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// What stands at a name, and whether the configuration said so.
    pub(super) async fn look(&self, name: &str) -> (bool, Found) {
        if let Some(addresses) = self.hosts.get(&canonical(name)) {
            return (true, Found::Addresses(addresses.clone()));
        }
        if let Ok(address) = name.parse() {
            return (true, Found::Addresses(vec![address]));
        }
        let Some(resolver) = &self.resolver else {
            return (false, Found::Unknown("no name server is known".to_owned()));
        };
        let name = format!("{}.", canonical(name));
        let look = async |kind| match resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(lookup.answers().to_vec()),
            Err(error) if error.is_nx_domain() => Err(Found::NoSuchName),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(Found::Unknown(error.to_string())),
        };
        let (four, six) = tokio::join!(look(RecordType::A), look(RecordType::AAAA));
        let records = match (four, six) {
            (Ok(four), Ok(six)) => [four, six].concat(),
            (Err(found), _) | (_, Err(found)) => return (false, found),
        };
        let addresses: Vec<_> = records
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(a) => Some(IpAddr::V4(a.0)),
                RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
                _ => None,
            })
            .collect();
        if !addresses.is_empty() {
            return (false, Found::Addresses(addresses));
        }
        let texts = look(RecordType::TXT).await.unwrap_or_default();
        let text = !texts.is_empty();
        (false, Found::NoAddress { text })
    }

    async fn search(&self, hop: Hop) -> Result<Vec<Target>, String> {
        let (host, mut random) = (hop.host.clone(), Random::from_seed(rand::random()));
        let mut search = Search::new(hop);
        let mut failure = None;
        while let Some(question) = search.question() {
            match question {
                Question::Naptr(name) => search.naptr(self.naptr(&name).await.unwrap_or_default()),
                Question::Srv(name) => {
                    search.srv(self.srv(&name).await.unwrap_or_default(), &mut random)
                }
                Question::Addresses(name) => {
                    let addresses = self.addresses(&name).await;
                    search.addresses(addresses.unwrap_or_else(|error| {
                        failure.get_or_insert(error);
                        Vec::new()
                    }));
                }
            }
        }
        match (search.targets(), failure) {
            (targets, _) if !targets.is_empty() => Ok(targets),
            (_, Some(failure)) => Err(format!("{host}: {failure}")),
            (_, None) => Err(format!("{host} leads to no address")),
        }
    }

    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, String> {
        self.records(name, RecordType::NAPTR, |record| match record {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
                service: String::from_utf8_lossy(&naptr.services).into_owned(),
                replacement: naptr.replacement.to_string(),
            }),
            _ => None,
        })
        .await
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
        self.records(name, RecordType::SRV, |record| match record {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string(),
            }),
            _ => None,
        })
        .await
    }

    /// IPv4 before IPv6 (TDR-113). A failure counts only if neither family gave an address.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        if let Some(addresses) = self.hosts.get(&canonical(name)) {
            return Ok(addresses.clone());
        }
        let four = self.records(name, RecordType::A, |record| match record {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            _ => None,
        });
        let six = self.records(name, RecordType::AAAA, |record| match record {
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        });
        match tokio::join!(four, six) {
            (Ok(four), Ok(six)) => Ok([four, six].concat()),
            (Ok(one), Err(error)) | (Err(error), Ok(one)) => {
                if one.is_empty() {
                    Err(error)
                } else {
                    Ok(one)
                }
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Records of one type; none is no error. A name in `hosts` has no others than its addresses.
    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        if self.hosts.contains_key(&owner(name)) {
            return Ok(Vec::new());
        }
        let resolver = self.resolver.as_ref().ok_or("no name server is known")?;
        // With a final dot, so that the system's search list is left out.
        match resolver.lookup(format!("{}.", canonical(name)), kind).await {
            Ok(lookup) => Ok(lookup
                .answers()
                .iter()
                .filter_map(|record| pick(&record.data))
                .collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn resolver(config: &DnsConfig) -> Result<TokioResolver, NetError> {
    let mut builder = if config.nameservers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = config.nameservers.iter().map(|address| {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (address.port(), address.port());
            NameServerConfig::new(address.ip(), true, vec![udp, tcp])
        });
        let servers = ResolverConfig::from_name_servers(servers.collect());
        TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.cache_size = config.cache;
    options.negative_max_ttl = Some(NEGATIVE_LIMIT);
    // Two tries within the time that the whole search may take.
    options.timeout = config.timeout / 2;
    options.attempts = 1;
    builder.build()
}

/// The domain to which the name of a service belongs; that of a host is its own.
fn owner(name: &str) -> String {
    let mut rest = name;
    while let Some((label, parent)) = rest.split_once('.')
        && label.starts_with('_')
    {
        rest = parent;
    }
    canonical(rest)
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, AAAA, NAPTR, SRV};
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    use super::*;
    use crate::sip::{Realm, Transport};

    type Asked = Arc<Mutex<Vec<String>>>;

    /// A name server that answers from this zone, keeping the records for `ttl` seconds, and notes what it was asked.
    async fn zone(records: Vec<(&'static str, RData)>, ttl: u32) -> (DnsConfig, Asked) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let config = DnsConfig {
            nameservers: vec![socket.local_addr().unwrap()],
            ..DnsConfig::default()
        };
        let asked = Asked::default();
        let notes = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (n, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let request = Message::from_vec(&buffer[..n]).unwrap();
                let query = request.queries[0].clone();
                notes
                    .lock()
                    .unwrap()
                    .push(format!("{} {}", query.query_type(), query.name()));
                let mut response = Message::response(request.metadata.id, request.metadata.op_code);
                let here = records
                    .iter()
                    .filter(|(name, _)| name.parse::<Name>().unwrap() == *query.name());
                let of_type = here
                    .clone()
                    .filter(|(_, data)| data.record_type() == query.query_type());
                for (_, data) in of_type {
                    response.add_answer(Record::from_rdata(
                        query.name().clone(),
                        ttl,
                        data.clone(),
                    ));
                }
                if here.count() == 0 {
                    response.metadata.response_code = ResponseCode::NXDomain;
                }
                response.add_query(query);
                socket
                    .send_to(&response.to_vec().unwrap(), peer)
                    .await
                    .unwrap();
            }
        });
        (config, asked)
    }

    fn a(last: u8) -> RData {
        RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn srv(priority: u16, port: u16, target: &str) -> RData {
        RData::SRV(SRV::new(priority, 0, port, target.parse().unwrap()))
    }

    fn hop(host: &str, port: Option<u16>, transport: Option<Transport>) -> Hop {
        Hop {
            host: host.to_owned(),
            port,
            transport,
            realm: Realm::Trunk,
        }
    }

    async fn targets(dns: &Dns, hop: Hop) -> Result<Vec<String>, String> {
        let shown =
            |target: Target| format!("{} {} {}", target.transport, target.address, target.name);
        Ok(dns.resolve(hop).await?.into_iter().map(shown).collect())
    }

    /// NAPTR leads to SRV, SRV to addresses, in the order of trial (RFC 3263 §4).
    #[tokio::test]
    async fn records_lead_to_targets() {
        let naptr = NAPTR::new(
            10,
            10,
            (*b"s").into(),
            (*b"SIPS+D2T").into(),
            Default::default(),
            "_sips._tcp.carrier.test.".parse().unwrap(),
        );
        let six = RData::AAAA(AAAA("2001:db8::1".parse().unwrap()));
        let (config, asked) = zone(
            vec![
                ("carrier.test.", RData::NAPTR(naptr)),
                ("_sips._tcp.carrier.test.", srv(20, 5071, "b.carrier.test.")),
                ("_sips._tcp.carrier.test.", srv(10, 5061, "a.carrier.test.")),
                ("a.carrier.test.", six),
                ("a.carrier.test.", a(1)),
                ("b.carrier.test.", a(2)),
                (
                    "b.carrier.test.",
                    RData::AAAA(AAAA("2001:db8::2".parse().unwrap())),
                ),
            ],
            60,
        )
        .await;
        let dns = Dns::new(config);
        let expected = [
            "tls 192.0.2.1:5061 carrier.test",
            "tls [2001:db8::1]:5061 carrier.test",
            "tls 192.0.2.2:5071 carrier.test",
            "tls [2001:db8::2]:5071 carrier.test",
        ];
        assert_eq!(
            targets(&dns, hop("carrier.test", None, None))
                .await
                .unwrap(),
            expected
        );
        // Asked again within the time to live, nobody is asked.
        let before = asked.lock().unwrap().len();
        assert_eq!(
            targets(&dns, hop("carrier.test", None, None))
                .await
                .unwrap(),
            expected
        );
        assert_eq!(asked.lock().unwrap().len(), before);
    }

    /// Without a time to live every search asks anew, so that a moved address counts at once (TDR-102).
    #[tokio::test]
    async fn the_time_to_live_is_kept() {
        let (config, asked) = zone(vec![("pbx.test.", a(1))], 0).await;
        let dns = Dns::new(config);
        for _ in 0..3 {
            assert_eq!(
                targets(&dns, hop("pbx.test", Some(5060), None))
                    .await
                    .unwrap(),
                ["udp 192.0.2.1:5060 pbx.test"]
            );
        }
        let asked = asked
            .lock()
            .unwrap()
            .iter()
            .filter(|question| *question == "A pbx.test.")
            .count();
        assert_eq!(asked, 3);
    }

    /// A host without SRV records is tried at the default port; one that does not exist is told as such.
    #[tokio::test]
    async fn names_without_records() {
        let (config, _) = zone(vec![("pbx.test.", a(7))], 60).await;
        let dns = Dns::new(config);
        let found = targets(&dns, hop("pbx.test", None, Some(Transport::Tcp)))
            .await
            .unwrap();
        assert_eq!(found, ["tcp 192.0.2.7:5060 pbx.test"]);
        let error = targets(&dns, hop("missing.test", Some(1), None))
            .await
            .unwrap_err();
        assert_eq!(error, "missing.test leads to no address");
    }

    /// Configured hosts are never asked for, whatever records they may have; their neighbours are.
    #[tokio::test]
    async fn configured_hosts_are_known() {
        let (mut config, asked) = zone(vec![("x.pbx.test.", a(1)), ("pbx.test.", a(2))], 60).await;
        config.hosts = [("PBX.test".to_owned(), vec!["127.0.0.20".parse().unwrap()])].into();
        let dns = Dns::new(config);
        assert_eq!(
            targets(&dns, hop("pbx.TEST", None, None)).await.unwrap(),
            ["udp 127.0.0.20:5060 pbx.TEST"]
        );
        assert!(asked.lock().unwrap().is_empty());
        assert_eq!(
            targets(&dns, hop("x.pbx.test", Some(5060), None))
                .await
                .unwrap(),
            ["udp 192.0.2.1:5060 x.pbx.test"]
        );
    }

    /// A server that never answers costs its time and no more; questions beyond the limit are refused at once.
    #[tokio::test]
    async fn silence_and_floods_are_bounded() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns = Dns::new(DnsConfig {
            nameservers: vec![silent.local_addr().unwrap()],
            timeout: Duration::from_millis(200),
            waiting: 1,
            ..DnsConfig::default()
        });
        let (first, second) = tokio::join!(
            dns.resolve(hop("a.test", Some(1), None)),
            dns.resolve(hop("b.test", Some(1), None))
        );
        assert!(first.is_err());
        assert_eq!(second.unwrap_err(), "too many questions to DNS at once");
        assert!(
            dns.resolve(hop("c.test", Some(1), None))
                .await
                .is_err_and(|error| !error.contains("too many"))
        );
    }
}
