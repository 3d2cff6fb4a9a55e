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
