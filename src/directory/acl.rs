use super::{Denied, Directory, Phone, Trunk};
use crate::sip::{Realm, Source, Transport};
use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Who sent a message, as far as its address and certificate tell.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Microsoft's proxies (TDR-314).
    Teams,
    /// A trunk's peer.
    Trunk(Arc<Trunk>),
    /// An address that several trunks name, as that of a hosted PBX with many customers; at least two. The called
    /// number decides which it is (TDR-1211).
    Shared(Vec<Arc<Trunk>>),
    /// A desk telephone, which no address tells: it has proven who it is by digest.
    Phone(Arc<Phone>),
}

impl Origin {
    /// The trunks that it may be; none for Teams and telephones.
    pub fn trunks(&self) -> &[Arc<Trunk>] {
        match self {
            Self::Teams | Self::Phone(_) => &[],
            Self::Trunk(trunk) => std::slice::from_ref(trunk),
            Self::Shared(trunks) => trunks,
        }
    }
}

impl Directory {
    /// Who sent a message. The only error is [`Denied::UnknownPeer`].
    pub fn origin(&self, source: &Source) -> Result<Origin, Denied> {
        let address = source.remote.ip().to_canonical();
        if self.is_teams(source, address) {
            return Ok(Origin::Teams);
        }
        match self.access.find(source.transport, address) {
            [] => Err(Denied::UnknownPeer),
            [trunk] => Ok(Origin::Trunk(trunk.clone())),
            trunks => Ok(Origin::Shared(trunks.to_vec())),
        }
    }

    /// TDR-314: all three, for an address range alone is not Microsoft's, and neither is a certificate elsewhere.
    fn is_teams(&self, source: &Source, address: IpAddr) -> bool {
        source.transport == Transport::Tls
            && source
                .certificate
                .as_ref()
                .is_some_and(|certificate| certificate.realm == Realm::Teams)
            && self
                .teams_ranges
                .iter()
                .any(|range| range.contains(&address))
    }
}

/// The trunks' networks. The narrowest that holds an address decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AccessList {
    /// Prefix lengths, longest first, and how many networks have each; IPv4 and IPv6 alike.
    lengths: BTreeMap<Reverse<u8>, usize>,
    networks: imbl::HashMap<(Transport, IpNet), Vec<Arc<Trunk>>>,
}

impl AccessList {
    /// Lets a trunk's peer in.
    pub(super) fn add(&mut self, trunk: &Arc<Trunk>) {
        for network in &trunk.acl {
            let key = (trunk.transport, network.trunc());
            let named = self.networks.entry(key).or_insert_with(|| {
                *self
                    .lengths
                    .entry(Reverse(network.prefix_len()))
                    .or_default() += 1;
                Vec::new()
            });
            if let Err(place) = named.binary_search_by_key(&trunk.id, |t| t.id) {
                named.insert(place, trunk.clone());
            }
        }
    }

    /// Forgets a trunk.
    pub(super) fn remove(&mut self, trunk: &Trunk) {
        for network in &trunk.acl {
            let key = (trunk.transport, network.trunc());
            let Some(named) = self.networks.get_mut(&key) else {
                continue;
            };
            named.retain(|t| t.id != trunk.id);
            if !named.is_empty() {
                continue;
            }
            self.networks.remove(&key);
            let length = Reverse(network.prefix_len());
            if let Some(count) = self.lengths.get_mut(&length) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&length);
                }
            }
        }
    }

    fn find(&self, transport: Transport, address: IpAddr) -> &[Arc<Trunk>] {
        self.lengths
            .keys()
            .filter_map(|Reverse(length)| IpNet::new(address, *length).ok())
            .find_map(|network| self.networks.get(&(transport, network.trunc())))
            .map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{self, from_teams, source, trunk};
    use super::*;
    use crate::sip::PeerCertificate;

    fn names(origin: Result<Origin, Denied>) -> Vec<String> {
        origin.map_or(Vec::new(), |origin| {
            origin
                .trunks()
                .iter()
                .map(|trunk| trunk.name.clone())
                .collect()
        })
    }

    /// TDR-314: TLS, a certificate of Microsoft's realm, an address in its ranges; one missing is one too few.
    #[test]
    fn teams_must_show_all_three_proofs() {
        let directory = examples::directory(Vec::new());
        let good = from_teams();
        assert!(matches!(directory.origin(&good), Ok(Origin::Teams)));

        let trunk_realm = PeerCertificate {
            realm: Realm::Trunk,
            names: Vec::new(),
        };
        for (what, bad) in [
            (
                "address",
                Source {
                    remote: "203.0.113.9:5061".parse().unwrap(),
                    ..good.clone()
                },
            ),
            (
                "no certificate",
                Source {
                    certificate: None,
                    ..good.clone()
                },
            ),
            (
                "certificate of another realm",
                Source {
                    certificate: Some(trunk_realm.into()),
                    ..good.clone()
                },
            ),
            (
                "transport",
                Source {
                    transport: Transport::Tcp,
                    ..good.clone()
                },
            ),
        ] {
            assert_eq!(
                directory.origin(&bad).unwrap_err(),
                Denied::UnknownPeer,
                "{what}"
            );
        }
    }

    /// The same address mapped into IPv6, as a dual-stack socket reports it, is the same peer.
    #[test]
    fn the_narrowest_network_decides() {
        let acl = |networks: &[&str]| networks.iter().map(|n| n.parse().unwrap()).collect();
        let directory = examples::directory(vec![
            Trunk {
                acl: acl(&["198.51.100.0/24", "2001:db8::/32"]),
                ..trunk("wide", None)
            },
            Trunk {
                acl: acl(&["198.51.100.7/32", "198.51.100.7/32"]),
                ..trunk("narrow", None)
            },
            Trunk {
                acl: acl(&["198.51.100.7/32"]),
                transport: Transport::Tcp,
                ..trunk("tcp", None)
            },
        ]);
        let found = |address: &str| names(directory.origin(&source(Transport::Udp, address)));
        assert_eq!(found("198.51.100.7:5060"), ["narrow"]);
        assert_eq!(found("[::ffff:198.51.100.7]:5060"), ["narrow"]);
        assert_eq!(found("198.51.100.8:5060"), ["wide"]);
        assert_eq!(found("[2001:db8::1]:5060"), ["wide"]);
        assert_eq!(found("198.51.101.8:5060"), [""; 0]);
        assert_eq!(
            names(directory.origin(&source(Transport::Tcp, "198.51.100.7:9"))),
            ["tcp"]
        );
    }

    #[test]
    fn one_address_may_stand_for_several_trunks() {
        let one: Vec<IpNet> = vec!["198.51.100.7/32".parse().unwrap()];
        let directory = examples::directory(vec![
            Trunk {
                acl: one.clone(),
                ..trunk("a", None)
            },
            Trunk {
                acl: one.clone(),
                ..trunk("b", None)
            },
            Trunk {
                acl: one,
                state: super::super::TrunkState::Disabled,
                ..trunk("disabled", None)
            },
        ]);
        let mut found = names(directory.origin(&source(Transport::Udp, "198.51.100.7:5060")));
        found.sort();
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn a_trunk_without_addresses_lets_in_nobody() {
        let directory = examples::directory(vec![Trunk {
            acl: Vec::new(),
            ..trunk("mute", None)
        }]);
        let denied = directory.origin(&source(Transport::Udp, "198.51.100.7:5060"));
        assert_eq!(denied.unwrap_err(), Denied::UnknownPeer);
    }
}
